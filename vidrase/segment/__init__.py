"""What is where in a frame: detectors behind one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vidrase import weights
from vidrase.frames import Frame, Instances
from vidrase.options import ModelOptions
from vidrase.report import Note

COCO_CONF = 0.25


class Segmenter(Protocol):
    """Finds objects in single frames."""

    names: dict[int, str]
    """Class id -> name."""
    recommended_conf: float
    """Least confidence of an object worth removing, 0..1: the user's choice, or the model's own recommendation."""
    description: str
    """Name, hash, licence, device and precision, for the report."""

    def __call__(self, frames: Sequence[Frame]) -> list[Instances]:
        """One `Instances` a frame, ids 0, displayed orientation, masks at frame size.

        Some may be below `recommended_conf`: they are for the tracker, which keeps those that continue a track.
        """
        ...


def load_segmenter(options: ModelOptions, *, note: Note) -> Segmenter:
    """The detector that `options` ask for, ready to run.

    Raises WeightsMissing, WeightsCorrupt, ModelError for weights that are no segmenter, OptionError for a device or
    precision that this machine does not have.
    """
    if options.segmenter == "maskrcnn":
        from vidrase.segment.maskrcnn import load_maskrcnn

        return load_maskrcnn(options)
    from vidrase.segment.checkpoint import load_network
    from vidrase.segment.device import choose_device, choose_precision, precision_name
    from vidrase.segment.yolo import YoloSegmenter

    device = choose_device(options.device)
    dtype = choose_precision(options.precision, device)
    found = weights.find(options.model)
    network = load_network(found.path)
    described = f"{found.described()} · {device} {precision_name(dtype)}"
    conf = options.conf if options.conf is not None else float(getattr(network, "conf", COCO_CONF))
    offered = frozenset(getattr(network, "offered", ()))  # what it knows well enough to be asked for; nothing said: all
    if options.model is None and found.place == "package":
        note(
            f"no COCO weights on this machine: the small model inside the package looks for {', '.join(sorted(offered))} and "
            f"nothing else (`vidrase models pull {weights.DEFAULT}` fetches a better one)"
        )
    return YoloSegmenter(
        network,
        description=described,
        conf=conf,
        device=device,
        dtype=dtype,
        imgsz=options.imgsz,
        offered=offered,
        note=note,
    )
