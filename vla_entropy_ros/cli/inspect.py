"""`vla-entropy inspect`: what a checkpoint is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from . import options


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--unnorm-key", help="Data set whose action statistics are used. Default: the only one.")
@options.as_json
def inspect(folder: Path | None, unnorm_key: str | None, as_json: bool) -> None:
    """Show what the checkpoint in FOLDER is, and check that it looks at the image.

    Without FOLDER: the small policy that comes with the package.
    """
    from ..engine import EngineError, Policy
    from ..resources import default_checkpoint

    folder = folder or default_checkpoint()
    with options.one_line(EngineError):
        policy = Policy.load(folder, unnorm_key=unnorm_key)
        policy.self_test()
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    facts = {"folder": str(folder), "weights_mib": round(size / 2**20, 2), **asdict(policy.info)}
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
        click.echo(f"{name.replace('_', ' '):20} {shown}")
    click.echo("a black and a white image give different logits")
