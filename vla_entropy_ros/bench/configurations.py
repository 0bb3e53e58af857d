"""What the benchmark compares: full recomputation, the published rules, each part of ours left out, ours."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from ..resources import share_path
from ..settings import Tunables, default_settings

PAPER_TOKENS = 256  # visual tokens that the paper's budgets are for
BASELINE = "full, plain decoding"
DEFAULT = "default"


@dataclass(frozen=True)
class Configuration:
    """A named set of tunables."""

    name: str
    tunables: Tunables


def paper(tokens: int) -> Tunables:
    """config/paper.yaml for a policy of `tokens` visual tokens: budgets in proportion."""
    values = default_settings("policy") | default_settings("policy", share_path("config/paper.yaml"))
    published = Tunables(**{field.name: values[field.name] for field in fields(Tunables)})
    return published.in_proportion(tokens, PAPER_TOKENS)


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
