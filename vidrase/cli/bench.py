"""`vidrase bench`: quality, speed and memory against known truth and against peers."""

from __future__ import annotations

from pathlib import Path

import click

from vidrase.cli.parse import Number


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--suite",
    default="all",
    show_default=True,
    metavar="NAME",
    help="quality, light, stills, removal, masks, speed, memory, live, inputs or all.",
)
@click.option(
    "--cases", default="", metavar="WORDS", help="Only cases whose names contain one of these, comma-separated."
)
@click.option("--quick", is_flag=True, help="A smaller set: under ten minutes on two cores.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder with clips/, images/, masks/, seg/ (or VIDRASE_DATA)."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the JSON records and the HTML page.")
@click.option("--quality", type=click.Choice(["fast", "default", "best"]), default="default", help="Of the fill.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps; part of the record's name.")
@click.option("--minutes", type=Number(min=0.1), help="Of the live soak.  [10; --quick: 0.5]")
@click.option(
    "--ablate", is_flag=True, help="Switch every rule of the engine off, one by one and in groups: what is it worth?"
)
@click.option("--frames", type=click.IntRange(min=4), default=24, show_default=True, help="Of each case of --ablate.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Cases of --ablate, or of inputs, side by side.",
)
@click.option("--all-pictures", is_flag=True, help="Put pictures on the page that may not be published.")
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="A.json B.json",
    help="Measure nothing; print what changed from A to B beyond noise.",
)
@click.option("--debug", is_flag=True, hidden=True)
def bench(
    suite: str,
    cases: str,
    quick: bool,
    data: Path | None,
    output: Path | None,
    quality: str,
    device: str,
    minutes: float | None,
    ablate: bool,
    frames: int,
    jobs: int,
    all_pictures: bool,
    compare: tuple[Path, Path] | None,
    **_: object,
) -> None:
    """Measure the engine against known truth and against other methods.

    \b
    vidrase bench --quick                         synthetic and sample clips; all that VIDRASE_DATA holds
    vidrase bench --suite quality --data DIR -o out
    vidrase bench --compare old.json new.json
    vidrase bench --ablate --jobs 2 -o out        hours; --cases chooses some

    Without data the synthetic cases, speed and memory run. Losses are printed like gains.
    """
    from vidrase.bench.ablate import ablation_table
    from vidrase.bench.compare import report
    from vidrase.bench.record import load
    from vidrase.bench.suite import BenchOptions, run, write
    from vidrase.bench.table import table

    if compare is not None:
        click.echo(report(load(compare[0]), load(compare[1])))
        return
    words = tuple(word.strip() for word in cases.split(",") if word.strip())
    options = BenchOptions(
        suite,
        words,
        quick,
        data,
        output,
        quality,
        all_pictures,
        minutes=minutes,
        device=device,
        ablate=ablate,
        frames=frames,
        jobs=jobs,
    )
    results = run(options, say=lambda text: click.echo(text, err=True))
    paths = write(results, options)
    click.echo(ablation_table(results.rows) if ablate else table(results))
    for path in paths:
        click.echo(f"wrote {path}")
