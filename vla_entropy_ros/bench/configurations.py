"""What is compared: full recomputation, the published rules, each part of ours left out, ours; and what is searched."""

from __future__ import annotations

import itertools
from dataclasses import replace

from ..engine.tunables import Tunables
from ..evaluation.configurations import DEFAULT, Configuration, paper

BASELINE = "full, plain decoding"
PEER = "full, transformers generate"  # not run by the engine: a row of `measure` where it is given one

# what `search` combines; budgets as shares of the visual tokens
ROW_BUDGETS = (0.3125, 0.375, 0.4375, 0.5)
IMPORTANT = ((0.0, 0.0), (1 / 32, 3 / 64), (1 / 16, 1 / 16))  # k1, k2
TAPERS = (None, (0.5, 0.1875), (0.5, 0.125), (0.625, 0.125))  # share of the layers, rows behind them
MAX_AGES = (5, 10)  # beside the default's


def configurations(tokens: int) -> list[Configuration]:
    """All rows of the table, the baseline first."""
    published, ours = paper(tokens), Tunables.default(tokens)
    return [
        Configuration(BASELINE, replace(ours, mode="full", drafts="off")),
        Configuration("full, exact drafts", replace(ours, mode="full", drafts="exact")),
        Configuration("VLA-Cache's rule", replace(published, mode="vla_cache")),
        Configuration("VLA-Cache, growing by layer", replace(published, mode="vla_cache", growth_by_layer=True)),
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
        Configuration("default, cosine only", replace(ours, static_difference=0.0)),
        Configuration("default, adaptive", replace(ours, adaptive=True)),
        Configuration("default, no taper", replace(ours, taper_rows=0)),
        Configuration("default, entropy schedule", replace(ours, mode="info_entropy")),
        Configuration("default, entropy, mass-weighted", replace(ours, mode="info_entropy", mass_weighted=True)),
    ]


def search(tokens: int) -> list[Configuration]:
    """Combine budgets and tapers, beside the baseline, full recomputation with drafts, the default, and other ages."""
    ours = Tunables.default(tokens)
    made = [c for c in configurations(tokens) if c.name in (BASELINE, "full, exact drafts", DEFAULT)]
    for share, (low, high), taper in itertools.product(ROW_BUDGETS, IMPORTANT, TAPERS):
        rows, k1, k2 = (round(value * tokens) for value in (share, low, high))
        name, chosen = f"{rows} rows, k {k1}/{k2}", replace(ours, row_budget=rows, k1=k1, k2=k2)
        if taper is None:
            chosen = replace(chosen, taper_rows=0)
        else:
            where, deep = taper[0], round(taper[1] * tokens)
            name += f", {deep} from {where:g} of the layers on"
            chosen = replace(chosen, taper_from=where, taper_rows=deep)
        made.append(Configuration(name, chosen))
    made += [Configuration(f"default, age {age}", replace(ours, max_age=age)) for age in MAX_AGES]
    return list({configuration.name: configuration for configuration in made}.values())  # few tokens: some are alike
