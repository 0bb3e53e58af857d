"""Drafts never change what is decoded, and never cost a pass: over hundreds of random networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional as F

from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.engine.actions.drafts import (
    EXTRAPOLATED,
    GUESSED,
    NO_DRAFT,
    PREVIOUS,
    Draft,
    Drafter,
    exact,
    within,
)
from vla_entropy_ros.engine.actions.speculative import (
    Decoded,
    Rules,
    Scored,
    greedy_decode,
    score,
    speculative_decode,
)
from vla_entropy_ros.engine.decoding.decoder import Decoder
from vla_entropy_ros.engine.decoding.kv_cache import KVCache
from vla_entropy_ros.engine.decoding.runner import EagerRunner, Endpoints, Table
from vla_entropy_ros.engine.decoding.sequence import Layout
from vla_entropy_ros.engine.model.llama import Llama
from vla_entropy_ros.engine.model.shapes import LlamaConfig
from vla_entropy_ros.engine.tunables import MODES, Tunables

from .conftest import causal

COUNT, FIRST, VISUAL, TEXT = 7, 16, 5, 3
LAST = FIRST + 255
PROMPT = 1 + VISUAL + TEXT
LAST_WORD = 5  # id of the last prompt row
MANY = settings(max_examples=300, deadline=None)
Tokens = NDArray[np.int64]


class Bench:
    """A random network with a random prompt, half of whose visual slots may be left from an earlier image."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.float32) -> None:
        random = np.random.default_rng(seed)
        torch.manual_seed(seed)
        heads = int(random.choice([2, 4]))
        kv_heads = int(random.choice([n for n in (1, 2, 4) if heads % n == 0]))
        config = LlamaConfig(16, 24, int(random.integers(1, 4)), heads, kv_heads, vocab_size=FIRST + 256 + 8)
        llama = Llama(config).requires_grad_(False).eval()
        for weight in llama.parameters():
            if weight.dim() == 2:
                weight.normal_(0, 0.5)
        self.llama = llama.to(dtype).fuse()
        self.layout = Layout((1,), VISUAL, TEXT, COUNT)
        cache = KVCache(config, self.layout.count, torch.device("cpu"), dtype)
        self.decoder = Decoder(self.llama, cache, self.layout)
        unused = cast(Any, None)
        ends = Endpoints(unused, unused, self.readout, (), 0, COUNT, ())
        self.runner = EagerRunner(ends, self.decoder)
        self.rows = torch.randn(PROMPT, 16).to(dtype)
        self.rows[-1] = self.llama.embed(torch.tensor(LAST_WORD))
        self.fresh = np.concatenate(([True], random.random(VISUAL) < 0.5, [True] * TEXT))
        with torch.inference_mode():
            where = torch.arange(PROMPT)
            self.decoder.run(torch.randn(PROMPT, 16).to(dtype), where, where, causal(where), tail=1)

    def readout(self, states: torch.Tensor) -> torch.Tensor:
        """Greedy id, margin, entropy of each row."""
        return score(self.llama.lm_head(states), FIRST, margins=True)

    def prefill(self, draft: Draft) -> Scored:
        """What the last prompt row and the draft put out."""
        drafts = self.llama.embed(torch.from_numpy(draft.ids))
        rows = torch.cat((self.rows[self.fresh], drafts))
        where = torch.cat((torch.from_numpy(np.flatnonzero(self.fresh)), torch.arange(PROMPT, PROMPT + len(draft))))
        padding = -len(rows) % 4
        rows, slot = F.pad(rows, (0, 0, padding, 0)), F.pad(where, (padding, 0), value=self.decoder.cache.count)
        where = F.pad(where, (padding, 0))
        states = self.decoder.run(rows, where, slot, causal(where), tail=1 + len(draft))
        return Scored.of(self.readout(states).numpy().astype(np.float64))

    def extend(self, ids: Sequence[int], number: int) -> Table:
        """Run tokens from the `number`-th action position on."""
        return self.runner.run(self.layout.tokens(ids, PROMPT + number))

    @torch.inference_mode()
    def plain(self) -> Decoded:
        """What counts."""
        return greedy_decode(self.extend, self.prefill(NO_DRAFT), COUNT)

    @torch.inference_mode()
    def verified(self, drafter: Drafter, draft: Draft, rules: Rules) -> Decoded:
        """With drafts."""
        return speculative_decode(self.extend, self.prefill(draft), LAST_WORD, drafter, draft, rules)


def corrupted(tokens: Tokens, share: float, random: np.random.Generator) -> Draft:
    """The right tokens but for a share of them, and none beyond a random length."""
    length = int(random.integers(0, COUNT))
    wrong = random.random(length) < share
    ids = np.where(wrong, random.integers(FIRST, LAST + 1, length), tokens[:length])
    return Draft(ids.astype(np.int64), (PREVIOUS,) * length)


@MANY
@given(seed=st.integers(0, 2**31), share=st.floats(0, 1), history=st.integers(0, 2))
def test_exact_drafts_give_the_tokens_of_plain_decoding_in_no_more_passes(
    seed: int, share: float, history: int
) -> None:
    bench, random = Bench(seed), np.random.default_rng(seed)
    expected = bench.plain()
    drafter = Drafter(COUNT, FIRST, LAST)
    for _ in range(history):
        drafter.learn(np.where(random.random(COUNT) < share, FIRST, expected.tokens), {})
    draft = corrupted(expected.tokens, share, random)
    found = bench.verified(drafter, draft, Rules(exact))
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=1e-4)
    assert found.passes <= expected.passes == COUNT
    assert found.certified == COUNT
    assert found.accepted == len(found.sources) <= found.drafted


