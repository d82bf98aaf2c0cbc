"""The live background model: a running average per pixel, updated wherever the background is visible.

Colours are stored on a canvas in the coordinates of the anchor frame, with a margin around the frame. A pixel is *known* once it
was visible, *synthesized* when a hole needed its colour before it was ever visible.
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

MARGIN_SHARE = 0.14  # share of the shorter side, added on each side: keeps what a panning camera saw beside the frame
MAX_UPDATES = 24.0  # updates in a running average: lowers noise five times and still follows slow light changes
STRIPES = 4  # parts of the frame; one is updated at a time, in turn with the surroundings of a hole
# share of the difference per update by which a synthesized colour follows a better one: about half a second
SYNTHESIS_RATE = 0.06
CHANGE_UPDATES = 12  # updates; a changed colour visible for longer becomes the background
CHANGE_UPDATES_NEAR = 60  # updates; the same near an object to remove, because its shadow is no background
RELIABLE_UPDATES = 8.0  # updates; from here a pixel counts as well known
HIDDEN, NEAR, VISIBLE = 0, 128, 255
MIN_UPDATES = 3.0  # updates; a pixel with fewer that is hidden again is not trusted
FORMAT = 1

Rect = tuple[int, int, int, int]  # y0, y1, x0, x1, half-open, px of the frame


class BackgroundModel:
    """Background model for frames of one size (height, width)."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.margin = int(MARGIN_SHARE * min(size)) & ~1
        shape = size[0] + 2 * self.margin, size[1] + 2 * self.margin
        self.colour = np.zeros((*shape, 3), np.float32)
        """float32 [Hc, Wc, 3] RGB in 0..255."""
        self.weight = np.zeros(shape, np.float32)
        """float32 [Hc, Wc]: number of updates, up to MAX_UPDATES; 0 = never visible."""
        self.synthesized = np.zeros(shape, np.bool_)
        """bool [Hc, Wc]: never visible, colour synthesized."""
        self.noise = 4.0
        """Typical difference of a visible background pixel from the model, grey levels."""
        self._candidate = np.zeros((*shape, 3), np.uint8)
        self._candidate_age = np.zeros(shape, np.uint8)
        self._suspect = np.zeros(shape, np.bool_)  # visible only after an object covered it, and only briefly
        self._turn = self._stripe = 0

    def clear(self) -> None:
        """Forget everything."""
        self.weight[:] = 0
        self.synthesized[:] = False
        self._candidate_age[:] = 0
        self._suspect[:] = False
        self._turn = 0

    def known_share(self) -> float:
        """Share of the anchor frame's pixels that are known, 0..1."""
        inner = self._frame_view(self.weight)
        return float((inner[::4, ::4] > 0).mean())

    def update(
        self,
        rgb: NDArray[np.uint8],
        visibility: NDArray[np.uint8],
        homography: NDArray[np.float64] | None,
        region: Rect | None,
    ) -> None:
        """Update the model with one frame.

        rgb:     uint8 [H, W, 3].
        visibility: uint8 [H, W]: HIDDEN, NEAR or VISIBLE. Near an object only pixels that are not yet well known are updated: the
                 others keep the age, and so the exposure, of the hidden pixels, as the compositor's exposure field needs it.
        homography: anchor px -> current px, float64 [3, 3]; None while the camera is at its anchor.
        region: rectangle to update in every second frame (around the hole); the rest takes turns.
        """
        margin = self.margin
        if homography is not None:
            to_canvas = np.array([[1.0, 0, margin], [0, 1, margin], [0, 0, 1]]) @ np.linalg.inv(homography)
            width, height = self.weight.shape[1], self.weight.shape[0]
            size, edge = (width, height), cv2.BORDER_REPLICATE  # black from outside must not mix into the border
            rgb = cv2.warpPerspective(rgb, to_canvas, size, flags=cv2.INTER_LINEAR, borderMode=edge)
            visibility = cv2.warpPerspective(visibility, to_canvas, size, flags=cv2.INTER_NEAREST)
            rows, top, left = height, 0, 0
        else:
            rows, top, left = self.size[0], margin, margin
        self._turn += 1
        if self._turn <= STRIPES:  # after a change of scene the whole frame at once
            self._update_rect(rgb, visibility, (0, rows, 0, rgb.shape[1]), top, left)
            return
        if region is None or self._turn % 2 == 0:
            step = -(-rows // STRIPES)
            self._stripe = (self._stripe + 1) % STRIPES
            low = self._stripe * step
            self._update_rect(rgb, visibility, (low, min(low + step, rows), 0, rgb.shape[1]), top, left)
        if region is not None and self._turn % 2:
            y0, y1, x0, x1 = _canvas_box(region, homography, margin, rgb.shape) if homography is not None else region
            if y1 > y0 and x1 > x0:
                self._update_rect(rgb, visibility, (y0, y1, x0, x1), top, left)

    def _update_rect(
        self, rgb: NDArray[np.uint8], visibility: NDArray[np.uint8], rect: Rect, top: int, left: int
    ) -> None:
        """Update one rectangle. Uses OpenCV loops: numpy takes four times as long here."""
        y0, y1, x0, x1 = rect
        if y1 <= y0 or x1 <= x0:
            return
        on_canvas = np.s_[top + y0 : top + y1, left + x0 : left + x1]
        current, visibility = rgb[y0:y1, x0:x1], visibility[y0:y1, x0:x1]
        visible = (visibility != HIDDEN).view(np.uint8)
        colour, weight = self.colour[on_canvas], self.weight[on_canvas]
        difference = cv2.subtract(current, colour, dtype=cv2.CV_32F)
        distance = max_channel(cv2.absdiff(difference, 0.0))
        tolerance = min(max(3.5 * self.noise + 8, 14.0), 40.0)
        unknown = weight == 0
        close = cv2.compare(distance, tolerance, cv2.CMP_LT)  # 0 or 255
        inlier = cv2.bitwise_and(close, visible) & ~unknown.view(np.uint8)  # 0 or 1
        sample = inlier[::4, ::4] > 0
        if np.count_nonzero(sample) > 50:
            self.noise += 0.02 * (float(distance[::4, ::4][sample].mean()) - self.noise)
        # a pixel visible for the first time needs more than one update: it may show a person that the detector missed
        first_seen = unknown & (visible > 0) & ~self.synthesized[on_canvas]
        protected = (visibility == NEAR) & (weight >= RELIABLE_UPDATES)
        outlier = (visible > 0) & (inlier == 0) & ~first_seen
        inlier[protected] = 0
        rate = inlier / (weight + 1)
        changed = self._find_changes(
            current, outlier, np.where(protected, np.float32(CHANGE_UPDATES_NEAR), weight), tolerance, on_canvas
        )
        replaced = first_seen if changed is None else first_seen | changed
        rate[replaced] = 1
        cv2.add(colour, cv2.multiply(difference, cv2.merge([rate] * 3)), dst=difference)
        colour[:] = difference
        np.minimum(weight + inlier, MAX_UPDATES, out=weight)
        weight[replaced] = 1
        synthesized, suspect = self.synthesized[on_canvas], self._suspect[on_canvas]
        suspect |= synthesized & (weight > 0)
        suspect &= weight < MIN_UPDATES
        synthesized &= weight == 0

    def invalidate(self, rect: Rect, hidden: NDArray[np.bool_]) -> None:
        """Discard pixels that are hidden again, bool [h, w], after few updates: they may have shown the object.

        Only while the camera is at its anchor.
        """
        y0, y1, x0, x1 = rect
        on_canvas = np.s_[self.margin + y0 : self.margin + y1, self.margin + x0 : self.margin + x1]
        doubtful = hidden & self._suspect[on_canvas]
        self.weight[on_canvas][doubtful] = 0
        self.synthesized[on_canvas] |= doubtful
        self._suspect[on_canvas] &= ~hidden

    def _find_changes(
        self,
        current: NDArray[np.uint8],
        outlier: NDArray[np.bool_],
        updates: NDArray[np.float32],
        tolerance: float,
        on_canvas: tuple[slice, slice],
    ) -> NDArray[np.bool_] | None:
        """bool: where a changed colour was visible long enough to become the background; sooner where little is known."""
        candidate, candidate_age = self._candidate[on_canvas], self._candidate_age[on_canvas]
        if not outlier.any():
            candidate_age[:] = candidate_age >> 1
            return None
        same = outlier & (max_channel(cv2.absdiff(current, candidate)) < tolerance)
        candidate_age[:] = np.where(same, np.minimum(candidate_age, 250) + 1, candidate_age >> 1)
        new = outlier & ~same & (candidate_age < 3)
        candidate[new] = current[new]
        candidate_age[new] = 1
        patience = np.where(updates == CHANGE_UPDATES_NEAR, updates, np.minimum(2 + updates, CHANGE_UPDATES))
        changed = same & (candidate_age > patience)
        candidate_age[changed] = 0
        return changed

    def view(
        self, rect: Rect, homography: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """(colour float32 [h, w, 3], known bool [h, w], synthesized bool [h, w]) within `rect` of the current frame.

        Read-only: they may be views of the model.
        """
        y0, y1, x0, x1 = rect
        margin = self.margin
        if homography is None:
            on_canvas = np.s_[margin + y0 : margin + y1, margin + x0 : margin + x1]
            return self.colour[on_canvas], self.weight[on_canvas] > 0, self.synthesized[on_canvas]
        # canvas -> frame -> rect
        warp = (
            np.array([[1.0, 0, -x0], [0, 1, -y0], [0, 0, 1]])
            @ homography
            @ np.array([[1.0, 0, -margin], [0, 1, -margin], [0, 0, 1]])
        )
        size = (x1 - x0, y1 - y0)
        colour = cv2.warpPerspective(self.colour, warp, size, flags=cv2.INTER_LINEAR)
        kinds = np.where(self.weight > 0, 255, 0).astype(np.uint8)
        known = cv2.warpPerspective(kinds, warp, size, flags=cv2.INTER_LINEAR) > 250
        filled = np.where((self.weight > 0) | self.synthesized, 255, 0).astype(np.uint8)
        synthesized = (cv2.warpPerspective(filled, warp, size, flags=cv2.INTER_LINEAR) > 250) & ~known
        return colour, known, synthesized

    def store_synthesis(
        self, rect: Rect, colours: NDArray[np.float32], mask: NDArray[np.bool_], homography: NDArray[np.float64] | None
    ) -> None:
        """Store synthesized colours, float32 [h, w, 3] within `rect` of the frame, for the pixels `mask` bool [h, w].

        Colours synthesized earlier move towards them slowly; known pixels are unchanged.
        """
        y0, y1, x0, x1 = rect
        margin = self.margin
        if homography is None:
            on_canvas = np.s_[margin + y0 : margin + y1, margin + x0 : margin + x1]
        else:
            warp = (
                np.array([[1.0, 0, margin], [0, 1, margin], [0, 0, 1]])
                @ np.linalg.inv(homography)
                @ np.array([[1.0, 0, x0], [0, 1, y0], [0, 0, 1]])
            )
            shape = self.weight.shape
            colours = cv2.warpPerspective(colours, warp, (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
            marked = np.where(mask, 255, 0).astype(np.uint8)
            mask = cv2.warpPerspective(marked, warp, (shape[1], shape[0]), flags=cv2.INTER_LINEAR) > 127
            on_canvas = np.s_[0 : shape[0], 0 : shape[1]]
        unknown = mask & (self.weight[on_canvas] == 0)
        before = self.synthesized[on_canvas]
        rate = np.where(before, SYNTHESIS_RATE, 1.0).astype(np.float32)
        rate[~unknown] = 0
        self.colour[on_canvas] += (colours - self.colour[on_canvas]) * rate[..., None]
        before |= unknown

    def rebase(self, homography: NDArray[np.float64]) -> None:
        """Make the view at `homography` the anchor. Only here is the model resampled."""
        margin = self.margin
        shift = np.array([[1.0, 0, margin], [0, 1, margin], [0, 0, 1]])
        warp = shift @ homography @ np.linalg.inv(shift)
        size = (self.weight.shape[1], self.weight.shape[0])
        self.colour = cv2.warpPerspective(self.colour, warp, size, flags=cv2.INTER_CUBIC)
        solid = cv2.warpPerspective(
            np.where(self.weight > 0, 255, 0).astype(np.uint8), warp, size, flags=cv2.INTER_LINEAR
        )
        weight = cv2.warpPerspective(self.weight, warp, size, flags=cv2.INTER_NEAREST)
        self.weight = np.where(solid > 250, np.maximum(weight, 1), 0).astype(np.float32)
        synthesized = cv2.warpPerspective(self.synthesized.astype(np.uint8), warp, size, flags=cv2.INTER_NEAREST) > 0
        self.synthesized = synthesized & (self.weight == 0)
        self._candidate_age[:] = 0
        self._suspect[:] = False

    def _frame_view(self, array: NDArray) -> NDArray:
        margin = self.margin
        return array[margin : margin + self.size[0], margin : margin + self.size[1]]

    def save(self, path: Path) -> None:
        """Write the plate: the anchor frame and its update counts, as .npz without pickle. Raises SinkError."""
        colour = np.clip(np.rint(self._frame_view(self.colour)), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        np.savez_compressed(file, format=np.int32(FORMAT), rgb=colour, weight=self._frame_view(self.weight))
        save(path, file.getvalue())

    @classmethod
    def load(cls, path: Path, size: tuple[int, int] | None = None) -> BackgroundModel:
        """Load a plate written by `save`, scaled to `size` (height, width) if given. Raises OptionError for any other file."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
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
        model = cls((rgb.shape[0], rgb.shape[1]))
        model._frame_view(model.colour)[:] = rgb
        model._frame_view(model.weight)[:] = np.clip(weight, 0, MAX_UPDATES)
        return model


def max_channel(values: NDArray) -> NDArray:
    """[h, w]: maximum over the three channels of [h, w, 3]."""
    return cv2.max(cv2.max(cv2.extractChannel(values, 0), cv2.extractChannel(values, 1)), cv2.extractChannel(values, 2))


def _canvas_box(rect: Rect, homography: NDArray[np.float64], margin: int, shape: tuple[int, ...]) -> Rect:
    """Bounding box of the frame's `rect` on the canvas."""
    y0, y1, x0, x1 = rect
    corners = np.array([[[x0, y0]], [[x1, y0]], [[x0, y1]], [[x1, y1]]], np.float64)
    back = cv2.perspectiveTransform(corners, np.linalg.inv(homography))[:, 0] + margin
    low, high = np.floor(back.min(0)).astype(int), np.ceil(back.max(0)).astype(int)
    return max(int(low[1]), 0), min(int(high[1]), shape[0]), max(int(low[0]), 0), min(int(high[0]), shape[1])
