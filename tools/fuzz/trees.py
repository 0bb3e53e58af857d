"""Spoils what JSON and YAML hold: values of other types and sizes, keys twice, gone, renamed or added."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

Tree = Any  # of dicts, lists and what they hold; Raw and Twice may stand in it
Known = Mapping[str, Mapping[str, Sequence[Any]]]  # group ("": the top) -> key -> values that mean something there

SHOWN = 80  # characters of a value in a label
DEEP = 100_000  # brackets in one another


class Raw(str):
    """Text that is written as it is."""


class Twice(tuple[Any, ...]):
    """Values under one key that is written once for each."""


HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**32 + 1, 2**53 + 1, 2**63, 2**64, -(2**63), 10**400, 0.0, -0.0, 0.5,
        1e-300, 1e300,
    -1e308, 1.7e308, float("nan"), float("inf"), -float("inf"), Raw("1e999"), Raw("-1e999"), Raw("1" * 5000), "", " ",
        "x",
    "0", "1", "true", "null", "nan", "None", "\u2603" * 9, "\x00", "a\nb", "../../etc/passwd", "/dev/zero", "%s%n{}",
        "x" * 100_000,
    [], {}, [[]], [None], [0], [1, 2, 3], ["x"] * 1000, [float("nan")] * 7, {"": None}, {"x": {"x": {}}}, [[0] * 7] * 7,
    Raw("[" * DEEP + "]" * DEEP), Raw('{"a":' * 5000 + "1" + "}" * 5000), Raw("'x'"), Raw("1 // no"), Raw("[1,]"),
        Raw("0x10"),
)  # fmt: skip


def dump(tree: Tree) -> str:
    """`tree` as JSON, with the liberties that Raw and Twice take; YAML reads it, too."""
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, Mapping):
        pairs = (
            (key, each) for key, value in tree.items() for each in (value if isinstance(value, Twice) else (value,))
        )
        return (
            "{"
            + ", ".join(f"{key if isinstance(key, Raw) else json.dumps(key)}: {dump(value)}" for key, value in pairs)
            + "}"
        )
    if isinstance(tree, list):
        return "[" + ", ".join(dump(value) for value in tree) + "]"
    return json.dumps(tree)


def spoil_tree(tree: Tree, random: Random, known: Known) -> str:
    """Spoil something in `tree`, a dict, and say what."""
    if known and random.random() < 0.5:
        return _insert(tree, random, known)
    holder, key, where = _somewhere(tree, random)
    if holder is None:
        return "left as it is: it is empty"
    return f"{where}: " + random.choice(SPOILS)(holder, key, random)


def _insert(tree: Tree, random: Random, known: Known) -> str:
    group = random.choice(sorted(known))
    holder = tree
    for part in group.split("/") if group else ():
        holder = (
            holder.get(part) if isinstance(holder, dict) else holder[0] if isinstance(holder, list) and holder else None
        )
    if not isinstance(holder, dict):
        return "left as it is"
    key = random.choice(sorted(known[group]))
    holder[key] = random.choice(list(known[group][key]))
    return f"{f'{group}/{key}' if group else key} = {_shown(holder[key])}"


def _somewhere(tree: Tree, random: Random) -> tuple[Any, Any, str]:
    """A place in the tree: what holds it, its key or number, and its path; None where the tree is empty."""
    holder, key, where = None, None, []
    place = tree
    while isinstance(place, (dict, list)) and place and (holder is None or random.random() < 0.75):
        holder = place
        key = random.choice(list(place)) if isinstance(place, dict) else random.randrange(len(place))
        place = place[key]
        where.append(str(key))
    return holder, key, "/".join(where)


def _replace(holder: Any, key: Any, random: Random) -> str:
    holder[key] = random.choice(HOSTILE)
    return f"= {_shown(holder[key])}"


def _scale(holder: Any, key: Any, random: Random) -> str:
    value = holder[key]
    if isinstance(value, bool):
        holder[key] = not value
    elif isinstance(value, (int, float)):
        holder[key] = random.choice(
            (value + 1, value - 1, value * 2, -value, value * 1000, float(value), str(value), value / 2)
        )
    elif isinstance(value, str):
        changes: tuple[Callable[[], Any], ...] = (
            value.upper,
            value.title,
            lambda: value + " ",
            lambda: value[:-1],
            lambda: [value],
        )
        holder[key] = random.choice(changes)()
    else:
        holder[key] = [value] if random.random() < 0.5 else {"x": value}
    return f"{_shown(value)} becomes {_shown(holder[key])}"


def _delete(holder: Any, key: Any, random: Random) -> str:
    del holder[key]
    return "deleted"


def _rename(holder: Any, key: Any, random: Random) -> str:
    if isinstance(holder, list):
        holder.insert(key, holder[key])
        return "there twice"
    name = str(key)
    new = random.choice((name.upper(), name[:-1], name + "s", name.replace("_", "-"), "", name + "\u200b", " " + name))
    holder[new] = holder.pop(key)
    return f"renamed to {new!r}"


def _double(holder: Any, key: Any, random: Random) -> str:
    if isinstance(holder, list):
        random.shuffle(holder)
        return "shuffled"
    other = random.choice((*HOSTILE, *holder.values()))
    first = random.random() < 0.5
    holder[key] = Twice((other, holder[key]) if first else (holder[key], other))
    return f"written twice, {'first' if first else 'then'} {_shown(other)}"


def _swap(holder: Any, key: Any, random: Random) -> str:
    other = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]
    return f"swapped with {other}"


SPOILS: tuple[Callable[[Any, Any, Random], str], ...] = (
    _replace, _replace, _replace, _scale, _scale, _delete, _rename, _double, _swap,
)  # fmt: skip


def _shown(value: Any) -> str:
    text = (
        repr(str(value))
        if isinstance(value, Raw)
        else repr(value)
        if not isinstance(value, int)
        else hex(value)
        if value > 10**30
        else repr(value)
    )
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
