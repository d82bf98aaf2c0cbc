"""Runs the suites that were asked for and writes table, records and page."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vidrase.bench import speed
from vidrase.bench.case import CaseRef
from vidrase.bench.completion import completion_cases, spread
from vidrase.bench.folders import chosen, data_root
from vidrase.bench.inputs.measure import inputs_report
from vidrase.bench.page import save_page
from vidrase.bench.peers import Peer, missing, ours, peers
from vidrase.bench.quality import run_cases
from vidrase.bench.ratios import contenders, paste_refs, run_ratios
from vidrase.bench.record import checkout, make_record, save
from vidrase.bench.results import Results
from vidrase.bench.sample import sample_case, sample_folder, sample_removal
from vidrase.bench.scenes import synthetic_cases
from vidrase.bench.startup import run_startup
from vidrase.errors import OptionError, SinkError, VidraseError
from vidrase.report import Note
from vidrase.segment.device import choose_device

SUITES = ("quality", "light", "stills", "removal", "masks", "speed", "memory", "live", "inputs")


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure and where to put it."""

    suite: str = "all"
    cases: tuple[str, ...] = ()
    """Words: only cases whose name contains one of them."""
    quick: bool = False
    """A set that ends within ten minutes on two cores."""
    data: Path | None = None
    output: Path | None = None
    """Folder for records and page; None: only the table."""
    quality: str = "default"
    """Of the fill: fast, default, best."""
    all_pictures: bool = False
    """Show pictures on the page that may not be published."""
    ablate: bool = False
    """Measure what each rule is worth, instead of the suites."""
    frames: int = 24
    """Of each case of an ablation."""
    jobs: int = 1
    """Cases of an ablation, or of the inputs, that run side by side."""
    minutes: float | None = None
    """Of the live soak; None: 10, or half a minute when quick."""
    device: str = "auto"
    """Where the networks run: auto, cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if self.suite not in (*SUITES, "all"):
            raise OptionError(f"suite: expected all, {', '.join(SUITES)}, got '{self.suite}'")


def run(options: BenchOptions, say: Note = print) -> Results:
    """Measure; a suite that lacks its data is skipped with a line when everything was asked for, else an error.

    Raises VidraseError for data that is asked for by name and is not there or does not fit, OptionError for a device that
    this machine lacks.
    """
    choose_device(options.device)  # one that is not there is known before the minutes of measuring
    data = data_root(options.data)
    if options.output is not None:  # known before the minutes of measuring, not after them
        try:
            options.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot write to folder {options.output}: {error.strerror or error}") from error
    results = Results(say=say, checkout=checkout())  # as it is now: somebody may go on working meanwhile
    if options.ablate:
        from vidrase.bench.ablate import Setting, run_ablation

        begun = time.perf_counter()
        run_ablation(Setting(data, options.cases, options.frames, options.jobs), results)
        results.seconds["ablation"] = time.perf_counter() - begun
        return results
    wanted = SUITES if options.suite == "all" else (options.suite,)
    for name in wanted:
        say(f"{name} ...")
        begun = time.perf_counter()
        try:
            _RUNNERS[name](options, data, results)
        except VidraseError as error:
            if options.suite != "all":
                raise
            results.skip(f"{name}: {error}")
        results.seconds[name] = time.perf_counter() - begun
    if not results.rows:
        why = [*results.skipped, *(failure["error"] for failure in results.failures)]
        raise OptionError("nothing was measured: " + ("; ".join(why) or "no case was chosen"))
    return results


def write(results: Results, options: BenchOptions) -> list[Path]:
    """Records and page below `options.output`; returns the paths, the page last."""
    if options.output is None:
        return []
    settings: dict[str, Any] = {
        k: v
        for k, v in asdict(options).items()
        if k in ("suite", "cases", "quick", "quality", "minutes", "device", "ablate", "frames")
    }
    settings["cases"] = list(options.cases)
    records = []
    for suite in dict.fromkeys(row.suite for row in results.rows):
        records.append(make_record(suite, [row for row in results.rows if row.suite == suite], results, settings))
    if not records:
        return []
    paths = [save(record, options.output) for record in records]
    if options.ablate:
        return paths
    for record, path in zip(records, list(paths), strict=True):
        if record["suite"] == "inputs":
            paths.append(path.with_suffix(".md"))
            paths[-1].write_text(inputs_report(record), encoding="utf-8")
    if options.suite == "inputs":
        return paths
    name = options.suite if options.suite == "all" else records[0]["suite"]
    page = paths[0].with_name(f"{name}--{paths[0].stem.split('--', 1)[1]}.html")
    save_page(results, records, page, every_picture=options.all_pictures)
    return [*paths, page]


def _needs(data: Path | None, what: str) -> Path:
    if data is None:
        raise OptionError(f"{what} needs a data folder; name it with --data or VIDRASE_DATA")
    return data


def _quality(options: BenchOptions, data: Path | None, results: Results) -> None:
    frames = 20 if options.quick else 36
    real = completion_cases(data, frames) if data is not None else []
    made = synthetic_cases(frames)
    folder = sample_folder()
    sample = [sample_case(folder, frames)] if folder is not None else []
    if options.quick and not options.cases:
        moving = [ref for ref in real if ref.name.startswith("moving/")]
        still = [ref for ref in real if ref.name.startswith("still/")]
        real = spread(moving, 4) + spread(still, 2)
        made = [ref for ref in made if ref.name.split("/")[1] in ("pan", "parallax", "exposure", "noise", "never-seen")]
    if data is None:
        results.skip("completion of real clips: no --data and no VIDRASE_DATA")
    run_cases(_chosen([*real, *sample, *made], options), _methods(options, results), results, "quality")


def _light(options: BenchOptions, data: Path | None, results: Results) -> None:
    from vidrase.bench.light import light_names, run_light

    if data is None:
        results.skip("light on real clips: no --data and no VIDRASE_DATA")
    names = light_names(data)
    if options.quick and not options.cases:
        names = [name for name in names if name.split("/")[1] in ("pan", "static")]
    run_light(data, chosen(names, options.cases), results, options.quality, options.device)


def _stills(options: BenchOptions, data: Path | None, results: Results) -> None:
    from vidrase.bench.stills import still_cases

    where = _needs(data, "stills")
    refs = still_cases(where, 256, 2 if options.quick else 6)
    if not options.quick:
        refs += still_cases(where, 512, 12)
    run_cases(_chosen(refs, options), _methods(options, results, stills=True), results, "stills")


def _removal(options: BenchOptions, data: Path | None, results: Results) -> None:
    from vidrase.bench.redetect import Redetector
    from vidrase.bench.removal import RemovalRef, removal_refs, run_removal
    from vidrase.bench.shadows import run_shadow_stage, shadow_cases, stage_name
    from vidrase.bench.tools import Tool, UserScript, VidraseTool, coco_weights

    frames = 24 if options.quick else 40
    folder = sample_folder()
    refs: list[RemovalRef] = []
    shadows: list[RemovalRef] = []
    if folder is not None:
        refs.append(("sample/walk", lambda: sample_removal(folder, 2 * frames)))
    if data is not None:
        found = removal_refs(data, frames)
        refs += [found[0], found[-2]] if options.quick and not options.cases and len(found) > 2 else found
        try:
            shadows = shadow_cases(data, 20 if options.quick else 36)
        except VidraseError as error:
            results.skip(f"shadows: {error}")
    else:
        results.skip("removal from real clips: no --data and no VIDRASE_DATA")
    if not refs:
        raise OptionError("removal needs samples/ (a checkout) or a data folder (--data)")
    whole = shadows if options.cases else spread(shadows, 1 if options.quick else 4)  # the stage alone is much cheaper
    stage = shadows if options.cases or not options.quick else spread(shadows, 4)
    refs += whole
    names = chosen([*(name for name, _ in refs), *(stage_name(name) for name, _ in stage)], options.cases)
    tools: list[Tool] = [VidraseTool(options.device)]
    try:
        tools.append(UserScript(coco_weights(), options.device))
    except VidraseError as error:
        results.skip(f"the user script: {error}")
    try:
        redetector = Redetector(options.device)
    except (VidraseError, ImportError) as error:
        results.skip(f"re-detection: {error}")
        redetector = None
    run_removal([ref for ref in refs if ref[0] in names], tools, redetector, results)
    run_shadow_stage([ref for ref in stage if stage_name(ref[0]) in names], results)


def _masks(options: BenchOptions, data: Path | None, results: Results) -> None:
    from vidrase.bench.confusions import run_confusions
    from vidrase.bench.holes import run_holes
    from vidrase.bench.masks import run_masks

    run_confusions(_needs(data, "masks"), results, quick=options.quick, device=options.device)
    run_masks(_needs(data, "masks"), results, quick=options.quick, device=options.device)
    run_holes(_needs(data, "masks"), results, quick=options.quick, device=options.device)


def _speed(options: BenchOptions, data: Path | None, results: Results) -> None:
    folder = sample_folder()
    plan = speed.QUICK if options.quick else speed.FULL
    if folder is None:
        results.skip("speed with a detector: samples/walk.mp4 is not here (it comes with the sources, not with pip)")
    with tempfile.TemporaryDirectory(prefix="vidrase-bench-") as made:
        cases: list[speed.SpeedCase] = [("start", run_startup)]
        cases += _real_clips(options, data, plan, results, Path(made))
        cases += speed.speed_cases(plan, folder / "walk.mp4" if folder else None, options.device, Path(made))
        names = chosen([name for name, _ in cases], options.cases)
        for name, measure in cases:
            if name in names:
                measure(results)


def _real_clips(
    options: BenchOptions, data: Path | None, plan: speed.Plan, results: Results, made: Path
) -> list[speed.SpeedCase]:
    """Real clips with a pasted person: beside the user's script, and with the truth's masks. Says what is missing."""
    if data is None:
        results.skip("speed on real clips: no --data and no VIDRASE_DATA")
        return []
    count, frames, repetitions = plan.real
    try:
        refs = paste_refs(data, frames, count)
    except VidraseError as error:
        results.skip(f"speed on real clips: {error}")
        return []
    cases = speed.real_mask_cases(plan, refs, options.device, made)
    try:
        field = contenders(options.device)
    except VidraseError as error:
        results.skip(f"speed beside the user's script: {error}")
        return cases
    beside = [(name, partial(run_ratios, name=name, build=b, field=field, repetitions=repetitions)) for name, b in refs]
    return [*beside, *cases]


def _memory(options: BenchOptions, _: Path | None, results: Results) -> None:
    speed.run_memory(results, speed.QUICK if options.quick else speed.FULL, options.device)


def _live(options: BenchOptions, data: Path | None, results: Results) -> None:
    from vidrase.bench.crowd import run_crowd
    from vidrase.bench.live import run_fixed, run_soak
    from vidrase.bench.paced import run_paced

    minutes = options.minutes if options.minutes is not None else 0.5 if options.quick else 10.0
    names = chosen(["soak", "fixed", "paced", "crowd"], options.cases)
    samples = sample_folder()
    if "soak" in names:
        run_soak(results, minutes, samples, options.device)
    for name, measure in (("paced", run_paced), ("crowd", run_crowd)):
        if name in names and options.cases:  # as long as the soak again: only when it is named
            if samples is not None:
                measure(results, minutes, samples, options.device)
            else:
                results.skip("a paced file: no samples/ here")
    if "fixed" in names:
        if data is not None:
            run_fixed(results, data, 300 if options.quick else 1400, options.device)
        else:
            results.skip("live against clean plates: no --data and no VIDRASE_DATA")


def _inputs(options: BenchOptions, _: Path | None, results: Results) -> None:
    from vidrase.bench.inputs.measure import run_inputs

    run_inputs(results, options.cases, options.jobs, quick=options.quick)


_RUNNERS: dict[str, Callable[[BenchOptions, Path | None, Results], None]] = {
    "quality": _quality,
    "light": _light,
    "stills": _stills,
    "removal": _removal,
    "masks": _masks,
    "speed": _speed,
    "memory": _memory,
    "live": _live,
    "inputs": _inputs,
}


def _chosen(refs: Sequence[CaseRef], options: BenchOptions) -> list[CaseRef]:
    names = chosen([ref.name for ref in refs], options.cases)
    return [ref for ref in refs if ref.name in names]


def _methods(options: BenchOptions, results: Results, *, stills: bool = False) -> list[Peer]:
    """Ours first. Without our engine the peers still run, and the page says so."""
    rivals = peers(stills=stills, device=options.device)
    for why in missing(stills=stills):
        results.skip(why)
    try:
        return [ours(options.quality, options.device), *rivals]
    except VidraseError as error:
        results.skip(f"our engine: {error}")
        return rivals
