"""What a setting is: name, type, range, who listens to it; defaults come from config/policy.yaml alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from .resources import share_path

Kind = Literal["bool", "int", "float", "str"]
TYPES: dict[Kind, type] = {"bool": bool, "int": int, "float": float, "str": str}


class SettingError(ValueError):
    """A setting that is unknown, of the wrong type or out of range; the message is one line with the valid choices."""


def _is_a(value: object, kind: Kind) -> bool:
    return type(value) is TYPES[kind]  # a bool is no int here


@dataclass(frozen=True)
class When:
    """A condition on a setting's effect.

    who: what listens then, in a word or two; holds: whether it does, given all values by name; otherwise: when it does
    not, with values by name in braces; selector: the setting that the condition asks for one of its choices.
    """

    who: str
    holds: Callable[[Mapping[str, Any]], bool]
    otherwise: str
    selector: str | None = None


def among(selector: str, listening: tuple[str, ...], choices: tuple[str, ...]) -> When:
    """The condition that setting `selector`, which has `choices`, is one of `listening`."""
    deaf = [choice for choice in choices if choice not in listening]
    few = len(deaf) < len(listening)
    who = f"every {selector} but {' and '.join(deaf)}" if few else " and ".join(listening)
    verb = "listens" if few or len(listening) == 1 else "listen"
    return When(
        who, lambda values: values[selector] in listening, f"in {selector} {{{selector}}}: {who} {verb}", selector
    )


@dataclass(frozen=True)
class Setting:
    """Name, type and range of one setting; `choices` replaces a range where only some values make sense.

    A dot in the name groups settings. listens: conditions that must all hold for it to have an effect; digits: a text
    that may be a number alone, which YAML reads as one.
    """

    name: str
    kind: Kind
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False
    listens: tuple[When, ...] = ()
    digits: bool = False

    @property
    def field(self) -> str:
        """Name as a Python identifier."""
        return self.name.replace(".", "_")

    @property
    def valid(self) -> str:
        """What it can be, for a person."""
        if self.choices:
            return ", ".join(self.choices)
        if self.low is not None:
            return f"{self.low:.10g} to {self.high:.10g}"
        return "true, false" if self.kind == "bool" else "text"

    def who(self, everyone: str) -> str:
        """What listens to it, `everyone` where there is no condition."""
        return ", ".join(condition.who for condition in self.listens) or everyone

    def silence(self, values: Mapping[str, Any]) -> str | None:
        """Where the setting has no effect, given all `values` by name ("in mode full: ..."); None where it has one."""
        for condition in self.listens:
            if not condition.holds(values):
                return condition.otherwise.format_map(values)
        return None

    def check(self, value: Any) -> Any:
        """Return `value`, an int as float where a float is due; raise SettingError naming what is valid."""
        if self.kind == "float" and _is_a(value, "int"):
            value = float(value)
        only = "" if self.kind == "str" and not self.choices else f"; valid are {self.valid}"
        if not _is_a(value, self.kind):
            raise SettingError(f"{self.name}: {value!r} is not of type {self.kind}{only}")
        if self.choices and value not in self.choices:
            raise SettingError(f"{self.name}: {value!r} is not valid{only}")
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            raise SettingError(f"{self.name}: {value} is out of range{only}")
        return value


def everyone(settings: Iterable[Setting]) -> str:
    """What listens to those of `settings` without a condition: "every mode" where others depend on the mode."""
    selectors = (condition.selector for setting in settings for condition in setting.listens if condition.selector)
    selector = next(selectors, None)
    return f"every {selector}" if selector else "always"


def default_settings(node: str, path: Path | None = None) -> dict[str, Any]:
    """Parameters of one node in config/policy.yaml (or `path`) by dotted name; SettingError lists the nodes it has."""
    path = path or share_path("config/policy.yaml")
    every = all_default_settings(path)
    if node not in every:
        raise SettingError(f"{path.name}: no node '{node}'; valid are {', '.join(every)}")
    return every[node]


def all_default_settings(path: Path | None = None) -> dict[str, dict[str, Any]]:
    """Parameters of every node in config/policy.yaml (or `path`), by the node and by dotted name."""
    content = yaml.safe_load((path or share_path("config/policy.yaml")).read_text(encoding="utf-8"))
    return {node: dict(_flat(values["ros__parameters"])) for node, values in content.items()}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Names and values of nested groups, as ROS reads them: a dot between group and name."""
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        flat += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
    return flat
