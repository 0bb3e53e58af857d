"""What a policy is loaded with, and what may change between two of its ticks: one table each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..settings import Setting, SettingError, When, among, default_settings

BUDGETS = ("k1", "k2", "row_budget", "taper_rows", "static_top_k")
DEFAULT_TOKENS = 256  # visual tokens that the budgets of config/policy.yaml are for: OpenVLA's and the small policy's
MOST_TOKENS = 2048  # 256 of each of eight cameras
DRAFTS = ("off", "exact", "bounded", "anytime")
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}  # of a number
QUANTISATIONS = ("none", "int8", "fp8")
FULL, JOINT = "full", "place_entropy"  # the default's mode is ours; the others below are published ones
MODES = (FULL, JOINT, "info_entropy", "vla_cache", "visual_only", "attention_only", "static_union")
TOKENS = "policy.tokens"  # fact about the loaded policy, beside the values: action tokens of a tick
DECODING = (When("a policy of action tokens", lambda values: values.get(TOKENS, 1) > 0,
                 "with a policy without action tokens"),)  # fmt: skip
REUSING = (among("mode", MODES[1:], MODES),)
PUBLISHED = (among("mode", MODES[2:], MODES),)
SCHEDULED = (
    among("mode", (JOINT, "info_entropy"), MODES),
    When("k1 unlike k2", lambda values: values["k1"] != values["k2"], "while k1 and k2 are both {k1}"),
)

LOAD_SETTINGS: tuple[Setting, ...] = (
    Setting("checkpoint", "str", "folder of the checkpoint, org/name or org/name@revision in the hub's local cache, or "
            "small_policy, which drives the simulated arm only; must be given", read_only=True),
    Setting("allow_download", "bool", "download a checkpoint org/name that is not in the hub's local cache",
            read_only=True),
    Setting("device", "str", "cpu, cuda, cuda:<index>, or auto: cuda where there is one", read_only=True),
    Setting("dtype", "str", "type of weights and activations", choices=tuple(DTYPE_BYTES),
            read_only=True),
    Setting("quantisation", "str", "the decoder's weights: none: as they are, int8: in 8 bits with a scale per output "
            "channel, fp8: those and the activations in float8_e4m3fn, the fastest on GPUs from Ada on",
            choices=QUANTISATIONS, read_only=True),
    Setting("unnorm_key", "str", "data set whose action statistics are used; empty: the only one", read_only=True),
    Setting("preprocess", "str", "resize: OpenVLA's; centre_crop: Lanczos and the crop LIBERO fine-tunes expect",
            choices=("resize", "centre_crop"), read_only=True),
)  # fmt: skip

TUNABLE_SETTINGS: tuple[Setting, ...] = (
    Setting("mode", "str", "which visual tokens are computed afresh (docs/method.md)", choices=MODES),
    Setting("k1", "int", "smaller of the two token budgets (paper: 40 of 256)", 0, MOST_TOKENS, listens=REUSING),
    Setting("k2", "int", "larger of the two token budgets (paper: 60 of 256)", 0, MOST_TOKENS, listens=REUSING),
    Setting("T", "int", "ticks over which the larger budget moves from visual to attention information, anew with each "
            "instruction", 1, 1000, listens=SCHEDULED),
    Setting("max_age", "int", "ticks that a visual token's keys and values may be reused; 0: never", 0, 1000,
            listens=REUSING),
    Setting("row_budget", "int", "fresh visual tokens to fill up to, with those of most information (change of the "
            "embedding, times attention); 0: no filling", 0, MOST_TOKENS, listens=REUSING),
    Setting("taper_rows", "int", "fresh visual tokens that go through the second half of the layers: old ones (in the "
            "published modes important ones, too), then those of most information; 0: all", 0, MOST_TOKENS,
            listens=REUSING),
    Setting("drafts", "str", "use of drafted action tokens: off, exact (same tokens as without, in fewer passes)",
            choices=("off", "exact"), listens=DECODING),
    Setting("scene_cut", "float", "share of changed patches above which everything is fresh; 1: never", 0.0, 1.0,
            listens=REUSING),
    Setting("max_gap", "float", "time between two observations [s] beyond which a new episode begins", 0.01, 3600.0),
    Setting("static.reference", "str", "compare a patch with the pixels its keys and values were computed from "
            "(anchor), or with the previous frame (previous, the paper's)", choices=("anchor", "previous"),
            listens=PUBLISHED),
    Setting("static.similarity", "float", "cosine similarity from which on a patch counts as static", 0.0, 1.0,
            listens=PUBLISHED),
    Setting("static.difference", "float", "mean absolute difference [grey levels] up to which a patch counts as "
            "static; 0: not tested", 0.0, 255.0, listens=PUBLISHED),
    Setting("static.top_k", "int", "static patches that count as such at most, those of the highest similarity "
            "(VLA-Cache's code: 130 of 256); 0: all", 0, MOST_TOKENS, listens=PUBLISHED),
)  # fmt: skip

# What the benchmark compares, and measured no better than the default; no operator turns it.
COMPARED_SETTINGS: tuple[Setting, ...] = (
    Setting("fill_order", "str", "which tokens fill the row budget: of most influence, or the oldest",
            choices=("influence", "age")),
    Setting("mass_weighted", "bool", "weight the attention score by the attention a token receives"),
    Setting("growth_by_layer", "bool", "VLA-Cache's: the reused set grows with depth as the attention sharpens"),
    Setting("taper_from", "float", "share of the layers that all fresh tokens go through", 0.0, 1.0),
    Setting("drafts", "str", "bounded: a draft within draft_tolerance counts; anytime: publish what is there at the "
            "deadline", choices=DRAFTS),
    Setting("draft_tolerance", "int", "bins by which a draft may differ from its token in drafts: bounded", 0, 64),
    Setting("deadline", "float", "time from image in to action out [s] in drafts: anytime", 0.001, 10.0),
)  # fmt: skip
_BY_FIELD = {setting.field: setting for setting in (*TUNABLE_SETTINGS, *COMPARED_SETTINGS)}


@dataclass(frozen=True)
class Tunables:
    """What may change between two ticks; the tables above have meanings and ranges. SettingError if out of range.

    k1 and k2 are a pair: the smaller is the smaller budget, whichever was given as which.
    """

    mode: str
    k1: int
    k2: int
    T: int
    max_age: int
    row_budget: int
    taper_rows: int
    drafts: str
    scene_cut: float
    max_gap: float
    static_reference: str
    static_similarity: float
    static_difference: float
    static_top_k: int
    fill_order: str = "influence"
    mass_weighted: bool = False
    growth_by_layer: bool = False
    taper_from: float = 0.5
    draft_tolerance: int = 2
    deadline: float = 0.05

    def __post_init__(self) -> None:
        for field in fields(self):
            value = tunable(field.name).check(getattr(self, field.name))
            if isinstance(value, float) and not math.isfinite(value):
                raise SettingError(f"{field.name}: {value} is not a finite number")
            object.__setattr__(self, field.name, value)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Tunables:
        """Those among all parameter values by dotted name; SettingError if one is missing or out of range."""
        if missing := [setting.name for setting in TUNABLE_SETTINGS if setting.name not in values]:
            raise SettingError(f"missing {', '.join(missing)}")
        return cls(**{setting.field: values[setting.name] for setting in TUNABLE_SETTINGS})

    @classmethod
    def default(cls, tokens: int = DEFAULT_TOKENS) -> Tunables:
        """The values of config/policy.yaml, budgets in proportion for a policy of `tokens` visual tokens."""
        return cls.of(default_settings("policy")).in_proportion(tokens, DEFAULT_TOKENS)

    @property
    def parameters(self) -> dict[str, Any]:
        """Values by parameter name of those that a node exposes."""
        return {setting.name: getattr(self, setting.field) for setting in TUNABLE_SETTINGS}

    def in_proportion(self, tokens: int, of: int) -> Tunables:
        """The same with budgets that are meant for `of` visual tokens brought to `tokens`."""
        return replace(self, **{name: round(getattr(self, name) * tokens / of) for name in BUDGETS})

    def check_budgets(self, tokens: int) -> None:
        """Raise SettingError if a budget is above the `tokens` visual tokens of a policy."""
        budgets = {tunable(field).name: getattr(self, field) for field in BUDGETS}
        for name, value in {"k1 + k2": self.k1 + self.k2, **budgets}.items():
            if value > tokens:
                raise SettingError(f"{name} {value} is above the visual tokens of this policy: valid are 0 to {tokens}")


def tunable(name: str) -> Setting:
    """The setting behind a field of Tunables, with all values that the engine knows; SettingError lists the names."""
    if name not in _BY_FIELD:
        names = dict.fromkeys(setting.name for setting in _BY_FIELD.values())
        raise SettingError(f"unknown parameter '{name}': valid are {', '.join(names)}")
    return _BY_FIELD[name]


def load_setting(name: str) -> Setting:
    """The setting of that name among those that a policy is loaded with."""
    return next(setting for setting in LOAD_SETTINGS if setting.name == name)
