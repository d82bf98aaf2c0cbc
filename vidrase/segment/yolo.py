"""YOLO instance segmentation: frames in, instances with masks at frame size out.

The network of ultralytics, our own way in and out of it: the picture is scaled once, straight from the frame's planes; boxes
are decoded in fp32 and only where something was found; masks are upsampled as logits, so that their edges are smooth at any
frame size.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vidrase.errors import OutOfMemory
from vidrase.frames import Frame, Instances
from vidrase.labels import GROUP_OF
from vidrase.report import Note
from vidrase.segment.shapes import Grid, crop_of_logits
from vidrase.torchvision_ops import suppress

GREY = 114  # what the network saw round its training pictures
OVERLAP = 0.65  # IoU above which two boxes of a class are the same object
FEW_CORES = 2  # up to as many, even a single frame goes to one core alone: 281 ms -> 57 ms beside other work
VOICE = 0.5  # share of the best score from which a suppressed detection has a say in the mask
VOICES = 5
MOST = 300  # detections a frame; beyond it lies noise
WEAK = 0.4  # detections down to this share of the confidence are given to the tracker, which keeps those that continue a track


@dataclass(slots=True)
class Raw:
    """What the network says of a batch, fp32, on its device: N places, C classes, M prototypes."""

    boxes: torch.Tensor
    """[B, 4 * bins, N]: distributions of the distances to the left, top, right and bottom edge, in strides."""
    scores: torch.Tensor
    """[B, C, N] logits."""
    coefficients: torch.Tensor
    """[B, M, N]."""
    prototypes: torch.Tensor
    """[B, M, h, w]."""


class YoloSegmenter:
    """A `Segmenter` around a YOLO -seg network. Detections come out down to `WEAK * recommended_conf`, best first.

    only: class ids worth looking for; None for all. May be changed at any time.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        description: str,
        conf: float,
        device: torch.device,
        dtype: torch.dtype,
        imgsz: int = 640,
        offered: frozenset[str] = frozenset(),
        note: Note | None = None,
    ) -> None:
        """offered: names of the classes that it knows well enough to be asked for; none: all."""
        self._every: dict[int, str] = dict(network.names)  # type: ignore[arg-type]
        self.names = {index: name for index, name in self._every.items() if not offered or name in offered}
        self._groups = {index: GROUP_OF.get(name, name) for index, name in self._every.items()}
        self.description = description
        self.recommended_conf = conf
        self.only: frozenset[int] | None = None
        self._strides = [int(stride) for stride in network.stride]  # type: ignore[union-attr]
        self._imgsz, self._device, self._dtype, self._note = imgsz, device, dtype, note
        self._crew: ThreadPoolExecutor | None = None
        self._workers = 1
        self._room: int | None = None  # frames that fit the device at once, once that has been found out
        network.model[-1].training = True  # type: ignore[index, union-attr]  # of the head alone: raw maps, nothing decoded
        self._network = network.to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, frames: Sequence[Frame]) -> list[Instances]:
        """One `Instances` a frame, ids 0, displayed orientation, masks at frame size."""
        found: list[Instances] = []
        start = 0
        while start < len(frames):
            size = frames[start].displayed_size
            room = self._room or len(frames)
            stop = start + 1
            while stop < len(frames) and stop - start < room and frames[stop].displayed_size == size:
                stop += 1
            try:
                found += self._shared_out(frames[start:stop], size)
            except torch.OutOfMemoryError as error:
                if stop - start == 1:
                    raise OutOfMemory(
                        f"the detector needs more memory than {self._device} has at imgsz {self._imgsz}; "
                        "use a smaller --imgsz or --device cpu"
                    ) from error
                self._room = (stop - start) // 2
                if self._note is not None:
                    self._note(f"the detector's batch was reduced to {self._room}: {self._device} is short of memory")
                continue
            start = stop
        return found

    def _shared_out(self, frames: Sequence[Frame], size: tuple[int, int]) -> list[Instances]:
        """A batch on the processor's cores: each works through frames of its own.

        Two cores on one frame wait for each other after every layer; with a decoder and an encoder on the same cores that is
        most of the time: 4 frames took 231 ms each that way, 97 ms this way, and a third of the processor's time.
        """
        threads = torch.get_num_threads()
        # one frame: all cores at it, unless they are so few that another stage is sure to hold one of them up
        if self._device.type != "cpu" or threads < 2 or (len(frames) < 2 and threads > FEW_CORES):
            return self._batch(frames, size)
        if self._crew is None:
            workers = min(threads, max(len(frames), FEW_CORES))
            each = max(threads // workers, 1)
            self._crew = ThreadPoolExecutor(workers, "detector", torch.set_num_threads, (each,))
            self._workers = workers
            list(self._crew.map(time.sleep, [0.001] * workers))  # starts them all
            torch.set_num_threads(threads)  # what the workers set for themselves is also the default of later threads
        share = -(-len(frames) // min(self._workers, len(frames)))
        parts = [frames[start : start + share] for start in range(0, len(frames), share)]
        return [one for part in self._crew.map(lambda part: self._batch(part, size), parts) for one in part]

    def _batch(self, frames: Sequence[Frame], size: tuple[int, int]) -> list[Instances]:
        grid = Grid.fit(size, self._imgsz, max(self._strides))
        pixels = np.full((len(frames), *grid.canvas, 3), GREY, np.uint8)
        top, left = grid.offset
        rows, columns = grid.shown
        for picture, frame in zip(pixels, frames, strict=True):
            picture[top : top + rows, left : left + columns] = frame.rgb(size=grid.shown)
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(self._device, non_blocking=True)
            # [B, H, W, 3] permuted is channels_last as it stands
            raw = _raw(self._network(batch.permute(0, 3, 1, 2).to(self._dtype) / 255))
            return [self._decode(raw, index, grid) for index in range(len(frames))]

    def _decode(self, raw: Raw, index: int, grid: Grid) -> Instances:
        """Instances of picture `index` of the batch."""
        logits = raw.scores[index]
        known = self.names.keys() if self.only is None else self.only & self.names.keys()
        if not known:
            return Instances.none(grid.size)
        wanted = torch.tensor(sorted(known), device=logits.device, dtype=torch.long)
        best, label = logits[wanted].max(0) if len(known) < len(logits) else logits.max(0)
        place = torch.nonzero(best.float().sigmoid() >= WEAK * self.recommended_conf).squeeze(1)
        if not len(place):
            return Instances.none(grid.size)
        if len(known) < len(logits):
            label = wanted[label]
        rival, against = self._rivals(logits[:, place].float(), label[place])
        stranger = torch.tensor([index not in known for index in range(len(logits))], device=logits.device)
        lost = stranger[against] & (rival > best[place])  # it is something that nobody asked for
        place = place[~lost]
        others = list(zip(against[~lost].tolist(), rival[~lost].sigmoid().tolist(), strict=True))
        if not len(place):
            return Instances.none(grid.size)
        boxes = self._boxes(raw.boxes[index][:, place].float(), place, grid).cpu().numpy()
        scores = best[place].float().sigmoid().cpu().numpy()
        labels = label[place].cpu().numpy()
        apart = labels[:, None].astype(np.float32) * 2 * max(grid.canvas)  # classes never suppress each other
        kept = suppress(boxes + apart, scores, OVERLAP)[:MOST]
        voices = [agreeing(boxes + apart, scores, one) for one in kept]
        heard = np.concatenate(voices)
        chosen = place[torch.from_numpy(heard).to(place.device)]
        prototypes = raw.prototypes[index].float()
        flat = raw.coefficients[index][:, chosen].float().T @ prototypes.flatten(1)
        maps = flat.view(len(heard), *prototypes.shape[1:]).cpu().numpy()
        ends = np.cumsum([len(voice) for voice in voices])[:-1]
        together = [part.max(0) for part in np.split(maps, ends)]
        reach = np.array([[*boxes[v, :2].min(0), *boxes[v, 2:].max(0)] for v in voices], np.float32)
        rivals = [(self._every.get(number, ""), score) for number, score in (others[k] for k in kept.tolist())]
        return self._instances(boxes[kept], scores[kept], labels[kept], rivals, together, reach, grid)

    def _rivals(self, logits: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """([P] best logit at each place of the other classes, [P] which class), without those that are confused with `label`.

        logits: [C, P], label: [P]. Without it a bear is a person when only people are asked for: the class that fits better would
        not even be looked at.
        """
        rival, which = torch.full_like(logits[0], -torch.inf), torch.zeros_like(label)
        for number in label.unique().tolist():
            group = self._groups[number]
            others = [index for index in range(len(logits)) if self._groups.get(index, "") != group]
            if others:
                here = label == number
                rival[here], best = logits[others][:, here].max(0)
                which[here] = torch.tensor(others, device=logits.device)[best]
        return rival, which

    def _boxes(self, distances: torch.Tensor, place: torch.Tensor, grid: Grid) -> torch.Tensor:
        """float32 [K, 4] x0 y0 x1 y1 px of the canvas, of `distances` [4 * bins, K] at the given places."""
        bins = distances.shape[0] // 4
        spread = distances.view(4, bins, -1)
        if bins > 1:
            steps = torch.arange(bins, device=distances.device, dtype=torch.float32)
            reach = (spread.softmax(1) * steps[:, None]).sum(1)
        else:
            reach = spread[:, 0]
        centres, strides = grid.places(tuple(self._strides))
        where = place.cpu()
        centre, stride = centres[where].to(distances.device), strides[where].to(distances.device)
        low, high = centre - reach[:2].T, centre + reach[2:].T
        return torch.cat([low, high], 1) * stride[:, None]

    def _instances(
        self,
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        labels: NDArray[np.int64],
        rivals: Sequence[tuple[str, float]],
        maps: Sequence[NDArray[np.float32]],
        reach: NDArray[np.float32],
        grid: Grid,
    ) -> Instances:
        height, width = grid.size
        boxes, reach = grid.to_frame(boxes), grid.to_frame(reach)
        masks, corners, kept = [], [], []
        for k, box in enumerate(reach):
            crop = crop_of_logits(maps[k], box, grid)
            if crop is not None:
                kept.append(k)
                masks.append(crop[0])
                corners.append(crop[1])
        if not kept:
            return Instances.none(grid.size)
        limits = np.array([width, height, width, height], np.float32)
        return Instances(
            np.zeros(len(kept), np.int64),
            tuple(self.names[int(labels[k])] for k in kept),
            scores[kept].astype(np.float32),
            np.clip(boxes[kept], 0, limits).astype(np.float32),
            tuple(masks),
            np.array(corners, np.int32).reshape(-1, 2),
            grid.size,
            tuple(rivals[k] for k in kept),
        )


def agreeing(boxes: NDArray[np.float32], scores: NDArray[np.float32], best: int) -> NDArray[np.int64]:
    """`best` and the next detections of the same object that were suppressed for it: each has seen another hand or foot.

    boxes: float32 [N, 4], classes apart; scores: float32 [N]. Returns up to VOICES indices, `best` first.
    """
    low, high = np.maximum(boxes[:, :2], boxes[best, :2]), np.minimum(boxes[:, 2:], boxes[best, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    like = shared > OVERLAP * (area + area[best] - shared)
    like &= (scores >= VOICE * scores[best]) & (scores <= scores[best])
    like[best] = False
    others = np.flatnonzero(like)
    return np.concatenate([[best], others[np.argsort(-scores[others], kind="stable")][: VOICES - 1]]).astype(np.int64)


def _raw(out: Any) -> Raw:
    """The head's maps, in the shape that this or an older ultralytics gives them."""
    if isinstance(out, tuple) and isinstance(out[-1], dict):
        out = out[-1]  # prompt-free heads decode as well
    if isinstance(out, dict):
        out = out.get("one2many", out)
        return Raw(out["boxes"], out["scores"], out["mask_coefficient"], out["proto"])
    maps, coefficients, prototypes = out  # before 8.4
    joined = torch.cat([level.flatten(2) for level in maps], 2)
    bins = 4 * 16
    return Raw(joined[:, :bins], joined[:, bins:], coefficients, prototypes)
