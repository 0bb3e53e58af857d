"""Action tokens: drafted from the ticks before, verified by passes, turned into actions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..decoding.runner import Table
from ..tunables import Tunables
from .drafts import NO_DRAFT, PREVIOUS, ROOT, Draft, Drafter, Match, exact, within
from .head import Acted
from .speculative import Extend, Prefill, Rules, Scored, greedy_decode, moved, score, speculative_decode
from .tokens import BINS, ActionSpace

CHAINS = 3  # of random tokens, by which it is measured how far logits depend on the number of rows
SAFETY = 1.25  # times what was measured, since it is a sample: rows that move by more are looked at again
SAME = 1e-6  # of a logit: what the last bits of a sum in float32 are, over states that are the same


class TokenHead:
    """A `Head` that decodes `count` action tokens, one per dimension of one action."""

    def __init__(
        self, space: ActionSpace, count: int, logits: Callable[[Tensor], Tensor], rounding: float, drafted: int,
        least: float = 0.0,
    ) -> None:  # fmt: skip
        """Keep what decoding needs: logits: states [R, D] -> [R, V], float32; drafted: most rows of a draft.

        least: probability of a path below which it is not tried.
        rounding: relative step of the numbers that the decoder computes with; 0 where it is too small to matter for
        the order of two logits. A row's sum depends on the rows beside it: near ties are looked at again alone.
        """
        self.space, self._count, self._logits, self._rounding = space, count, logits, rounding
        self._drafter = Drafter(count, space.first_id, space.last_id, least)
        self.rows = 1 + drafted  # the prompt's last row and a draft
        self.extensions: tuple[int, ...] = (1, drafted)  # plain decoding, verification
        self.margin = 0.0  # of the best two logits, below which their order may depend on the number of rows
        self.together = False  # whether a row is the same beside a few others as alone
        self.match: Match | None = None  # a rule of when a draft counts, in place of the tunables': for benchmarks

    def outputs(self, states: Tensor) -> Tensor:
        """Logits [R, V]."""
        return self._logits(states)

    def readout(self, states: Tensor) -> Tensor:
        """Greedy id, margin and logits of the action ids [R, 2 + bins]."""
        return score(self._logits(states), self.space.first_id, self._rounding > 0)

    def scored(self, logits: NDArray[np.float32]) -> Table:
        """`readout` of the states behind logits [R, V], which are those of a row alone: margins are infinite."""
        actions = logits[:, self.space.first_id : self.space.first_id + BINS]
        table = np.empty((len(logits), 2 + actions.shape[1]))
        table[:, 0], table[:, 1], table[:, 2:] = logits.argmax(1), math.inf, actions
        return table

    def calibrate(self, prefill: Prefill, extend: Extend, prompt: int) -> None:
        """Measure how far the best logits move when they are computed in few or many rows instead of alone.

        That is `margin`: at least half a step where they move at all, since what is measured is a sample; 0 where rows
        are the same to the last bit. `together`: whether a few rows move nothing but the last bits of the head's sums.
        """
        random, step, apart = np.random.default_rng(0), 0.0, 0.0
        for _ in range(CHAINS):
            ids = random.integers(self.space.first_id, self.space.last_id + 1, self.rows - 1).tolist()
            chain = Draft.chain(ids[: self._count - 1])
            beside = (ROOT,) * (len(ids) - len(chain))
            alone = [Scored.of(prefill(NO_DRAFT)).logits[-1:]]
            alone += [Scored.of(extend(chain.answers.part(row, row + 1))).logits for row in range(len(chain))]
            few = Scored.of(extend(chain.answers.behind(prompt)))
            first = len(beside)  # the chain behind them, in slots of its own
            parents = beside + tuple(ROOT if parent == ROOT else parent + first for parent in chain.parents)
            many = Scored.of(prefill(Draft((*ids[len(chain) :], *chain.ids), parents, (PREVIOUS,) * len(ids))))
            rows = [0, *range(1 + first, 1 + len(ids))]
            by_itself = np.concatenate(alone)
            largest, by_few = float(np.abs(by_itself.max(1)).max()), moved(by_itself, few.logits)
            step, apart = max(step, self._rounding / 2 * largest), max(apart, by_few / largest)
            self.margin = max(self.margin, by_few, moved(by_itself, many.logits[rows]))
        self.margin = max(self.margin, step) if self.margin else 0.0
        self.together = apart < SAME

    def propose(self, tunables: Tunables) -> Draft:
        """What to try in the next pass."""
        return NO_DRAFT if tunables.drafts == "off" else self._drafter.propose(self.rows - 1)

    def act(
        self, table: Table, draft: Draft, prompt: Sequence[int], extend: Extend, tunables: Tunables, began: float
    ) -> Acted:
        """Decode the tokens, in fewer passes where drafts hold; see `Head`."""
        first = Scored.of(table)
        if tunables.drafts == "off":
            decoded = greedy_decode(extend, first, self._count)
        else:
            rules = Rules(
                match=self.match or (within(tunables.draft_tolerance) if tunables.drafts == "bounded" else exact),
                margin=0.0 if self.match else SAFETY * self.margin,
                rows=self.extensions[-1],
                deadline=began + tunables.deadline if tunables.drafts == "anytime" else math.inf,
                together=self.together,
            )
            decoded = speculative_decode(extend, first, prompt[-1], self._drafter, draft, rules)
        return Acted(self.space.decode(decoded.tokens), decoded)

    def forget(self) -> None:
        """Drop the tokens of earlier ticks, and which source of drafts was right."""
        self._drafter.forget()
