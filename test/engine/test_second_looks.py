"""Rows that are looked at again: in one pass where that makes no difference, in the slots of plain decoding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_entropy_ros.engine.actions.drafts import PREVIOUS, ROOT, Draft, Drafter
from vla_entropy_ros.engine.actions.token_head import TokenHead
from vla_entropy_ros.engine.actions.tokens import BINS
from vla_entropy_ros.engine.decoding.runner import Table
from vla_entropy_ros.engine.decoding.sequence import Answers

from .random_network import COUNT, FIRST, LAST, LAST_WORD, ROWS, SPACE, Bench
from .test_drafts import MANY, rules, some_tree, taught


@MANY
@given(seed=st.integers(0, 2**31), share=st.floats(0, 1))
def test_close_rows_are_run_again_in_one_pass_where_that_makes_no_difference(seed: int, share: float) -> None:
    bench, random = Bench(seed), np.random.default_rng(seed)
    expected = bench.plain().tokens.tolist()
    draft, passes = some_tree(expected, share, random), {}
    for together in (False, True):
        drafter = taught(expected, 2, share, np.random.default_rng(seed))
        found = bench.verified(drafter, draft, replace(rules(margin=0.5), together=together))
        assert found.tokens.tolist() == expected
        assert all(len(rows) <= ROWS for rows in bench.extended)
        passes[together] = found.passes
    assert passes[True] <= passes[False]


@pytest.mark.parametrize("together", [False, True])
def test_rows_looked_at_again_stand_where_plain_decoding_has_them(together: bool) -> None:
    bench = Bench(7)
    expected = bench.plain()
    first, second = expected.tokens[:2].tolist()
    wrong = next(token for token in range(FIRST, LAST) if token not in (first, second))
    draft = Draft((wrong, wrong + 1, first, second), (ROOT, 0, ROOT, 2), (PREVIOUS,) * 4)
    found = bench.verified(Drafter(COUNT, FIRST, LAST), draft, replace(rules(margin=1e9), together=together))
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    again = [rows for rows in bench.extended if len(rows) == 1 and rows.slot != (-1,)]
    assert again
    for rows in again:
        (slot,) = rows.slot
        assert rows.position == (slot,)
        assert rows.branch == ((1 << slot + 1) - 1,)


def test_what_moves_beside_a_few_rows_is_looked_at_again_alone() -> None:
    head = TokenHead(SPACE, COUNT, lambda x: x, 0.01, ROWS)
    table = np.random.default_rng(0).normal(0, 1, (ROWS + 1, 2 + BINS))
    table[:, 2:] = table[0, 2:]
    for change, together in ((0.0, True), (1e-7, True), (1e-3, False)):
        few = table.copy()
        few[1:, 2 + int(table[0, 2:].argmax())] += change

        def extended(rows: Answers, few: Table = few) -> Table:
            return (few if len(rows) > 1 else table)[: len(rows)]

        head.calibrate(lambda draft: table[: len(draft) + 1], extended, LAST_WORD)
        assert head.together is together
