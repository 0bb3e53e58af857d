"""The benchmark of a family without tokens: what is equal there, and what its rows cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.utils.flop_counter import FlopCounterMode

from vla_entropy_ros.bench.measure import CostShape, measure, summarise, true_flops
from vla_entropy_ros.bench.recording import Recording, save
from vla_entropy_ros.bench.ticks import Sample, equal, skipped
from vla_entropy_ros.cli import main
from vla_entropy_ros.engine import Policy, Tunables
from vla_entropy_ros.evaluation.configurations import Configuration

from ..families.toy import ACTION_NAMES, CHUNK, LLAMA, STATE_NAMES, ToyNetwork

PICK = "pick up the red cube"
VISUAL, WORDS = 16, 5
ALL = 1 + VISUAL + 1 + WORDS + CHUNK  # BOS, visual tokens, state, text, placeholders


pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def moving() -> Recording:
    """Six images of which a patch changes, and a state that moves."""
    random = np.random.default_rng(1)
    images = np.repeat(random.integers(0, 256, (1, 56, 56, 3), np.uint8), 6, axis=0)
    for number, image in enumerate(images):
        image[:14, :14] = random.integers(0, 256, (14, 14, 3)) if number else image[:14, :14]
    states = np.linspace(0.0, 0.5, 6)[:, None] * [1.0, 2.0, -1.0]
    return Recording(images, 0.1 * np.arange(6, dtype=np.float64), (PICK,) * 6, STATE_NAMES, states)


@pytest.fixture
def samples(toy: Path, moving: Recording) -> dict[str, list[Sample]]:
    policy = Policy.load(toy)
    ours = replace(Tunables.default(VISUAL), taper_rows=0)  # so that all layers have as many rows
    full = replace(ours, mode="full")
    planned = [Configuration("full", full), Configuration("again", full), Configuration("default", ours)]
    return {run.configuration.name: run.samples for run in measure(policy, [moving], planned)}


def test_ticks_are_equal_where_all_actions_of_the_chunk_are(samples: dict[str, list[Sample]]) -> None:
    first = samples["full"][1]
    assert (first.tokens, np.shape(first.actions)) == ((), (CHUNK, len(ACTION_NAMES)))
    assert all(equal(*pair) for pair in zip(samples["full"], samples["again"], strict=True))
    assert not equal(first, samples["full"][2])
    last = replace(first, actions=(*first.actions[:-1], (*first.actions[-1][:-1], 7.0)))
    assert not equal(first, last)  # the first action is the same, the last is not


def test_operations_are_those_of_the_rows_that_there_are(toy: Path, samples: dict[str, list[Sample]]) -> None:
    policy = Policy.load(toy)
    network, shape = policy.model.network, CostShape.of(policy)
    assert isinstance(network, ToyNetwork)

    def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        seen = torch.zeros(1, LLAMA.num_attention_heads, ALL, LLAMA.head_dim)
        return (q @ seen.transpose(2, 3)) @ seen

    for sample in (samples["full"][1], samples["default"][1]):
        rows = sample.decoder_rows[0]
        assert rows == ALL - VISUAL + sample.fresh
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            hidden = network.language_model(torch.zeros(1, rows, LLAMA.hidden_size), torch.arange(rows), attend)
            network.action_out(hidden[:, -CHUNK:])
        assert true_flops(sample, shape) == shape.vision_flops + counter.get_total_flops()
    assert samples["default"][1].fresh < VISUAL
    for run in samples.values():
        assert skipped(run) == [VISUAL - sample.fresh for sample in run]


def test_figures_hold_nothing_that_is_no_number(toy: Path, moving: Recording) -> None:
    policy = Policy.load(toy)
    planned = [Configuration("full", replace(Tunables.default(VISUAL), mode="full"))] * 2
    records = summarise(measure(policy, [moving], planned), CostShape.of(policy))
    assert [(record["equal_share"], record["equal_tokens"]) for record in records] == [(1.0, None)] * 2
    json.dumps(records, allow_nan=False)


def test_the_command_compares_a_family_without_tokens(toy: Path, moving: Recording, tmp_path: Path) -> None:
    save(moving, tmp_path / "episode.npz")
    arguments = ["bench", "--episode", str(tmp_path / "episode.npz"), "--checkpoint", str(toy)]
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "out")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "out" / "bench.json").read_text(), parse_constant=pytest.fail)
    records: list[dict[str, Any]] = content["configurations"]
    assert {record["equal_tokens"] for record in records} == {None}
    assert [records[n]["equal_share"] for n in (0, 1)] == [1.0, 1.0]  # drafts have nothing to draft
    assert {record["passes"] for record in records} == {1.0}
    assert min(record["fresh_share"] for record in records) < 1.0
    row = next(line for line in result.stdout.splitlines() if "full, exact drafts" in line)
    assert [[cell.strip() for cell in row.split("│")][n] for n in (6, 13)] == ["-", "-"]  # x generate, drafts right
    assert "nan" not in result.stdout
