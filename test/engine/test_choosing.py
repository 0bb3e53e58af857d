"""Tokens chosen where their embeddings are, are those that the host would choose; the pass runs these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vla_entropy_ros.engine import ActionError, Policy
from vla_entropy_ros.engine.decoding.choosing import Answer, Chooser, Question
from vla_entropy_ros.engine.decoding.sequence import NO_ANSWERS, Answers, Layout
from vla_entropy_ros.engine.reuse import joint
from vla_entropy_ros.engine.reuse.joint import Information, Unchosen, visual_information
from vla_entropy_ros.engine.reuse.selection import Selection
from vla_entropy_ros.engine.tunables import JOINT, Tunables

from .test_cameras import two_cameras
from .test_graphs import TUNABLES, moving, run, same

N = 64
OURS = replace(Tunables.default(N), mode=JOINT, taper_rows=0)
BEGIN = replace(TUNABLES, mode=JOINT)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Budgets = st.tuples(st.integers(0, 12), st.integers(0, 12))


@torch.inference_mode()
def choose(question: Question, change: np.ndarray) -> Answer:
    """What a device with those changes answers."""
    chooser = Chooser(torch.from_numpy(change.astype(np.float32)).to(DEVICE))
    chooser.send(question)
    chooser.rank()
    answer = chooser.fetch()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return answer()


def known(seed: int, levels: int) -> tuple[np.ndarray, ...]:
    """Change, attention, image entropy and age of N tokens; few levels make ties."""
    random = np.random.default_rng(seed)
    change, attention, entropy = (random.integers(0, levels, N) / levels for _ in range(3))
    return change.astype(np.float32), attention, entropy, random.integers(0, 12, N)


def on_host(seed: int, levels: int, in_force: tuple[int, int], tunables: Tunables) -> Selection:
    change, attention, entropy, age = known(seed, levels)
    wide = change.astype(np.float64)
    visual = visual_information(wide, lambda rows: entropy[rows], in_force[0])
    return Information(visual, wide, wide, attention, age).select(tunables, in_force, np.zeros(N, np.bool_))


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 1000, 10**6]), Budgets, st.integers(1, 100))
def test_the_tokens_are_those_that_the_host_chooses(
    seed: int, levels: int, in_force: tuple[int, int], budget: int
) -> None:
    tunables = replace(OURS, row_budget=budget)
    expected = on_host(seed, levels, in_force, tunables)
    change, attention, entropy, age = known(seed, levels)
    unchosen = Unchosen.of(attention, age, in_force, tunables)
    if unchosen is None:
        assert (
            expected.fresh.sum() > min(budget, N) or in_force[0] + (expected.by_attention | expected.old).sum() > budget
        )
        return
    answer = choose(unchosen.question(entropy), change)
    np.testing.assert_array_equal(answer.fresh, expected.fresh)
    np.testing.assert_array_equal(answer.by_visual, expected.by_visual)
    np.testing.assert_array_equal(unchosen.by_attention, expected.by_attention)
    np.testing.assert_array_equal(unchosen.old, expected.old)
    np.testing.assert_array_equal(answer.visual, 0.5 * change.astype(np.float64) * (1 + entropy))


@pytest.mark.parametrize(
    ("change", "why"),
    [({"row_budget": 0}, "what is needed sets the number"), ({"taper_rows": 8}, "the last layers compute fewer")],
)
def test_what_depends_on_the_change_is_left_to_the_host(change: dict[str, Any], why: str) -> None:
    _, attention, _, age = known(0, 1000)
    assert Unchosen.of(attention, age, (4, 4), replace(OURS, row_budget=40)), why
    assert Unchosen.of(attention, age, (4, 4), replace(OURS, **({"row_budget": 40} | change))) is None, why


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_a_change_that_is_no_number_still_gives_as_many_tokens(spoilt: float) -> None:
    change, attention, entropy, age = known(3, 1000)
    change[[5, 9]] = spoilt
    unchosen = Unchosen.of(attention, age, (4, 4), replace(OURS, row_budget=40))
    assert unchosen is not None
    assert choose(unchosen.question(entropy), change).fresh.sum() == 40


def test_an_open_plan_filled_is_the_plan_of_these_tokens() -> None:
    layout, draft = Layout((1,), N, 32, 7, state=2, area=9), Answers((5, 6), (0, 1), (0, 1), (1, 3))
    tokens = np.array([3, 4, 20, 63])
    for answers in (NO_ANSWERS, draft):
        expected = layout.prefill(tokens, [7, 8], answers, True, {})
        made = replace(layout.prefill(np.arange(4), [7, 8], answers, True, {}), open=True).filled(tokens)
        assert not made.open
        for name in ("source", "token", "position", "slot", "seen", "branch"):
            np.testing.assert_array_equal(getattr(made, name), getattr(expected, name), err_msg=name)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """The questions that are asked from now on."""
    asked: list[Question] = []
    question = joint.Unchosen.question

    def ask(unchosen: Unchosen, entropy: np.ndarray) -> Question:
        asked.append(question(unchosen, entropy))
        return asked[-1]

    monkeypatch.setattr(joint.Unchosen, "question", ask)
    return asked


def test_a_policy_gives_the_same_whoever_chooses(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch)
    by_device, by_host = (Policy.load(small_folder, graphs=True) for _ in range(2))
    by_host.runner.chooses = False
    for tunables in (BEGIN, replace(BEGIN, drafts="off", row_budget=12), replace(BEGIN, k1=0, k2=0)):
        asked.clear()
        results = run(by_device, tunables, ticks=14)
        assert len(asked) > 5
        expected = run(by_host, tunables, ticks=14)
        same(results, expected, 0.0)
        for one, other in zip(results, expected, strict=True):
            np.testing.assert_array_equal(one.reuse.codes, other.reuse.codes)
            assert one.reuse.fresh == int(one.reuse.fresh_mask.sum())


def test_several_cameras_share_the_tokens_that_the_device_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, folder = counted(monkeypatch), two_cameras(tmp_path / "checkpoint")
    tunables = replace(BEGIN, k1=3, k2=5, row_budget=12)
    results = []
    for chooses in (True, False):
        policy = Policy.load(folder, graphs=True)
        policy.runner.chooses = chooses
        policy.set_tunables(tunables)
        still = moving(1, 1)[0].images[0]
        for seen in moving(0, 12):
            results.append(policy.infer(replace(seen, images=(seen.images[0], still))))
            policy.settle()
    same(results[:12], results[12:], 0.0)
    assert len(asked) > 3
    assert results[11].reuse.fresh == 12


def test_the_host_chooses_where_the_number_of_tokens_is_not_known(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counted(monkeypatch)
    policy = Policy.load(small_folder, graphs=True)
    for tunables in (
        replace(BEGIN, row_budget=0),
        replace(BEGIN, row_budget=1),
        replace(TUNABLES, mode="info_entropy"),
    ):
        assert run(policy, tunables)[-1].reuse.reused > 0
        assert not asked


@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf])
@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("chooses", [False, True])
def test_a_token_that_is_no_number_is_computed_and_shows(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch, spoilt: float, graphs: bool, chooses: bool
) -> None:
    policy = Policy.load(small_folder, graphs=graphs)
    policy.runner.chooses = chooses and graphs
    policy.set_tunables(replace(BEGIN, k1=0, k2=0))
    *before, last = moving(0, 4)
    for seen in before:
        policy.infer(seen)
        policy.settle()
    network = policy.model.network
    embed = network.visual_tokens

    def visual_tokens(pixels: torch.Tensor) -> torch.Tensor:
        tokens = embed(pixels).clone()
        tokens[0, 9] = spoilt
        return tokens

    monkeypatch.setattr(network, "visual_tokens", visual_tokens)
    with pytest.raises(ActionError, match="not finite"):
        policy.infer(last)


def test_after_a_tick_that_failed_everything_is_computed(small_folder: Path) -> None:
    policy = Policy.load(small_folder, graphs=True)
    expected = run(policy, BEGIN)
    *before, last = moving(0, 4)
    policy.reset()
    for seen in before:
        policy.infer(seen)
    projector = policy.model.network.get_parameter("projector.fc1.weight")  # type: ignore[attr-defined]
    kept = projector.clone()
    with torch.no_grad():
        projector.fill_(torch.nan)
    with pytest.raises(ActionError, match="not finite"):
        policy.infer(last)
    with torch.no_grad():
        projector.copy_(kept)
    assert policy.infer(last).reuse.fresh == policy.info.visual_tokens
    same(run(policy, BEGIN), expected, 0.0)
