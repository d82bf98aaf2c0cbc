"""`vidrase live SOURCE`: removal while you watch."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click

from vidrase import paths
from vidrase.cli.parse import Number, auto_or_int, words_of
from vidrase.errors import OptionError
from vidrase.part import Part
from vidrase.paths import Named
from vidrase.starred import starred


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="SOURCE")
@click.option("--remove", multiple=True, metavar="WHAT", help="Class names or ids, or 'all'.")
@click.option("--keep", multiple=True, metavar="WHAT", help="What to keep of what --remove names.")
@click.option(
    "--latency",
    type=click.IntRange(0, 10_000),
    default=100,
    show_default=True,
    metavar="MS",
    help="How long a frame may wait for its mask.",
)
@click.option("--learn", type=Number(0, 600), default=0.0, metavar="N", help="First N seconds show an empty scene.")
@click.option("--plate", type=click.Path(path_type=Path), help="Background (.npz): read if there, written at the end.")
@click.option("--pace", is_flag=True, help="Play a file as if it were live; late frames are dropped.")
@click.option("--size", metavar="WxH", help="Asked of a camera or screen.")
@click.option("--rate", type=Number(), metavar="FPS", help="Asked of a camera or screen.")
@click.option(
    "--timeout",
    type=Number(0.2, 600),
    default=3.0,
    show_default=True,
    metavar="S",
    help="A stream without data for this long counts as lost.",
)
@click.option("--give-up", type=Number(), metavar="S", help="Stop when a lost source stays away so long.  [never]")
@click.option("--for", "seconds", type=Number(), metavar="S", help="Stop after so long.  [never]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Record: .mkv, .mp4 (fragmented), .ts; stop at any moment."
)
@click.option("--segment", type=Number(min=1), metavar="S", help="Begin a new file every S seconds.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--serve", metavar="HOST:PORT", help="MJPEG and a page for browsers; loopback unless a host is given.")
@click.option("--push", multiple=True, metavar="URL", help="rtmp://, rtsp://, udp://, tcp://, srt://; may be repeated.")
@click.option(
    "--virtual-camera",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[DEVICE]",
    help="Act as a camera for other programs.",
)
@click.option(
    "--window/--no-window", default=None, help="Show a window.  [when there is a display and nothing else is asked]"
)
@click.option("--level", type=click.IntRange(0, 4), help="Fix the quality, 0 best to 4.  [as time allows]")
@click.option("--dilate", metavar="N|auto", help="Dilate masks by N px.  [auto]")
@click.option("--model", help="YOLOv8-seg weights: a path or a name from `vidrase models`.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps.")
@click.option("--precision", default="auto", show_default=True, help="fp32, bf16, fp16.")
@click.option("--conf", type=Number(), help="Least confidence of a detection.  [the model's own]")
@click.option("--report", "report_path", type=click.Path(path_type=Path), help="What happened, as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def live(source: str, **given: Any) -> None:
    """Remove people and objects from a camera or stream.

    SOURCE is a camera's number or /dev/video*, a URL (rtsp, rtmp, http, udp, tcp, srt), screen, or a file (see --pace).
    In the window: q quit, space before/after, f freeze, m mask, c learn the background anew, 1-9 keep or remove one.
    """
    # half of two cores is the detector's; the rest decodes, paints and encodes. Set before torch and OpenCV load.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 2) - 1, 1)))
    remove = words_of("--remove", given["remove"])
    if not remove:
        raise OptionError("nothing to remove was named; give --remove person")

    def say(text: str) -> None:
        if not given["quiet"]:
            click.echo(f"vidrase: {starred(text)}", err=True)

    with ExitStack() as kept:
        report = _reserved(source, given)
        if report is not None:
            kept.callback(report.drop)
        _run(source, remove, given, say, report)


def _run(
    source: str, remove: tuple[str, ...], given: dict[str, Any], say: Callable[[str], None], report: Part | None
) -> None:
    import cv2  # before anything that loads PyAV: see Window

    from vidrase.live.address import address_of
    from vidrase.live.capture import Capture
    from vidrase.live.eraser import LiveEraser
    from vidrase.live.loop import LiveLoop
    from vidrase.live.stats import write_json
    from vidrase.live.window import Window
    from vidrase.options import ModelOptions

    cv2.setNumThreads(1 if (os.cpu_count() or 2) <= 2 else 4)
    plate: Path | None = given["plate"]
    address = address_of(source, size=_size(given["size"]), rate=given["rate"])
    shows = _wants_window(given)
    with ExitStack() as stack:
        eraser = stack.enter_context(
            LiveEraser(
                remove,
                keep=words_of("--keep", given["keep"]),
                latency=given["latency"] / 1000,
                models=ModelOptions(
                    model=given["model"], device=given["device"], precision=given["precision"], conf=given["conf"]
                ),
                dilate=auto_or_int("--dilate", given["dilate"]),
                learn=given["learn"],
                plate=plate if plate is not None and plate.exists() else None,
                level=given["level"],
                say=say,
            )
        )
        eraser.warm_up()
        capture = Capture(
            address,
            paced=given["pace"],
            timeout=given["timeout"],
            give_up=given["give_up"],
            sound=given["output"] is not None or bool(given["push"]),
            say=say,
        )
        run = LiveLoop(capture, eraser, (), seconds=given["seconds"], say=say)
        outputs = _outputs(given, run, stack, say, waits=address.kind == "file" and not given["pace"])
        stack.enter_context(capture)
        for output in outputs:  # what they need to know of the source is known now
            run.add(output(capture))
        if shows:
            window = Window()
            stack.callback(window.close)
            run.watch(window)
        _until_stopped(run)
        if plate is not None and eraser.count:
            eraser.save_plate(plate)
    if report is not None:
        write_json(report, run.report())
    if not given["quiet"]:
        _summary(run.report())


def _reserved(source: str, given: dict[str, Any]) -> Part | None:
    """The report, begun. Raises OptionError or SinkError where a name of this run would harm something, or is no good."""
    named = {"--output": given["output"], "--plate": given["plate"], "--report": given["report_path"]}
    read = [Named("the source", Path(source))] if os.path.isfile(source) else []  # noqa: PTH113 - never raises
    if given["model"] and Path(given["model"]).is_file():
        read.append(Named("--model", Path(given["model"])))
    paths.compare(read, [Named(called, path) for called, path in named.items() if path is not None])
    output: Path | None = given["output"]
    pieces = re.escape(output.stem) + r"-\d{3,}" + re.escape(output.suffix) if output is not None else ""
    for one in read:
        beside = output is not None and one.path.resolve().parent == output.resolve().parent
        if beside and re.fullmatch(pieces, one.path.name):
            raise OptionError(f"{one} is named like a piece of the recording {output}; give another name")
    if given["plate"] is not None:  # written at the end: better known now
        Part(given["plate"]).drop()
    if given["report_path"] is None:
        return None
    paths.refuse_existing("--report", given["report_path"], overwrite=given["overwrite"])
    return Part(given["report_path"], overwrite=given["overwrite"])


def _outputs(
    given: dict[str, Any], run: Any, stack: ExitStack, say: Callable[[str], None], *, waits: bool
) -> list[Any]:
    """Functions that open each output once the source is known; what can be wrong with the request is raised here."""
    from vidrase.live.outputs import VirtualCamera
    from vidrase.live.record import FileOutput
    from vidrase.live.serve import WebOutput

    if given["segment"] is not None and given["output"] is None:
        raise OptionError("--segment cuts what --output records; give -o FILE too")
    closing = []

    def open_later(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def opened(capture: Any) -> Any:
            output = make(capture)
            stack.callback(output.close)
            return output

        return opened

    if given["serve"] is not None:  # first: a port that is taken is worth knowing before a camera lights up
        web = WebOutput(given["serve"], stats=run.current_stats, say=say)
        stack.callback(web.close)
        say(f"watch at {web.address}")
        closing.append(lambda _: web)
    if given["output"] is not None:
        closing.append(
            open_later(
                lambda capture: FileOutput(
                    given["output"],
                    segment=given["segment"],
                    overwrite=given["overwrite"],
                    sound_rate=capture.sound_rate,
                    patient=waits,
                    say=say,
                )
            )
        )
    for url in given["push"]:
        closing.append(open_later(partial(_push, url, say)))
    if given["virtual_camera"] is not None:
        closing.append(open_later(lambda _: VirtualCamera(given["virtual_camera"], say=say)))
    return closing


def _push(url: str, say: Callable[[str], None], capture: Any) -> Any:
    from vidrase.live.record import PushOutput

    return PushOutput(url, sound_rate=capture.sound_rate, say=say)


def _wants_window(given: dict[str, Any]) -> bool:
    from vidrase.live.window import display_available

    elsewhere = (
        any(given[name] for name in ("output", "serve", "push", "report_path")) or given["virtual_camera"] is not None
    )
    wished = given["window"] if given["window"] is not None else not elsewhere
    if wished and not display_available():
        raise OptionError("there is no display for a window; give --serve 127.0.0.1:8080, --output FILE or --push URL")
    if not wished and not elsewhere and not given["plate"]:
        raise OptionError("nowhere to show the result; give --serve, --output, --push, --virtual-camera or --window")
    return wished


def _until_stopped(run: Any) -> None:
    """Run until the end or the first Ctrl-C, which is the usual way to end; a second one is not waited for."""

    def stop(number: int, _: object) -> None:
        run.stop()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        run.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise OptionError(f"--size {text}: expected WIDTHxHEIGHT, like 640x480")
    return int(height), int(width)


def _summary(report: dict[str, Any]) -> None:
    lost = f", {report['reconnects']} reconnections" if report["reconnects"] else ""
    click.echo(
        f"{report['source']}: {report['frames']} pictures in {report['seconds']:.1f} s, {report['fps']:.1f} fps, "
        f"{report['dropped']} dropped, latency {report['latency_ms']['p50']:.0f} ms (95 %: {report['latency_ms']['p95']:.0f}), "
        f"{100 * report['share_real']:.0f} % of what was hidden is real background, {report['peak_memory_mib']:.0f} MiB{lost}"
    )
