"""What the benchmark compares: full recomputation, the published rules, each part of ours left out, ours."""

from __future__ import annotations

from dataclasses import replace

from ..configurations import DEFAULT, Configuration, paper
from ..settings import Tunables

BASELINE = "full, plain decoding"


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
