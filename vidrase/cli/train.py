"""`vidrase train …`: making the models that ship with the package."""

from __future__ import annotations

import click

from vidrase.cli.train_inpainter import inpainter
from vidrase.cli.train_segmenter import segmenter


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def train() -> None:
    """Train the models that ship with the package, offline and resumable."""


train.add_command(segmenter)
train.add_command(inpainter)
