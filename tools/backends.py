"""Do the backends of a CPU say the same? Recorded images, random networks and paired episodes, PyTorch against each.

    python -m tools.backends                         # ten minutes; writes output/backends/backends.json
    python -m tools.backends --episodes 0            # without the simulator's episodes

Where a token differs, the tie is looked at: how far the best logit of PyTorch's was above the next one at the first
token that differs. "Plain" decodes one token per pass, so that a backend's drafts are held against itself.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tools.checkpoints import write_small
from vla_entropy_ros.bench.recording import record_finished
from vla_entropy_ros.engine import DeviceError, Observation, Policy, Tunables
from vla_entropy_ros.engine.actions.token_head import TokenHead
from vla_entropy_ros.evaluation.configurations import DEFAULT, Configuration
from vla_entropy_ros.evaluation.inprocess import SimulatedArm, run_in_process
from vla_entropy_ros.evaluation.plan import Silent, Trial, scenes
from vla_entropy_ros.evaluation.statistics import mcnemar
from vla_entropy_ros.progress import bar
from vla_entropy_ros.resources import default_checkpoint
from vla_entropy_ros.sim.tasks import TASKS

REFERENCE, OTHERS = "torch", ("numpy", "compiled")
PERIOD = 0.1  # seconds between two images of a random network
TICKS = 3  # of each random network: the first is all fresh, the others reuse
WORDS = ("pick up the red cube", "put it on the plate")  # of random networks


class Watched:
    """How far in a policy the best logit of each token of its last tick was above the next one."""

    def __init__(self, policy: Policy) -> None:
        self.margins = np.zeros(0)
        head = policy.model.head
        assert isinstance(head, TokenHead)
        learn = head._drafter.learn

        def noting(tokens: Sequence[int], logits: Any) -> None:
            best = np.sort(logits, 1)
            self.margins = best[:, -1] - best[:, -2]
            learn(tokens, logits)

        head._drafter.learn = noting  # type: ignore[method-assign]


@dataclass
class Count:
    """Ticks of a backend against PyTorch's: how many, how many equal, how near a tie those were that differ."""

    ticks: int = 0
    equal: int = 0
    ties: list[float] = field(default_factory=list)

    def add(self, tokens: Sequence[int], expected: Sequence[int], margins: Any) -> None:
        """Take in one tick."""
        self.ticks += 1
        if tuple(tokens) == tuple(expected):
            self.equal += 1
            return
        first = next(n for n, (one, other) in enumerate(zip(tokens, expected, strict=True)) if one != other)
        self.ties.append(float(margins[first]))

    @property
    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        share = self.equal / self.ticks if self.ticks else None
        return {
            "ticks": self.ticks,
            "equal_share": share,
            "margins_of_differing": [float(f"{t:.3g}") for t in self.ties],
        }


def backends(folder: Path) -> dict[str, Policy]:
    """A policy of the folder for each backend that can be had here, PyTorch's first."""
    made = {REFERENCE: Policy.load(folder, backend=REFERENCE)}
    for name in OTHERS:
        try:
            made[name] = Policy.load(folder, backend=name)
        except DeviceError as error:
            Console(stderr=True).print(f"left out: {error}", markup=False, highlight=False)
    return made


def compare(
    policies: dict[str, Policy], watched: Watched, seen: Sequence[Observation], counts: dict[str, Count]
) -> None:
    """Let every policy answer the same observations; watched: PyTorch's."""
    for policy in policies.values():
        policy.reset()
    for observation in seen:
        expected = policies[REFERENCE].infer(observation).tokens.tolist()
        policies[REFERENCE].settle()
        for name, policy in policies.items():
            if name != REFERENCE:
                counts[name].add(policy.infer(observation).tokens.tolist(), expected, watched.margins)
                policy.settle()


def plainly(policy: Policy, seen: Sequence[Observation], count: Count) -> None:
    """Hold a policy's drafts against its own plain decoding."""
    ours = policy.tunables
    found = []
    for tunables in (ours, replace(ours, drafts="off")):
        policy.set_tunables(tunables)
        policy.reset()
        found.append([(policy.infer(observation).tokens.tolist(), policy.settle())[0] for observation in seen])
    policy.set_tunables(ours)
    for tokens, expected in zip(*found, strict=True):
        count.add(tokens, expected, np.zeros(len(expected)))


def recorded(images: int, seed: int, console: Console) -> dict[str, Any]:
    """Equal ticks over recorded images of finished episodes, by backend."""
    policies, actor = backends(default_checkpoint()), Policy.load(default_checkpoint())
    watched = Watched(policies[REFERENCE])
    counts, own = ({name: Count() for name in policies} for _ in range(2))
    number = 0
    with bar(console, "recorded images", images) as (shown, task):
        while counts[next(name for name in policies if name != REFERENCE)].ticks < images:
            for recording in record_finished(actor, 1, seed + 100 * number, Silent()):
                seen = list(recording.observations())
                compare(policies, watched, seen, counts)
                for name, policy in policies.items():
                    plainly(policy, seen, own[name])
                shown.update(task, advance=len(seen))
            number += 1
    made = {name: {"against_torch": counts[name].record, "drafts_against_plain": own[name].record} for name in policies}
    return made | {REFERENCE: {"drafts_against_plain": own[REFERENCE].record}}


