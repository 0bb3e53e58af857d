"""The ROS arguments of a command line: what they call a node, and which of them are about parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

BEGIN, END = "--ros-args", "--"
REMAP, PARAMETER, FILE = ("-r", "--remap"), ("-p", "--param"), ("--params-file",)
VALUED = (*REMAP, *PARAMETER, *FILE, "-e", "--enclave", "--log-level", "--log-config-file", "--log-file-name")
NAME = re.compile(r"(?:(?P<node>\w+):)?__(?:node|name):=(?P<value>\w+)")
NAMESPACE = re.compile(r"(?:(?P<node>\w+):)?__ns:=(?P<value>/[\w/]*)")


def options(arguments: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Place, name and value of each ROS option that has a value, as rcl reads `arguments`."""
    inside, place = False, 0
    while place < len(arguments):
        word = arguments[place]
        inside = word == BEGIN or (inside and word != END)
        if inside and word in VALUED and place + 1 < len(arguments):
            yield place, word, arguments[place + 1]
            place += 1
        place += 1


def unread(arguments: Sequence[str]) -> str | None:
    """The first of `arguments` that counts after --ros-args only and does not stand there; None where all do."""
    inside = False
    for word in arguments:
        inside = word == BEGIN or (inside and word != END)
        if not inside and (word in VALUED or ":=" in word or word.startswith(FILE)):
            return word
    return None


def without_parameters(arguments: Sequence[str]) -> list[str]:
    """Everything but parameters and parameter files: those are the node's, not the process's."""
    left = list(arguments)
    for place, name, _ in reversed(list(options(arguments))):
        if name in (*PARAMETER, *FILE):
            del left[place : place + 2]
    return left


def full_name(node: str, namespace: str | None, arguments: Sequence[str]) -> str:
    """Full name that rcl gives a node: of the rules for its name and its namespace the first that fits counts."""
    rules = [value for _, name, value in options(arguments) if name in REMAP]
    name = _first(NAME, rules, node) or node
    below = _first(NAMESPACE, rules, name) or namespace or ""
    return f"/{below.strip('/')}/{name}".replace("//", "/")


def _first(kind: re.Pattern[str], rules: Sequence[str], node: str) -> str | None:
    """What the first of `rules` that is of that kind, and for all nodes or for `node`, says."""
    for rule in rules:
        if (found := kind.fullmatch(rule)) is not None and found["node"] in (None, node):
            return found["value"]
    return None
