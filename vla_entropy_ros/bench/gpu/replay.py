"""Acceptance of drafts, replayed: random weights repeat nothing, so how many hold is taken from a measurement."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ...engine.actions.drafts import Match
from ...engine.actions.tokens import ACTION_NAMES

TOKENS = len(ACTION_NAMES)
MEASURED = "default"  # configuration of docs/bench.json whose passes are replayed


def expected_passes(share: float, tokens: int = TOKENS) -> float:
    """Decoder passes that `tokens` take on average if every draft holds with probability `share`."""
    passes = [0.0]
    for left in range(1, tokens + 1):
        drafts = left - 1
        held = [share**n * (1 - share) for n in range(drafts)] + [share**drafts]
        passes.append(1.0 + sum(weight * passes[drafts - n] for n, weight in enumerate(held)))
    return passes[-1]


def share_of(passes: float, tokens: int = TOKENS) -> float:
    """Probability with which a draft must hold so that a tick takes `passes` on average, 1 to `tokens`."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if expected_passes(middle, tokens) > passes else (low, middle)
    return (low + high) / 2


def measured_passes(path: Path) -> float:
    """Mean passes of our configuration in a bench.json; ValueError in one line if it holds none."""
    try:
        records = json.loads(path.read_text())["configurations"]
        return float(next(record["passes"] for record in records if record["name"] == MEASURED))
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        raise ValueError(f"{path} holds no passes of the configuration '{MEASURED}'; give --passes") from None


def chance_match(share: float, seed: int = 0) -> Match:
    """Accept one of the drafts of a position with probability `share`, whatever they are: the likeliest."""
    random = np.random.default_rng(seed)
    return lambda *_: 0 if random.random() < share else None
