"""Composite the background into the hole: refine the mask, compensate exposure, blend.

Invariant: outside `Composite.area` the result is bit-identical to the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.membrane import membrane
from vidrase.live.background import HIDDEN, NEAR, VISIBLE, BackgroundModel, Rect, max_channel
from vidrase.live.modellight import RelitBackground
from vidrase.live.texture import Texture

DILATION_SHARE = 0.012  # dilation of the mask / longer side
MOTION_DILATION = 0.6  # additional dilation / object motion per frame
GUARD_SHARE = 0.012  # width of the zone around the hole where the background model is not updated / longer side
NEAR_SHARE = 0.06  # width of the zone around the hole where exposure is compared / longer side
# distance from the mask / longer side; nearer differences from the background are added to the mask
REFINE_SHARE = 0.045
FEATHER_SHARE = 0.006  # width of the blending ramp inside the hole / longer side
TEXTURE_INTERVAL = 8  # frames with unknown pixels between two texture requests
EXPOSURE_CELL_PX = 8  # px; cell size of the exposure field
EXPOSURE_SCALE = 14.0  # grey levels; larger differences count as another object, not as exposure


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A frame without the objects."""

    rgb: NDArray[np.uint8]
    """uint8 [H, W, 3]; the input array itself when nothing is masked."""
    area: NDArray[np.bool_] | None
    """bool [h, w] within `rect`: pixels that may differ; None when there are none."""
    rect: Rect | None
    known: float
    """Share of the hole filled with known background, 0..1."""


