"""Residual stage: add to each hole what its mask leaves of an object, above all the cast shadow.

Where the camera moves, frames are registered by the camera's motion. A pixel belongs to the cast shadow if it is brighter in
other frames, has the same colour there, and is connected to the hole. A shadow overlaps itself in neighbouring frames, so frames
further apart are compared. `contact_shadow`, `static_shadow` and `residual_foreground` detect the other residuals.
Where the camera is still and the shot has a plate, `background_subtraction` replaces all of these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.camera import CameraMotion, fit_camera
from vidrase.cuts import Shots
from vidrase.fill.background_bounds import (
    MARGIN,
    RankFilter,
    bounds_from_thumbnails,
    luma_of,
    match_exposure,
    near_objects,
    reduced_mask,
    reduced_rgb,
    reduced_size,
    warp_region,
)
from vidrase.fill.background_subtraction import subtract_background
from vidrase.fill.cast_shadow import HOLE_MARGIN, ShadowTemplate, close_shadow_gaps, detect_cast_shadow
from vidrase.fill.contact_shadow import ContactRegion
from vidrase.fill.flow_completion import dilate
from vidrase.fill.residual_foreground import detect_residual_foreground
from vidrase.fill.temporal_vote import confirmed_by_neighbours, merge_residual, resized, static_shadow_vote
from vidrase.flow import FlowModel
from vidrase.frames import Frame, HoleFrame, Orientation
from vidrase.keyframes import KeyframeMosaic
from vidrase.plate import Plate
from vidrase.streams import closing_all

LOOK_AHEAD = 32  # frames buffered ahead of the one that is emitted, at most
BUFFER_BYTES = 128 << 20
"""Bytes of buffered frames: large frames get a shorter look-ahead."""
OFFSETS = (3, 7, 12, 18, 25, 32, 48)  # frames: distances to the frames that a frame is compared with
SEARCH_REACH = 0.8  # of the hole's longer side: the search region extends this far beyond the hole
ANCHOR_FRAMES = 8  # frames: bounds from the whole shot are computed for one frame and warped to this many frames
TO_PADDED = np.array([[1.0, 0, MARGIN], [0, 1, MARGIN], [0, 0, 1]])
MIN_SUPPORT = 0.5
"""Share of the flow that must agree with the camera motion; below it, frames are not compared across that step."""
PROPAGATE_BACK = 12
"""Frames: the first shadow of a shot is propagated back at most this far, to frames without evidence."""
MIN_TEMPLATE_SHARE = 0.7  # of the expected area: a smaller shadow does not become the template for the next frames
PROTECT_WINDOW = 3
"""Frames to either side whose protected masks are united with those of a frame: detections are missed at times."""
PROTECT_MARGIN = 2  # px of the reduced frame: margin around protected objects


@dataclass(slots=True, eq=False)
class _Frame:
    number: int
    index: int
    shot: int
    orientation: Orientation
    rgb: NDArray[np.float32]
    """[h, w, 3] reduced and blurred, grey levels. This and all other arrays are oriented as displayed."""
    luma: NDArray[np.uint8]
    area: NDArray[np.bool_]
    """[h, w] the hole with a margin."""
    protected: NDArray[np.bool_] | None = None
    """[h, w] protected objects; None: none."""
    forward: CameraMotion | None = None
    """Camera motion to the next frame; None: not estimated yet."""
    shadow: NDArray[np.bool_] | None = None
    """[h, w] cast shadow; None: none was found."""
    template: ShadowTemplate | None = None
    """The cast shadow as template for the next frames; None: none was found, or it is no good template."""
    detected: bool = False
    """Whether detection has run on this frame."""
    unshaded: NDArray[np.bool_] | None = None
    """[h, w] pixels far from all objects; None: not computed yet."""
    residual: NDArray[np.bool_] | None = None
    """[h, w] residual foreground; None: nothing, or detection has not run."""
    contact_region: ContactRegion | None = None
    """The hole and its surroundings; None: there is no hole, or detection has run."""
    contact_shadow: NDArray[np.bool_] | None = None
    """[H, W] contact shadow, larger than the reduced frame; None: nothing, or detection has not run."""
    static_shadow: NDArray[np.bool_] | None = None
    """[H, W] static shadow, of the same size; None: nothing, or detection has not run."""


def look_ahead(frame: Frame) -> int:
    """Number of frames buffered behind the one that is emitted, for frames of this size."""
    size = sum(plane.nbytes for plane in frame.planes)
    return int(np.clip(BUFFER_BYTES // max(size, 1), OFFSETS[1], LOOK_AHEAD))


def add_residuals(
    upstream: Iterable[HoleFrame],
    flow: FlowModel,
    plate_of: Callable[[Frame], Plate | None],
    mosaic_of: Callable[[Frame], KeyframeMosaic | None] = lambda _: None,
    shots: Shots | None = None,
) -> Generator[HoleFrame, None, None]:
    """Add residuals to the holes of a stream: one frame out for each frame in, in order.

    plate_of: frame -> the background plate of its shot; None: the shot has none.
    mosaic_of: frame -> the key frame mosaic of its shot from the first pass; None: there is none.
    shots: shot numbers, if they are known or shared with other stages.
    """
    shot_number, key, shot = shots or Shots(), None, 0
    detector = _ResidualDetector(flow, plate_of, mosaic_of)
    buffered: deque[HoleFrame] = deque()
    lookahead = LOOK_AHEAD
    with closing_all(upstream) as source:
        for number, found in enumerate(source):
            lookahead = look_ahead(found.frame)
            # a frame that was not searched may show the object without a mask: it counts as another shot
            previous_key, key = key, (shot_number(found.frame), found.searched)
            shot += key != previous_key
            detector.frames[number] = _reduced_frame(number, shot, found, still=plate_of(found.frame) is not None)
            buffered.append(found)
            del found
            while len(buffered) > lookahead + 1:  # plus one: shadows of neighbours are compared
                yield detector.emit(number + 1 - len(buffered), buffered.popleft())
        for number in range(max(detector.frames, default=-1) + 1 - len(buffered), max(detector.frames, default=-1) + 1):
            yield detector.emit(number, buffered.popleft())


class _ResidualDetector:
    """Detects residuals in a window of reduced frames, with the camera motion between them."""

    def __init__(
        self,
        flow: FlowModel,
        plate_of: Callable[[Frame], Plate | None],
        mosaic_of: Callable[[Frame], KeyframeMosaic | None],
    ) -> None:
        self.frames: dict[int, _Frame] = {}
        self._flow, self._plate_of, self._mosaic_of = flow, plate_of, mosaic_of
        self._anchor: tuple[_Frame, RankFilter] | None = None
        self._last_with_shadow: _Frame | None = None  # last frame with a shadow
        self._confirmed = 0  # number of consecutive frames with a shadow

    def emit(self, number: int, hole_frame: HoleFrame) -> HoleFrame:
        """`hole_frame`, number `number` of the stream, its hole with the residuals; drops frames that are no longer needed."""
        current, plate = self.frames[number], self._plate_of(hole_frame.frame)
        if hole_frame.hole is None:
            result = hole_frame
        elif plate is not None:
            hole = hole_frame.hole
            if rules.enabled("residual.plate"):
                hole = subtract_background(hole_frame.frame, hole, plate, hole_frame.protected_hole)
            result = hole_frame if hole is hole_frame.hole else replace(hole_frame, hole=hole)
        else:
            mosaic = self._mosaic_of(hole_frame.frame)
            neighbours = [self._detected(current, number + step, mosaic) for step in (0, -1, 1)]
            if current.shadow is None and self._template(current) is None and rules.enabled("residual.carry_back"):
                self._propagate_back(current, mosaic)
            shadow = confirmed_by_neighbours(
                current.shadow, [neighbour.shadow for neighbour in neighbours[1:] if neighbour is not None]
            )
            if shadow is not None and current.template is not None:
                self._confirmed = self._confirmed + 1 if self._template(current) is not None else 1
                self._last_with_shadow = current
            foreground = confirmed_by_neighbours(
                current.residual, [neighbour.residual for neighbour in neighbours[1:] if neighbour is not None]
            )
            static = self._static_vote(current)
            residuals = (shadow, foreground, current.contact_shadow, static)
            merged = merge_residual(hole_frame, [mask for mask in residuals if mask is not None])
            result = hole_frame if merged is None else replace(hole_frame, hole=merged)
            current.contact_shadow = None
        for old in [old for old in self.frames if old < number - max(OFFSETS)]:
            del self.frames[old]
        return result

    def _static_vote(self, current: _Frame) -> NDArray[np.bool_] | None:
        """bool [H, W] static shadow of `current`, voted on by its neighbours; a miss in one frame is filled. None: none."""
        votes = []
        for step in (-1, 1):
            neighbour = self.frames.get(current.number + step)
            if neighbour is None or neighbour.shot != current.shot or neighbour.static_shadow is None:
                continue
            homography = self._extended(np.eye(3), current, neighbour, step)
            if homography is not None:
                size = neighbour.static_shadow.shape
                scale = np.diag([size[1] / current.area.shape[1], size[0] / current.area.shape[0], 1.0])
                homography = scale @ homography @ np.linalg.inv(scale)
                registered = np.dstack([neighbour.static_shadow, resized(neighbour.area, size)]).astype(np.float32)
                votes.append(warp_region(registered, neighbour.static_shadow, homography, (0, 0), size)[0] > 0.5)
        return static_shadow_vote(current.static_shadow, votes)

    def _detected(self, current: _Frame, number: int, mosaic: KeyframeMosaic | None) -> _Frame | None:
        """Frame `number` after detection; None: it is not in the window or belongs to another shot than `current`."""
        frame = self.frames.get(number)
        if frame is None or frame.shot != current.shot:
            return None
        if not frame.detected and frame.area.any():
            frame.shadow, frame.detected = self._detect(frame, mosaic), True
        return frame

    def _propagate_back(self, current: _Frame, mosaic: KeyframeMosaic | None) -> None:
        """Propagate the first shadow of a shot back to `current`, if two consecutive frames ahead have a template."""
        for distance in range(1, PROPAGATE_BACK + 1):
            first, next_ = (self._detected(current, current.number + distance + step, mosaic) for step in (0, 1))
            if first is not None and first.template is not None and next_ is not None and next_.template is not None:
                self._last_with_shadow, self._confirmed = first, 0
                for frame in (self.frames[number] for number in range(current.number, first.number)):
                    if frame.area.any():
                        frame.shadow = self._detect(frame, mosaic)
                return

    def _template(self, current: _Frame) -> ShadowTemplate | None:
        """The last template found; None if it is older, in frames, than the run of consecutive shadows that led to it."""
        last = self._last_with_shadow
        if last is None or last.shot != current.shot or current.number - last.number > self._confirmed:
            return None
        return last.template

    def _detect(self, current: _Frame, mosaic: KeyframeMosaic | None) -> NDArray[np.bool_] | None:
        """bool [h, w] cast shadow of `current`; None: none. Sets its other residuals as well."""
        region = _search_region(current.area)
        top, left = region[0].start, region[1].start
        rgb, visible, size = current.rgb[region], ~current.area[region], current.area.shape
        protected = self._protected(current)
        if mosaic is not None and rules.enabled("residual.shot_light"):
            ranks = self._beyond_window(current, mosaic, (top, left), rgb.shape[:2])
        else:
            ranks = RankFilter.of(rgb.shape[:2])
        self._add_window(current, (top, left), rgb, visible, ranks)
        bounds = ranks.bounds()
        if bounds is not None and protected is not None:
            near = protected[region]
            evidence = bounds.has_evidence | near
            bounds = replace(bounds, known=bounds.known & ~near, sure=bounds.sure & ~near, has_evidence=evidence)
        current.residual = None
        foreground: NDArray[np.bool_] | None = None
        if bounds is not None and rules.enabled("residual.foreign"):
            foreground = detect_residual_foreground(rgb, visible, bounds)
        if foreground is not None:
            current.residual = _pasted(close_shadow_gaps(foreground, visible), region, size)
        if current.contact_region is not None:
            if rules.enabled("residual.contact"):
                current.contact_shadow = current.contact_region.dark(bounds, region, size)
            if rules.enabled("residual.static"):
                current.static_shadow = current.contact_region.static(bounds, region, size)
            for dark in (current.contact_shadow, current.static_shadow):
                if dark is not None and protected is not None:
                    dark &= ~resized(protected, dark.shape)
            current.contact_region = None
        previous = self._template(current) if rules.enabled("residual.carry") else None
        expected_shadow = None
        if previous is not None:
            has_evidence = bounds.has_evidence if bounds is not None else np.zeros(visible.shape, bool)
            expected_shadow = previous.expected(current.area, region, luma_of(rgb), has_evidence)
        detected_shadow = None
        if bounds is not None and rules.enabled("residual.cast"):
            detected_shadow = detect_cast_shadow(rgb, visible, bounds, expected_shadow)
        if detected_shadow is None and expected_shadow is None:
            return None
        expected_core = np.zeros(visible.shape, bool) if expected_shadow is None else expected_shadow.core
        core = np.zeros(visible.shape, bool) if detected_shadow is None else detected_shadow.core
        complete = np.count_nonzero(core) >= MIN_TEMPLATE_SHARE * np.count_nonzero(expected_core)
        if detected_shadow is not None and detected_shadow.dark and complete:
            whole = _pasted(core, region, size)
            whole = whole if expected_shadow is None else whole | expected_shadow.under
            current.template = ShadowTemplate(current.area, whole, detected_shadow.dark)
        return _pasted(close_shadow_gaps(core | expected_core, visible), region, size)

    def _protected(self, current: _Frame) -> NDArray[np.bool_] | None:
        """bool [h, w] protected objects of `current` and its neighbours, with a margin: detections are missed at times."""
        window = (self.frames.get(current.number + step) for step in range(-PROTECT_WINDOW, PROTECT_WINDOW + 1))
        same_shot = [frame.protected for frame in window if frame and frame.shot == current.shot]
        masks = [mask for mask in same_shot if mask is not None]
        if not masks or not rules.enabled("residual.protect"):
            return None
        return dilate(np.logical_or.reduce(masks), PROTECT_MARGIN)

    def _beyond_window(
        self, current: _Frame, mosaic: KeyframeMosaic, corner: tuple[int, int], size: tuple[int, ...]
    ) -> RankFilter:
        """Rank filter of a region of `current`, from thumbnails beyond the window: computed for an anchor frame, and warped."""
        homography: NDArray[np.float64] | None = None
        if self._anchor is not None:
            anchor = self._anchor[0]
            near = anchor.shot == current.shot and 0 <= current.number - anchor.number < ANCHOR_FRAMES
            homography = self._homography_to(current, anchor) if near else None
        if homography is None or self._anchor is None:
            identity = current.index, current.orientation
            self._anchor = current, bounds_from_thumbnails(mosaic, *identity, max(OFFSETS), current.rgb, ~current.area)
            homography = np.eye(3)
        return self._anchor[1].at(TO_PADDED @ homography, corner, size)

    def _add_window(
        self,
        current: _Frame,
        corner: tuple[int, int],
        rgb: NDArray[np.float32],
        visible: NDArray[np.bool_],
        into: RankFilter,
    ) -> None:
        """Add the frames of the window, registered to a region of `current`, to the rank filter `into`."""
        for step in (-1, 1):
            homography: NDArray[np.float64] | None = np.eye(3)
            at = current
            for distance in range(1, max(OFFSETS) + 1):
                neighbour = self.frames.get(current.number + step * distance)
                if neighbour is None or neighbour.shot != current.shot:
                    break
                homography = self._extended(homography, at, neighbour, step)
                if homography is None:
                    break
                at = neighbour
                if distance in OFFSETS:
                    warped, valid = warp_region(neighbour.rgb, ~neighbour.area, homography, corner, rgb.shape[:2])
                    matched = match_exposure(warped, valid, rgb, visible)
                    if matched is not None:
                        if neighbour.unshaded is None:
                            neighbour.unshaded = ~near_objects(neighbour.area)
                        unshaded = warp_region(neighbour.luma, neighbour.unshaded, homography, corner, rgb.shape[:2])[1]
                        into.add(matched, valid, unshaded)

    def _homography_to(self, current: _Frame, earlier: _Frame) -> NDArray[np.float64] | None:
        """The homography from `current` to an earlier frame; None when the camera motion is unclear on the way."""
        homography: NDArray[np.float64] | None = np.eye(3)
        for number in range(current.number, earlier.number, -1):
            neighbour = self.frames.get(number - 1)
            homography = self._extended(homography, self.frames[number], neighbour, -1) if neighbour else None
        return homography

    def _extended(
        self, homography: NDArray[np.float64] | None, at: _Frame, neighbour: _Frame, step: int
    ) -> NDArray[np.float64] | None:
        """Extend a homography to frame `at` by one step to `neighbour`; None when the camera motion is unclear."""
        first, second = (at, neighbour) if step > 0 else (neighbour, at)
        if first.forward is None:
            flow = self._flow(first.luma[None], second.luma[None])[0]
            first.forward = fit_camera(flow, ~(dilate(first.area, 3) | dilate(second.area, 3)))
        if homography is None or first.forward.support < MIN_SUPPORT:
            return None
        step_homography = first.forward.homography if step > 0 else first.forward.inverse().homography
        return np.asarray(step_homography @ homography)


def _reduced_frame(number: int, shot: int, hole_frame: HoleFrame, *, still: bool) -> _Frame:
    frame, hole, contact_region = hole_frame.frame, None if still else hole_frame.hole, None
    rgb, protected = reduced_rgb(frame), hole_frame.protected_hole
    area = np.zeros(rgb.shape[:2], bool)
    if hole is not None and hole.area.any():
        full = hole.full_area()
        area = dilate(reduced_mask(full, frame), HOLE_MARGIN)
        contact_region = ContactRegion.of(frame, full, hole_frame.scenery, protected)
    luma = np.ascontiguousarray(frame.orientation.to_display(frame.luma(size=reduced_size(frame))))
    mask = None if still or protected is None else reduced_mask(protected.full_area(), frame)
    identity = number, frame.index, shot, frame.orientation
    return _Frame(*identity, rgb, luma, area, protected=mask, contact_region=contact_region)


def _search_region(area: NDArray[np.bool_]) -> tuple[slice, slice]:
    """(rows, columns) of the search region around the hole `area`, bool [h, w]."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    margin = round(SEARCH_REACH * (max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1))
    top, left = max(int(rows[0]) - margin, 0), max(int(columns[0]) - margin, 0)
    return slice(top, int(rows[-1]) + 1 + margin), slice(left, int(columns[-1]) + 1 + margin)


