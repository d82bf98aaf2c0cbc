"""`vidrase train segmenter`: the segmenter that ships with the package, taught by another one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from vidrase.cli.outputs import check_outputs

CONF = 0.2  # what a copy of few hours is sure of; its teacher would say 0.25 there
SURVEYED = 512  # px, side at which the teacher looks at every picture
_path = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("sources", nargs=-1, required=True, metavar="DATA…", type=_path)
@click.option("-o", "--output", type=_path, required=True, help="The .safetensors to write; a .json digest beside it.")
@click.option("--teacher", type=_path, required=True, help="YOLOv8-seg .pt to learn from; a pickle, so one you trust.")
@click.option("--steps", default=6000, help="Length of the whole run, the resumed part included.")
@click.option("--hours", default=0.0, help="Time there is: the rate falls so that training ends with it. 0: no limit.")
@click.option("--imgsz", default=320, help="Side of a training picture, px; larger ones mix in towards the end.")
@click.option("--batch", default=12, help="Pictures a step, of imgsz² px.")
@click.option("--rate", default=3e-3, help="Learning rate before it falls.")
@click.option("--decay", default=0.4, help="Last share of the steps, over which the rate falls to nothing.")
@click.option("--run", "folder", type=_path, default=Path("runs/segmenter"), help="Folder of the checkpoints.")
@click.option("--resume", type=_path, help="Checkpoint (last.pt, or stable.pt from before the fall) to go on from.")
@click.option("--init", type=_path, help="Start from the weights of this .safetensors instead of random ones.")
@click.option("--freeze", default=0, help="First layers that stay as they are (10: the backbone).")
@click.option(
    "--survey", type=_path, help="File to keep what the teacher sees in each picture (.npz), for the next run."
)
@click.option(
    "--leave-out",
    type=_path,
    multiple=True,
    help="Text file: names of pictures that must not be learnt from, such as vidrase/bench/heldout.txt. Can be repeated.",
)
@click.option("--held-out", default=0.08, help="Share of the pictures held out, to compare student and teacher on.")
@click.option("--device", default="cpu", help="cpu, cuda, cuda:1.")
@click.option("--workers", default=0, help="Networks that share a step, one thread each; 0: one a core, on a GPU one.")
@click.option("--seed", default=0)
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output, and the checkpoints of another run.")
def segmenter(
    sources: tuple[Path, ...],
    output: Path,
    teacher: Path,
    steps: int,
    hours: float,
    imgsz: int,
    batch: int,
    rate: float,
    decay: float,
    folder: Path,
    resume: Path | None,
    init: Path | None,
    freeze: int,
    survey: Path | None,
    leave_out: tuple[Path, ...],
    held_out: float,
    device: str,
    workers: int,
    seed: int,
    overwrite: bool,
) -> None:
    """Distil a YOLOv8-seg TEACHER into a network of the same shape with random weights.

    DATA are folders of pictures, pictures and clips. No labels are needed; people in YOLO polygon files (`labels`
    beside `images`) are cut out and pasted elsewhere.
    """
    from vidrase.train import segmenter_comparison as evaluation
    from vidrase.train import segmenter_data as data
    from vidrase.train import segmenter_survey as surveys
    from vidrase.train.loop import begin
    from vidrase.train.segmenter import Recipe, Trainer, load_teacher, new_student, train

    check_outputs([*sources, teacher, resume, init, survey, *leave_out], output, folder, resume, overwrite=overwrite)

    def say(text: str) -> None:
        click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)

    workers = workers or (1 if device != "cpu" else min(os.cpu_count() or 1, max(1, batch // 4)))
    begin(seed, threads=1 if workers > 1 else 0)
    words = [word for listed in leave_out for word in listed.read_text(encoding="utf-8").split()]
    left_out = frozenset(Path(word).name for word in words)
    pictures, apart = data.gather(sources, left_out, held_out)
    say(f"{len(pictures.files)} pictures, {len(pictures.frames)} frames; {len(apart)} held out for evaluation")
    network = load_teacher(teacher)
    seen = surveys.survey(pictures, network, SURVEYED, say, survey)
    pictures.weights = surveys.weigh(seen)
    pictures.cutouts = surveys.cut_out(pictures, seen, seed)
    data.add_polygon_cutouts(pictures)
    kinds = len({one.label for one in pictures.cutouts})
    say(f"{len(pictures.cutouts)} objects of {kinds} classes to paste")
    recipe = Recipe(steps=steps, imgsz=imgsz, batch=batch, rate=rate, decay=decay, seed=seed, frozen=freeze)
    trainer = Trainer(new_student(network, init), network, recipe, device=device, workers=workers)
    if resume is not None:
        trainer.restore(resume)
        say(f"going on from step {trainer.step}")
    train(trainer, pictures, folder, say, hours=hours)
    table = evaluation.agreement(trainer.average.network, network, apart)
    offered = evaluation.offered(table, network.names)  # type: ignore[arg-type]
    say(f"good enough to offer: {', '.join(offered) or 'nothing'}")
    card = {"offered": offered, "conf": CONF, "agreement": evaluation.as_json(table, network.names)}  # type: ignore[arg-type]
    digest = trainer.export(output, card)
    click.echo(f"{output}  sha256 {digest}")
