"""The action's definition, and a stand-in for the module that is generated from it: CI does not build that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "vla_entropy_interfaces"
PYTHON = {"string": str, "float64": float, "uint32": int}  # as rosidl has them


def sections() -> dict[str, dict[str, tuple[type, Any]]]:
    """Of Goal, Result and Feedback: fields by name, each with its type and its first value."""
    found: list[dict[str, tuple[type, Any]]] = [{}]
    for line in (FOLDER / "action" / "RunInstruction.action").read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text == "---":
            found.append({})
        elif text:
            kind, name, *value = re.fullmatch(r"(\w+) +([a-z_]+)(?: +(\S+))?", text).groups()  # type: ignore[union-attr]
            found[-1][name] = PYTHON[kind], PYTHON[kind](*filter(None, value))
    return dict(zip(("Goal", "Result", "Feedback"), found, strict=True))


class Message:
    """As a generated message: takes no other fields, and no other types, than the definition has."""

    fields: dict[str, tuple[type, Any]]

    def __init__(self, **values: Any) -> None:
        self.given = set(values)
        for name, value in values.items():
            kind = self.fields[name][0]
            assert type(value) is kind, f"{name} is {value!r}, of {kind}"
            assert not isinstance(value, int) or value >= 0, f"{name} is {value}"
        for name, (_, first) in self.fields.items():
            setattr(self, name, values.get(name, first))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def stand_in() -> Any:
    """What `RunInstruction` would be."""
    return type("RunInstruction", (), {n: type(n, (Message,), {"fields": fields}) for n, fields in sections().items()})
