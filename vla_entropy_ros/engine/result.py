"""What a tick returns: action, timings, reuse record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .reuse.patches import Mask
from .reuse.scores import Scores

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

    Masks, scores and age [ticks] are [N] in raster order; counts are those of the masks. age: how long ago the keys and
    values used in this tick were computed. image_entropy and attention_score are 0 where the tick did not need them.
    reason: why everything is fresh, None if the selection decided.
    """

    visual: int
    fresh: int
    reused: int
    static: int
    important_visual: int
    important_attention: int
    fresh_mask: Mask
    static_mask: Mask
    important_visual_mask: Mask
    important_attention_mask: Mask
    age: NDArray[np.int64]
    image_entropy: Scores
    attention_score: Scores
    k_vis: int
    k_attn: int
    reason: str | None

    @property
    def codes(self) -> NDArray[np.uint8]:
        """Per visual token [N]: 0 reused, 1 fresh, 2 fresh by image entropy, 3 by attention, 4 by both."""
        why = 1 + self.important_visual_mask.astype(np.uint8) + 2 * self.important_attention_mask.astype(np.uint8)
        return np.where(self.fresh_mask, why, np.uint8(0)).astype(np.uint8)


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
    selection = choice.selection
    fresh = int(selection.fresh.sum())
    return Reuse(
        visual=len(age),
        fresh=fresh,
        reused=len(age) - fresh,
        static=int(selection.static.sum()),
        important_visual=int(selection.important_visual.sum()),
        important_attention=int(selection.important_attention.sum()),
        fresh_mask=selection.fresh,
        static_mask=selection.static,
        important_visual_mask=selection.important_visual,
        important_attention_mask=selection.important_attention,
        age=age.copy(),
        image_entropy=choice.image_entropy,
        attention_score=choice.attention_score,
        k_vis=selection.k_vis,
        k_attn=selection.k_attn,
        reason=choice.reason,
    )
