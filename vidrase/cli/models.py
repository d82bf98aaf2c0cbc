"""`vidrase models`: which weights there are, where they lie, what they may be used for."""

from __future__ import annotations

import click

from vidrase import weights


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def models(ctx: click.Context) -> None:
    """List the weights that vidrase knows, where they are, their hashes and licences."""
    if ctx.invoked_subcommand is None:
        for line in weights.table():
            click.echo(line)


@models.command()
@click.argument("name")
def pull(name: str) -> None:
    """Fetch the weights NAME over https into the user cache; says what it fetches first."""
    path = weights.pull(name, say=lambda text: click.echo(f"vidrase: {text}", err=True))
    click.echo(str(path))
