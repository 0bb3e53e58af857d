"""Named sets of tunables to compare: ours, the paper's, and grids of values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import yaml

from ..engine.tunables import DEFAULT_TOKENS, MODES, Tunables, tunable
from ..resources import share_path
from ..settings import SettingError, default_settings

DEFAULT, PLAIN = "default", "plain"
PRESETS = PAPER, VLA_CACHE, FORMER, FAST = ("paper", "vla_cache", "former", "fast")  # in config/, for DEFAULT_TOKENS
NAMES = (PLAIN, *MODES, DEFAULT, FORMER, FAST)
BASES = (DEFAULT, PAPER)


@dataclass(frozen=True)
class Configuration:
    """A named set of tunables."""

    name: str
    tunables: Tunables


def preset(name: str, tokens: int) -> Tunables:
    """config/`name`.yaml, one of PRESETS, for a policy of `tokens` visual tokens: budgets in proportion."""
    values = default_settings("policy") | default_settings("policy", share_path(f"config/{name}.yaml"))
    return Tunables.of(values).in_proportion(tokens, DEFAULT_TOKENS)


def named(names: Sequence[str], base: str, tokens: int) -> list[Configuration]:
    """`default` is config/policy.yaml; a mode's name is that mode under the base's other values, with exact drafts.

    Under base `paper`, `vla_cache` is config/vla_cache.yaml. `plain` recomputes everything and decodes one token per
    pass: what a policy without this method does. `former` and `fast` are those files of config/.
    Raises SettingError that lists the valid names or bases.
    """
    if base not in BASES:
        raise SettingError(f"unknown base '{base}': valid are {', '.join(BASES)}")
    ours = Tunables.default(tokens)
    published = base == PAPER
    values = replace(preset(PAPER, tokens), drafts=ours.drafts) if published else ours
    made = []
    for name in dict.fromkeys(names):
        if name not in NAMES:
            raise SettingError(f"unknown mode '{name}': valid are {', '.join(NAMES)}, all")
        if name == PLAIN:
            made.append(Configuration(name, replace(ours, mode="full", drafts="off")))
        elif name in (FORMER, FAST) or (published and name == VLA_CACHE):
            made.append(Configuration(name, replace(preset(name, tokens), drafts=ours.drafts)))
        else:
            made.append(Configuration(name, ours if name == DEFAULT else replace(values, mode=name)))
    return made


def grid(vary: Mapping[str, Sequence[str]], tokens: int) -> list[Configuration]:
    """Return the default and every combination of the values in `vary`, which are text as typed.

    Raises SettingError for an unknown name, a value out of range, or a budget above `tokens`.
    """
    ours = Tunables.default(tokens)
    made = [Configuration(DEFAULT, ours)]
    varied = [tunable(name.replace(".", "_")) for name in vary]
    for values in itertools.product(*vary.values()):
        chosen = {one.field: one.check(yaml.safe_load(value)) for one, value in zip(varied, values, strict=True)}
        tunables = replace(ours, **chosen)
        tunables.check_budgets(tokens)
        if tunables != ours:
            told = " ".join(f"{name}={value}" for name, value in zip(vary, chosen.values(), strict=True))
            made.append(Configuration(told, tunables))
    return made
