"""What chunks and workers cost and gain: one clip in one piece, in chunks, and by two workers, as whole processes in turn.

    python benchmarks/chunks.py out --repeat 10 --rounds 2                 # the sample ten times over, half its size
    python benchmarks/chunks.py out --kills 20 --repeat 4 --shrink 8       # killed at twenty seeded moments, then compared

Processor seconds count the process and its workers; wall seconds mean something only on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np

SAMPLES = Path(__file__).parents[1] / "samples"
QUICK = ("--flow", "dis")
WAYS = {"one piece": (), "chunks": ("--work", "WORK"), "2 workers": ("--workers", "2")}


def make(folder: Path, repeat: int, shrink: int) -> tuple[Path, Path]:
    """(clip, masks): the sample `repeat` times over, smaller; every second time mirrored, so that a cut lies between."""
    made = []
    for name, out, codec, pix_fmt in (
        ("walk.mp4", "clip.mp4", "libx264", "yuv420p"),
        ("walk_masks.mkv", "masks.mkv", "ffv1", "gray"),
    ):
        made.append(folder / out)
        with av.open(str(SAMPLES / name)) as source:
            side = 2 * shrink
            frames = [
                frame.reformat(frame.width // side * 2, frame.height // side * 2, pix_fmt)
                for frame in source.decode(video=0)
            ]
        planes = [frame.to_ndarray() for frame in frames]
        with av.open(str(folder / out), "w") as sink:
            stream = sink.add_stream(codec, rate=25, options={"crf": "12"} if codec == "libx264" else {})
            stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, pix_fmt
            for turn in range(repeat):
                for frame, picture in zip(frames, planes, strict=True):
                    shown = _mirrored(picture, frame.height, pix_fmt) if turn % 2 else picture
                    sink.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), pix_fmt)))
            sink.mux(stream.encode(None))
    return made[0], made[1]


def _mirrored(picture: np.ndarray, height: int, pix_fmt: str) -> np.ndarray:
    if pix_fmt == "gray":
        return picture[:, ::-1]
    width, luma = picture.shape[1], picture[:height, ::-1]
    chroma = picture[height:].reshape(-1, width // 2)[:, ::-1].reshape(-1, width)
    return np.concatenate([luma, chroma])


def timed(words: list[str]) -> tuple[float, float]:
    """(wall, processor) seconds of a process and all that it starts."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - begun, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


SHORT = """
import sys
from vidrase.chunks import plan
plan.SHORTEST = plan.LONGEST = 100
from vidrase.cli.main import main
main(sys.argv[1:])
"""


def command(clip: Path, masks: Path, to: Path, *more: str) -> list[str]:
    """The words of a run."""
    return [sys.executable, "-m", "vidrase", str(clip), "--mask", str(masks), "-o", str(to), "-y", "-q", *QUICK, *more]


def speed(folder: Path, clip: Path, masks: Path, rounds: int) -> None:
    """Each way in turn, `rounds` times; prints the medians and the ratios to one piece."""
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for turn in range(rounds):
        for way, words in WAYS.items():
            more = [word.replace("WORK", str(folder / f"work-{turn}")) for word in words]
            seconds[way].append(timed(command(clip, masks, folder / f"{way.replace(' ', '-')}.mp4", *more)))
            print(way, *(f"{value:.1f}" for value in seconds[way][-1]), flush=True)
    medians = {
        way: [statistics.median(column) for column in zip(*times, strict=True)] for way, times in seconds.items()
    }
    wall, processor = medians["one piece"]
    for way, (a, b) in medians.items():
        print(f"{way}: wall {a:.1f} s ({a / wall:.2f}), processor {b:.1f} s ({b / processor:.2f})")
    print(json.dumps({"load": os.getloadavg(), "seconds": seconds}))


def kills(folder: Path, clip: Path, masks: Path, count: int) -> None:
    """Kill the same command at `count` seeded moments, then let it end: the result has to be that of an undisturbed run."""

    def words_for(to: Path, kept: Path) -> list[str]:
        words = command(clip, masks, to, "--work", str(kept), "--workers", "2", "--quality", "fast")
        return [words[0], "-c", SHORT, *words[3:]]

    whole, killed = folder / "undisturbed.mp4", folder / "killed.mp4"
    work = folder / "work"
    took, _ = timed(words_for(whole, folder / "other"))
    dice, done = random.Random(0), 0
    while done < count:
        before, more = _chunks_in(work), dice.choice((0, 1, 2))  # chunks that it may complete
        process = subprocess.Popen(words_for(killed, work), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and _chunks_in(work) < before + more:
            time.sleep(0.01)
        try:
            process.wait(dice.uniform(0, 0.2) * took)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if process.returncode:
            done += 1
            print(f"killed with {_chunks_in(work)} chunks", flush=True)
        else:
            _compare(whole, killed)
            shutil.rmtree(work)
    timed(words_for(killed, work))
    _compare(whole, killed)


def _chunks_in(work: Path) -> int:
    return len(list((work / "filled").glob("0*.chunk"))) if work.exists() else 0


def _compare(whole: Path, killed: Path) -> None:
    print("equal" if whole.read_bytes() == killed.read_bytes() else "DIFFERENT", flush=True)
    killed.unlink()


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder for clips and results")
    parser.add_argument("--repeat", type=int, default=10, help="times the sample is repeated (156 frames each)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--shrink", type=int, default=2, help="of the sample's size, 854x480")
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    clip, masks = make(given.folder, given.repeat, given.shrink)
    if given.kills:
        kills(given.folder, clip, masks, given.kills)
    else:
        speed(given.folder, clip, masks, given.rounds)


if __name__ == "__main__":
    main()