class Compositor:
    """Composites the background into holes. Its only state is a frame counter and the texture thread."""

    def __init__(
        self, size: tuple[int, int], small: tuple[int, int], *, dilate: int | None = None, threaded: bool = True
    ) -> None:
        self.size, self.small = size, small
        self.texture = Texture(size, threaded=threaded)
        self._dilation = dilate
        self._frame_count = 0
        self._all_visible = np.full(size, VISIBLE, np.uint8)

    def dilate(self, mask: NDArray[np.bool_], speed: float) -> NDArray[np.bool_]:
        """Dilate the reduced mask [h, w] to the hole. speed: reduced px per frame."""
        if not mask.any():
            return mask
        long = max(self.small)
        scale = max(self.size) / long
        radius = DILATION_SHARE * long if self._dilation is None else self._dilation / scale
        return _dilated(mask, radius + min(MOTION_DILATION * speed, 0.03 * long))

    def refine(
        self,
        area: NDArray[np.bool_],
        small: NDArray[np.uint8],
        background: BackgroundModel | RelitBackground,
        homography: NDArray[np.float64] | None,
    ) -> NDArray[np.bool_]:
        """`area` [h, w] of the reduced frame `small` uint8 [h, w, 3], plus adjacent pixels that differ from the background.

        This adds what the detector's mask misses: a hand, a bag, hair.
        """
        if not area.any():
            return area
        dilate = REFINE_SHARE * max(self.small)
        rect = _box(area, int(dilate) + 4)
        y0, y1, x0, x1 = rect
        sy, sx = self.size[0] / self.small[0], self.size[1] / self.small[1]
        full = int(y0 * sy), min(int(y1 * sy), self.size[0]), int(x0 * sx), min(int(x1 * sx), self.size[1])
        colour, known, _ = background.view(full, homography)
        where = (x1 - x0, y1 - y0)
        remembered = cv2.resize(colour, where, interpolation=cv2.INTER_LINEAR)
        reliable = cv2.resize(known.view(np.uint8) * np.uint8(255), where, interpolation=cv2.INTER_LINEAR) > 250
        difference = cv2.subtract(small[y0:y1, x0:x1], remembered, dtype=cv2.CV_32F)
        near = _dilated(area[y0:y1, x0:x1], 0.5 * dilate) & ~area[y0:y1, x0:x1] & reliable
        exposure = np.median(difference[near][::5], axis=0) if near.any() else np.zeros(3)
        distance = max_channel(
            cv2.absdiff(difference, (float(exposure[0]), float(exposure[1]), float(exposure[2]), 0.0))
        )
        differs = (distance > max(20.0, 3.5 * background.noise)) & reliable
        differs = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        own = area[y0:y1, x0:x1]
        allowed = (differs & _dilated(own, dilate)) | own
        count, parts = cv2.connectedComponents(allowed.astype(np.uint8), connectivity=4)
        touched = np.zeros(count, bool)
        touched[np.unique(parts[own])] = True
        touched[0] = False
        extra = touched[parts] & ~own
        if not extra.any():
            return area
        out = area.copy()
        out[y0:y1, x0:x1] |= _dilated(extra, 0.006 * max(self.small) + 1)
        return out

    def visibility_map(self, area: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """uint8 [H, W]: HIDDEN, NEAR or VISIBLE for the background model, from the reduced `area`."""
        if not area.any():
            return self._all_visible
        inverse = np.where(area, 0, 255).astype(np.uint8)
        distance = cv2.distanceTransform(inverse, cv2.DIST_L2, 3)
        long = max(self.small)
        small = np.full(self.small, VISIBLE, np.uint8)
        small[distance <= NEAR_SHARE * long] = NEAR
        small[distance <= GUARD_SHARE * long] = HIDDEN
        return cv2.resize(small, self.size[::-1], interpolation=cv2.INTER_NEAREST)

    def composite(
        self,
        rgb: NDArray[np.uint8],
        area: NDArray[np.bool_],
        visibility_map: NDArray[np.uint8],
        background: BackgroundModel | RelitBackground,
        homography: NDArray[np.float64] | None,
        *,
        texture: bool = True,
    ) -> Composite:
        """Fill the reduced `area` of `rgb` uint8 [H, W, 3]. visibility_map: uint8 [H, W], as used for the model's update.

        texture: whether there is time to synthesize texture for unknown pixels.
        """
        if not area.any():
            return Composite(rgb, None, None, 1.0)
        height, width = self.size
        small_box = _box(area, 1)
        sy, sx = height / self.small[0], width / self.small[1]
        pad = max(4 * EXPOSURE_CELL_PX, int(NEAR_SHARE * max(self.size)))
        rect = (
            max(int(small_box[0] * sy) - pad, 0),
            min(int(small_box[1] * sy) + pad, height),
            max(int(small_box[2] * sx) - pad, 0),
            min(int(small_box[3] * sx) + pad, width),
        )
        hole = self._upscaled(area, rect)
        current = rgb[rect[0] : rect[1], rect[2] : rect[3]]
        colour, known, synthesized = background.view(rect, homography)
        # pixels near the hole are as old in the model as the hidden ones: their exposure has changed alike
        where = visibility_map[rect[0] : rect[1], rect[2] : rect[3]]
        guard = (where == HIDDEN) | hole
        field = exposure_field(current, colour, known & (where == NEAR) & ~hole)
        fill = cv2.add(colour, field)
        unknown = hole & ~known
        if unknown.any():
            if texture and homography is None:
                self._request_texture(rgb, np.where(guard[..., None], fill, current), guard & ~known, rect)
            fill = self._synthesize(
                current, fill, hole, guard, known, synthesized, colour, background, rect, homography
            )
        f = max(int(FEATHER_SHARE * max(self.size)), 1)
        inside = hole.view(np.uint8) * np.uint8(255)
        soft = cv2.boxFilter(inside, cv2.CV_32F, (2 * f + 1, 2 * f + 1), borderType=cv2.BORDER_REPLICATE)
        alpha = np.clip(soft * np.float32(2 / 255) - 1, 0, 1) * hole
        step = cv2.multiply(cv2.subtract(fill, current, dtype=cv2.CV_32F), cv2.merge([alpha] * 3))
        out = rgb.copy()
        # adding 0 where alpha is 0 keeps the bits
        out[rect[0] : rect[1], rect[2] : rect[3]] = cv2.add(current, step, dtype=cv2.CV_8U)
        share = 1 - float(np.count_nonzero(unknown)) / max(int(np.count_nonzero(hole)), 1)
        return Composite(out, hole, rect, share)

    def _synthesize(
        self,
        current: NDArray[np.uint8],
        fill: NDArray[np.float32],
        hole: NDArray[np.bool_],
        guard: NDArray[np.bool_],
        known: NDArray[np.bool_],
        synthesized: NDArray[np.bool_],
        colour: NDArray[np.float32],
        background: BackgroundModel | RelitBackground,
        rect: Rect,
        homography: NDArray[np.float64] | None,
    ) -> NDArray[np.float32]:
        """`fill` with unknown pixels synthesized: new ones at once, others updated slowly."""
        self._frame_count += 1
        unknown = hole & ~known
        new = unknown & ~synthesized
        if new.any() or self._frame_count % (2 if self.texture.fading_in else 5) == 0:
            better = self.texture.view(rect) if homography is None else None
            # real pixels outside the guard zone, known background inside the hole, nothing between them
            reliable = (~guard | known)[::4, ::4]
            values = np.where(guard[::4, ::4, None], fill[::4, ::4], current[::4, ::4]).astype(np.float32)
            size = (-(-reliable.shape[1] // 2), -(-reliable.shape[0] // 2))
            weight = cv2.resize(reliable.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            summed = cv2.resize(values * reliable[..., None], size, interpolation=cv2.INTER_AREA)
            smooth = membrane(summed / np.maximum(weight, 1e-3)[..., None], weight)
            guess = cv2.resize(smooth, hole.shape[::-1], interpolation=cv2.INTER_LINEAR)
            if better is not None:
                cv2.copyTo(better[0], better[1].view(np.uint8), guess)
            background.store_synthesis(rect, guess, unknown, homography)
            # at the anchor the model already contains the new colours
            colour = background.view(rect, None)[0] if homography is None else np.where(new[..., None], guess, colour)
        cv2.copyTo(colour, unknown.view(np.uint8), fill)
        return fill

    def _request_texture(
        self, rgb: NDArray[np.uint8], shown: NDArray[np.float32], unknown: NDArray[np.bool_], rect: Rect
    ) -> None:
        """Request texture for `unknown` bool [h, w] within `rect`; shown: float32 [h, w, 3], the best colours there."""
        if self._frame_count % TEXTURE_INTERVAL:
            return
        whole = rgb.copy()
        whole[rect[0] : rect[1], rect[2] : rect[3]] = np.clip(shown, 0, 255)
        hole = np.zeros(self.size, np.uint8)
        hole[rect[0] : rect[1], rect[2] : rect[3]] = unknown.view(np.uint8) * np.uint8(255)
        where = self.texture.small[::-1]
        small = cv2.resize(whole, where, interpolation=cv2.INTER_AREA).astype(np.float32)
        self.texture.request(small, cv2.resize(hole, where, interpolation=cv2.INTER_AREA) > 0)

    def _upscaled(self, area: NDArray[np.bool_], rect: Rect) -> NDArray[np.bool_]:
        """The reduced area at full size with smooth edges, within `rect`."""
        y0, y1, x0, x1 = rect
        sy, sx = self.small[0] / self.size[0], self.small[1] / self.size[1]
        warp = np.array([[sx, 0, (x0 + 0.5) * sx - 0.5], [0, sy, (y0 + 0.5) * sy - 0.5]])
        big = cv2.warpAffine(
            area.astype(np.uint8) * 255,
            warp,
            (x1 - x0, y1 - y0),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return big > 127


def exposure_field(
    current: NDArray[np.uint8], remembered: NDArray[np.float32], reliable: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Smooth difference of the current exposure from the model's, interpolated into the hole: float32 [h, w, 3].

    current: uint8 [h, w, 3].  remembered: float32 [h, w, 3].  reliable: bool [h, w], where both show the background.
    """
    # every second row and column: 16 pixels per cell are enough for a smooth field
    difference = cv2.subtract(
        np.ascontiguousarray(current[::2, ::2]), np.ascontiguousarray(remembered[::2, ::2]), dtype=cv2.CV_32F
    )
    distance = max_channel(cv2.absdiff(difference, 0.0)) / EXPOSURE_SCALE
    confidence = (reliable[::2, ::2] / (1 + distance * distance)).astype(np.float32)
    half = EXPOSURE_CELL_PX // 2
    size = (-(-difference.shape[1] // half), -(-difference.shape[0] // half))
    weight = cv2.resize(confidence, size, interpolation=cv2.INTER_AREA)
    if not weight.any():
        return np.zeros(current.shape, np.float32)
    summed = cv2.resize(cv2.multiply(difference, cv2.merge([confidence] * 3)), size, interpolation=cv2.INTER_AREA)
    values = summed / np.maximum(weight, 1e-4)[..., None]
    smooth = membrane(values, np.minimum(weight * 2, 1))
    return cv2.resize(smooth, current.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _dilated(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    r = round(radius)
    if r < 1:
        return mask
    # a distance transform for large radii: a disc kernel of that size costs several times more
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1)) if r <= 6 else None
    if kernel is not None:
        return cv2.dilate(mask.astype(np.uint8), kernel) > 0
    inverse = np.where(mask, 0, 255).astype(np.uint8)
    return cv2.distanceTransform(inverse, cv2.DIST_L2, 3) <= radius


def _box(mask: NDArray[np.bool_], pad: int) -> Rect:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    return (
        max(int(rows[0]) - pad, 0),
        min(int(rows[-1]) + 1 + pad, height),
        max(int(columns[0]) - pad, 0),
        min(int(columns[-1]) + 1 + pad, width),
    )
