"""Mask R-CNN of torchvision (He et al. 2017): slower than YOLO, a second opinion where that one fails.

Its weights are a file that the user names; torchvision itself is never let near the network. The picture is scaled once,
straight from the frame's planes, and each mask goes from the network's 28 x 28 to frame size in one step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vidrase import weights
from vidrase.errors import ModelError, OptionError, OutOfMemory, WeightsMissing
from vidrase.frames import Frame, Instances
from vidrase.options import ModelOptions
from vidrase.pickled import read_tensors
from vidrase.segment.device import choose_device
from vidrase.torchvision_ops import import_torchvision
from vidrase.weights.places import expanded

PUBLISHED = "https://download.pytorch.org/models/maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth"
CONF = 0.5  # it is surer of itself than YOLO is: below this lie double finds
WEAK = 0.4  # share of the confidence from which the tracker may continue a track
LEVEL = 0.5  # probability from which a pixel is mask
CATEGORIES = 91  # of COCO's numbering, the background 0 and eleven that were never used among them
_MASKS = "roi_heads.mask_predictor.mask_fcn_logits.weight"
_OLD, _NEW = "roi_heads.box_head.fc6.weight", "roi_heads.box_head.0.0.weight"


def coco_classes() -> dict[int, tuple[int, str]]:
    """COCO category 1..90 -> (class id 0..79, name), as YOLO counts and calls them; unused categories are left out."""
    import_torchvision()
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights as Published

    named = [
        (category, name)
        for category, name in enumerate(Published.COCO_V1.meta["categories"])
        if name not in ("__background__", "N/A")
    ]
    return {category: (index, name) for index, (category, name) in enumerate(named)}


def load_maskrcnn(options: ModelOptions) -> MaskRcnnSegmenter:
    """The Mask R-CNN in the file that `options.model` names.

    Raises WeightsMissing, WeightsCorrupt, ModelError when the file holds something else, OptionError for a device that is not
    there and for a precision other than fp32.
    """
    device = choose_device(options.device)
    if options.precision not in ("auto", "fp32"):
        raise OptionError(
            f"precision {options.precision} is not for Mask R-CNN, which computes its boxes in it; use fp32 or auto"
        )
    if options.model is None or not expanded(options.model).is_file():
        lacking = "Mask R-CNN has no weights of its own" if options.model is None else f"no weights at {options.model}"
        raise WeightsMissing(f"{lacking}; fetch {PUBLISHED} and name the file: --segmenter maskrcnn --model FILE.pth")
    path = expanded(options.model)
    network = load_network(path)
    found = weights.find(str(path.absolute()))
    return MaskRcnnSegmenter(
        network,
        description=f"Mask R-CNN {found.described()} · {device} fp32",
        conf=CONF if options.conf is None else options.conf,
        device=device,
        imgsz=options.imgsz,
    )


def load_network(path: Path) -> nn.Module:
    """The network in `path`, a state dict of torchvision's maskrcnn_resnet50_fpn or _v2 for COCO: fp32, CPU, eval.

    Raises WeightsCorrupt for a file that cannot be read, ModelError for one that holds something else. Runs no code of the file.
    """
    state = _state(path)
    if _MASKS not in state or (_OLD not in state and _NEW not in state):
        raise ModelError(f"{path} holds no Mask R-CNN of torchvision; expected maskrcnn_resnet50_fpn or _v2 (.pth)")
    if (categories := len(state[_MASKS])) != CATEGORIES:
        raise ModelError(f"{path} knows {categories} categories; expected the {CATEGORIES} of COCO")
    network = build(new=_NEW in state)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ModelError(f"{path} does not fit maskrcnn_resnet50_fpn ({lines[-1].strip()[:120]})") from error
    return network.eval().requires_grad_(False)


def build(*, new: bool) -> nn.Module:
    """An untrained maskrcnn_resnet50_fpn, `new`: _v2; nothing is downloaded."""
    import_torchvision()
    from torchvision.models import detection
    from torchvision.ops import FrozenBatchNorm2d

    if new:
        return detection.maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=CATEGORIES)
    # not by its own function: without published weights that one builds another normalisation than the weights are for
    backbone = detection.backbone_utils.resnet_fpn_backbone(backbone_name="resnet50", weights=None)
    network = detection.MaskRCNN(backbone, CATEGORIES)
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0  # as they were trained
    return network


def _state(path: Path) -> Mapping[str, torch.Tensor]:
    held = read_tensors(path)
    if held is None:
        raise ModelError(f"{path} holds no Mask R-CNN of torchvision; expected maskrcnn_resnet50_fpn or _v2 (.pth)")
    return held


class MaskRcnnSegmenter:
    """A `Segmenter` around torchvision's Mask R-CNN. Detections come out down to `WEAK * recommended_conf`, best first.

    imgsz: long side of the picture that the network sees, px; it was trained on 1333. only: class ids worth looking for.
    """

    def __init__(self, network: Any, *, description: str, conf: float, device: torch.device, imgsz: int = 640) -> None:
        self._classes = coco_classes()
        self.names: dict[int, str] = dict(self._classes.values())
        self.description = description
        self.recommended_conf = conf
        self.only: frozenset[int] | None = None
        self._device, self._imgsz = device, imgsz
        self._network = network.eval().to(device)
        self._network.roi_heads.score_thresh = WEAK * conf

    def __call__(self, frames: Sequence[Frame]) -> list[Instances]:
        """One `Instances` a frame, ids 0, displayed orientation, masks at frame size."""
        found = []
        for frame in frames:  # one by one: a single picture keeps the device busy
            try:
                found.append(self._one(frame))
            except torch.OutOfMemoryError as error:
                raise OutOfMemory(
                    f"the detector needs more memory than {self._device} has at imgsz {self._imgsz}; "
                    "use a smaller --imgsz or --device cpu"
                ) from error
        return found

    def _one(self, frame: Frame) -> Instances:
        height, width = frame.displayed_size
        scale = self._imgsz / max(height, width)
        size = max(round(height * scale), 1), max(round(width * scale), 1)
        from torchvision.models.detection.image_list import ImageList

        with torch.inference_mode():
            picture = torch.from_numpy(frame.rgb(size=size)).to(self._device).permute(2, 0, 1).float() / 255
            transform = self._network.transform
            batch = ImageList(transform.batch_images([transform.normalize(picture)], transform.size_divisible), [size])
            features = self._network.backbone(batch.tensors)
            proposals, _ = self._network.rpn(batch, features)
            (seen,), _ = self._network.roi_heads(features, proposals, batch.image_sizes)
        factor = np.array([width / size[1], height / size[0]] * 2, np.float32)
        boxes = seen["boxes"].float().cpu().numpy() * factor
        return self._instances(
            boxes,
            seen["scores"].float().cpu().numpy(),
            seen["labels"].cpu().numpy(),
            seen["masks"][:, 0].float().cpu().numpy(),
            (height, width),
        )

    def _instances(
        self,
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        labels: NDArray[np.int64],
        masks: NDArray[np.float32],
        size: tuple[int, int],
    ) -> Instances:
        """boxes: float32 [K, 4] px of the frame; labels: COCO categories [K]; masks: float32 [K, 28, 28] in [0, 1]."""
        kept, crops, corners, names = [], [], [], []
        for k in np.argsort(-scores, kind="stable"):
            index, name = self._classes.get(int(labels[k]), (-1, ""))
            if index < 0 or (self.only is not None and index not in self.only):
                continue
            pasted = paste(masks[k], boxes[k], size)
            if pasted is not None:
                kept.append(k)
                names.append(name)
                crops.append(pasted[0])
                corners.append(pasted[1])
        if not kept:
            return Instances.none(size)
        return Instances(
            np.zeros(len(kept), np.int64),
            tuple(names),
            scores[kept].astype(np.float32),
            boxes[kept].astype(np.float32),
            tuple(crops),
            np.array(corners, np.int32).reshape(-1, 2),
            size,
        )


def paste(
    mask: NDArray[np.float32], box: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.bool_], tuple[int, int]] | None:
    """The network's mask of a box where it lies in the frame: (bool [h, w], (y, x) of its corner), None when it is empty.

    mask: float32 [m, n] in [0, 1], spread evenly over `box` (x0 y0 x1 y1 px of a frame of `size`).
    """
    (x0, y0, x1, y1), (rows, columns) = (float(value) for value in box), mask.shape
    top, bottom = max(math.floor(y0), 0), min(math.ceil(y1), size[0])
    left, right = max(math.floor(x0), 0), min(math.ceil(x1), size[1])
    if right <= left or bottom <= top:
        return None
    # pixel centres: frame -> share of the box -> cells of the mask; outside the box there is nothing
    step_x, step_y = columns / max(x1 - x0, 1e-6), rows / max(y1 - y0, 1e-6)
    shift_x, shift_y = (left + 0.5 - x0) * step_x - 0.5, (top + 0.5 - y0) * step_y - 0.5
    matrix = np.array([[step_x, 0, shift_x], [0, step_y, shift_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sharp = cv2.warpAffine(mask, matrix, (right - left, bottom - top), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    found = sharp >= LEVEL
    inner_rows, inner_columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    if not len(inner_rows):
        return None
    span = np.s_[inner_rows[0] : inner_rows[-1] + 1, inner_columns[0] : inner_columns[-1] + 1]
    return found[span].copy(), (top + int(inner_rows[0]), left + int(inner_columns[0]))
