"""What a row sees: leading slots, and slots of the area by the bits of its branch; all else has no weight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_entropy_ros.engine import Policy
from vla_entropy_ros.engine.decoding.decoder import Sight
from vla_entropy_ros.engine.decoding.sequence import BITS, Answers, Layout

SLOTS = 90


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), area=st.integers(0, SLOTS - 1), repeated=st.booleans())
def test_a_mask_hides_all_but_the_leading_slots_and_those_of_the_branch(seed: int, area: int, repeated: bool) -> None:
    random = np.random.default_rng(seed)
    seen, bits = random.integers(1, SLOTS, 5), random.random((5, BITS)) < 0.3
    branch = (bits * (1 << np.arange(BITS))).sum(1)
    where = torch.full((5, 1), area) if repeated else area
    mask = Sight(torch.from_numpy(seen), torch.from_numpy(branch), where, SLOTS).mask(torch.arange(99), torch.float32)
    assert mask is not None
    expected = np.arange(SLOTS) < seen[:, None]
    own = bits[:, : SLOTS - area]
    expected[:, area : area + BITS] |= own
    np.testing.assert_array_equal(mask.numpy() == 0, expected)


def test_every_kind_of_layout_is_a_number_of_leading_slots() -> None:
    causal = Layout((1,), 4, 3, 2)
    assert causal.seen(np.array([0, 3, 7]), 9).tolist() == [1, 4, 8]
    assert causal.answer_rows(Answers.following([5, 6]), 8).seen.tolist() == [9, 10]
    both = replace(causal, causal=False)
    assert both.seen(np.array([0, 3, 7]), 9).tolist() == [9, 9, 9]


def test_a_plan_looks_at_what_its_rows_see_and_no_further() -> None:
    layout = Layout((1,), 4, 3, 2)
    plan = layout.answer_rows(Answers.following([5, 6]), 8)
    assert (plan.reach, plan.all_seen) == (10, False)
    assert layout.answer_rows(Answers.following([5]), 8).all_seen
    tree = layout.answer_rows(Answers((5, 6), (0, 1), (0, 2), (0b1, 0b101)), 8)
    assert (tree.reach, tree.all_seen) == (11, False)
    assert (tree.seen.tolist(), tree.branch.tolist(), tree.area) == ([9, 8], [0, 0b101], 8)
    assert (tree.position.tolist(), tree.slot.tolist()) == ([8, 9], [8, 10])
    deep = layout.answer_rows(Answers((5,), (0,), (61,), ((1 << BITS) - 1,)), 8)
    assert (deep.seen.tolist(), deep.reach) == ([8 + BITS], 8 + BITS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@torch.inference_mode()
def test_what_a_slot_that_is_not_seen_holds_changes_no_bit(small_folder: Path, dtype: str) -> None:
    policy = Policy.load(small_folder, dtype=dtype)
    decoder, cache = policy._eager.decoder, policy._cache
    rows, where = torch.randn(4, 32).to(cache.keys.dtype), torch.tensor([60, 61, 62, 62])
    sight = Sight(torch.full((4,), 40), torch.tensor([0b1, 0b1001, 0b10001, 0b100000]), 50, 60)
    found = []
    for garbage in (0.0, 100.0):
        for held in (cache.keys, cache.values):
            held.copy_(torch.randn(held.shape, generator=torch.Generator().manual_seed(0)))
            held[:, :, 40:] = garbage
        found.append(decoder.run(rows, where, torch.tensor([50, 53, 54, 55]), sight, tail=4))
    assert torch.equal(*found)
