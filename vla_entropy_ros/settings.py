"""What a setting is: name, type, range, who listens to it; defaults come from config/policy.yaml alone."""

from __future__ import annotations

from collections.abc import Mapping
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
class Listens:
    """When a setting has an effect: while the setting `selector` has one of `values`."""

    selector: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """Name, type and range of one setting; `choices` replaces a range where only some values make sense.

    A dot in the name groups settings. listens: when it has an effect, None for always.
    """

    name: str
    kind: Kind
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False
    listens: Listens | None = None

    @property
    def field(self) -> str:
        """Name as a Python identifier."""
        return self.name.replace(".", "_")

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
            return f"; valid are {', '.join(self.choices)}"
        return "" if self.low is None else f"; valid are {self.low:g} to {self.high:g}"


def default_settings(node: str, path: Path | None = None) -> dict[str, Any]:
    """Parameters of one node in config/policy.yaml (or `path`) by dotted name; SettingError lists the nodes it has."""
    path = path or share_path("config/policy.yaml")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if node not in content:
        raise SettingError(f"{path.name}: no node '{node}'; valid are {', '.join(content)}")
    return dict(_flat(content[node]["ros__parameters"]))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Names and values of nested groups, as ROS reads them: a dot between group and name."""
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        flat += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
    return flat
