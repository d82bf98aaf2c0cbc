"""What the background looks like, learned pixel by pixel whenever it is visible.

Colours live on a canvas in the coordinates of the anchor picture, a margin wider than the frame. A pixel is *known* when it was
seen, *made up* when it was invented because a hole needed it before it was ever seen.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import OptionError
from vidrase.part import save

MARGIN = 0.14  # of the shorter side, on each side: what a turning camera has seen beside the frame
LONGEST = 24.0  # updates that an average reaches back: noise falls fivefold, slow light is still followed
STRIPES = 4  # the frame is learned a quarter at a time, in turn with all that is round a hole
CALMING = 0.06  # how fast an invention follows a better one: a change is a fade of half a second, not a pop
PATIENCE = 12  # updates for which something else must stand before it is the background now
PATIENCE_BESIDE = 60  # the same beside a thing to remove: its shadow is no background
SETTLED = 8.0  # updates from which a pixel is well known
HIDDEN, BESIDE, FREE = 0, 128, 255
CERTAIN = 3.0  # updates below which a pixel that is hidden again is not believed
FORMAT = 1

Rect = tuple[int, int, int, int]  # y0, y1, x0, x1, half-open, px of the frame


class Memory:
    """The live background of frames of one size (height, width)."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.margin = int(MARGIN * min(size)) & ~1
        shape = size[0] + 2 * self.margin, size[1] + 2 * self.margin
        self.colour = np.zeros((*shape, 3), np.float32)
        """float32 [Hc, Wc, 3] RGB in 0..255."""
        self.weight = np.zeros(shape, np.float32)
        """float32 [Hc, Wc]: how often a pixel was seen, up to LONGEST; 0 = never."""
        self.made = np.zeros(shape, np.bool_)
        """bool [Hc, Wc]: never seen, but a colour was made up."""
        self.noise = 4.0
        """Usual difference of a visible pixel from its memory, grey levels."""
        self._other = np.zeros((*shape, 3), np.uint8)
        self._stands = np.zeros(shape, np.uint8)
        self._suspect = np.zeros(shape, np.bool_)  # seen only since a thing stood there, and not for long
        self._turn = self._stripe = 0

    def clear(self) -> None:
        """Forget everything."""
        self.weight[:] = 0
        self.made[:] = False
        self._stands[:] = 0
        self._suspect[:] = False
        self._turn = 0

    def known_share(self) -> float:
        """Share of the anchor's view that was seen at least once, 0..1."""
        inner = self._frame_of(self.weight)
        return float((inner[::4, ::4] > 0).mean())

    def learn(
        self, rgb: NDArray[np.uint8], sight: NDArray[np.uint8], pose: NDArray[np.float64] | None, around: Rect | None
    ) -> None:
        """Take in what is visible now.

        rgb:     uint8 [H, W, 3].
        sight:   uint8 [H, W]: HIDDEN, BESIDE or FREE. Beside a thing only what is little known is learned: what is well known
                 keeps the age, and so the light, of what is hidden, and the difference of both from now is the same one.
        pose:    anchor px -> current px, float64 [3, 3]; None when the camera stands at its anchor.
        around:  where changes matter at once (round the hole); the rest takes its turn.
        """
        margin = self.margin
        if pose is not None:
            to_canvas = np.array([[1.0, 0, margin], [0, 1, margin], [0, 0, 1]]) @ np.linalg.inv(pose)
            width, height = self.weight.shape[1], self.weight.shape[0]
            size, edge = (width, height), cv2.BORDER_REPLICATE  # black from outside must not mix into the first row
            rgb = cv2.warpPerspective(rgb, to_canvas, size, flags=cv2.INTER_LINEAR, borderMode=edge)
            sight = cv2.warpPerspective(sight, to_canvas, size, flags=cv2.INTER_NEAREST)
            rows, top, left = height, 0, 0
        else:
            rows, top, left = self.size[0], margin, margin
        self._turn += 1
        if self._turn <= STRIPES:  # a new place is learned at once
            self._update(rgb, sight, (0, rows, 0, rgb.shape[1]), top, left)
            return
        if around is None or self._turn % 2 == 0:
            step = -(-rows // STRIPES)
            self._stripe = (self._stripe + 1) % STRIPES
            low = self._stripe * step
            self._update(rgb, sight, (low, min(low + step, rows), 0, rgb.shape[1]), top, left)
        if around is not None and self._turn % 2:
            y0, y1, x0, x1 = _moved(around, pose, margin, rgb.shape) if pose is not None else around
            if y1 > y0 and x1 > x0:
                self._update(rgb, sight, (y0, y1, x0, x1), top, left)

    def _update(self, rgb: NDArray[np.uint8], sight: NDArray[np.uint8], rect: Rect, top: int, left: int) -> None:
        """One rectangle of the frame into the canvas. OpenCV's loops throughout: numpy's take four times as long here."""
        y0, y1, x0, x1 = rect
        if y1 <= y0 or x1 <= x0:
            return
        there = np.s_[top + y0 : top + y1, left + x0 : left + x1]
        now, sight = rgb[y0:y1, x0:x1], sight[y0:y1, x0:x1]
        seen = (sight != HIDDEN).view(np.uint8)
        colour, weight = self.colour[there], self.weight[there]
        change = cv2.subtract(now, colour, dtype=cv2.CV_32F)
        apart = largest(cv2.absdiff(change, 0.0))
        tolerance = min(max(3.5 * self.noise + 8, 14.0), 40.0)
        fresh = weight == 0
        close = cv2.compare(apart, tolerance, cv2.CMP_LT)  # 0 or 255
        near = cv2.bitwise_and(close, seen) & ~fresh.view(np.uint8)  # 0 or 1
        sample = near[::4, ::4] > 0
        if np.count_nonzero(sample) > 50:
            self.noise += 0.02 * (float(apart[::4, ::4][sample].mean()) - self.noise)
        # what was hidden until now must show itself more than once: it may be a person that the detector missed
        first = fresh & (seen > 0) & ~self.made[there]
        kept = (sight == BESIDE) & (weight >= SETTLED)
        far = (seen > 0) & (near == 0) & ~first
        near[kept] = 0
        rate = near / (weight + 1)
        changed = self._changed(now, far, np.where(kept, np.float32(PATIENCE_BESIDE), weight), tolerance, there)
        anew = first if changed is None else first | changed
        rate[anew] = 1
        cv2.add(colour, cv2.multiply(change, cv2.merge([rate] * 3)), dst=change)
        colour[:] = change
        np.minimum(weight + near, LONGEST, out=weight)
        weight[anew] = 1
        made, suspect = self.made[there], self._suspect[there]
        suspect |= made & (weight > 0)
        suspect &= weight < CERTAIN
        made &= weight == 0

    def doubt(self, rect: Rect, hidden: NDArray[np.bool_]) -> None:
        """What is hidden bool [h, w] again and was hardly ever seen may have been the thing itself: no longer known.

        Only while the camera stands at its anchor.
        """
        y0, y1, x0, x1 = rect
        there = np.s_[self.margin + y0 : self.margin + y1, self.margin + x0 : self.margin + x1]
        doubtful = hidden & self._suspect[there]
        self.weight[there][doubtful] = 0
        self.made[there] |= doubtful
        self._suspect[there] &= ~hidden

    def _changed(
        self,
        now: NDArray[np.uint8],
        far: NDArray[np.bool_],
        trust: NDArray[np.float32],
        tolerance: float,
        there: tuple[slice, slice],
    ) -> NDArray[np.bool_] | None:
        """bool: where something else has stood long enough to be the background; where little was known, sooner."""
        other, stands = self._other[there], self._stands[there]
        if not far.any():
            stands[:] = stands >> 1
            return None
        same = far & (largest(cv2.absdiff(now, other)) < tolerance)
        stands[:] = np.where(same, np.minimum(stands, 250) + 1, stands >> 1)
        new = far & ~same & (stands < 3)
        other[new] = now[new]
        stands[new] = 1
        patience = np.where(trust == PATIENCE_BESIDE, trust, np.minimum(2 + trust, PATIENCE))
        changed = same & (stands > patience)
        stands[changed] = 0
        return changed

    def view(
        self, rect: Rect, pose: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """(colour float32 [h, w, 3], known bool [h, w], made bool [h, w]) as the camera would see them within `rect` now.

        Not to be changed: they may be the memory itself.
        """
        y0, y1, x0, x1 = rect
        margin = self.margin
        if pose is None:
            there = np.s_[margin + y0 : margin + y1, margin + x0 : margin + x1]
            return self.colour[there], self.weight[there] > 0, self.made[there]
        # canvas -> frame -> rect
        how = (
            np.array([[1.0, 0, -x0], [0, 1, -y0], [0, 0, 1]])
            @ pose
            @ np.array([[1.0, 0, -margin], [0, 1, -margin], [0, 0, 1]])
        )
        size = (x1 - x0, y1 - y0)
        colour = cv2.warpPerspective(self.colour, how, size, flags=cv2.INTER_LINEAR)
        kinds = np.where(self.weight > 0, 255, 0).astype(np.uint8)
        known = cv2.warpPerspective(kinds, how, size, flags=cv2.INTER_LINEAR) > 250
        some = np.where((self.weight > 0) | self.made, 255, 0).astype(np.uint8)
        made = (cv2.warpPerspective(some, how, size, flags=cv2.INTER_LINEAR) > 250) & ~known
        return colour, known, made

    def invent(
        self, rect: Rect, colours: NDArray[np.float32], where: NDArray[np.bool_], pose: NDArray[np.float64] | None
    ) -> None:
        """Remember made-up colours, float32 [h, w, 3] within `rect` of the frame, for the pixels `where` bool [h, w].

        What was made up before moves towards them slowly; what is known stays.
        """
        y0, y1, x0, x1 = rect
        margin = self.margin
        if pose is None:
            there = np.s_[margin + y0 : margin + y1, margin + x0 : margin + x1]
        else:
            how = (
                np.array([[1.0, 0, margin], [0, 1, margin], [0, 0, 1]])
                @ np.linalg.inv(pose)
                @ np.array([[1.0, 0, x0], [0, 1, y0], [0, 0, 1]])
            )
            shape = self.weight.shape
            colours = cv2.warpPerspective(colours, how, (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
            marked = np.where(where, 255, 0).astype(np.uint8)
            where = cv2.warpPerspective(marked, how, (shape[1], shape[0]), flags=cv2.INTER_LINEAR) > 127
            there = np.s_[0 : shape[0], 0 : shape[1]]
        unseen = where & (self.weight[there] == 0)
        before = self.made[there]
        rate = np.where(before, CALMING, 1.0).astype(np.float32)
        rate[~unseen] = 0
        self.colour[there] += (colours - self.colour[there]) * rate[..., None]
        before |= unseen

    def rebase(self, pose: NDArray[np.float64]) -> None:
        """Anchor the canvas anew: the view at `pose` becomes the anchor's own. The only time that memory is resampled."""
        margin = self.margin
        shift = np.array([[1.0, 0, margin], [0, 1, margin], [0, 0, 1]])
        how = shift @ pose @ np.linalg.inv(shift)
        size = (self.weight.shape[1], self.weight.shape[0])
        self.colour = cv2.warpPerspective(self.colour, how, size, flags=cv2.INTER_CUBIC)
        solid = cv2.warpPerspective(
            np.where(self.weight > 0, 255, 0).astype(np.uint8), how, size, flags=cv2.INTER_LINEAR
        )
        weight = cv2.warpPerspective(self.weight, how, size, flags=cv2.INTER_NEAREST)
        self.weight = np.where(solid > 250, np.maximum(weight, 1), 0).astype(np.float32)
        made = cv2.warpPerspective(self.made.astype(np.uint8), how, size, flags=cv2.INTER_NEAREST) > 0
        self.made = made & (self.weight == 0)
        self._stands[:] = 0
        self._suspect[:] = False

    def _frame_of(self, array: NDArray) -> NDArray:
        margin = self.margin
        return array[margin : margin + self.size[0], margin : margin + self.size[1]]

    def save(self, path: Path) -> None:
        """Write the plate: the anchor's view and how well it is known, as .npz without pickle. Raises SinkError."""
        colour = np.clip(np.rint(self._frame_of(self.colour)), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        np.savez_compressed(file, format=np.int32(FORMAT), rgb=colour, weight=self._frame_of(self.weight))
        save(path, file.getvalue())

    @classmethod
    def load(cls, path: Path, size: tuple[int, int] | None = None) -> Memory:
        """A plate from `save`, scaled to `size` (height, width) when given. Raises OptionError for anything else."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                if int(stored["format"]) != FORMAT:
                    raise OptionError(f"{path}: a plate of format {int(stored['format'])}; this version reads {FORMAT}")
                rgb, weight = stored["rgb"], stored["weight"]
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise OptionError(
                f"{path} is not a background plate ({error}); make one with --learn 5 --plate FILE"
            ) from error
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or weight.shape != rgb.shape[:2]:
            raise OptionError(f"{path} is not a background plate: rgb {rgb.dtype} {rgb.shape}, weight {weight.shape}")
        if size is not None and rgb.shape[:2] != size:
            rgb = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)
            weight = cv2.resize(weight, size[::-1], interpolation=cv2.INTER_NEAREST)
        memory = cls((rgb.shape[0], rgb.shape[1]))
        memory._frame_of(memory.colour)[:] = rgb
        memory._frame_of(memory.weight)[:] = np.clip(weight, 0, LONGEST)
        return memory


def largest(values: NDArray) -> NDArray:
    """[h, w]: the largest of the three channels of [h, w, 3]."""
    return cv2.max(cv2.max(cv2.extractChannel(values, 0), cv2.extractChannel(values, 1)), cv2.extractChannel(values, 2))


def _moved(rect: Rect, pose: NDArray[np.float64], margin: int, shape: tuple[int, ...]) -> Rect:
    """`rect` of the frame as the box that holds it on the canvas."""
    y0, y1, x0, x1 = rect
    corners = np.array([[[x0, y0]], [[x1, y0]], [[x0, y1]], [[x1, y1]]], np.float64)
    back = cv2.perspectiveTransform(corners, np.linalg.inv(pose))[:, 0] + margin
    low, high = np.floor(back.min(0)).astype(int), np.ceil(back.max(0)).astype(int)
    return max(int(low[1]), 0), min(int(high[1]), shape[0]), max(int(low[0]), 0), min(int(high[0]), shape[1])