def _pasted(mask: NDArray[np.bool_], region: tuple[slice, slice], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """bool [h, w] of `size`: False, with `mask` pasted at `region`."""
    out = np.zeros(size, bool)
    out[region] = mask
    return out


def residual_of_key_frame(frame: Frame, hidden: NDArray[np.bool_], mosaic: KeyframeMosaic) -> NDArray[np.bool_]:
    """bool [h, w] residuals beside `hidden`, bool [H, W], in a key frame, by its mosaic; as stored, smaller than `frame`."""
    area = dilate(reduced_mask(hidden, frame), HOLE_MARGIN)
    contact_region = ContactRegion.of(frame, hidden)
    if not area.any() or contact_region is None:
        return np.zeros(reduced_size(frame), bool)
    rgb, region, size = reduced_rgb(frame), _search_region(area), area.shape
    mask = np.zeros(size, bool)
    ranks = bounds_from_thumbnails(mosaic, frame.index, frame.orientation, 0, rgb, ~area)
    bounds = ranks.at(TO_PADDED, (0, 0), size).bounds()
    if bounds is None:
        return np.ascontiguousarray(frame.orientation.to_stored(mask))
    bounds = bounds.of(region)
    cast_shadow = detect_cast_shadow(rgb[region], ~area[region], bounds)
    foreground = detect_residual_foreground(rgb[region], ~area[region], bounds)
    for core in (None if cast_shadow is None else cast_shadow.core, foreground):
        mask |= False if core is None else _pasted(close_shadow_gaps(core, ~area[region]), region, size)
    for dark in (contact_region.dark(bounds, region, size), contact_region.static(bounds, region, size)):
        mask = mask if dark is None else dark | resized(mask, dark.shape)
    return np.ascontiguousarray(frame.orientation.to_stored(mask))
