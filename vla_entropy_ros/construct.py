"""Dataclasses from what was read: JSON, YAML, a stored dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_origin, get_type_hints

T = TypeVar("T")


def construct(kind: type[T], values: Mapping[str, Any], source: str) -> T:
    """Make a `kind`, a dataclass, of `values` by field name; a list becomes a tuple where the field is one.

    source: what was read, for the message. Raises ValueError that lists unknown, missing and valid keys.
    """
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    needed = [f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING]
    wrong = {"unknown": sorted(set(values) - set(known)), "missing": sorted(set(needed) - set(values))}
    if said := "; ".join(f"{what} keys {', '.join(names)}" for what, names in wrong.items() if names):
        raise ValueError(f"{source}: {said}; valid are {', '.join(sorted(known))}")
    made = dict(values)
    for name, hint in get_type_hints(kind).items():
        if get_origin(hint) is tuple and isinstance(made.get(name), list):
            made[name] = tuple(made[name])
    return kind(**made)
