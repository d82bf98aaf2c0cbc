"""`vidrase train inpainter`: networks that invent what no frame shows, from pictures and made-up holes."""

from __future__ import annotations

import math
import time
from pathlib import Path

import click

from vidrase.cli.outputs import check_outputs
from vidrase.cli.parse import Number

_path = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("sources", nargs=-1, required=True, metavar="DATA…", type=_path)
@click.option("-o", "--output", type=_path, required=True, help="The .safetensors to write; a .json digest beside it.")
@click.option("--net", type=click.Choice(["pconv", "contextual", "fourier"]), default="fourier", help="The network.")
@click.option("--width", type=int, help="Channels of its first layer; the network's own choice unless given.")
@click.option("--depth", type=int, help="Halvings (pconv) or blocks (fourier); the network's own choice unless given.")
@click.option("--steps", default=8000, help="Length of the whole run, the resumed part included.")
@click.option("--side", default=128, help="Side of a training picture, px.")
@click.option("--batch", default=16, help="Pictures a step.")
@click.option("--rate", default=1e-3, help="Learning rate before it falls.")
@click.option(
    "--loss", type=click.Choice(["vidrase", "liu", "joint"]), default="vidrase", help="joint: L1 + SSIM alone."
)
@click.option("--adversarial", default=0.0, help="Weight of a patch critic; 0: none.")
@click.option("--vgg", type=_path, help="torchvision VGG-16 state dict for perceptual and style loss.")
@click.option("--yolo-features", type=_path, help="YOLOv8 weights whose backbone stands in for VGG.")
@click.option("--silhouettes", type=_path, multiple=True, help="Folder of mask pictures: shapes for holes. Repeatable.")
@click.option("--detector", type=_path, help="YOLOv8-seg weights: shapes and people where there are no annotations.")
@click.option(
    "--people",
    type=click.Choice(["keep", "leave-out", "background"]),
    default="keep",
    help="Pictures with annotated or detected objects: keep, leave out, or erase only their background.",
)
@click.option("--leave-out", type=_path, help="Text file: names of pictures that must not be learnt from, one a line.")
@click.option("--held-out", default=0.03, help="Share of the pictures that are held out for evaluation.")
@click.option("--epoch", default=500, help="Steps between two evaluations (figures, samples.png, curves.png).")
@click.option("--run", "folder", type=_path, default=Path("runs/inpainter"), help="Folder of checkpoints and pictures.")
@click.option("--resume", type=_path, help="Checkpoint (last.pt) to go on from.")
@click.option("--minutes", type=Number(), help="Stop after this long; --resume goes on from there.")
@click.option("--device", default="cpu", help="cpu, cuda, cuda:1.")
@click.option("--threads", default=0, help="Of torch; 1 is best when other programs keep the cores busy. 0: all cores.")
@click.option("--full-precision", is_flag=True, help="fp32 instead of bf16.")
@click.option("--seed", default=0)
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output, and the checkpoints of another run.")
def inpainter(
    sources: tuple[Path, ...],
    output: Path,
    net: str,
    width: int | None,
    depth: int | None,
    steps: int,
    side: int,
    batch: int,
    rate: float,
    loss: str,
    adversarial: float,
    vgg: Path | None,
    yolo_features: Path | None,
    silhouettes: tuple[Path, ...],
    detector: Path | None,
    people: str,
    leave_out: Path | None,
    held_out: float,
    epoch: int,
    folder: Path,
    resume: Path | None,
    minutes: float | None,
    device: str,
    threads: int,
    full_precision: bool,
    seed: int,
    overwrite: bool,
) -> None:
    """Train an inpainter on DATA: folders of pictures, pictures and clips. No labels are needed.

    Objects in YOLO polygon files (`labels` beside `images`) become shapes of holes. FOLDER gets last.pt, history.jsonl,
    samples.png (with hole, Telea, ours, true) and curves.png.
    """
    from dataclasses import replace

    from vidrase.train import inpainter_data as data
    from vidrase.train.inpainter import Recipe, Trainer, new_network, train
    from vidrase.train.inpainter_evaluation import Evaluation, History, write_png
    from vidrase.train.inpainter_loss import PRESETS, VggFeatures, YoloFeatures
    from vidrase.train.loop import begin

    check_outputs(
        [*sources, vgg, yolo_features, *silhouettes, detector, leave_out, resume],
        output,
        folder,
        resume,
        overwrite=overwrite,
    )

    def say(text: str) -> None:
        click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)

    until = math.inf if minutes is None else time.monotonic() + 60 * minutes
    begin(seed, threads=threads)
    left_out = frozenset(leave_out.read_text(encoding="utf-8").split()) if leave_out else frozenset()
    pictures, apart = data.gather(sources, left_out, held_out)
    data.add_annotations(pictures)
    data.add_silhouettes(pictures, silhouettes)
    if detector is not None:
        data.add_detections(pictures, detector, say)
    pictures = data.treat_people(pictures, people)  # type: ignore[arg-type]
    say(f"{len(pictures)} pictures, {len(pictures.silhouettes)} shapes; {len(apart)} pictures held out for evaluation")
    layout = {"width": width, ("depth" if net == "pconv" else "blocks"): depth}
    recipe = Recipe(
        net=net,
        layout={name: value for name, value in layout.items() if value is not None},
        steps=steps,
        side=side,
        batch=batch,
        rate=rate,
        warm=max(1, min(200, steps // 20)),
        seed=seed,
    )
    network = new_network(recipe)
    say(f"{net}: {sum(weight.numel() for weight in network.parameters()) / 1e6:.2f} M parameters")
    features = (
        VggFeatures(vgg) if vgg is not None else YoloFeatures(yolo_features) if yolo_features is not None else None
    )
    weights = replace(PRESETS[loss], adversarial=adversarial)
    if features is None and (weights.perceptual or weights.style):
        say("no --vgg and no --yolo-features: perceptual and style loss are left out")
    trainer = Trainer(network, recipe, weights=weights, features=features, device=device, mixed=not full_precision)
    if resume is not None:
        trainer.restore(resume)
        say(f"going on from step {trainer.step}")
    history = History(folder, resumed_at=trainer.step)
    evaluation = Evaluation(apart, side, shapes=pictures.silhouettes) if apart else None
    telea = evaluation.figures(evaluation.telea()) if evaluation is not None else None
    if telea is not None:
        say("Telea " + " ".join(f"{name} {value:.4f}" for name, value in telea.items()))

    def show_samples(trainer: Trainer) -> None:
        assert evaluation is not None
        made = evaluation.fill(trainer.average)
        figures = evaluation.figures(made)
        history.add(trainer.step, figures)
        write_png(folder / "samples.png", evaluation.grid(made))
        write_png(folder / "curves.png", history.curves(telea)[..., ::-1])
        say(f"step {trainer.step}: " + " ".join(f"{name} {value:.4f}" for name, value in figures.items()))

    train(
        trainer,
        pictures,
        folder,
        say,
        epoch=epoch,
        evaluate=show_samples if evaluation is not None else None,
        until=until,
    )
    card = {"evaluation": history.rows[-1] if history.rows else {}, "telea": telea or {}}
    digest = trainer.export(output, card)
    click.echo(f"{output}  sha256 {digest}")