def random_networks(networks: int, console: Console) -> dict[str, Any]:
    """Equal ticks of random networks that see noise which changes in part, by backend."""
    counts: dict[str, Count] = {}
    own: dict[str, Count] = {}
    with bar(console, "random networks", networks) as (shown, task), tempfile.TemporaryDirectory() as folder:
        for seed in range(networks):
            random = np.random.default_rng(seed)
            place = write_small(
                Path(folder) / str(seed), int(random.choice([1, 2, 4])), int(random.integers(1, 4)), seed
            )
            policies = backends(place)
            seen = list(moving(random))
            for name, policy in policies.items():
                policy.set_tunables(replace(Tunables.default(16), k1=2, k2=4, row_budget=8))
                plainly(policy, seen, own.setdefault(name, Count()))
                counts.setdefault(name, Count())
            compare(policies, Watched(policies[REFERENCE]), seen, counts)
            shown.advance(task)
    made = {name: {"against_torch": counts[name].record, "drafts_against_plain": own[name].record} for name in counts}
    return made | {REFERENCE: {"drafts_against_plain": own[REFERENCE].record}}


def moving(random: np.random.Generator) -> Iterator[Observation]:
    """Noise of which a part changes from image to image."""
    image = random.integers(0, 256, (56, 56, 3), np.uint8)
    told = WORDS[int(random.integers(0, len(WORDS)))]
    for tick in range(TICKS):
        image = image.copy()
        row, column = random.integers(0, 40, 2)
        image[row : row + 16, column : column + 16] = random.integers(0, 256, (16, 16, 3), np.uint8)
        yield Observation((image,), told, PERIOD * tick)


def closed_loop(episodes: int, seed: int, console: Console) -> dict[str, Any]:
    """Paired episodes, so many of all families together: tasks done by each backend, and whether they were the same."""
    planned = [(task, number) for task, number in scenes(list(TASKS), -(-episodes // 4), seed)][:episodes]
    done: dict[str, list[Any]] = {}
    policies = backends(default_checkpoint())
    with bar(console, "paired episodes", len(policies) * len(planned)) as (shown, progress):
        for name, policy in policies.items():
            arm = SimulatedArm(policy)
            try:
                default = Configuration(DEFAULT, Tunables.default(policy.info.visual_tokens))
                trials = [Trial(default, task, number) for task, number in planned]
                done[name] = []
                for episode in run_in_process(arm, trials, Silent()):
                    done[name].append((episode.success, round(episode.duration, 6), len(episode.ticks)))
                    shown.advance(progress)
            finally:
                arm.close()
    reference = done[REFERENCE]
    made = {}
    for name, outcomes in done.items():
        won, lost, p = mcnemar([one[0] for one in outcomes], [one[0] for one in reference])
        same = sum(one == other for one, other in zip(outcomes, reference, strict=True))
        made[name] = {
            "episodes": len(outcomes), "done": sum(one[0] for one in outcomes), "won": won, "lost": lost, "p": p,
            "same_in_every_tick_and_second": same,
        }  # fmt: skip
    return made


def shown(record: dict[str, Any]) -> Table:
    """The record for a terminal."""
    table = Table(title="backends of a CPU against PyTorch's modules")
    for name in ("what", "backend", "ticks", "equal", "largest tie among those that differ", "drafts equal to plain"):
        table.add_column(name)
    for what in ("recorded", "random_networks"):
        for name, found in record.get(what, {}).items():
            against, own = found.get("against_torch"), found["drafts_against_plain"]
            cells = ["-", "-", "-"]
            if against:
                ties = against["margins_of_differing"]
                cells = [str(against["ticks"]), f"{against['equal_share']:.2%}", f"{max(ties):.2g}" if ties else "-"]
            table.add_row(what.replace("_", " "), name, *cells, f"{own['equal_share']:.2%} of {own['ticks']}")
    for name, found in record.get("closed_loop", {}).items():
        same = f"{found['same_in_every_tick_and_second']} the same"
        told = f"{found['done']} done, {found['won']} won, {found['lost']} lost"
        table.add_row("paired episodes", name, str(found["episodes"]), same, told, "")
    return table


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=300, help="recorded images at least (default: 300)")
    parser.add_argument("--networks", type=int, default=300, help="random networks (default: 300)")
    parser.add_argument("--episodes", type=int, default=100, help="paired episodes (default: 100)")
    parser.add_argument("--seed", type=int, default=3_000_000, help="first seed of the scenes")
    parser.add_argument("--output", type=Path, default=Path("output/backends"), help="folder of backends.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(stderr=True)
    record: dict[str, Any] = {"seed": options.seed}
    if options.images:
        record["recorded"] = recorded(options.images, options.seed, console)
    if options.networks:
        record["random_networks"] = random_networks(options.networks, console)
    if options.episodes:
        record["closed_loop"] = closed_loop(options.episodes, options.seed, console)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "backends.json").write_text(json.dumps(record, indent=1) + "\n")
    Console(width=140).print(shown(record))


if __name__ == "__main__":
    main()
