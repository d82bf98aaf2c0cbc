"""Pixels that no frame of the window shows, taken from key frames of the shot, long before or after the current frame.

Source numbers from `FIRST_REFERENCE` on are key frames. A key frame is found by its pose in the mosaic and registered to the
current frame by a homography. The residual motion (parallax, drift) is measured and completed into the hole, as between
neighbouring frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.camera import CameraMotion
from vidrase.fill.flow_completion import dilate
from vidrase.fill.flow_estimation import FlowEstimator, measured_region
from vidrase.fill.light_matching import LightMatching
from vidrase.fill.registration_quality import SIGMAS, RegistrationQuality
from vidrase.fill.residual import residual_of_key_frame
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.window_frame import SourceMap, WindowFrame, WorkGrid
from vidrase.flow import FlowModel
from vidrase.frames import Frame, Hole
from vidrase.keyframes import Keyframe, KeyframeMosaic
from vidrase.light import Light, LightSample
from vidrase.streams import Both, in_turn

# Evidence for sources.*: `rules.py`. Values of constants without a figure have no record yet.
FIRST_REFERENCE = 1 << 30
"""The source number of the mosaic's first key frame."""
MAX_REFERENCES = 3
"""Most key frames used as sources for one frame."""
MIN_GAIN = 0.02
"""Share of the missing pixels that a key frame must show to be registered."""
EQUAL_COVERAGE = 0.8
"""A key frame that shows at least this share of what the best one shows counts as equal to it."""
MIN_YIELD = 0.1
"""If less than this share of the pixels that a key frame shows is usable, it is treated as one that does not fit."""
SMALL_SHARE = 0.03
"""Share of the hole: key frames that contribute less are registered again less often."""
SMALL_SHARE_INTERVAL = 4  # corrections: key frames with a small share are registered again at every fourth
RETRY_FRAMES = 10  # frames after which a key frame that did not fit is tried again
EXTEND_DISTANCE = 0.04
"""Share of the frame's height: within this distance of pixels taken from a key frame, more pixels are taken from it without a
new registration."""
HIDDEN_MARGIN = 0.03
"""Margin around hidden objects in a key frame that is not used, as a share of the height. It applies while their shadows are
not known."""
MIN_SUPPORT = 0.25
"""Share of the surroundings that must follow the homography to the key frame. It is low because parallax is measured
afterwards."""
MAX_MISFIT = 20.0
"""Misfit, 0..255, up to which a pixel is taken. Up to it, copies were nearer the truth than trajectories of more than 8 frames
on six of six clip pairs, by up to 20 levels; above it on some only. Limits of 14 or 32 instead of synthesis were worse as
well."""
BLUR_STRIDE = 1 << 20
"""A source number is `FIRST_REFERENCE` + key frame + this stride * index of the blur in `SIGMAS`."""
MIN_DETAIL = 0.45
"""Share of the detail around the hole below which a key frame is out of focus; synthesis looks better."""
MIN_DETAIL_HELD = 0.35
"""The same threshold for pixels that come from the key frame already."""
BLUR_HYSTERESIS = 0.75
"""Difference, in steps of blur, below which the blur of a pixel does not change (hysteresis)."""
MAX_BLURRED = 6
"""Most blurred key frames held in memory."""


@dataclass(slots=True, eq=False)
class _Reference:
    """A key frame on the work grid."""

    luma: NDArray[np.uint8]
    hidden: NDArray[np.bool_]
    """[h, w] objects in the way and a margin around them."""
    known: NDArray[np.bool_]
    """[h, w] small, as of the key frame, without shadows."""
    shadow: NDArray[np.bool_]
    """[h, w] shadows of the objects, as far as they are known."""
    picture: SourcePlanes
    light: LightSample


