"""`vla-entropy bench`: cost and agreement of every configuration over recorded episodes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from . import options

EPISODES, REPEATS, WARM_UP = 8, 3, 25


@click.command()
@click.option(
    "--episode",
    "files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Recorded episode (.npz of a run before); may be repeated. Default: the policy acts in the simulator.",
)
@click.option("--quick", is_flag=True, help="Fewer episodes: a first table within two minutes.")
@click.option("--device", help="Measure a policy of --shape with random weights on cuda, cuda:<index>, cpu or auto.")
@click.option(
    "--shape",
    type=click.Choice(["7b", "small", "tiny"]),
    default="7b",
    show_default=True,
    help="With --device: OpenVLA-7B, the small policy at 224 px, or one for tests.",
)
@click.option("--ticks", type=click.IntRange(2), default=200, show_default=True, help="With --device: timed ticks.")
@click.option("--warm-up", type=click.IntRange(1), default=20, show_default=True, help="With --device: ticks before.")
@click.option(
    "--passes",
    type=click.FloatRange(1.0, 7.0),
    help="With --device: mean decoder passes per tick. Default: measured, from docs/bench.json.",
)
@options.checkpoint
@options.seed
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder. Default: output/bench-<time>."
)
@options.as_json
def bench(
    files: tuple[Path, ...], quick: bool, checkpoint: Path | None, seed: int, output: Path | None, as_json: bool,
    device: str | None, shape: str, ticks: int, warm_up: int, passes: float | None,
) -> None:  # fmt: skip
    """Replay moving episodes under every configuration: what a tick costs, and whether its tokens are the same.

    The baseline recomputes everything and decodes one token per pass. All configurations run in turn over the same
    images, so ratios are of one run. Columns "7B" are formulas at OpenVLA-7B's shape with the shares of reuse and the
    passes of this run; nothing of that size is run. Writes bench.json, bench.png and the episodes to the output folder.

    With --device, OpenVLA-7B's shape is run: random weights, a moving scene, from a plain generate to one decoder pass
    per tick, beside the device's measured roofline. Writes gpu.json and gpu.png.
    """
    if device is not None:
        _device(options.output_folder(output, "gpu"), device, shape, ticks, warm_up, passes, as_json)
        return
    import torch
    from rich.console import Console

    from ..bench import measure, recording, report
    from ..bench.configurations import configurations
    from ..engine import EngineError, Policy
    from ..resources import default_checkpoint
    from ..runner.about import about
    from .evaluate import progress

    torch.set_num_threads(1)  # as the nodes run: simulator and policy share the cores
    console = Console(stderr=True)
    folder = options.output_folder(output, "bench")
    episodes, repeats = (4, 1) if quick else (EPISODES, REPEATS)
    with options.one_line(EngineError, recording.RecordingError):
        with options.loading(console) as told:
            policy = Policy.load(checkpoint or default_checkpoint(), progress=told)
        policy.warm_up(WARM_UP)
        if files:
            recordings = [recording.load(file) for file in files]
        else:
            with progress(episodes, console) as observer:
                seeds = range(seed, seed + episodes)
                recordings = recording.record(policy, seeds, None, observer)
        planned = configurations(policy.info.visual_tokens)
        with options.bar(console, "replaying", repeats * len(recordings) * len(planned)) as (shown, task):
            runs = measure.measure(policy, recordings, planned, repeats, lambda: shown.advance(task))
    records = measure.summarise(runs, measure.Shape(policy.llama, policy.towers))
    folder.mkdir(parents=True, exist_ok=True)
    if not files:
        for number, recorded in enumerate(recordings):
            recording.save(recorded, folder / f"episode-{number}.npz")
    ticks = sum(len(recorded) for recorded in recordings)
    content = {
        "about": about(),
        "policy": {"visual_tokens": policy.info.visual_tokens, "parameters": policy.info.parameters},
        "episodes": len(recordings), "images": ticks, "repeats": repeats, "seed": seed, "threads": 1,
        "selection_ms_256_tokens": round(measure.selection_time(256), 3),
        "configurations": records,
    }  # fmt: skip
    (folder / "bench.json").write_text(json.dumps(content, indent=2) + "\n")
    title = f"{ticks} images x {repeats}, {policy.info.visual_tokens} visual tokens, {policy.info.device}"
    report.plot(records, folder / "bench.png", title)
    if as_json:
        click.echo(json.dumps(content, indent=2))
    else:
        Console(width=None if console.is_terminal else 220).print(report.table(records, title))
        click.echo(f"choosing among 256 visual tokens: {content['selection_ms_256_tokens']} ms")
        click.echo(f"written to {folder}")


def _device(
    folder: Path, device: str, shape: str, ticks: int, warm_up: int, passes: float | None, as_json: bool
) -> None:
    from rich.console import Console

    from ..bench.gpu import command
    from ..engine import EngineError

    console = Console(stderr=True)
    with options.one_line(EngineError, ValueError):
        content = command.measure(console, folder, device, shape, ticks, warm_up, passes)
    if as_json:
        click.echo(json.dumps(content, indent=1))
    else:
        command.show(Console(width=None if console.is_terminal else 180), content, folder)
