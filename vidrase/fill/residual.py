"""Residual stage: add to each hole what its mask leaves of an object, above all the cast shadow.

Where the camera moves, frames are registered by the camera's motion. A pixel belongs to the cast shadow if it is brighter in
other frames, has the same colour there, and is connected to the hole. A shadow overlaps itself in neighbouring frames, so frames
further apart are compared. `contact_shadow`, `static_shadow` and `residual_foreground` detect the other residuals.
Where the camera is still and the shot has a plate, `background_subtraction` replaces all of these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.cuts import Shots
from vidrase.fill.background_bounds import MARGIN, Exposure, Observation, RankFilter, ranks_from_thumbnails, warp_region
from vidrase.fill.background_subtraction import subtract_background
from vidrase.fill.cast_shadow import ShadowTemplate, close_shadow_gaps, detect_cast_shadow
from vidrase.fill.flow_completion import dilate
from vidrase.fill.residual_foreground import detect_residual_foreground
from vidrase.fill.residual_window import FrameWindow, ReducedFrame, reduced_size
from vidrase.fill.temporal_vote import confirmed_by_neighbours, merge_residual, resized, static_shadow_vote
from vidrase.flow import FlowModel
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.keyframes import KeyframeMosaic
from vidrase.plate import Plate
from vidrase.streams import closing_all

# Evidence for residual.*: `rules.py`. Values of constants without a figure have no record yet.
LOOK_AHEAD = 32  # frames buffered ahead of the one that is emitted, at most
BUFFER_BYTES = 128 << 20
"""Bytes of buffered frames: large frames get a shorter look-ahead."""
OFFSETS = (3, 7, 12, 18, 25, 32, 48)  # frames: distances to the frames that a frame is compared with
SEARCH_REACH = 0.8  # of the hole's longer side: the search region extends this far beyond the hole
ANCHOR_FRAMES = 8  # frames: ranks from the whole shot are computed for one frame and warped to this many frames
TO_PADDED = np.array([[1.0, 0, MARGIN], [0, 1, MARGIN], [0, 0, 1]])
PROPAGATE_BACK = 12
"""Frames: the first shadow of a shot is propagated back at most this far, to frames without evidence."""
MIN_TEMPLATE_SHARE = 0.7  # of the expected area: a smaller shadow does not become the template for the next frames
VOTE_MARGIN = 48
"""Px at the size of static shadows: a neighbour's shadow is compared where it lies no further than this from where it was."""
PROTECT_WINDOW = 3
"""Frames to either side whose protected masks are united with those of a frame: detections are missed at times."""
PROTECT_MARGIN = 2  # px of the reduced frame: margin around protected objects


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
    shot_number, key, shot, read = shots or Shots(), None, 0, 0
    detector = _ResidualDetector(flow, mosaic_of)
    buffered: deque[HoleFrame] = deque()

    def emit() -> HoleFrame:
        number, hole_frame = read - len(buffered), buffered.popleft()
        plate = plate_of(hole_frame.frame)
        return detector.emit(number, hole_frame) if plate is None else _by_plate(hole_frame, plate)

    with closing_all(upstream) as source:
        for found in source:
            still = plate_of(found.frame) is not None
            # a frame that was not searched may show the object without a mask: it counts as another shot
            previous_key, key = key, (shot_number(found.frame), found.searched, still)
            shot += key != previous_key
            if not still:
                detector.add(ReducedFrame.of(read, shot, found))
            buffered.append(found)
            read += 1
            while len(buffered) > look_ahead(found.frame) + 1:  # plus one: shadows of neighbours are compared
                yield emit()
            del found
        while buffered:
            yield emit()


def _by_plate(hole_frame: HoleFrame, plate: Plate) -> HoleFrame:
    """A frame of a still camera, its hole with what differs from the `plate`."""
    hole = hole_frame.hole
    if hole is None or not rules.enabled("residual.plate"):
        return hole_frame
    whole = subtract_background(hole_frame.frame, hole, plate, hole_frame.protected_hole)
    return hole_frame if whole is hole else replace(hole_frame, hole=whole)


