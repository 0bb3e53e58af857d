"""Drafts never change what is decoded, and never cost a pass: over hundreds of random networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.engine.actions.drafts import NO_DRAFT, PREVIOUS, ROOT, Draft, Drafter, Evidence, exact, within
from vla_entropy_ros.engine.actions.speculative import Rules
from vla_entropy_ros.engine.actions.token_head import TokenHead
from vla_entropy_ros.engine.actions.tokens import BINS
from vla_entropy_ros.engine.decoding.runner import Table
from vla_entropy_ros.engine.decoding.sequence import Answers
from vla_entropy_ros.engine.tunables import MODES, Tunables

from .random_network import COUNT, FIRST, LAST, LAST_WORD, ROWS, SPACE, Bench

MANY = settings(max_examples=300, deadline=None)
AMX = "amx_bf16" in Path("/proc/cpuinfo").read_text()  # of the processor


def rules(match: Any = exact, margin: float = 0.0, deadline: float = math.inf) -> Rules:
    return Rules(match, margin, ROWS, deadline)


def some_tree(tokens: list[int], share: float, random: np.random.Generator) -> Draft:
    """A tree in which a share of the right tokens is missing; a chain first, the right ones anywhere."""
    depth = int(random.integers(0, COUNT))
    ids: list[int] = []
    parents: list[int] = []
    path = {ROOT: 0}
    for node in range(depth + (int(random.integers(0, ROWS - depth + 1)) if depth else 0)):
        parent = node - 1 if node < depth else int(random.choice([n for n, d in path.items() if d < COUNT - 1]))
        right = tokens[path[parent]] if random.random() > share else int(random.integers(FIRST, LAST + 1))
        if right in [ids[other] for other, above in enumerate(parents) if above == parent]:
            right = next(n for n in range(FIRST, LAST) if n not in ids)
        ids.append(right)
        parents.append(parent)
        path[node] = path[parent] + 1
    return Draft(tuple(ids), tuple(parents), (PREVIOUS,) * len(ids))


def taught(expected: list[int], ticks: int, share: float, random: np.random.Generator) -> Drafter:
    """A drafter that has seen ticks like this one, in which a share of the tokens was another."""
    drafter = Drafter(COUNT, FIRST, LAST)
    for _ in range(ticks):
        tokens = [int(random.integers(FIRST, LAST + 1)) if random.random() < share else token for token in expected]
        logits = random.normal(0, 1, (COUNT, BINS))
        logits[np.arange(COUNT), np.clip(np.array(tokens) - FIRST, 0, BINS - 1)] += 4 * random.random()
        drafter.learn(tokens, logits)
    return drafter


@MANY
@given(seed=st.integers(0, 2**31), share=st.floats(0, 1), history=st.integers(0, 3))
def test_exact_drafts_give_the_tokens_of_plain_decoding_in_no_more_passes(
    seed: int, share: float, history: int
) -> None:
    bench, random = Bench(seed), np.random.default_rng(seed)
    expected = bench.plain()
    drafter = taught(expected.tokens.tolist(), history, share, random)
    draft = some_tree(expected.tokens.tolist(), share, random)
    found = bench.verified(drafter, draft, rules())
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=1e-4)
    assert found.passes <= expected.passes == COUNT
    assert found.certified == COUNT
    assert found.accepted == len(found.sources) <= found.drafted == len(found.tried)


def test_in_bfloat16_second_looks_bring_back_tokens_of_plain_decoding() -> None:
    differing, passes = {True: 0, False: 0}, 0
    for seed in range(300):
        bench, random = Bench(seed, torch.bfloat16), np.random.default_rng(seed)
        margin = bench.calibrated()
        expected = bench.plain().tokens.tolist()
        draft = some_tree(expected, 0.3, random)
        if AMX:  # there, prompts differ by the rows beside them, and no look at later rows mends that
            expected = bench.plain_behind(draft).tokens.tolist()
        for looked in differing:
            drafter = taught(expected, 2, 0.3, np.random.default_rng(seed))
            found = bench.verified(drafter, draft, rules(margin=margin if looked else 0.0))
            differing[looked] += found.tokens.tolist() != expected
            passes += found.passes if looked else 0
    # 0 and 3 where this was written, 5 and 12 with AMX: other kernels, other near ties
    assert differing[True] <= (differing[False] / 2 if AMX else min(1, differing[False]))
    assert passes < 300 * COUNT


@MANY
@given(seed=st.integers(0, 2**31), share=st.floats(0, 1))
def test_rows_that_held_stay_and_slots_of_the_others_are_used_again(seed: int, share: float) -> None:
    bench, random = Bench(seed), np.random.default_rng(seed)
    expected = bench.plain().tokens.tolist()
    draft = some_tree(expected, share, random)
    found = bench.verified(taught(expected, 2, share, random), draft, rules())
    held: set[int] = set()
    for rows in bench.extended:
        assert len(rows) <= ROWS
        assert max(rows.slot) < bench.layout.area
        assert len(set(rows.slot)) == len(rows)
        assert rows.token[0] in expected
        root = rows.branch[0]
        before = {slot for slot in range(62) if root >> slot & 1} - {rows.slot[0]}
        assert held <= before  # what held is seen for ever
        assert len(before) == rows.position[0]  # one slot for each token before
        assert not before & set(rows.slot)
        assert max(rows.slot) < len(before) + len(rows)  # the lowest that are free
        held = before
    assert found.tokens.tolist() == expected


class Fixed(Drafter):
    """Always drafts the same chain."""

    def __init__(self, ids: list[int]) -> None:
        super().__init__(COUNT, FIRST, LAST)
        self.ids = ids

    def revise(self, start: int, seen: Mapping[int, Evidence], rows: int) -> Draft:
        """What is left of it."""
        return Draft.chain(self.ids[start:])


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0, 1))
def test_one_draft_per_position_is_a_chain_in_consecutive_slots(seed: int, share: float) -> None:
    bench, random = Bench(seed), np.random.default_rng(seed)
    expected = bench.plain().tokens.tolist()
    ids = [int(random.integers(FIRST, LAST)) if random.random() < share else token for token in expected[:-1]]
    found = bench.verified(Fixed(ids), Draft.chain(ids), rules())
    known, passes = 0, 0
    while known < COUNT:  # a pass gives a token, and one more for each draft that held
        passes, known = passes + 1, known + 1
        if passes > 1:
            assert bench.extended[passes - 2] == Answers.following([expected[known - 2], *ids[known - 1 :]], known - 2)
        while known < COUNT and ids[known - 1] == expected[known - 1]:
            known += 1
    assert (found.passes, found.tokens.tolist()) == (passes, expected)


def test_right_drafts_need_one_pass_and_wrong_ones_no_more_than_plain_decoding() -> None:
    bench = Bench(3)
    tokens = bench.plain().tokens.tolist()
    right = Draft.chain(tokens[: COUNT - 1])
    found = bench.verified(Drafter(COUNT, FIRST, LAST), right, rules())
    assert (found.passes, found.accepted, found.drafted) == (1, COUNT - 1, COUNT - 1)
    wrong = Fixed([next(n for n in range(FIRST, LAST) if n not in tokens)] * (COUNT - 1))
    nothing = bench.verified(wrong, wrong.propose(ROWS), rules())
    assert (nothing.passes, nothing.accepted) == (COUNT, 0)


@MANY
@given(seed=st.integers(0, 2**31), tolerance=st.integers(0, 8))
def test_bounded_drafts_rest_on_a_draft_within_the_tolerance(seed: int, tolerance: int) -> None:
    bench, random = Bench(seed), np.random.default_rng(seed)
    expected = bench.plain().tokens
    ids = np.clip(expected[:-1] + random.integers(-8, 9, COUNT - 1), FIRST, LAST).tolist()
    found = bench.verified(Drafter(COUNT, FIRST, LAST), Draft.chain(ids), rules(within(tolerance)))
    assert found.tokens[0] == expected[0]
    assert found.passes <= COUNT
    if tolerance == 0:
        np.testing.assert_array_equal(found.tokens, expected)


def test_of_several_drafts_within_the_tolerance_the_nearest_counts() -> None:
    assert within(2)(50, [53, 49, 48]) == 1
    assert within(2)(50, [53, 40]) is None
    assert exact(50, [53, 50]) == 1
    assert exact(50, [53]) is None


def test_at_the_deadline_the_iterate_is_published_with_its_certified_length() -> None:
    bench = Bench(5)
    expected = bench.plain().tokens
    drafter = Drafter(COUNT, FIRST, LAST)
    past = rules(deadline=time.perf_counter() - 1.0)
    first = bench.verified(drafter, NO_DRAFT, past)
    assert first.certified == COUNT  # there is nothing else to publish yet
    draft = Draft.chain(np.where(np.arange(6) == 2, FIRST, expected[:6]).tolist())
    cut = bench.verified(drafter, draft, past)
    assert (cut.passes, cut.certified) == (1, 3)
    np.testing.assert_array_equal(cut.tokens[:3], expected[:3])
    np.testing.assert_array_equal(cut.tokens[3:], expected[3:])  # as the last tick had them
    assert (cut.entropy[3:] == 1.0).all()
    np.testing.assert_array_equal(bench.verified(drafter, draft, rules()).tokens, expected)


def test_a_close_row_is_run_again_alone_and_the_rest_of_its_pass_still_counts() -> None:
    bench = Bench(7)
    expected = bench.plain()
    draft = Draft.chain(expected.tokens[:-1].tolist())
    found = bench.verified(Drafter(COUNT, FIRST, LAST), draft, rules(margin=1e9))  # everything is close
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=1e-6)
    assert found.passes == 1 + COUNT
    looked = [Answers((LAST_WORD,), (-1,), (-1,), (0,))]
    looked += [draft.answers.part(row, row + 1) for row in range(COUNT - 1)]
    assert bench.extended == looked


def test_what_is_calibrated_is_how_far_the_best_logits_move() -> None:
    head = TokenHead(SPACE, COUNT, lambda x: x, 0.01, ROWS)
    table = np.random.default_rng(0).normal(0, 1, (ROWS + 1, 2 + BINS))
    table[:, 2:] = table[0, 2:]
    best = int(table[0, 2:].argmax())

    def same(rows: Answers) -> Table:
        return table[: len(rows)]

    def prefilled(whole: dict[bool, Table], draft: Draft) -> Table:
        return whole[len(draft) > 0][: len(draft) + 1]

    head.calibrate(partial(prefilled, {True: table, False: table}), same, LAST_WORD)
    assert head.margin == 0.0
    for change, margin in ((-0.125, 0.125), (1e-6, 0.005 * table[0, 2 + best])):
        head.margin, other = 0.0, table.copy()
        other[-1, 2 + best] += change
        whole = {True: other, False: table}
        head.calibrate(partial(prefilled, whole), same, LAST_WORD)
        assert head.margin == pytest.approx(margin, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(mode=st.sampled_from(MODES), seed=st.integers(0, 10**6))
def test_a_policy_acts_the_same_with_drafts_and_without(load_small: Callable[[], Policy], mode: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    policies = {drafts: load_small() for drafts in ("off", "exact")}
    frame = random.integers(0, 256, (56, 56, 3), np.uint8)
    for tick in range(6):
        row, column = random.integers(0, 43, 2)
        frame[row : row + 14, column : column + 14] = random.integers(0, 256, 3)
        results = {}
        for drafts, policy in policies.items():
            policy.set_tunables(replace(Tunables.default(16), mode=mode, k1=2, k2=3, row_budget=0, drafts=drafts))
            results[drafts] = policy.infer(Observation((frame.copy(),), "pick up the red cube", 0.1 * tick))
            policy.settle()
        one, other = results["off"], results["exact"]
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.reuse.fresh_mask, other.reuse.fresh_mask)
        assert other.decoder_passes <= one.decoder_passes == COUNT