@dataclass(slots=True, eq=False)
class ReferenceFrames:
    """The key frames of one shot, as the fill of this shot uses them."""

    mosaic: KeyframeMosaic
    grid: WorkGrid
    flow: FlowModel
    shadows: bool
    """Whether shadows of hidden objects are excluded as well."""
    both: Both = in_turn
    """Runs the work of two directions."""
    _estimator: FlowEstimator = field(init=False)
    _registered: int = 0
    """Number of registrations so far."""
    _references: dict[int, _Reference] = field(default_factory=dict)
    _failed: dict[int, int] = field(default_factory=dict)
    """Key frames that did not fit, and the number of the window frame at which they were tried."""
    _numbers: dict[int, int] = field(default_factory=dict)
    _blurred: dict[int, SourcePlanes] = field(default_factory=dict)
    """By source number."""
    _lights: dict[tuple[int, int], Light | None] = field(default_factory=dict)
    """By number of the window frame and of the key frame, for the current window frame."""

    def __post_init__(self) -> None:
        self._estimator = FlowEstimator(self.flow, both=self.both)
        self._numbers = {key_frame.frame.index: number for number, key_frame in enumerate(self.mosaic.key_frames)}

    def picture(self, source: int) -> SourcePlanes:
        """The planes of the source number `source`."""
        level, number = divmod(source - FIRST_REFERENCE, BLUR_STRIDE)
        if not level:
            return self._reference(number).picture
        if source not in self._blurred:
            while len(self._blurred) >= MAX_BLURRED:
                del self._blurred[next(iter(self._blurred))]
            frame = self.mosaic.key_frames[number].frame
            self._blurred[source] = _blurred(frame, self._reference(number).hidden, SIGMAS[level] / self.grid.scale_x)
        self._blurred[source] = self._blurred.pop(source)  # least recently used first
        return self._blurred[source]

    def light_of(self, here: WindowFrame, source: int, light: LightMatching) -> Light | None:
        """The light of `here` against that of the source number `source`; None: the same."""
        number = (source - FIRST_REFERENCE) % BLUR_STRIDE
        if (here.number, number) not in self._lights:
            self._lights = {key: found for key, found in self._lights.items() if key[0] == here.number}
            camera = self._homography_to_key_frame(here, self.mosaic.key_frames[number])
            sample = self._reference(number).light
            self._lights[here.number, number] = (
                None if camera is None else light.against(here, sample, camera.homography)
            )
        return self._lights[here.number, number]

    def learn(self, frame: Frame, hole: Hole | None) -> None:
        """Update a key frame with the final hole of its frame: its shadows and attached parts are known only then. Frames that
        are no key frames are ignored."""
        number = self._numbers.get(frame.index)
        if number is not None and hole is not None:
            reference = self._reference(number)
            hidden = dilate(self.grid.shrink(self.mosaic.key_frames[number].hidden() | hole.full_area()), 2)
            self._references[number] = replace(reference, hidden=hidden | reference.shadow)
            for source in [source for source in self._blurred if (source - FIRST_REFERENCE) % BLUR_STRIDE == number]:
                del self._blurred[source]

    def source_map(self, here: WindowFrame, missing: NDArray[np.bool_]) -> SourceMap:
        """Where pixels of `here` are visible in key frames. missing: bool [h, w], in the box of `here`, the pixels to look up."""
        assert here.box is not None
        out = SourceMap.empty(here.box)
        if self.mosaic.pose(here.frame.index) is None:
            return out
        remaining = missing.copy()
        tried = {number for number, failed_at in self._failed.items() if abs(here.number - failed_at) < RETRY_FRAMES}
        for _ in range(MAX_REFERENCES):
            candidate = self._best(here, remaining, tried)
            if candidate is None:
                break
            tried.add(candidate[0])
            before = int(np.count_nonzero(remaining))
            self.take(here, remaining, candidate[0], candidate[1], MAX_MISFIT, out)
            remaining &= out.source < 0
            if before - np.count_nonzero(remaining) < MIN_YIELD * candidate[2]:
                self._failed[candidate[0]] = here.number  # mostly because it is out of focus
            if not remaining.any():
                break
        return out

    def correct_drift(self, here: WindowFrame, source_map: SourceMap, weight: float, turn: int) -> None:
        """Move the samples that `source_map` takes from key frames by `weight` (0..1) towards a new registration to `here`.
        This keeps drift from adding up.

        turn: number of this correction; key frames with a small share of the hole are corrected only every few turns.
        """
        assert here.area is not None
        skip_small = turn % SMALL_SHARE_INTERVAL != 0
        for number in self._key_frames_of(source_map):
            camera = self._homography_to_key_frame(here, self.mosaic.key_frames[number])
            from_key_frame = (source_map.source >= FIRST_REFERENCE) & (
                (source_map.source - FIRST_REFERENCE) % BLUR_STRIDE == number
            )
            if camera is None or (
                skip_small and np.count_nonzero(from_key_frame) < SMALL_SHARE * np.count_nonzero(here.area)
            ):
                continue
            measured = SourceMap.empty(source_map.box)
            if not self.take(here, from_key_frame, number, camera, np.inf, measured, source_map.source):
                continue
            common = from_key_frame & (measured.source >= 0)
            source_map.source[from_key_frame] = measured.source[from_key_frame]
            for name in ("dx", "dy"):
                old, new = getattr(source_map, name), getattr(measured, name)
                old[common] += weight * (new[common] - old[common])

    @staticmethod
    def _key_frames_of(source_map: SourceMap) -> list[int]:
        sources = source_map.source[source_map.source >= FIRST_REFERENCE]
        return list(np.unique((sources - FIRST_REFERENCE) % BLUR_STRIDE).tolist())

    def grow_region(self, here: WindowFrame, source_map: SourceMap, query: NDArray[np.bool_]) -> None:
        """Extend `source_map` by a few pixels into `query`, bool [h, w], with the registration of the neighbouring pixels.

        A moving object uncovers a sliver in each frame. A registration of key frames for each of them takes many times as long.
        """
        from_reference = source_map.source >= FIRST_REFERENCE
        if not from_reference.any() or not query.any() or not rules.enabled("sources.extend"):
            return
        distance, labels = cv2.distanceTransformWithLabels(
            (~from_reference).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        rows, columns = np.nonzero(query & (source_map.source < 0) & (distance <= EXTEND_DISTANCE * self.grid.height))
        nearest = np.zeros(int(labels.max()) + 1, np.intp)
        nearest[labels[from_reference]] = np.flatnonzero(from_reference)
        neighbour = nearest[labels[rows, columns]]
        sources = source_map.source.ravel()[neighbour]
        for number in np.unique((sources - FIRST_REFERENCE) % BLUR_STRIDE).tolist():
            camera = self._homography_to_key_frame(here, self.mosaic.key_frames[number])
            from_key_frame = (sources - FIRST_REFERENCE) % BLUR_STRIDE == number
            if camera is None:
                continue
            y0, x0 = np.divmod(neighbour[from_key_frame], from_reference.shape[1])
            at_rows, at_columns = rows[from_key_frame], columns[from_key_frame]
            points = [
                (x.astype(np.float32) + source_map.box.left, y.astype(np.float32) + source_map.box.top)
                for x, y in ((at_columns, at_rows), (x0, y0))
            ]
            (x, y), (x1, y1) = (camera.points(*point) for point in points)
            dx = x - points[0][0] + source_map.dx[y0, x0] - (x1 - points[1][0])
            dy = y - points[0][1] + source_map.dy[y0, x0] - (y1 - points[1][1])
            source_map.source[at_rows, at_columns] = sources[from_key_frame]
            source_map.dx[at_rows, at_columns], source_map.dy[at_rows, at_columns] = dx, dy

    def drop_occluded(self, source_map: SourceMap) -> None:
        """Remove samples from `source_map` that were propagated to where an object hides the background in the key frame."""
        for number in self._key_frames_of(source_map):
            rows, columns = np.nonzero(
                (source_map.source >= FIRST_REFERENCE) & ((source_map.source - FIRST_REFERENCE) % BLUR_STRIDE == number)
            )
            x = columns + source_map.box.left + source_map.dx[rows, columns]
            y = rows + source_map.box.top + source_map.dy[rows, columns]
            hidden = ~_shows_background(self._reference(number), x, y)
            source_map.source[rows[hidden], columns[hidden]] = -1

    def take(
        self,
        here: WindowFrame,
        query: NDArray[np.bool_],
        number: int,
        camera: CameraMotion,
        limit: float,
        out: SourceMap,
        previous: NDArray[np.int32] | None = None,
    ) -> bool:
        """Put into `out` where `query` pixels are visible in a key frame. Returns whether the key frame fits.

        camera: from `here` to the key frame, approximate. limit: misfit, 0..255, from which a pixel is left out. previous:
        int32 [h, w] the source numbers so far of pixels that are known to come from this key frame.
        """
        assert here.box is not None
        reference = self._reference(number)
        region = measured_region(here.box, here.luma.shape)
        columns, rows = np.meshgrid(
            np.arange(region.left, region.right, dtype=np.float32),
            np.arange(region.top, region.bottom, dtype=np.float32),
        )
        x, y = camera.points(columns, rows)
        self._registered += 1
        luma, sharp, hidden = (np.zeros(here.luma.shape, dtype) for dtype in (np.uint8, np.uint8, bool))
        luma[region.span] = cv2.remap(reference.luma, x, y, cv2.INTER_LINEAR)
        sharp[region.span] = cv2.remap(reference.luma, x, y, cv2.INTER_CUBIC)
        hidden[region.span] = cv2.remap(reference.hidden.view(np.uint8), x, y, cv2.INTER_NEAREST, borderValue=1) > 0
        registered = WindowFrame(-self._registered, here.frame, here.hole, here.shot, luma)
        registered.dilated_hole, registered.area, registered.box = hidden, hidden, here.box
        registration = self._estimator.register(replace(here, occluder=None, moving=None), registered)
        quality = (
            RegistrationQuality.of(here, registered, sharp, registration)
            if registration.camera.support >= MIN_SUPPORT
            else None
        )
        if quality is None:
            self._failed[number] = here.number
            return False
        at_rows, at_columns = np.nonzero(query)
        x0, y0 = (at_columns + here.box.left).astype(np.float32), (at_rows + here.box.top).astype(np.float32)
        residual = registration.forward.at(x0, y0)
        x, y = camera.points(x0 + residual[:, 0], y0 + residual[:, 1])
        usable = _shows_background(reference, x, y)
        if rules.enabled("sources.misfit"):
            usable &= quality.misfit[at_rows, at_columns] < limit
        if rules.enabled("sources.defocus"):
            usable &= quality.detail[at_rows, at_columns] > (MIN_DETAIL if previous is None else MIN_DETAIL_HELD)
        at_rows, at_columns = at_rows[usable], at_columns[usable]
        blur = quality.blur[at_rows, at_columns] * np.float32(rules.enabled("sources.defocus"))
        level = np.rint(blur).astype(np.int32)
        if previous is not None:  # the blur changes by single steps and with hysteresis, or it would flicker
            previous_level = (previous[at_rows, at_columns] - FIRST_REFERENCE) // BLUR_STRIDE
            level = np.where(
                np.abs(blur - previous_level) < BLUR_HYSTERESIS,
                previous_level,
                np.clip(level, previous_level - 1, previous_level + 1),
            )
        out.source[at_rows, at_columns] = FIRST_REFERENCE + number + BLUR_STRIDE * level
        out.dx[at_rows, at_columns] = (x - x0)[usable]
        out.dy[at_rows, at_columns] = (y - y0)[usable]
        return True

    def _best(
        self, here: WindowFrame, missing: NDArray[np.bool_], tried: set[int]
    ) -> tuple[int, CameraMotion, int] | None:
        """The key frame that shows most of the missing pixels, the homography to it, and the number of pixels it shows."""
        assert here.box is not None
        rows, columns = np.nonzero(missing)
        x0, y0 = (columns + here.box.left).astype(np.float32), (rows + here.box.top).astype(np.float32)
        candidates: list[tuple[int, int, CameraMotion]] = []
        for number, key_frame in enumerate(self.mosaic.key_frames):
            camera = self._homography_to_key_frame(here, key_frame) if number not in tried else None
            if camera is None:
                continue
            x, y = camera.points(x0, y0)
            known = self._reference(number).known
            height, width = known.shape
            column = np.rint((x + 0.5) * width / self.grid.width - 0.5).astype(np.intp)
            row = np.rint((y + 0.5) * height / self.grid.height - 0.5).astype(np.intp)
            inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
            visible = int(np.count_nonzero(known[row[inside], column[inside]]))
            if visible > max(round(MIN_GAIN * len(rows)), 1):
                candidates.append((visible, number, camera))
        if not candidates:
            return None
        threshold = EQUAL_COVERAGE * max(visible for visible, _, _ in candidates)
        # Among key frames that show about as much, take the nearest in time: focus, exposure and foliage change.
        visible, number, camera = min(
            (candidate for candidate in candidates if candidate[0] >= threshold),
            key=lambda candidate: abs(self.mosaic.key_frames[candidate[1]].frame.index - here.frame.index),
        )
        return number, camera, visible

    def _homography_to_key_frame(self, here: WindowFrame, key_frame: Keyframe) -> CameraMotion | None:
        """Homography from `here` to `key_frame` on the work grid; None if they belong to different parts of the mosaic."""
        homography = self.mosaic.homography_to(here.frame.index, key_frame, self.grid.size)
        if homography is None:
            return None
        height, width = self.mosaic.size
        wide, high = self.grid.width / width, self.grid.height / height
        return CameraMotion(
            np.array([[wide, 0, (wide - 1) / 2], [0, high, (high - 1) / 2], [0, 0, 1]]) @ homography, 1.0
        )

    def _reference(self, number: int) -> _Reference:
        if number not in self._references:
            key_frame = self.mosaic.key_frames[number]
            hidden, known, shadow = key_frame.hidden(), key_frame.known, np.zeros(self.grid.size, bool)
            blocked = dilate(self.grid.shrink(hidden), max(round(HIDDEN_MARGIN * self.grid.height), 2))
            if self.shadows and rules.enabled("sources.keyframe_shadows"):
                cast = residual_of_key_frame(key_frame.frame, hidden, self.mosaic).astype(np.uint8)
                shadow = cv2.resize(cast, self.grid.size[::-1], interpolation=cv2.INTER_NEAREST) > 0
                known = known & (cv2.resize(cast, known.shape[::-1], interpolation=cv2.INTER_NEAREST) == 0)
            luma, picture = key_frame.frame.luma(size=self.grid.size), SourcePlanes(key_frame.frame.planes)
            sample = LightSample.of(key_frame.frame.planes, key_frame.frame.layout, blocked | shadow)
            self._references[number] = _Reference(luma, blocked | shadow, known, shadow, picture, sample)
        return self._references[number]


def _blurred(frame: Frame, hidden: NDArray[np.bool_], sigma: float) -> SourcePlanes:
    """The planes of `frame` blurred by `sigma` luma px, without `hidden` pixels, bool [h, w] of any size."""
    planes = []
    for number, plane in enumerate(frame.planes):
        visible = cv2.resize(1 - hidden.astype(np.float32), plane.shape[::-1], interpolation=cv2.INTER_LINEAR)
        sigmas = sigma / (1 << frame.layout.shifts(number)[1]), sigma / (1 << frame.layout.shifts(number)[0])
        weight = _softened(visible, *sigmas)
        soft = _softened(plane * visible, *sigmas) / np.maximum(weight, 1e-3)
        planes.append(np.rint(np.where(weight > 1e-3, soft, plane)).astype(plane.dtype))
    return SourcePlanes(tuple(planes))


def _softened(plane: NDArray[np.float32], sigma_x: float, sigma_y: float) -> NDArray[np.float32]:
    """Gaussian blur at a cost that does not grow with sigma: wide blurs run on a reduced plane."""
    step = max(int(min(sigma_x, sigma_y) / 2), 1)
    if step > 1:
        size = (-(-plane.shape[1] // step), -(-plane.shape[0] // step))
        small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), sigma_x / step, sigmaY=sigma_y / step)
        return np.asarray(cv2.resize(small, plane.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma_x, sigmaY=sigma_y), np.float32)


def _shows_background(reference: _Reference, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
    """bool [N]: whether the key frame shows the background at the points (x, y) of the work grid."""
    height, width = reference.hidden.shape
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    inside[inside] = ~reference.hidden[row[inside], column[inside]]
    return inside
