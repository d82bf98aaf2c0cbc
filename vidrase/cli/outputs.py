"""What a training run writes, looked at before it: hours later is too late for a name that is no good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidrase import paths
from vidrase.errors import OptionError
from vidrase.part import Part
from vidrase.paths import Named


def check_outputs(
    read: Sequence[Path | None], output: Path, folder: Path, resume: Path | None, *, overwrite: bool
) -> None:
    """Raises OptionError or SinkError where `output`, the digest beside it or the checkpoints in `folder` would harm something.

    read:   everything that the run reads; None: not given.
    resume: the checkpoint that is gone on from; what that run wrote is this one's to replace.
    """
    digest = output.with_suffix(".json")
    inputs = [Named("an input", path) for path in read if path is not None]
    paths.compare(inputs, [Named("--output", output), Named("its digest", digest)])
    for called, path in (("--output", output), ("its digest", digest)):
        paths.refuse_existing(called, path, overwrite=overwrite or resume is not None)
        Part(path).drop()
    last = folder / "last.pt"
    if resume is None and paths.is_there(last) and not overwrite:
        raise OptionError(
            f"{last} is the checkpoint of another run; go on with --resume, give another --run, or -y to replace it"
        )
