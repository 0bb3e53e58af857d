"""`vla-entropy bench`: cost and agreement of every configuration over recorded episodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..progress import bar
from . import bench_knobs, bench_peers, options
from .episodes import EPISODES, EXCERPT, WARM_UP, measured_on, record

if TYPE_CHECKING:
    from rich.console import Console

    from ..bench.measure import Run
    from ..bench.recording import Recording
    from ..engine import Policy

ALONE = ("--peers", "--knobs")  # measurements that leave no room for another
COUNTED = ("full, plain decoding", "paper: full method", "default")  # whose prefill is counted at OpenVLA-7B's shape


@click.command()
@click.option(
    "--episode",
    "files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Recorded episode (.npz of a run before); may be repeated. Default: the policy acts in the simulator.",
)
@click.option(
    "--episodes",
    type=click.IntRange(1, 1000),
    help=f"Episodes of each family of tasks, where the policy acts. Default: {EPISODES}, with --quick 1.",
)
@click.option("--quick", is_flag=True, help="Parts of a few episodes: a first table within two minutes.")
@click.option(
    "--tune",
    is_flag=True,
    help="Search row_budget, k1, k2, taper and max_age instead; shows the best trade-offs of time and agreement.",
)
@click.option(
    "--knobs",
    is_flag=True,
    help="Turn k1, k2, T, row_budget and max_age one at a time around the default instead; draws time, fresh tokens "
    "and agreement, and an episode tick by tick.",
)
@click.option(
    "--peers",
    is_flag=True,
    help="Compare a tick with what one would run instead: transformers, torch.compile, ONNX Runtime, OpenVINO.",
)
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
    type=click.FloatRange(1.0),
    help="With --device: mean decoder passes per tick. Default: measured on the small policy.",
)
@options.checkpoint
@options.seed
@options.output("bench")
@options.as_json
def bench(
    files: tuple[Path, ...], episodes: int | None, quick: bool, tune: bool, knobs: bool, peers: bool,
    checkpoint: Path | None, seed: int, output: Path | None, as_json: bool, device: str | None, shape: str, ticks: int,
    warm_up: int, passes: float | None,
) -> None:  # fmt: skip
    """Replay moving episodes under every configuration: what a tick costs, and whether it says the same.

    A tick says the same where all its tokens are equal, of a policy without tokens all actions of its chunk.

    The baseline recomputes everything and decodes one token per pass; so does transformers' generate, over the same
    weights behind the same towers. Column "x" is against the one, "x generate" against the other. All run in turn over
    the same images, so ratios are of one run. Columns "7B" are formulas at OpenVLA-7B's shape with the shares of reuse
    and the passes of this run, checked against PyTorch's count of that network; nothing of that size is run. A second
    table pairs each with the configuration "former" where it is among them, else with full recomputation: difference of
    the equal ticks [points], its 95 % interval by bootstrap over episodes, ticks won and lost. Writes bench.json,
    bench.md, bench.png and the episodes to the output folder; with --knobs knobs.json, knobs.png, knobs-episode.png.

    With --peers, peers that recompute everything take turns with full recomputation and the default, image by image, on
    one thread; `make peers` brings their packages. One that cannot be had is a line. Writes peers.json, .md and .png.

    With --device, OpenVLA-7B's shape is run: random weights, a moving scene, from transformers' generate to one decoder
    pass per tick, beside the device's measured roofline. Fails unless graphs were captured there and an eager policy
    computes the same. Writes gpu.json row by row, gpu-profile.txt and two pictures.
    """
    options_of_kind = {"--peers": peers, "--knobs": knobs, "--tune": tune, "--device": device is not None}
    kinds = [name for name, given in options_of_kind.items() if given]
    _check(files, episodes, kinds)
    if device is not None:
        _device(options.output_folder(output, "gpu"), device, shape, ticks, warm_up, passes, as_json)
        return
    if peers:
        bench_peers.one_thread()
    import torch
    from rich.console import Console

    from ..bench import recording
    from ..engine import EngineError, Policy
    from ..resources import default_checkpoint
    from ..sim import RenderError

    torch.set_num_threads(1)  # as the nodes run: simulator and policy share the cores
    console = Console(stderr=True)
    folder = options.output_folder(output, "bench")
    with options.one_line(EngineError, RenderError, recording.RecordingError):
        recordings = [recording.load(file) for file in files]  # what is cheap to check comes first
        with options.loading(console) as told:
            policy = Policy.load(checkpoint or default_checkpoint(), progress=told)
        if peers:
            bench_peers.check(policy)
        policy.warm_up(WARM_UP)
        recordings = recordings or record(policy, episodes or (1 if quick else EPISODES), seed, folder, console)
        if quick:
            recordings = [recorded.excerpt(EXCERPT) for recorded in recordings]
        content = _measured(kinds, policy, checkpoint or default_checkpoint(), recordings, console)
    folder.mkdir(parents=True, exist_ok=True)
    report = bench_knobs.report if knobs else bench_peers.report if peers else _report_search if tune else _report
    report(content | {"seed": None if files else seed, "threads": 1}, folder, as_json)


def _check(files: tuple[Path, ...], episodes: int | None, kinds: list[str]) -> None:
    """click's error where options leave no room for each other; kinds: those of measurements, as given."""
    for name in ALONE:
        if name in kinds and len(kinds) > 1:
            *most, last = [f"without {other}" for other in (*ALONE, "--tune", "--device") if other != name]
            raise click.UsageError(f"{name} is a measurement of its own: give it {', '.join(most)} and {last}")
    if files and episodes is not None:
        raise click.UsageError("--episodes is the number that the policy acts: give it without --episode")


