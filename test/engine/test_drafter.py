"""What is drafted: the likeliest tree by the newest logits, and what the drafter learns about them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_entropy_ros.engine.actions.drafts import (
    CENTRE,
    EXTRAPOLATED,
    GUESSED,
    NEIGHBOUR,
    PREVIOUS,
    ROOT,
    RUNNER_UP,
    Candidates,
    Draft,
    Drafter,
    grow,
    weigh,
)
from vla_entropy_ros.engine.actions.speculative import entropies
from vla_entropy_ros.engine.decoding.sequence import Answers, Layout

COUNT, FIRST, BINS = 7, 16, 256
LAST = FIRST + BINS - 1
ROWS = 48


def peaked(tokens: list[int], height: float = 8.0) -> np.ndarray:
    """Logits [K, bins] with one smooth maximum each."""
    return -height * np.abs(np.arange(FIRST, LAST + 1) - np.array(tokens)[:, None]) / 8


def paths(draft: Draft) -> list[tuple[int, ...]]:
    made: list[tuple[int, ...]] = []
    for token, parent in zip(draft.ids, draft.parents, strict=True):
        made.append(((*made[parent],) if parent != ROOT else ()) + (token,))
    return made


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), depth=st.integers(1, 4), rows=st.integers(0, 30), least=st.floats(0, 0.3))
def test_a_tree_holds_the_likeliest_paths_and_the_likeliest_chain_first(
    seed: int, depth: int, rows: int, least: float
) -> None:
    random = np.random.default_rng(seed)
    candidates: list[Candidates] = []
    for _ in range(depth):
        shares = np.sort(random.dirichlet(np.ones(int(random.integers(1, 5)))))[::-1]
        candidates.append([(float(share), token, PREVIOUS) for token, share in enumerate(shares, FIRST)])
    draft = grow(candidates, rows, least)
    made = paths(draft)
    assert len(set(made)) == len(made) == len(draft)
    chain = [tuple([FIRST] * length) for length in range(1, depth + 1)]
    assert made[: len(chain)] == chain[:rows]
    assert draft.chain_length == min(depth, rows)
    likely = {
        path: float(np.prod([candidates[n][token - FIRST][0] for n, token in enumerate(path)]))
        for length in range(1, depth + 1)
        for path in itertools.product(*([one[1] for one in at] for at in candidates[:length]))
    }
    others = sorted((likely[path] for path in likely if path not in chain and likely[path] >= least), reverse=True)
    assert len(draft) == min(rows, len(chain) + len(others))
    found = [likely[path] for path in made if path not in chain]
    np.testing.assert_allclose(found, others[: len(found)], rtol=1e-9)


def test_a_chain_stands_in_consecutive_slots_and_a_branch_sees_its_own_path_alone() -> None:
    assert Draft.chain([20, 21]).answers == Answers((20, 21), (0, 1), (0, 1), (0b1, 0b11))
    assert Draft.chain([22]).placed(21, [0, 1]) == Answers((21, 22), (2, 3), (2, 3), (0b111, 0b1111))
    draft = Draft((20, 21, 30, 31), (ROOT, 0, ROOT, 2), (PREVIOUS,) * 4)
    assert draft.answers.branch == (0b1, 0b11, 0b100, 0b1100)
    assert draft.children == [[1, 3], [2], [], [4], []]
    held = [2, 3]  # the second branch was right: what the first had is free
    assert draft.placed(50, held).slot == (0, 1, 4, 5, 6)
    assert draft.placed(50, held).branch == (0b1101, 0b1111, 0b11111, 0b101101, 0b1101101)
    assert draft.placed(50, held).position == (2, 3, 4, 3, 4)


def test_no_more_slots_than_a_branch_has_bits() -> None:
    with pytest.raises(ValueError, match="an area of 63 slots: expected at most 62"):
        Layout((1,), 5, 3, 7, area=63)


def test_the_last_ticks_maxima_are_drafted_by_their_probability() -> None:
    drafter, logits = Drafter(COUNT, FIRST, LAST), peaked([50] * COUNT)
    logits[:, 100 - FIRST] = -1.0
    drafter.learn([50] * COUNT, logits)
    draft = drafter.propose(ROWS)
    assert draft.ids[:6] == (50,) * 6
    assert draft.sources[:6] == (PREVIOUS,) * 6
    first = [pair for *pair, parent in zip(draft.ids, draft.sources, draft.parents, strict=True) if parent == ROOT]
    assert first[:2] == [[50, PREVIOUS], [100, RUNNER_UP]]
    assert len(draft) == ROWS


def test_a_drafter_learns_whether_tokens_stand_creep_or_go_on() -> None:
    drafter = Drafter(COUNT, FIRST, LAST)
    for tick in range(30):  # two stand still, two go by a bin per tick, three by 5
        tokens = [50, 50, 60 + tick, 60 + tick, *[60 + 5 * tick] * 3]
        drafter.learn(tokens, peaked(tokens))
    draft = drafter.propose(6)
    assert draft.ids == (50, 50, 90, 90, 210, 210)
    assert draft.sources == (PREVIOUS,) * 2 + (NEIGHBOUR,) * 2 + (EXTRAPOLATED,) * 2
    drafter.forget()
    assert drafter.propose(ROWS).sources == (CENTRE,) * 6
    assert drafter.rates == Drafter(COUNT, FIRST, LAST).rates


def test_a_proposal_is_grown_once_and_is_gone_with_what_it_goes_by() -> None:
    drafter = Drafter(COUNT, FIRST, LAST)
    for token in (50, 70):
        drafter.learn([token] * COUNT, peaked([token] * COUNT))
        draft = drafter.propose(ROWS)
        assert draft.ids[0] == token
        assert drafter.propose(ROWS) is draft
        assert len(drafter.propose(6)) == 6 < len(draft)
    drafter.forget()
    assert drafter.propose(ROWS).sources == (CENTRE,) * 6


def test_what_this_tick_put_out_counts_before_the_last_one() -> None:
    drafter = Drafter(COUNT, FIRST, LAST)
    drafter.learn([50] * COUNT, peaked([50] * COUNT))
    seen = drafter.weigh(dict(enumerate(peaked([70] * COUNT))))
    draft = drafter.revise(4, {4: seen[4]}, 2)
    assert (draft.ids, draft.sources) == ((70, 50), (GUESSED, PREVIOUS))


def test_drafts_stay_among_the_actions() -> None:
    drafter = Drafter(COUNT, FIRST, LAST)
    for token in (FIRST + 5, FIRST + 1):
        drafter.learn([token] * COUNT, peaked([token] * COUNT))
    assert min(drafter.propose(ROWS).ids) == FIRST
    for tokens in ([FIRST] * COUNT, [LAST] * COUNT):
        drafter.learn(tokens, peaked(tokens))
        assert FIRST <= min(drafter.propose(ROWS).ids) <= max(drafter.propose(ROWS).ids) <= LAST


def test_bins_beside_a_maximum_are_none_and_what_is_unlikely_is_left_out() -> None:
    logits = np.full((1, BINS), -50.0)
    logits[0, [10, 11, 12, 40, 90, 255]] = [2.0, 3.0, 2.0, 1.0, -20.0, 0.0]
    (found,) = weigh(logits, FIRST)
    assert found.best == FIRST + 11
    assert list(found.maxima) == [FIRST + 11, FIRST + 40, FIRST + 255]
    assert found.maxima_mass == pytest.approx(1 + np.exp(-2) + np.exp(-3))
    assert found.near == pytest.approx([0.0, np.exp(-1), np.exp(-1), 0.0], abs=1e-9)


def test_of_equal_logits_the_first_is_the_maximum() -> None:
    (found,) = weigh(np.array([[0.0, 2.0, 2.0, 0.0]]), 5)
    assert (found.best, list(found.maxima)) == (6, [6])


def test_entropy_is_0_for_a_certain_row_and_1_for_an_even_one() -> None:
    certain = np.zeros(BINS)
    certain[3] = 100.0
    np.testing.assert_allclose(entropies(np.stack([certain, np.ones(BINS)])), [0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("rows", range(1, 49))
def test_the_first_nodes_of_a_tree_are_the_tree_of_so_many(rows: int) -> None:
    drafter = Drafter(7, 100, 355)
    random = np.random.default_rng(rows)
    for _ in range(3):
        drafter.learn(random.integers(100, 356, 7).tolist(), random.normal(0, 3, (7, 256)))
    assert drafter.propose(48).first(rows) == drafter.propose(rows)
