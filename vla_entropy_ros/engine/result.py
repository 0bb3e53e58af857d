"""What a tick returns: action, timings, reuse record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .reuse.patches import Mask
from .reuse.scores import Scores
from .reuse.selection import BY_ATTENTION, BY_BOTH, BY_VISUAL, CHANGED, CODES, FILLED, OLD, REUSED

if TYPE_CHECKING:  # what takes seconds to import is not needed to read a result
    from .actions.speculative import Decoded
    from .reuse.selector import Choice


@dataclass(frozen=True)
class Timings:
    """Duration of each stage of a tick and of the whole [s]."""

    preprocess: float
    vision: float
    select: float
    prefill: float
    decode: float
    total: float


@dataclass(frozen=True)
class Reuse:
    """Which of the N visual tokens were computed, and why.

    Masks, scores, codes and age [ticks] are [N] in raster order. age: how long ago the keys and values used in this
    tick were computed. static: patches that look as they did then. codes: 0 reused, 1 fresh since its patch has changed
    or everything is fresh, 2 by visual information, 3 by attention information, 4 by both, 5 old, 6 filled up;
    by_visual to filled: how many of each (4 counts as 2 and as 3). visual_score, attention_score: 0 where the tick did
    not need them. k_vis, k_attn: budgets in force at tick t of the schedule. reason: why everything is fresh, None if
    the selection decided. noise: of a pixel [grey levels]; exposure: gain of the picture against the episode's first;
    None where they are not estimated.
    """

    visual: int
    fresh: int
    reused: int
    static: int
    by_visual: int
    by_attention: int
    changed: int
    old: int
    filled: int
    fresh_mask: Mask
    static_mask: Mask
    codes: NDArray[np.uint8]
    age: NDArray[np.int64]
    visual_score: Scores
    attention_score: Scores
    k_vis: int
    k_attn: int
    t: int
    reason: str | None
    noise: float | None
    exposure: float | None


@dataclass(frozen=True)
class Drafts:
    """How a tick's drafts fared: tried, right, sources of the right ones, tokens that are those of plain decoding.

    certified is less than all only where a deadline cut decoding short. tried_sources: of all that were tried; those
    behind the first wrong one of a pass were tried in vain.
    """

    tried: int
    accepted: int
    sources: tuple[str, ...]
    certified: int
    tried_sources: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """One tick: actions [chunk, A] in SI units, token ids [K], entropy of each [K] (0 certain to 1 even).

    decoder_rows: rows of each decoder pass, the prefill first; text_rows: those of the instruction; unknown_words:
    words of it that the tokenizer does not know; tick: ticks since the episode began.
    """

    actions: NDArray[np.float64]
    tokens: NDArray[np.int64]
    token_entropy: NDArray[np.float64]
    timings: Timings
    reuse: Reuse
    drafts: Drafts
    decoder_passes: int
    decoder_rows: tuple[int, ...]
    text_rows: int
    unknown_words: tuple[str, ...]
    tick: int

    @property
    def uncertainty(self) -> float | None:
        """Largest entropy of an action token, 0 certain to 1 even; None from a head that has no tokens."""
        return float(self.token_entropy.max()) if len(self.token_entropy) else None


def drafts(decoded: Decoded) -> Drafts:
    """The record of one tick's drafts."""
    return Drafts(decoded.drafted, decoded.accepted, decoded.sources, decoded.certified, decoded.tried)


def reuse(choice: Choice, age: NDArray[np.int64]) -> Reuse:
    """The record of one tick's choice; age [N] after it [ticks]."""
    selection, codes = choice.selection, choice.selection.codes
    counts = np.bincount(codes, minlength=len(CODES)).tolist()
    fresh = len(codes) - counts[REUSED]
    return Reuse(
        visual=len(age),
        fresh=fresh,
        reused=counts[REUSED],
        static=int(selection.static.sum()),
        by_visual=counts[BY_VISUAL] + counts[BY_BOTH],
        by_attention=counts[BY_ATTENTION] + counts[BY_BOTH],
        changed=counts[CHANGED],
        old=counts[OLD],
        filled=counts[FILLED],
        fresh_mask=selection.fresh,
        static_mask=selection.static,
        codes=codes,
        age=age.copy(),
        visual_score=choice.visual_score,
        attention_score=choice.attention_score,
        k_vis=selection.k_vis,
        k_attn=selection.k_attn,
        t=choice.t,
        reason=choice.reason,
        noise=choice.seen.noise,
        exposure=choice.seen.exposure,
    )