def _measured(
    kinds: list[str], policy: Policy, checkpoint: Path, recordings: list[Recording], console: Console
) -> dict[str, Any]:
    """Everything that the record of a measurement of one of these kinds holds, but the seed and the threads."""
    if "--knobs" in kinds:
        return bench_knobs.measure(policy, recordings, console)
    if "--peers" in kinds:
        return bench_peers.measure(policy, checkpoint, recordings, console)
    return _content(policy, recordings, _run(policy, recordings, "--tune" in kinds, console))


def _run(policy: Policy, recordings: list[Recording], tune: bool, console: Console) -> list[Run]:
    """The ticks of every configuration, or of every one that is searched, behind a progress bar."""
    from ..bench import configurations, generate, measure

    planned = (configurations.search if tune else configurations.configurations)(policy.info.visual_tokens)
    peer = generate.Generate(policy) if generate.can_generate(policy) and not tune else None
    if peer is not None:
        peer.warm_up(WARM_UP)
    with bar(console, "replaying", len(recordings) * (len(planned) + (peer is not None))) as (shown, task):
        return measure.measure(policy, recordings, planned, lambda: shown.advance(task), peer)


def _report(content: dict[str, Any], folder: Path, as_json: bool, search: bool = False) -> None:
    """Write bench.json, bench.md and bench.png into `folder`; print the tables, of a search the best trade-offs."""
    from rich.console import Console

    from ..bench import tables

    console, records = Console(stderr=True), content["configurations"]
    (folder / "bench.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "bench.md").write_text(tables.markdown(records))
    policy = content["policy"]
    title = f"{content['images']} images, {policy['visual_tokens']} visual tokens, {policy['device']}"
    tables.plot(records, folder / "bench.png", title)
    if as_json:
        click.echo(json.dumps(content, indent=2))
        return
    shown = Console(width=None if console.is_terminal else tables.WIDTH)
    if search:
        shown.print(tables.front_table(records, title))
    else:
        shown.print(tables.table(records, title), tables.paired_table(records))
    for line in _remarks(content):
        click.echo(line)
    click.echo(f"written to {folder}")


def _report_search(content: dict[str, Any], folder: Path, as_json: bool) -> None:
    _report(content, folder, as_json, search=True)


def _content(policy: Policy, recordings: list[Recording], runs: list[Run]) -> dict[str, Any]:
    """Everything that bench.json holds of the measurement; the first-hand figures of the default once more, on top."""
    from ..bench import measure, openvla, selection, tables, ticks
    from ..evaluation.statistics import percentiles

    by_name = {run.configuration.name: run.samples for run in runs}
    records = measure.summarise(runs, measure.CostShape.of(policy))
    default, choice = by_name["default"], selection.selection_times(256)
    return {
        **measured_on(policy, recordings),
        "selection_ms": {
            "alone_256_tokens": round(choice.alone, 3),
            "scores_256_tokens": round(choice.scores, 3),
            "in_default_ticks": percentiles(ticks.times(default, "select").tolist()),
        },
        "draft_acceptance": measure.draft_acceptance(default),
        "openvla_7b": openvla.check({name: by_name[name] for name in COUNTED if name in by_name}),
        "best_trade_offs": [record["name"] for record in tables.front(records)],
        "configurations": records,
    }


def _remarks(content: dict[str, Any]) -> list[str]:
    alone, scores, ticks = content["selection_ms"].values()
    difference = content["openvla_7b"]["largest_difference"]
    return [
        f"choosing among 256 visual tokens, by itself: {alone} ms; in the default's ticks here: {ticks['p50']} ms; "
        f"after the tick, scoring the attention: {scores} ms",
        f"best trade-offs, fastest first: {'; '.join(content['best_trade_offs'])}",
        f"7B columns: formulas; PyTorch's count of the network differs by at most {difference:.1e} of it",
    ]


def _device(
    folder: Path, device: str, shape: str, ticks: int, warm_up: int, passes: float | None, as_json: bool
) -> None:
    from rich.console import Console

    from ..bench.gpu import command
    from ..engine import EngineError

    console = Console(stderr=True)
    with options.one_line(EngineError, ValueError):
        content = command.measure_device(console, folder, device, shape, ticks, warm_up, passes)
    if as_json:
        click.echo(json.dumps(content, indent=1))
    else:
        command.show(Console(width=None if console.is_terminal else 180), content, folder)
