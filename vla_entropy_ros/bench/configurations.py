"""What is compared: full recomputation, the published rules, each part of ours left out, ours; and what is searched."""

from __future__ import annotations

import itertools
from dataclasses import replace

from ..engine.tunables import Tunables
from ..evaluation.configurations import DEFAULT, FAST, FORMER, PAPER, VLA_CACHE, Configuration, preset

BASELINE = "full, plain decoding"
TAPERED = 3 / 16  # of the tokens, in the row that leaves the others out of the last layers
PEER = "full, transformers generate"  # not run by the engine: a row of `measure` where it is given one

# what `search` combines; budgets as shares of the visual tokens
ROW_BUDGETS = (0.21875, 0.25, 0.3125, 0.375)
IMPORTANT = ((0.0, 0.0), (1 / 32, 3 / 64), (15 / 128, 25 / 128))  # k1, k2
TAPERS = (None, (0.5, 0.1875), (0.625, 0.1875))  # share of the layers, rows behind them
MAX_AGES = (5, 10)  # beside the default's


def configurations(tokens: int) -> list[Configuration]:
    """All rows of the table, the baseline first."""
    ours, published, cache, former = (
        Tunables.default(tokens),
        *(preset(n, tokens) for n in (PAPER, VLA_CACHE, FORMER)),
    )
    return [
        Configuration(BASELINE, replace(ours, mode="full", drafts="off")),
        Configuration("full, exact drafts", replace(ours, mode="full", drafts="exact")),
        Configuration("VLA-Cache's rule", cache),
        Configuration("VLA-Cache, growing by layer", replace(cache, growth_by_layer=True)),
        Configuration("paper: image entropy only", replace(published, mode="visual_only")),
        Configuration("paper: attention entropy only", replace(published, mode="attention_only")),
        Configuration("paper: union, fixed split", replace(published, mode="static_union")),
        Configuration("paper: full method", published),
        Configuration("paper, no cap", replace(published, static_top_k=0)),
        Configuration("paper, exact drafts", replace(published, drafts="exact")),
        Configuration(FORMER, former),
        Configuration(
            "former, entropy schedule", replace(former, mode="info_entropy", k1=ours.k1, k2=ours.k2, T=ours.T)
        ),
        Configuration("former, entropy, mass-weighted", replace(former, mode="info_entropy", T=10, mass_weighted=True)),
        Configuration(DEFAULT, ours),
        Configuration(FAST, preset(FAST, tokens)),
        Configuration("default, no drafts", replace(ours, drafts="off")),
        Configuration("default, bounded drafts", replace(ours, drafts="bounded")),
        Configuration("default, no age bound", replace(ours, max_age=1000)),
        Configuration("default, no row budget", replace(ours, row_budget=0)),
        Configuration("default, filled alone", replace(ours, k1=0, k2=0)),
        Configuration("default, tapered", replace(ours, taper_rows=round(tokens * TAPERED))),
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