def test_right_drafts_need_one_pass_and_wrong_ones_all() -> None:
    bench = Bench(3)
    tokens = bench.plain().tokens
    right = Draft(tokens[: COUNT - 1], (PREVIOUS,) * (COUNT - 1))
    found = bench.verified(Drafter(COUNT, FIRST, LAST), right, Rules(exact))
    assert (found.passes, found.accepted, found.drafted) == (1, COUNT - 1, COUNT - 1)
    nothing = bench.verified(Drafter(COUNT, FIRST, LAST), NO_DRAFT, Rules(exact))
    assert (nothing.passes, nothing.accepted) == (COUNT, 0)


@MANY
@given(seed=st.integers(0, 2**31), tolerance=st.integers(0, 8))
def test_bounded_drafts_rest_on_a_draft_within_the_tolerance(seed: int, tolerance: int) -> None:
    bench, random = Bench(seed), np.random.default_rng(seed)
    expected = bench.plain().tokens
    ids = np.clip(expected[:-1] + random.integers(-8, 9, COUNT - 1), FIRST, LAST)
    found = bench.verified(Drafter(COUNT, FIRST, LAST), Draft(ids, (PREVIOUS,) * 6), Rules(within(tolerance)))
    assert found.tokens[0] == expected[0]
    assert found.passes <= COUNT
    if tolerance == 0:
        np.testing.assert_array_equal(found.tokens, expected)


def test_at_the_deadline_the_iterate_is_published_with_its_certified_length() -> None:
    bench = Bench(5)
    expected = bench.plain().tokens
    drafter = Drafter(COUNT, FIRST, LAST)
    past = Rules(exact, deadline=time.perf_counter() - 1.0)
    first = bench.verified(drafter, NO_DRAFT, past)
    assert first.certified == COUNT  # there is nothing else to publish yet
    draft = Draft(np.where(np.arange(6) == 2, FIRST, expected[:6]), (PREVIOUS,) * 6)
    cut = bench.verified(drafter, draft, past)
    assert (cut.passes, cut.certified) == (1, 3)
    np.testing.assert_array_equal(cut.tokens[:3], expected[:3])
    assert ((cut.tokens >= 0) & (cut.tokens < FIRST + 264)).all()
    assert (cut.entropy[3:] == 1.0).all()
    np.testing.assert_array_equal(bench.verified(drafter, draft, Rules(exact, deadline=math.inf)).tokens, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_the_margin_guard_looks_again_alone_where_two_tokens_are_close(dtype: torch.dtype) -> None:
    differing = {0.0: 0, 0.15: 0}
    for margin in differing:
        for seed in range(200):
            bench = Bench(seed, dtype)
            expected = bench.plain().tokens
            draft = Draft(expected[:-1], (PREVIOUS,) * 6)
            found = bench.verified(Drafter(COUNT, FIRST, LAST), draft, Rules(exact, margin))
            differing[margin] += not np.array_equal(found.tokens, expected)
            if margin == 0.0:
                assert found.passes <= COUNT
    assert differing[0.15] <= differing[0.0]
    assert differing[0.15] <= 1  # of 200


def test_the_guard_runs_a_close_row_alone() -> None:
    bench = Bench(7)
    expected = bench.plain()
    draft = Draft(expected.tokens[:-1], (PREVIOUS,) * 6)
    found = bench.verified(Drafter(COUNT, FIRST, LAST), draft, Rules(exact, margin=1e9))  # everything is close
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.entropy, expected.entropy, rtol=1e-6)
    assert found.passes > COUNT


def test_a_drafter_learns_which_source_is_right() -> None:
    drafter = Drafter(COUNT, FIRST, LAST)
    assert len(drafter.propose()) == 0
    for tick in range(30):  # the first half stands still, the second moves by 3 bins a tick
        drafter.learn(np.array([50, 50, 50, 50 + 3 * tick, 50 + 3 * tick, 50 + 3 * tick, 50]), {})
    draft = drafter.propose()
    assert draft.ids.tolist() == [50, 50, 50, 140, 140, 140]
    assert draft.sources == (PREVIOUS,) * 3 + (EXTRAPOLATED,) * 3
    for token in np.random.default_rng(0).integers(FIRST, LAST, 30).tolist():
        drafter.learn(np.full(COUNT, token), {4: token, 5: token})
    assert drafter.revise(4, {4: 120, 5: 121}).sources == (GUESSED, GUESSED)
    drafter.forget()
    assert len(drafter.propose()) == 0


def test_extrapolation_stays_among_the_actions() -> None:
    drafter = Drafter(COUNT, FIRST, LAST)
    drafter.rates[EXTRAPOLATED][:] = 1.0
    for token in (FIRST + 5, FIRST + 1):
        drafter.learn(np.full(COUNT, token), {})
    drafter.rates[EXTRAPOLATED][:] = 1.0
    assert drafter.propose().ids.tolist() == [FIRST] * 6


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
