"""One table of the policy's settings; their values come from config/policy.yaml alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from .resources import share_path

Kind = Literal["bool", "int", "float", "str"]
TYPES: dict[Kind, type] = {"bool": bool, "int": int, "float": float, "str": str}

BUDGETS = ("k1", "k2", "row_budget", "taper_rows")
DEFAULT_TOKENS = 256  # visual tokens that the budgets of config/policy.yaml are for: OpenVLA's and the small policy's
MOST_TOKENS = 2048  # 256 of each of eight cameras
DRAFTS = ("off", "exact", "bounded", "anytime")
QUANTISATIONS = ("none", "int8")
MODES = ("full", "vla_cache", "visual_only", "attention_only", "static_union", "info_entropy")


class SettingError(ValueError):
    """A setting that is unknown, of the wrong type or out of range; the message is one line with the valid choices."""


def _is_a(value: object, kind: Kind) -> bool:
    return type(value) is TYPES[kind]  # a bool is no int here


@dataclass(frozen=True)
class Setting:
    """Name, type and range of one setting; `choices` replaces a range where only some values make sense."""

    name: str
    kind: Kind
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str | int, ...] = ()
    read_only: bool = False

    def check(self, value: Any) -> Any:
        """Return `value`, an int as float where a float is due; raise SettingError naming what is valid."""
        if self.kind == "float" and _is_a(value, "int"):
            value = float(value)
        if not _is_a(value, self.kind):
            raise SettingError(f"{self.name}: {value!r} is not of type {self.kind}{self._valid()}")
        if self.choices and value not in self.choices:
            raise SettingError(f"{self.name}: {value!r} is not valid{self._valid()}")
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            raise SettingError(f"{self.name}: {value} is out of range{self._valid()}")
        return value

    def _valid(self) -> str:
        if self.choices:
            return f"; valid are {', '.join(map(str, self.choices))}"
        return "" if self.low is None else f"; valid are {self.low:g} to {self.high:g}"


ENGINE_SETTINGS: tuple[Setting, ...] = (
    Setting("checkpoint", "str", "folder of the checkpoint; empty: the small policy of this package", read_only=True),
    Setting("device", "str", "cpu, cuda, cuda:<index>, or auto: cuda where there is one", read_only=True),
    Setting("dtype", "str", "type of weights and activations", choices=("float32", "bfloat16", "float16"),
            read_only=True),
    Setting("quantisation", "str", "the decoder's weights: none: as they are, int8: in 8 bits with a scale per output "
            "channel", choices=QUANTISATIONS, read_only=True),
    Setting("unnorm_key", "str", "data set whose action statistics are used; empty: the only one", read_only=True),
    Setting("preprocess", "str", "resize: OpenVLA's; centre_crop: Lanczos and the crop LIBERO fine-tunes expect",
            choices=("resize", "centre_crop"), read_only=True),
    Setting("mode", "str", "which visual tokens are computed afresh: " + ", ".join(MODES), choices=MODES),
    Setting("k1", "int", "smaller of the two token budgets (paper: 40 of 256)", 0, MOST_TOKENS),
    Setting("k2", "int", "larger of the two token budgets (paper: 60 of 256)", 0, MOST_TOKENS),
    Setting("T", "int", "ticks over which the budget moves from image entropy to attention entropy", 1, 1000),
    Setting("max_age", "int", "ticks that a visual token's keys and values may be reused; 0: never", 0, 1000),
    Setting("static_reference", "str", "compare a patch with the pixels its keys and values were computed from "
            "(anchor), or with the previous frame (previous, the paper's)", choices=("anchor", "previous")),
    Setting("similarity_threshold", "float", "cosine similarity from which on a patch counts as static", 0.0, 1.0),
    Setting("difference_threshold", "float", "mean absolute difference [grey levels] up to which a patch counts as "
            "static; 0: not tested", 0.0, 255.0),
    Setting("row_budget", "int", "fresh visual tokens to fill up to; 0: no filling", 0, MOST_TOKENS),
    Setting("row_bucket", "int", "fresh visual tokens are filled up to a multiple of this, for a GPU", 1, 256),
    Setting("fill_order", "str", "which tokens fill the row budget: those of most influence (change of the embedding, "
            "times attention), or the oldest", choices=("influence", "age")),
    Setting("histogram_bins", "int", "bins of the grey-level histogram behind image entropy", choices=(64, 256)),
    Setting("mass_weighted", "bool", "weight the attention score by the attention a token receives"),
    Setting("layer_schedule", "str", "constant: reused tokens skip all layers; vla_cache: the reused set grows with "
            "depth as the attention sharpens; taper: only taper_rows tokens go through the last layers",
            choices=("constant", "vla_cache", "taper")),
    Setting("taper_from", "float", "share of the layers that all fresh tokens go through in layer_schedule: taper",
            0.0, 1.0),
    Setting("taper_rows", "int", "fresh visual tokens that go on to the layers behind: important and old ones, then "
            "those of most influence", 0, MOST_TOKENS),
    Setting("adaptive", "bool", "let motion, uncertainty and gripper events scale the budgets and T"),
    Setting("drafts", "str", "use of drafted action tokens: off, exact (same tokens as without), bounded (a draft "
            "within draft_tolerance counts), anytime (publish what is there at the deadline)", choices=DRAFTS),
    Setting("draft_tolerance", "int", "bins by which a draft may differ from its token in drafts: bounded", 0, 64),
    Setting("draft_margin", "float", "difference of the two best logits below which a token drafted in bfloat16 or "
            "float16 is looked at again alone", 0.0, 10.0),
    Setting("deadline", "float", "time from image in to action out [s] in drafts: anytime", 0.001, 10.0),
    Setting("scene_cut", "float", "share of changed patches above which everything is fresh; 1: never", 0.0, 1.0),
    Setting("max_gap", "float", "time between two observations [s] beyond which a new episode begins", 0.01, 3600.0),
)  # fmt: skip
SETTING = {setting.name: setting for setting in ENGINE_SETTINGS}


@dataclass(frozen=True)
class Tunables:
    """What may change between two ticks; see ENGINE_SETTINGS for meanings and ranges. SettingError if out of range."""

    mode: str
    k1: int
    k2: int
    T: int
    max_age: int
    static_reference: str
    similarity_threshold: float
    difference_threshold: float
    row_budget: int
    row_bucket: int
    fill_order: str
    histogram_bins: int
    mass_weighted: bool
    layer_schedule: str
    taper_from: float
    taper_rows: int
    adaptive: bool
    drafts: str
    draft_tolerance: int
    draft_margin: float
    deadline: float
    scene_cut: float
    max_gap: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = SETTING[field.name].check(getattr(self, field.name))
            if isinstance(value, float) and not math.isfinite(value):
                raise SettingError(f"{field.name}: {value} is not a finite number")
            object.__setattr__(self, field.name, value)

    @classmethod
    def default(cls, tokens: int = DEFAULT_TOKENS) -> Tunables:
        """The values of config/policy.yaml, budgets in proportion for a policy of `tokens` visual tokens."""
        values = default_settings("policy")
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in values]:
            raise SettingError(f"config/policy.yaml: missing {', '.join(missing)}")
        return cls(**{name: values[name] for name in names}).in_proportion(tokens, DEFAULT_TOKENS)

    def in_proportion(self, tokens: int, of: int) -> Tunables:
        """The same with budgets that are meant for `of` visual tokens brought to `tokens`."""
        return replace(self, **{name: round(getattr(self, name) * tokens / of) for name in BUDGETS})

    def check_budgets(self, tokens: int) -> None:
        """Raise SettingError if a budget is above the `tokens` visual tokens of a policy."""
        budgets = {"k1 + k2": self.k1 + self.k2, "row_budget": self.row_budget}
        if self.layer_schedule == "taper":
            budgets["taper_rows"] = self.taper_rows
        for name, value in budgets.items():
            if value > tokens:
                raise SettingError(f"{name} {value} is above the visual tokens of this policy: valid are 0 to {tokens}")


def default_settings(node: str, path: Path | None = None) -> dict[str, Any]:
    """Parameters of one node in config/policy.yaml (or `path`); raises SettingError that lists the nodes it has."""
    path = path or share_path("config/policy.yaml")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if node not in content:
        raise SettingError(f"{path.name}: no node '{node}'; valid are {', '.join(content)}")
    return dict(content[node]["ros__parameters"])
