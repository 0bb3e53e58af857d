"""How long a policy takes to answer: as this machine does, as measured elsewhere, or as predicted for a device."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..settings import SettingError

OWN = "own"
STEPS = 6  # passes of plain decoding after the first: seven action tokens
VISUAL, ROWS = 256, 284.5  # visual tokens, and rows of an OpenVLA prompt on average of the 40 LIBERO ones


@dataclass(frozen=True)
class Work:
    """What a tick took and did.

    measured: seconds here; fresh: share of the visual tokens that were computed; passes: of the decoder; plain:
    everything computed and one token a pass, as research code does it.
    """

    measured: float
    fresh: float
    passes: int
    plain: bool


class Latency(Protocol):
    """Seconds from a picture's arrival to the answer."""

    @property
    def label(self) -> str:
        """As it was asked for."""

    @property
    def longest(self) -> float:
        """The longest it can be [s]; 0 where nobody knows."""

    def seconds(self, work: Work, rng: np.random.Generator) -> float:
        """Of one tick."""


@dataclass(frozen=True)
class Own:
    """As long as this machine took."""

    label: str = OWN
    longest: float = 0.0

    def seconds(self, work: Work, rng: np.random.Generator) -> float:  # noqa: ARG002
        """As measured."""
        return work.measured


@dataclass(frozen=True)
class Drawn:
    """One of some values [s], each as likely as it is frequent among them."""

    label: str
    values: tuple[float, ...]

    @property
    def longest(self) -> float:
        """The largest value [s]."""
        return max(self.values)

    def seconds(self, work: Work, rng: np.random.Generator) -> float:  # noqa: ARG002
        """Draw one."""
        return self.values[0] if len(self.values) == 1 else float(rng.choice(self.values))


@dataclass(frozen=True)
class Staged:
    """Prefill and decoding, each by what there was to do [s].

    The prefill takes `fixed` and, of `rows`, the share of the prompt's rows that are computed, but no less than a
    decoder pass; every further pass takes `step`. generate: what research code takes that recomputes everything and
    decodes plainly, None where it does as this.
    """

    label: str
    fixed: float
    rows: float
    step: float
    generate: float | None = None

    @property
    def longest(self) -> float:
        """Everything computed, decoded plainly [s]."""
        return max(self.fixed + self.rows + STEPS * self.step, self.generate or 0.0)

    def seconds(self, work: Work, rng: np.random.Generator) -> float:  # noqa: ARG002
        """By the share of fresh tokens and the number of passes."""
        if work.plain and self.generate is not None:
            return self.generate
        share = (ROWS - VISUAL + work.fresh * VISUAL) / ROWS
        return max(self.fixed + self.rows * share, self.step) + self.step * (work.passes - 1)


# Predicted for OpenVLA-7B in bfloat16 (docs/evaluation.md); `generate` of the RTX 4090 as others measured it.
DEVICES = {
    "rtx4090": Staged("rtx4090", 0.0093, 0.0237, 0.0150, 0.250),
    "h100": Staged("h100", 0.0062, 0.0018, 0.0052, 0.190),
}


def latencies(texts: Sequence[str], longest: float) -> tuple[Latency, ...]:
    """What the profiles ask for, each once; `longest`: seconds that no answer may reach, the shortest episode's.

    `own`, a device of DEVICES, milliseconds such as 250, those of prefill and decoding such as 67+175, or a file with
    milliseconds: a JSON list, or one a line. Raises SettingError that lists the valid ones.
    """
    return tuple(dict.fromkeys(_read(text, longest) for text in texts))


def _read(text: str, longest: float) -> Latency:
    """One profile."""
    if text == OWN:
        return Own()
    if text in DEVICES:
        made: Latency = DEVICES[text]
    elif (stages := _numbers(text.split("+"))) is not None:
        _check(text, stages, longest)
        made = _of_stages(text, stages, longest)
    else:
        made = _of_file(text, longest)
    if made.longest >= longest:
        raise _refused(text, f"{made.longest * 1e3:g} ms is longer than an episode", longest)
    return made


def _of_stages(text: str, milliseconds: Sequence[float], longest: float) -> Latency:
    """A constant, or prefill and decoding."""
    seconds = [value / 1e3 for value in milliseconds]
    if len(seconds) == 1:
        return Drawn(f"{milliseconds[0]:.15g} ms", tuple(seconds))
    if len(seconds) > 2:
        raise _refused(text, f"{len(seconds)} stages", longest)
    prefill, decode = seconds
    return Staged(f"{milliseconds[0]:.15g}+{milliseconds[1]:.15g} ms", 0.0, prefill, decode / STEPS)


def _of_file(text: str, longest: float) -> Latency:
    """Values that were measured."""
    path = Path(text)
    try:
        if not path.is_file():
            raise _refused(text, "no number, no device, no file", longest)
        content = path.read_text(encoding="utf-8")
        parts = json.loads(content) if content.lstrip().startswith("[") else content.split()
        values = _numbers(parts)
    except SettingError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(text, f"unreadable ({error})", longest) from error
    if not values:
        raise _refused(text, "expected numbers of milliseconds, one a line or as a JSON list", longest)
    _check(text, values, longest)
    mark = hashlib.sha256(repr(values).encode()).hexdigest()[:8]  # a run goes on only under the same values
    return Drawn(f"{path.name} ({len(values)} values, {mark})", tuple(value / 1e3 for value in values))


def _numbers(parts: Sequence[object]) -> list[float] | None:
    """The parts as numbers; None if one is none."""
    try:
        return [float(str(part).removesuffix("ms")) for part in parts]
    except ValueError:
        return None


def _check(text: str, milliseconds: Sequence[float], longest: float) -> None:
    """Raise SettingError unless all are times."""
    for value in milliseconds:
        if not math.isfinite(value) or value < 0:
            raise _refused(text, f"{value:g} is no time", longest)


def _refused(text: str, why: str, longest: float) -> SettingError:
    return SettingError(
        f"latency profile '{text}': {why}; valid are {OWN}, {', '.join(DEVICES)}, milliseconds from 0 to "
        f"{longest * 1e3:g} such as 250 or 67+175 (prefill, decoding), or a file with milliseconds"
    )
