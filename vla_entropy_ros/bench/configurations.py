"""What is compared: full recomputation, the published rules, each part of ours left out, ours; and what is searched."""

from __future__ import annotations

import itertools
from dataclasses import replace

from ..configurations import DEFAULT, Configuration, paper
from ..settings import Tunables

BASELINE = "full, plain decoding"

# what `search` combines; budgets as shares of the visual tokens
ROW_BUDGETS = (0.375, 0.5, 0.5625, 0.625, 0.6875)
IMPORTANT = ((0.0, 0.0), (1 / 32, 3 / 64), (5 / 32, 15 / 64))  # k1, k2: none, the default's, the paper's
MAX_AGES = {"influence": (5, 10, 20), "age": (20,)}  # the oldest first: nothing gets old anyway


def configurations(tokens: int) -> list[Configuration]:
    """All rows of the table, the baseline first."""
    published, ours = paper(tokens), Tunables.default(tokens)
    return [
        Configuration(BASELINE, replace(ours, mode="full", drafts="off")),
        Configuration("full, exact drafts", replace(ours, mode="full", drafts="exact")),
        Configuration("VLA-Cache's rule", replace(published, mode="vla_cache")),
        Configuration("VLA-Cache, growing by layer", replace(published, mode="vla_cache", layer_schedule="vla_cache")),
        Configuration("paper: image entropy only", replace(published, mode="visual_only")),
        Configuration("paper: attention entropy only", replace(published, mode="attention_only")),
        Configuration("paper: union, fixed split", replace(published, mode="static_union")),
        Configuration("paper: full method", published),
        Configuration("paper, exact drafts", replace(published, drafts="exact")),
        Configuration(DEFAULT, ours),
        Configuration("default, no drafts", replace(ours, drafts="off")),
        Configuration("default, bounded drafts", replace(ours, drafts="bounded")),
        Configuration("default, no age bound", replace(ours, max_age=1000)),
        Configuration("default, no row budget", replace(ours, row_budget=0)),
        Configuration("default, filled by age", replace(ours, fill_order="age")),
        Configuration("default, previous frame", replace(ours, static_reference="previous")),
        Configuration("default, cosine only", replace(ours, difference_threshold=0.0)),
        Configuration("default, adaptive", replace(ours, adaptive=True)),
        Configuration("default, mass-weighted", replace(ours, mass_weighted=True)),
    ]


def search(tokens: int) -> list[Configuration]:
    """The baseline, full recomputation with drafts, the default, and combinations of its budgets, order and ages."""
    ours = Tunables.default(tokens)
    made = [c for c in configurations(tokens) if c.name in (BASELINE, "full, exact drafts", DEFAULT)]
    for share, order, (low, high) in itertools.product(ROW_BUDGETS, MAX_AGES, IMPORTANT):
        rows, k1, k2 = (round(value * tokens) for value in (share, low, high))
        for age in MAX_AGES[order]:
            name = f"{rows} by {order}, k {k1}/{k2}, age {age}"
            made.append(
                Configuration(name, replace(ours, row_budget=rows, fill_order=order, k1=k1, k2=k2, max_age=age))
            )
    return made
