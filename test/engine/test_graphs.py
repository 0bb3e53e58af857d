"""Passes of fixed shapes give what the eager ones give; captured where there is CUDA, the same code elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vla_entropy_ros.engine import ActionError, Observation, Policy, Result
from vla_entropy_ros.engine.decoding import cuda_graphs as graphs
from vla_entropy_ros.engine.decoding.cuda_graphs import CUDAGraphRunner, Graph, buckets
from vla_entropy_ros.engine.decoding.sequence import Answers
from vla_entropy_ros.engine.tunables import DRAFTS, MODES, Tunables

from .conftest import write_small

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
TUNABLES = replace(Tunables.default(16), mode="info_entropy", taper_rows=0, k1=2, k2=3, T=10, row_budget=6)
INSTRUCTIONS = ("pick up the red cube", "put it down", "pick it up")


def moving(seed: int, ticks: int) -> list[Observation]:
    """A scene in which a patch or two change from tick to tick; the instruction changes now and then."""
    random = np.random.default_rng(seed)
    frame = random.integers(0, 256, (56, 56, 3), np.uint8)
    seen = []
    for tick in range(ticks):
        row, column = random.integers(0, 43, 2)
        frame[row : row + 14, column : column + 14] = random.integers(0, 256, 3)
        seen.append(Observation((frame.copy(),), INSTRUCTIONS[tick // 4 % 3], 0.1 * tick))
    return seen


def run(policy: Policy, tunables: Tunables, seed: int = 0, ticks: int = 10) -> list[Result]:
    policy.set_tunables(tunables)
    policy.reset()
    results = []
    for observation in moving(seed, ticks):
        results.append(policy.infer(observation))
        policy.settle()
    return results


def same(results: list[Result], expected: list[Result], tolerance: float) -> None:
    for one, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.reuse.fresh_mask, other.reuse.fresh_mask)
        np.testing.assert_array_equal(one.reuse.age, other.reuse.age)
        np.testing.assert_allclose(one.token_entropy, other.token_entropy, atol=tolerance)
        np.testing.assert_allclose(one.reuse.attention_score, other.reuse.attention_score, atol=tolerance)
        assert one.decoder_rows == other.decoder_rows
        assert one.drafts == other.drafts


@pytest.mark.parametrize("kv_heads", [4, 1])
@pytest.mark.parametrize("drafts", DRAFTS)
def test_fixed_shapes_give_the_tokens_of_the_eager_path(
    kv_heads: int, drafts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_small(tmp_path / "checkpoint", kv_heads)
    eager, static = (Policy.load(folder, graphs=graphs) for graphs in (False, True))
    assert isinstance(static._runner, CUDAGraphRunner)
    monkeypatch.setattr(eager._runner, "room", static._runner.room)  # as many rows of a draft
    for mode in MODES:
        tunables = replace(TUNABLES, mode=mode, drafts=drafts, deadline=10.0)
        same(run(static, tunables), run(eager, tunables), 1e-5)


def test_what_has_no_fixed_shape_runs_eagerly_in_between(
    load_small: Callable[[], Policy], small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static, eager = Policy.load(small_folder, graphs=True), load_small()
    monkeypatch.setattr(eager._runner, "room", static._runner.room)  # as many rows of a draft
    tunables = replace(TUNABLES, taper_rows=0, growth_by_layer=True)
    same(run(static, tunables), run(eager, tunables), 1e-5)
    long = Observation((np.zeros((56, 56, 3), np.uint8),), "pick " * 100, 0.0)
    tokens = []
    for policy in (static, load_small()):
        policy.reset()
        policy.set_tunables(TUNABLES)
        tokens.append(policy.infer(long).tokens)
        policy.settle()
        attention = policy._selector._attention
        assert attention is not None
        assert attention._weights.shape == (100, 16)
    np.testing.assert_array_equal(tokens[0], tokens[1])


def test_padding_writes_no_slot_that_is_seen(small_folder: Path) -> None:
    policy = Policy.load(small_folder, graphs=True)
    run(policy, TUNABLES)
    cache, layout = policy._cache, policy.model.layout
    before = cache.keys.clone(), cache.values.clone()
    with torch.inference_mode():
        policy._runner.run(layout.answer_rows(Answers.following([70, 71]), 30))
    for old, new in zip(before, (cache.keys, cache.values), strict=True):
        changed = (old != new).any(-1).any(0).any(0)
        assert set(torch.nonzero(changed).flatten().tolist()) <= {30, 31, cache.count}
        assert changed[[30, 31]].all()


def test_a_tick_that_failed_leaves_nothing_that_is_no_number(small_folder: Path) -> None:
    policy = Policy.load(small_folder, graphs=True)
    expected = run(policy, TUNABLES)
    policy.reset()
    norm = policy.model.network.language_model.get_submodule("model.layers.0.input_layernorm").weight
    assert isinstance(norm, torch.Tensor)
    kept = norm.clone()
    norm.fill_(torch.nan)
    with pytest.raises(ActionError, match="not finite"):
        policy.infer(moving(1, 1)[0])
    norm.copy_(kept)
    same(run(policy, TUNABLES), expected, 1e-6)


def test_buckets_hold_every_number_of_rows_with_little_to_spare() -> None:
    for most in (5, 16, 100, 256, 257, 392, 648):
        sizes = buckets(most)
        assert list(sizes) == sorted(set(sizes))
        for count in range(1, most + 1):
            spare = min(size for size in sizes if size >= count) - count
            assert spare < (16 if count <= 256 else 32)


def test_a_draft_fills_a_tile_of_rows_and_opens_one_only_for_several(small_folder: Path) -> None:
    policy = Policy.load(small_folder, graphs=True)
    runner, most = policy._runner, 48
    rooms = {rows: runner.room(rows, most) for rows in range(1, 300)}
    assert all(0 < room <= most for room in rooms.values())
    assert (rooms[1], rooms[108], rooms[120], rooms[121], rooms[129]) == (48, 20, 8, 48, 48)
    assert all((rows + room) % graphs.TILE == 0 or room == most for rows, room in rooms.items())
    assert policy._eager.room(5, most) == most


def test_a_capture_that_fails_leaves_the_eager_path_and_a_warning(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(graphs, "Graph", refuse)
    with caplog.at_level(logging.WARNING):
        policy = Policy.load(small_folder, graphs=True)
    assert not isinstance(policy._runner, CUDAGraphRunner)
    said = "without CUDA graphs, ticks run eagerly: operation not permitted when stream is capturing"
    assert caplog.messages == [said]
    assert run(policy, TUNABLES)[-1].reuse.reused > 0


def test_a_capture_runs_every_pass_over_padding_alone(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU an index that points nowhere is no error that anybody could catch."""
    runs: list[None] = []

    class Run:
        def capture(self, body: Callable[[], None]) -> Callable[[], None]:
            for _ in range(3):
                body()
                runs.append(None)
            return body

    monkeypatch.setattr(graphs, "Captures", Run)
    eager = Policy.load(small_folder, graphs=False)
    with torch.inference_mode():
        runner = CUDAGraphRunner(eager._ends, eager._eager, eager._selector.drift, capture=True)
    assert len(runs) == 3 * (3 + len(runner._prefills) + len(runner._extensions) + 2 * len(runner._probes[0]))
    assert not torch.isnan(runner._table).any()


def test_what_is_not_captured_is_called_each_time() -> None:
    calls: list[None] = []
    graph = Graph(lambda: calls.append(None), None)
    graph()
    graph()
    assert len(calls) == 2


@CUDA
@pytest.mark.parametrize("drafts", ["off", "exact"])
def test_captured_graphs_give_the_tokens_of_the_eager_path_on_cuda(drafts: str, small_folder: Path) -> None:
    eager, captured = (Policy.load(small_folder, device="cuda", graphs=graphs) for graphs in (False, True))
    assert isinstance(captured._runner, CUDAGraphRunner)
    assert captured._runner.captured
    for mode in MODES:
        tunables = replace(TUNABLES, mode=mode, drafts=drafts)
        same(run(captured, tunables), run(eager, tunables), 1e-4)


@CUDA
def test_device_memory_does_not_grow_with_ticks(small_folder: Path) -> None:
    policy = Policy.load(small_folder, device="cuda")
    run(policy, TUNABLES)
    before = torch.cuda.memory_stats()["allocated_bytes.all.peak"]
    run(policy, TUNABLES, seed=1)
    assert torch.cuda.memory_stats()["allocated_bytes.all.peak"] == before
