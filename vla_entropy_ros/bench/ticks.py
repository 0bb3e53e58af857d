"""What the figures need of a tick, and figures drawn from the ticks of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engine import Result
from ..engine.decoding.sequence import Layout
from ..engine.result import Drafts, Timings


@dataclass(frozen=True, slots=True)
class Sample:
    """One tick in plain numbers; fields as in `Result` and `Reuse`, age: of visual tokens.

    Without drafts, slots: what the prefill's rows attend to; outputs: rows of it whose states the head reads; others:
    rows of every prefill that are neither visual tokens nor text.
    No arrays: small ones that stay, between large ones that come and go, let a process grow by 0.2 MB per tick.
    """

    timings: Timings
    actions: tuple[tuple[float, ...], ...]
    tokens: tuple[int, ...]
    drafts: Drafts
    decoder_passes: int
    decoder_rows: tuple[int, ...]
    text_rows: int
    slots: int
    outputs: int
    others: int
    visual: int
    fresh: int
    age_mean: float
    age_max: int
    tick: int

    @classmethod
    def of(cls, result: Result, layout: Layout) -> Sample:
        """Take what is needed from a tick's result; layout: of the policy's sequence."""
        reuse, start = result.reuse, 0 if layout.start_is_constant else len(layout.start)
        return cls(
            timings=result.timings,
            actions=tuple(map(tuple, result.actions.tolist())),
            tokens=tuple(result.tokens.tolist()),
            drafts=result.drafts,
            decoder_passes=result.decoder_passes,
            decoder_rows=result.decoder_rows,
            text_rows=result.text_rows,
            slots=layout.first_text + result.text_rows + layout.placeholders,
            outputs=layout.placeholders or 1,
            others=start + layout.state + layout.placeholders,
            visual=reuse.visual,
            fresh=reuse.fresh,
            age_mean=float(reuse.age.mean()),
            age_max=int(reuse.age.max()),
            tick=result.tick,
        )


def times(samples: Sequence[Sample], stage: str) -> NDArray[np.float64]:
    """Duration of one stage in each tick [ms]."""
    return np.array([getattr(sample.timings, stage) for sample in samples]) * 1e3


def actions(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """First action of each tick [ticks, A]."""
    return np.array([sample.actions[0] for sample in samples])


def equal(one: Sample, other: Sample) -> bool:
    """Whether two ticks say the same: all tokens, without tokens all actions of the chunk, to the last bit."""
    return one.tokens == other.tokens if one.tokens or other.tokens else one.actions == other.actions


def reusing(samples: Sequence[Sample]) -> list[Sample]:
    """Ticks that are not entirely fresh: the first of an episode or an instruction is a kind of its own."""
    return [sample for sample in samples if sample.fresh < sample.visual]


def fresh_rows(samples: Sequence[Sample]) -> dict[str, float] | None:
    """Fresh visual tokens of the ticks that reuse any: p50, p95, p99, max; None where none does."""
    counts = [sample.fresh for sample in reusing(samples)]
    if not counts:
        return None
    middle, high, highest = np.percentile(counts, (50, 95, 99))
    return {
        "p50": round(float(middle), 1),
        "p95": round(float(high), 1),
        "p99": round(float(highest), 1),
        "max": max(counts),
    }


def jitter(samples: Sequence[Sample]) -> dict[str, float | None]:
    """How uneven ticks are: p95 / p50 of their time, of those that reuse anything (None where none does) and of all."""
    return {"reusing": _unevenness(reusing(samples)), "all": _unevenness(samples)}


def _unevenness(samples: Sequence[Sample]) -> float | None:
    if not samples:
        return None
    middle, high = np.percentile(times(samples, "total"), (50, 95))
    return round(float(high / middle), 3)


def drafted(sample: Sample) -> int:
    """Drafts that rode in the prefill: what later passes tried comes with one certified row each."""
    later = sample.decoder_rows[1:]
    return sample.drafts.tried - (sum(later) - len(later))


def skipped(samples: Sequence[Sample]) -> list[float]:
    """Visual tokens that each tick did not compute, mean of the layers: less than those reused where the set grows."""
    return [_skipped(sample) for sample in samples]


def _skipped(sample: Sample) -> float:
    computed = sample.decoder_rows[0] - drafted(sample) - sample.text_rows - sample.others
    return max(0.0, sample.visual - computed)  # a pass after a failed or first tick computes BOS, too
