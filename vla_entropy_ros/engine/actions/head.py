"""What a policy has behind its decoder: states of the last rows -> actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..decoding.runner import Table
from ..tunables import Tunables
from .drafts import Draft
from .speculative import NO_TOKENS, Decoded, Extend, Prefill


@dataclass(frozen=True)
class Acted:
    """Actions [H, A] in SI units, H being the family's chunk, and how they were decoded."""

    actions: NDArray[np.float64]
    decoded: Decoded = NO_TOKENS


class Head(Protocol):
    """Turns states into actions; may remember earlier ticks, until `forget`.

    rows: most rows whose states it reads in one pass; extensions: rows of the passes it asks for behind the prompt's.
    """

    rows: int
    extensions: tuple[int, ...]

    def outputs(self, states: Tensor) -> Tensor:
        """What the network puts out for states [R, D], before anything is chosen: logits, or normalised actions."""
        ...

    def readout(self, states: Tensor) -> Tensor:
        """What the host needs of states [R, D]: a table [T, W] of at most a row per row, float32."""
        ...

    def calibrate(self, prefill: Prefill, extend: Extend, prompt: int) -> None:
        """Measure, once, what depends on the device; prompt: id of the last row of the text that is run for it."""
        ...

    def propose(self, tunables: Tunables) -> Draft:
        """Token ids that ride behind the text in the prompt's pass, the likeliest first.

        The same until `act` or `forget`. None where the layout has placeholders there.
        """
        ...

    def act(
        self, table: Table, draft: Draft, prompt: Sequence[int], extend: Extend, tunables: Tunables, began: float
    ) -> Acted:
        """Actions; ActionError if there are none.

        table: what `readout` gave for the prompt's pass with that `draft` behind it; prompt: ids of the text; began:
        when the tick began on `time.perf_counter` [s]. Where `tunables.drafts` is off, nothing of it is remembered.
        """
        ...

    def forget(self) -> None:
        """Begin as a new head would."""
        ...