class _ResidualDetector:
    """Detects residuals in a window of reduced frames."""

    def __init__(self, flow: FlowModel, mosaic_of: Callable[[Frame], KeyframeMosaic | None]) -> None:
        self._window, self._mosaic_of = FrameWindow(flow), mosaic_of
        self._anchor: tuple[ReducedFrame, RankFilter | None] | None = None
        self._thumbnails: dict[int, Observation] = {}  # of the anchor's shot
        self._last_with_shadow: ReducedFrame | None = None  # last frame with a shadow
        self._confirmed = 0  # number of consecutive frames with a shadow

    def add(self, frame: ReducedFrame) -> None:
        """Add the next frame to the window."""
        self._window.frames[frame.number] = frame

    def emit(self, number: int, hole_frame: HoleFrame) -> HoleFrame:
        """`hole_frame`, number `number` of the stream, its hole with the residuals; drops frames that are no longer needed."""
        current, hole = self._window.frames[number], hole_frame.hole
        if hole is not None:
            hole = merge_residual(hole_frame, self._residuals(current, self._mosaic_of(hole_frame.frame))) or hole
        self._window.forget(number - max(OFFSETS))
        return hole_frame if hole is hole_frame.hole else replace(hole_frame, hole=hole)

    def _residuals(self, current: ReducedFrame, mosaic: KeyframeMosaic | None) -> list[NDArray[np.bool_]]:
        """The residuals of `current`, bool [h, w] of two sizes."""
        neighbours = [self._detected(current, step, mosaic) for step in (0, -1, 1)][1:]
        if current.shadow is None and self._template(current) is None and rules.enabled("residual.carry_back"):
            self._propagate_back(current, mosaic)
        shadow = confirmed_by_neighbours(current.shadow, [frame.shadow for frame in neighbours if frame is not None])
        if shadow is not None and current.template is not None:
            self._confirmed = self._confirmed + 1 if self._template(current) is not None else 1
            self._last_with_shadow = current
        foreground = confirmed_by_neighbours(
            current.residual, [frame.residual for frame in neighbours if frame is not None]
        )
        residuals = (shadow, foreground, current.contact_shadow, self._static_vote(current))
        current.contact_shadow = None
        return [mask for mask in residuals if mask is not None]

    def _static_vote(self, current: ReducedFrame) -> NDArray[np.bool_] | None:
        """bool [H, W] static shadow of `current`, voted on by its neighbours; a miss in one frame is filled. None: none."""
        registered = [next(self._window.registered(current, step), None) for step in (-1, 1)]
        neighbours = [pair for pair in registered if pair is not None and pair[0].static_shadow is not None]
        if not neighbours or (current.static_shadow is None and len(neighbours) < 2):
            return None
        shadows = [frame.static_shadow for frame in (current, *(frame for frame, _ in neighbours))]
        shown = np.logical_or.reduce([shadow for shadow in shadows if shadow is not None])
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        top, left = max(int(rows[0]) - VOTE_MARGIN, 0), max(int(columns[0]) - VOTE_MARGIN, 0)
        box = np.s_[top : int(rows[-1]) + 1 + VOTE_MARGIN, left : int(columns[-1]) + 1 + VOTE_MARGIN]
        scale = np.diag([shown.shape[1] / current.area.shape[1], shown.shape[0] / current.area.shape[0], 1.0])
        votes = []
        for neighbour, homography in neighbours:
            assert neighbour.static_shadow is not None
            masks = [neighbour.static_shadow, resized(neighbour.area, shown.shape)]
            image = cv2.merge([mask.view(np.uint8) * np.uint8(255) for mask in masks])
            to_neighbour = scale @ homography @ np.linalg.inv(scale)
            votes.append(warp_region(image, to_neighbour, (top, left), shown[box].shape) > 127)
        found = static_shadow_vote(None if current.static_shadow is None else current.static_shadow[box], votes)
        return None if found is None else _pasted(found, box, shown.shape)

    def _detected(self, current: ReducedFrame, step: int, mosaic: KeyframeMosaic | None) -> ReducedFrame | None:
        """The frame `step` frames after `current`, after detection; None: it is not in the window or of another shot."""
        frame = self._window.neighbour(current, step)
        if frame is not None and not frame.detected and frame.area.any():
            frame.shadow, frame.detected = self._detect(frame, mosaic), True
        return frame

    def _propagate_back(self, current: ReducedFrame, mosaic: KeyframeMosaic | None) -> None:
        """Propagate the first shadow of a shot back to `current`, if two consecutive frames ahead have a template."""
        for distance in range(1, PROPAGATE_BACK + 1):
            first, next_ = (self._detected(current, distance + step, mosaic) for step in (0, 1))
            if first is not None and first.template is not None and next_ is not None and next_.template is not None:
                self._last_with_shadow, self._confirmed = first, 0
                for frame in (self._window.frames[number] for number in range(current.number, first.number)):
                    if frame.area.any():
                        frame.shadow = self._detect(frame, mosaic)
                return

    def _template(self, current: ReducedFrame) -> ShadowTemplate | None:
        """The last template found; None if it is older, in frames, than the run of consecutive shadows that led to it."""
        last = self._last_with_shadow
        if last is None or last.shot != current.shot or current.number - last.number > self._confirmed:
            return None
        return last.template

    def _detect(self, current: ReducedFrame, mosaic: KeyframeMosaic | None) -> NDArray[np.bool_] | None:
        """bool [h, w] cast shadow of `current`; None: none. Sets its other residuals as well."""
        region = _search_region(current.area)
        corner, visible, size = (region[0].start, region[1].start), ~current.area[region], current.area.shape
        protected, ranks = self._protected(current), self._beyond_window(current, mosaic, corner, visible.shape)
        self._add_window(current, corner, Exposure(current.rgb[region], visible), ranks)
        rgb, bounds = current.rgb[region].astype(np.float32), ranks.bounds()
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
            expected_shadow = previous.expected(
                current.area, region, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), has_evidence
            )
        detected_shadow = None
        if bounds is not None and rules.enabled("residual.cast"):
            detected_shadow = detect_cast_shadow(rgb, visible, bounds, expected_shadow)
        if detected_shadow is None and expected_shadow is None:
            return None
        expected_core = np.zeros(visible.shape, bool) if expected_shadow is None else expected_shadow.core
        core = np.zeros(visible.shape, bool) if detected_shadow is None else detected_shadow.core
        complete = np.count_nonzero(core) >= MIN_TEMPLATE_SHARE * np.count_nonzero(expected_core)
        if detected_shadow is not None and detected_shadow.dark and complete:
            current.template = ShadowTemplate.of(current.area, region, detected_shadow, expected_shadow)
        return _pasted(close_shadow_gaps(core | expected_core, visible), region, size)

    def _protected(self, current: ReducedFrame) -> NDArray[np.bool_] | None:
        """bool [h, w] protected objects of `current` and its neighbours, with a margin: detections are missed at times."""
        window = (self._window.neighbour(current, step) for step in range(-PROTECT_WINDOW, PROTECT_WINDOW + 1))
        masks = [frame.protected for frame in window if frame is not None and frame.protected is not None]
        if not masks or not rules.enabled("residual.protect"):
            return None
        return dilate(np.logical_or.reduce(masks), PROTECT_MARGIN)

    def _beyond_window(
        self, current: ReducedFrame, mosaic: KeyframeMosaic | None, corner: tuple[int, int], size: tuple[int, ...]
    ) -> RankFilter:
        """Rank filter of a region of `current`, from thumbnails beyond the window: computed for an anchor frame, and warped."""
        if mosaic is None or not rules.enabled("residual.shot_light"):
            return RankFilter.of(size)
        homography: NDArray[np.float64] | None = None
        if self._anchor is not None:
            anchor = self._anchor[0]
            near = anchor.shot == current.shot and 0 <= current.number - anchor.number < ANCHOR_FRAMES
            homography = self._window.homography_to(current, anchor) if near else None
        if homography is None or self._anchor is None:
            if self._anchor is None or self._anchor[0].shot != current.shot:
                self._thumbnails = {}
            identity, pixels = (current.index, current.orientation), (current.rgb, ~current.area)
            ranks = ranks_from_thumbnails(mosaic, *identity, max(OFFSETS), *pixels, self._thumbnails)
            self._anchor = current, ranks
            homography = np.eye(3)
        ranks = self._anchor[1]
        return RankFilter.of(size) if ranks is None else ranks.at(TO_PADDED @ homography, corner, size)

    def _add_window(self, current: ReducedFrame, corner: tuple[int, int], exposure: Exposure, into: RankFilter) -> None:
        """Add the frames of the window, registered to a region of `current`, to the rank filter `into`."""
        for step in (-1, 1):
            for neighbour, homography in self._window.registered(current, step):
                distance = abs(neighbour.number - current.number)
                if distance in OFFSETS:
                    into.add(neighbour.observation, homography, corner, exposure)
                if distance == max(OFFSETS):
                    break


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
    mask = np.zeros(reduced_size(frame), bool)
    hole = Hole.of(hidden)
    if hole is None:
        return mask
    key = ReducedFrame.of(0, 0, HoleFrame(frame, hole))
    ranks = ranks_from_thumbnails(mosaic, frame.index, frame.orientation, 0, key.rgb, ~key.area)
    if ranks is None or key.contact_region is None:
        return mask
    region, size, mask = _search_region(key.area), key.area.shape, np.zeros(key.area.shape, bool)
    rgb, visible = key.rgb[region].astype(np.float32), ~key.area[region]
    bounds = ranks.at(TO_PADDED, (region[0].start, region[1].start), visible.shape).bounds()
    if bounds is not None:
        cast_shadow = detect_cast_shadow(rgb, visible, bounds)
        foreground = detect_residual_foreground(rgb, visible, bounds)
        for core in (None if cast_shadow is None else cast_shadow.core, foreground):
            mask |= False if core is None else _pasted(close_shadow_gaps(core, visible), region, size)
        for dark in (key.contact_region.dark(bounds, region, size), key.contact_region.static(bounds, region, size)):
            mask = mask if dark is None else dark | resized(mask, dark.shape)
    return np.ascontiguousarray(frame.orientation.to_stored(mask))
