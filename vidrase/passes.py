"""The two passes over a source. First: detector, tracker and shot analysis. Second: masks, shadows and fill, frame by frame.

Each is a chain of stages with threads between. `max_frames_in_flight` bounds the frames held, whatever the clip's length.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vidrase import fill as fill_stage
from vidrase import mask as mask_stage
from vidrase import masktrack, prompts
from vidrase.cuts import MAX_TRANSITION, Shots
from vidrase.errors import OptionError, SourceError, UnsupportedSource
from vidrase.frames import Frame, Hole, HoleFrame, Instances, SourceInfo
from vidrase.holefile import lead_in, open_masks
from vidrase.labels import alike, scenery
from vidrase.options import FillOptions, Options
from vidrase.protected import limited_to_region, protected_beyond, union_of_holes, with_protected
from vidrase.run import FirstPass, Run
from vidrase.segment import Segmenter
from vidrase.select import Selection, select
from vidrase.shots import ShotAnalysis, ShotAnalyzer, shots_of
from vidrase.source import FrameTable, Source, Stretch, open_random, open_source
from vidrase.store import InstanceStore
from vidrase.streams import prefetch
from vidrase.track import frames_held, track

DEPTH = 4  # frames a prefetch runs ahead: evens out the encoder's and detector's bursts


def max_frames_in_flight(options: Options) -> int:
    """Largest number of frames of a clip in memory at once: prefetches, windows, and one between each two stages."""
    detecting = 2 * (DEPTH + 2) + frames_held(options.models.batch, options.models.detect_every) + 2 + MAX_TRANSITION
    erasing = 4 * (DEPTH + 2) + mask_stage.frames_held(options.masks) + fill_stage.frames_held(options.fill) + 2
    return max(detecting, erasing)


def analyse_source(source: Source, run: Run, store: InstanceStore | None) -> FirstPass:
    """First pass: detect, track and analyse the shots; instances are written to `store`."""
    builder = ShotAnalyzer() if source.info.kind != "image" else None
    wide = near(run, source.info)
    segmenter = run.models.segmenter
    scenery_labels = scenery(run.options.select.remove, segmenter.names) if segmenter is not None else frozenset[str]()
    times, table = array("d"), FrameTable()  # twenty bytes a frame: the only memory that grows with the clip
    with ExitStack() as stack:
        frames = stack.enter_context(closing(decoded(source, run)))
        masks = _mask_files(stack, run, source.info)
        first_pass: Iterable[tuple[Frame, Instances]]
        if segmenter is not None and store is not None:
            found = prefetch(run.clock.stage("detect", _tracked(frames, run, wide)), depth=DEPTH, name="detect")
            first_pass = stack.enter_context(closing(found))
        else:
            first_pass = ((frame, Instances.none(frame.displayed_size)) for frame in frames)
        for frame, instances in first_pass:
            times.append(frame.seconds)
            table.add(frame)
            if store is not None:
                store.append(frame, instances)
            if builder is not None:
                begun = time.perf_counter()
                hole = _raw_hole(frame, instances, [next(reader) for reader in masks], scenery_labels)
                builder.add(frame, hole, searched=within(frame.seconds - times[0], wide))
                run.clock.add("shots", time.perf_counter() - begun)
            if run.progress is not None:
                run.progress("detecting", len(times), source.info.frame_count)
            del frame, instances
    if not times:
        raise SourceError(f"{source.info.url} holds no frame that can be decoded")
    analysis = builder.finish() if builder is not None else None
    if store is not None and run.options.select.box:
        analysis = _followed(source, run, store, times, scenery_labels) or analysis
    return FirstPass(analysis, times, store, scenery_labels, table)


def _followed(
    source: Source, run: Run, store: InstanceStore, times: Sequence[float], scenery_labels: frozenset[str]
) -> ShotAnalysis | None:
    """Track objects in boxes that match no detection into the `store`, then analyse the shots again: they are no background."""
    run.followed = {}
    begun = time.perf_counter()
    with ExitStack() as stack:
        trails: dict[int, masktrack.MaskTrack] = {}
        for box, index in prompts.unmatched_boxes(run.options.select.box, store, times).items():
            trail = stack.enter_context(
                masktrack.track_box(iter(source), index, box, store.get(index).size, run.models.flow)
            )
            number = run.followed[box] = store.unused_id + len(trails)
            trails[number] = trail
            span = f"{times[trail.first] - times[0]:.2f} to {times[trail.last] - times[0]:.2f} s"
            why = "".join(f"; {text}" for text in (trail.beginning, trail.ending) if text)
            run.notes(
                f"the detector knows nothing in the box {box}: what is there is id:{number}, seen from {span}{why}"
            )
        if not trails:
            return None
        analysis = analyse_again(source, run, store, times, scenery_labels, trails)
    run.clock.add("follow", time.perf_counter() - begun)
    return analysis


def analyse_again(
    source: Source,
    run: Run,
    store: InstanceStore,
    times: Sequence[float],
    scenery_labels: frozenset[str],
    trails: Mapping[int, masktrack.MaskTrack],
) -> ShotAnalysis | None:
    """The shot analysis of a source, made again with what is now in `store`. trails: id -> track to be added to the `store`."""
    builder = ShotAnalyzer() if source.info.kind != "image" else None
    with ExitStack() as stack:
        wide, masks = near(run, source.info), _mask_files(stack, run, source.info)
        for frame in stack.enter_context(closing(decoded(source, run))):
            for number, trail in trails.items():
                found = trail.instances(frame.index, frame.displayed_size, number)
                if len(found):
                    store.extend(frame, found)
            if builder is not None:
                hole = _raw_hole(frame, store.get(frame.index), [next(reader) for reader in masks], scenery_labels)
                builder.add(frame, hole, searched=within(frame.seconds - times[0], wide))
            del frame
    return builder.finish() if builder is not None else None


def analysed(source: Source, run: Run, first_pass: FirstPass, selection: Selection | None) -> ShotAnalysis | None:
    """The shot analysis of the first pass; made again when scenery is removed that it took for background."""
    if first_pass.store is None or selection is None:
        return first_pass.analysis
    removed_tracks = [track for track in first_pass.store.tracks() if track.id in (selection.ids or ())]
    scenery_labels = first_pass.scenery - alike(*(label for track in removed_tracks for label in track.labels))
    if scenery_labels != first_pass.scenery:
        begun = time.perf_counter()
        first_pass.analysis = analyse_again(source, run, first_pass.store, first_pass.seconds, scenery_labels, {})
        first_pass.scenery = scenery_labels
        run.clock.add("shots", time.perf_counter() - begun)
    return first_pass.analysis


def find_holes(
    source: Source, run: Run, first_pass: FirstPass, selection: Selection | None, *, first: int = 0
) -> Generator[HoleFrame, None, None]:
    """Second pass, first half: every frame of the source with its whole hole, including shadows.

    first: index of the frame that `source` begins with.
    """
    store, shots = first_pass.store, shots_of(first_pass.analysis)
    with ExitStack() as stack:
        frames: Iterable[Frame] = stack.enter_context(closing(decoded(source, run)))
        holes: Iterable[HoleFrame] = (HoleFrame(frame) for frame in frames)
        if store is not None and selection is not None:
            found = ((frame, store.get(frame.index)) for frame in frames)
            labels = {track.id: track.label for track in store.tracks()}
            holes = with_protected(
                _masked(stack, found, selection, run, shots), store.get, selection, first_pass.scenery, labels
            )
        masks = _mask_files(stack, run, source.info, first)
        asked = limited_to_request(holes, masks, run, near(run, source.info), start=first_pass.seconds[0])
        yield from stack.enter_context(closing(complete(asked, run, first_pass.analysis, shots)))


def one_pass(frames: Iterable[Frame], run: Run) -> Generator[Frame, None, None]:
    """Detect, mask and fill frames that can be read only once (a caller's loop, a pipe), without shot analysis.

    A phrase or an id needs the whole clip: only classes select here.
    """
    if run.options.select.selection is not None:
        raise OptionError("a selection file needs the whole clip; give its file name instead of single frames")
    shots = Shots()
    with ExitStack() as stack:
        holes: Iterable[HoleFrame]
        if run.models.segmenter is not None:
            chosen = select(run.options.select, None, run.models.segmenter.names)
            waiting: dict[int, Instances] = {}

            def first_pass() -> Iterator[tuple[Frame, Instances]]:
                for frame, instances in _tracked(frames, run, near(run, None)):
                    waiting[frame.index] = instances
                    yield frame, instances
                    del frame, instances

            scenery_labels = scenery(run.options.select.remove, run.models.segmenter.names)
            holes = with_protected(
                _masked(stack, first_pass(), chosen, run, shots), waiting.pop, chosen, scenery_labels
            )
        else:
            holes = (HoleFrame(frame) for frame in frames)
        first = next(iter_holes := iter(holes), None)
        if first is None:
            return
        height, width = first.frame.size
        info = SourceInfo("frames", None, "frames", width, height, first.frame.layout, first.frame.time_base)
        masks = _mask_files(stack, run, info)

        def holes_in_order() -> Iterator[HoleFrame]:
            yield first
            yield from iter_holes

        whole = complete(limited_to_request(holes_in_order(), masks, run, near(run, None)), run, None, shots)
        yield from fill_frames(whole, run, None, shots)


def complete(
    holes: Iterable[HoleFrame], run: Run, analysis: ShotAnalysis | None, shots: Shots | None = None
) -> Generator[HoleFrame, None, None]:
    """Holes with shadows and residuals added if the options ask for them. No later stage adds to a hole."""
    options = fill_options(run)
    whole = fill_stage.shadowed(holes, options=options, flow=run.models.flow, analysis=analysis, shots=shots)
    return prefetch(run.clock.stage("shadows", whole), depth=DEPTH, name="shadows") if options.shadows else whole


def fill_options(run: Run) -> FillOptions:
    """The fill's options, with the shadows decided."""
    options = run.options.fill
    if options.shadows is None:  # a mask file is taken exactly; a detected mask seldom covers the whole object
        options = replace(options, shadows=run.models.segmenter is not None)
    return options


def fill_frames(
    holes: Iterable[HoleFrame], run: Run, analysis: ShotAnalysis | None, shots: Shots | None = None
) -> Generator[Frame, None, None]:
    """The fill stage with this run's models, for the holes of `complete`: one frame out for each in."""
    filled = fill_stage.fill(
        holes,
        options=fill_options(run),
        flow=run.models.flow,
        inpainter=run.models.inpainter,
        analysis=analysis,
        stats=run.stats,
        note=run.notes,
        shots=shots,
    )
    with closing(run.clock.stage("fill", filled)) as ready:
        yield from ready


def near(run: Run, info: SourceInfo | None) -> tuple[tuple[float, float], ...]:
    """The selected times, extended on both sides by the fill's window: objects must be known there too."""
    rate = float(info.frame_rate) if info is not None and info.frame_rate else 25.0
    margin = 1.5 * fill_stage.window_radius(run.options.fill) / rate + 0.2
    return tuple((start - margin, stop + margin) for start, stop in run.options.select.times)


def hole_of(frame: Frame, mask: NDArray[np.bool_], options: Options) -> Hole | None:
    """The hole of one mask, bool [H, W] displayed, grown as the options say."""
    return next(iter(mask_stage.holes_from_masks([frame], [mask], options.masks))).hole


def decoded(source: Source, run: Run) -> Generator[Frame, None, None]:
    """The frames of a source, decoded in a thread, timed and counted."""
    return prefetch(run.alive.watch(run.clock.stage("decode", source)), depth=DEPTH, name="decode")


def _masked(
    stack: ExitStack, first_pass: Iterable[tuple[Frame, Instances]], selection: Selection, run: Run, shots: Shots
) -> Iterable[HoleFrame]:
    holes = mask_stage.mask(
        first_pass, chosen=selection.chosen, options=run.options.masks, flow=run.models.flow, shots=shots
    )
    return stack.enter_context(closing(prefetch(run.clock.stage("mask", holes), depth=DEPTH, name="mask")))


def limited_to_request(
    holes: Iterable[HoleFrame],
    masks: Sequence[Iterator[NDArray[np.bool_]]],
    run: Run,
    wide: tuple[tuple[float, float], ...],
    *,
    start: float | None = None,
) -> Iterator[HoleFrame]:
    """Holes with those of the mask files added. Frames near the selected times pass with their holes, others with none.

    start: when the clip begins, s; None: with the first of `holes`.
    """
    for found in holes:
        start = found.frame.seconds if start is None else start
        hole, shown = found.hole, [next(reader) for reader in masks]
        since = found.frame.seconds - start
        if within(since, wide):
            if shown:
                drawn = np.logical_or.reduce(shown) if len(shown) > 1 else shown[0]
                hole = union_of_holes(hole, hole_of(found.frame, drawn, run.options))
            asked = within(since, run.options.select.times)
            inside = limited_to_region(hole, found.frame, run.options.select.region) if asked else hole
            kept = (
                protected_beyond(found, run.options.select.region)
                if asked and inside is not None
                else found.protected_hole
            )
            yield replace(found, hole=inside, passes=not asked, protected_hole=kept)
        else:
            yield HoleFrame(found.frame, passes=True, searched=False)
        del found, hole


def _tracked(
    frames: Iterable[Frame], run: Run, times: tuple[tuple[float, float], ...]
) -> Iterator[tuple[Frame, Instances]]:
    segmenter = run.models.segmenter
    assert segmenter is not None
    return track(
        frames,
        _During(segmenter, times) if times else segmenter,
        batch=run.options.models.batch,
        tracker=run.options.models.tracker,
        detect_every=run.options.models.detect_every,
        note=run.notes,
    )


class _During:
    """A segmenter that skips frames outside the selected times."""

    def __init__(self, segmenter: Segmenter, times: tuple[tuple[float, float], ...]) -> None:
        self._segmenter, self._times = segmenter, times
        self.names, self.description = segmenter.names, segmenter.description
        self.recommended_conf = segmenter.recommended_conf
        self._start: float | None = None

    def __call__(self, frames: Sequence[Frame]) -> list[Instances]:
        if self._start is None and frames:
            self._start = frames[0].seconds
        asked = [within(frame.seconds - (self._start or 0.0), self._times) for frame in frames]
        found = iter(self._segmenter([frame for frame, want in zip(frames, asked, strict=True) if want]))
        pairs = zip(frames, asked, strict=True)
        return [next(found) if want else Instances.none(frame.displayed_size) for frame, want in pairs]


def _mask_files(stack: ExitStack, run: Run, info: SourceInfo, first: int = 0) -> list[Iterator[NDArray[np.bool_]]]:
    """A reader of each mask file, for the frames from `first` on."""
    readers, asked, invert = [], run.options.source, run.options.select.mask_invert
    for path in run.options.select.mask:
        if path.is_fifo():
            raise UnsupportedSource(f"mask {path} is a pipe, and masks are read twice; save it to a file first")
        masks = stack.enter_context(
            open_source(path, note=run.notes, strict=asked.strict, references=asked.allow_references)
        )
        if first and masks.info.kind == "video":
            clip = stack.enter_context(open_random(masks.info))
            masks = Stretch(clip, masks, lead_in(first), len(clip))
        readers.append(iter(open_masks(masks, info, run.notes, invert=invert, first=first)))
    return readers


def _raw_hole(
    frame: Frame, instances: Instances, masks: Sequence[NDArray[np.bool_]], scenery_labels: frozenset[str]
) -> NDArray[np.bool_] | None:
    """bool [H, W], stored orientation: all objects and mask files, which the shot analysis must not take for background."""
    hole: NDArray[np.bool_] | None = None
    for shown in [
        *(instances.mask(k) for k, label in enumerate(instances.labels) if label not in scenery_labels),
        *masks,
    ]:
        hole = shown if hole is None else hole | shown
    return None if hole is None else np.ascontiguousarray(frame.orientation.to_stored(hole))


def within(seconds: float, times: tuple[tuple[float, float], ...]) -> bool:
    """Whether a time, in seconds from the first frame, lies in `times`; empty `times` contain every time."""
    # half a microsecond of tolerance: a user's 0:10 and a frame at 10.000000 s are the same time
    return not times or any(start - 5e-7 <= seconds < stop - 5e-7 for start, stop in times)
