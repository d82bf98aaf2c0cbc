"""One picture and its mask to the picture without: where exactly to paint, and with what.

Invariant: outside `Composite.area` the result is the picture, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.membrane import membrane
from vidrase.live.background import HIDDEN, NEAR, VISIBLE, BackgroundModel, Rect, max_channel
from vidrase.live.texture import Texture

DILATION_SHARE = 0.012  # of the longer side: how far the hole reaches beyond the mask
MOTION_DILATION = 0.6  # and of the distance that the thing moves from picture to picture
GUARD_SHARE = 0.012  # of the longer side: how far beyond the hole nothing is learned
NEAR_SHARE = 0.06  # of the longer side: how far beyond the hole the light is compared
# of the longer side: how far from the mask a difference from the background still belongs to the thing
REFINE_SHARE = 0.045
FEATHER_SHARE = 0.006  # of the longer side: over which the fill fades in, inside the hole
TEXTURE_INTERVAL = 8  # pictures with something unknown after which texture is asked for
EXPOSURE_CELL_PX = 8  # px of a cell of the light field
EXPOSURE_SCALE = 14.0  # grey levels beyond which a difference is another thing rather than another light


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A picture without the things."""

    rgb: NDArray[np.uint8]
    """uint8 [H, W, 3]; the very array that came in when nothing was to be hidden."""
    area: NDArray[np.bool_] | None
    """bool [h, w] within `rect`: where pixels may differ; None when nowhere."""
    rect: Rect | None
    known: float
    """Share of the hole that is real background, 0..1."""


class Compositor:
    """Paints over things with the remembered background; keeps a counter only, to spread work over pictures."""

    def __init__(
        self, size: tuple[int, int], small: tuple[int, int], *, dilate: int | None = None, threaded: bool = True
    ) -> None:
        self.size, self.small = size, small
        self.texture = Texture(size, threaded=threaded)
        self._dilation = dilate
        self._frame_count = 0
        self._all_visible = np.full(size, VISIBLE, np.uint8)

    def dilate(self, mask: NDArray[np.bool_], speed: float) -> NDArray[np.bool_]:
        """The small mask [h, w] grown to what is painted over. speed: small px a picture."""
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
        background: BackgroundModel,
        homography: NDArray[np.float64] | None,
    ) -> NDArray[np.bool_]:
        """`area` [h, w] of the `small` picture uint8 [h, w, 3], and what differs from the background beside it.

        A hand, a bag, the rim of the hair: what the detector's mask missed.
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
        """uint8 [H, W]: HIDDEN, BESIDE or FREE for the memory, given the small `area`."""
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
        background: BackgroundModel,
        homography: NDArray[np.float64] | None,
        *,
        texture: bool = True,
    ) -> Composite:
        """`rgb` uint8 [H, W, 3] with the small `area` painted over. sight: uint8 [H, W], as the memory learned from it.

        texture: whether there is time to invent some where nothing was ever seen.
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
        # what lies beside is as old in the memory as what is hidden: the light has changed for both alike
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
        # adding nothing where alpha is 0 leaves the very same bits
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
        background: BackgroundModel,
        rect: Rect,
        homography: NDArray[np.float64] | None,
    ) -> NDArray[np.float32]:
        """`fill` with what was never seen made up: at once where it is new, then only slowly changing."""
        self._frame_count += 1
        unknown = hole & ~known
        new = unknown & ~synthesized
        if new.any() or self._frame_count % (2 if self.texture.fading_in else 5) == 0:
            better = self.texture.view(rect) if homography is None else None
            # real background outside the guard, remembered background inside the hole, nothing between or never seen
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
            # standing at its anchor, the memory holds what is new already
            colour = background.view(rect, None)[0] if homography is None else np.where(new[..., None], guess, colour)
        cv2.copyTo(colour, unknown.view(np.uint8), fill)
        return fill

    def _request_texture(
        self, rgb: NDArray[np.uint8], shown: NDArray[np.float32], unknown: NDArray[np.bool_], rect: Rect
    ) -> None:
        """Ask for texture where `unknown` bool [h, w] within `rect`; shown: float32 [h, w, 3], the best known there."""
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
        """The small area at full size, smooth edges, within `rect`."""
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
    """How the light differs from the memory's, smooth, carried into what is hidden: float32 [h, w, 3].

    now: uint8 [h, w, 3].  then: float32 [h, w, 3].  sure: bool [h, w], where both show the background.
    """
    # every second pixel of every second row: sixteen of a cell are plenty for what is smooth
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
    # two octagon-like passes: a disc of that size would cost several times more
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
