"""Action tokens: drafted from the ticks before, verified by passes, turned into actions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from ..decoding.runner import Table
from ..tunables import Tunables
from .drafts import NO_DRAFT, Draft, Drafter, Match, exact, within
from .head import Acted
from .speculative import Extend, Rules, Scored, greedy_decode, score, speculative_decode
from .tokens import ACTION_NAMES, ActionSpace

GRIPPER = ACTION_NAMES.index("gripper")


class TokenHead:
    """A `Head` that decodes `count` action tokens, one per dimension of one action."""

    def __init__(self, space: ActionSpace, count: int, logits: Callable[[Tensor], Tensor], guarded: bool) -> None:
        """Keep what decoding needs: logits: states [R, D] -> [R, V]; guarded: near ties are looked at again alone.

        A row's sum depends on the rows beside it, in fewer bits visibly so.
        """
        self.space, self._count, self._logits, self._guarded = space, count, logits, guarded
        self._drafter = Drafter(count, space.first_id, space.last_id)
        self.rows = 8 * -(-count // 8)  # a prompt row and up to count - 1 drafts, rounded up
        self.extensions: tuple[int, ...] = (1, self.rows)  # plain decoding, verification
        self.margins = guarded  # whether a pass tells how close the best two logits are
        self.match: Match | None = None  # a rule of when a draft counts, in place of the tunables': for benchmarks

    def outputs(self, states: Tensor) -> Tensor:
        """Logits [R, V]."""
        return self._logits(states)

    def readout(self, states: Tensor) -> Tensor:
        """Greedy id, margin and entropy [R, 3]."""
        return score(self._logits(states), self.space.first_id, self.margins)

    def propose(self, tunables: Tunables) -> Draft:
        """What to try in the next pass."""
        return NO_DRAFT if tunables.drafts == "off" else self._drafter.propose()

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
                margin=tunables.draft_margin if self._guarded else 0.0,
                deadline=began + tunables.deadline if tunables.drafts == "anytime" else math.inf,
            )
            decoded = speculative_decode(extend, first, prompt[-1], self._drafter, draft, rules)
        actions = self.space.decode(decoded.tokens)
        return Acted(actions, decoded, float(actions[0, GRIPPER]))

    def forget(self) -> None:
        """Drop the tokens of earlier ticks, and which source of drafts was right."""
        self._drafter.forget()
