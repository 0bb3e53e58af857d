"""Spoils a parameter file, and looks at what the nodes take of it."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import rclpy
import yaml

from vla_entropy_ros.nodes.command.node import CommandNode
from vla_entropy_ros.nodes.command.settings import COMMAND_SETTINGS
from vla_entropy_ros.nodes.common.given import Given
from vla_entropy_ros.nodes.policy.node import PolicyNode
from vla_entropy_ros.nodes.policy.settings import POLICY_SETTINGS
from vla_entropy_ros.settings import Setting, all_default_settings

from .raw import spoil_raw
from .trees import Known, Raw, dump, spoil_tree

FILE = "given.yaml"
NODES = ("policy", "command")
LAUGHS = ["&a0 [1]", *(f"&a{level} [" + ", ".join([f"*a{level - 1}"] * 9) + "]" for level in range(1, 9))]
VALUES: tuple[Any, ...] = (
    0, 1, -1, 0.5, 2.5, 10**400, 2**63, float("nan"), Raw(".nan"), Raw(".inf"), Raw("-.inf"), Raw("1e3"), Raw("1e999"),
        Raw("0x10"), Raw("010"), Raw("1_000"), Raw("1:30"),
    Raw("yes"), Raw("off"), Raw("~"), Raw(""), Raw("!!python/object/apply:os.system ['touch /tmp/somebody_ran_me']"),
        Raw("!!binary aGk="), Raw("!!float x"), Raw("!!int 5"), Raw("!!str 5"),
    Raw("!x 5"), Raw(f"[{', '.join(LAUGHS)}]"), Raw("[" * 5000), Raw("&a 5"), Raw("*a"), Raw("&a [*a]"),
        Raw("2001-01-01"), Raw("|\n  x"), Raw("'"), Raw('"\\x"'),
        Raw("{<<: {a: 1}}"), Raw("? x"), Raw("@x"), Raw("%x"), Raw("- 1"),
    [], [1, "x"], [0.1, 0.2], [[1]], {}, {"low": 1}, "", "x" * 10**6, "\u2603", "$(env HOME)", "small_policy",
        "/nowhere", "a\nb", "0.5", "true", None, True, False,
)  # fmt: skip
NAMES = (
    "max_sped",
    "checkpoint",
    "dry_run",
    "limits.max_speed",
    "limits",
    "enabled",
    "use_sim_time",
    "rate",
    "k1",
    "",
    ".",
    "a..b",
    "limits.",
    "x y",
    "qos_overrides./x.y",
    "action_scale",
    "T",
)
KNOWN: Known = {
    "": {
        **{name: [{"ros__parameters": {"dry_run": True}}, {"ros__parameters": {}}, {"ros__parameters": None},
            {"command": {"ros__parameters": {"rate": 30.0}}}]
           for name in ("/**", "/command", "/left/command", "comand", "**", "*", "/*", "/**/policy", "", "/", "//",
               "command/", "left", "(x", "[", "/**/[")},
        "ros__parameters": [{"rate": 30.0}],
        "<<": [{"command": {"ros__parameters": {"rate": 30.0}}}],
    },
    **{f"{node}/ros__parameters": dict.fromkeys(NAMES, VALUES) for node in NODES},
}  # fmt: skip


@dataclass(frozen=True)
class Started:
    """A node that took the file: its kind, the values of its parameters by name, and what was said of the file."""

    kind: str
    values: Mapping[str, Any]
    said: str

    def same(self, other: Started) -> bool:
        """Whether the node has the same values; nothing is told of another kind of node."""
        return self.kind == other.kind and self.values == other.values


def spoil(folder: Path, random: Random) -> str:
    """Spoil the parameter file."""
    file = folder / FILE
    if (said := spoil_raw(file, random, 0.05, 0.2)) is not None:
        return said
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    said = spoil_tree(tree, random, KNOWN) if random.random() < 0.6 else _value(tree, random)
    file.write_text(dump(tree) + "\n", encoding="utf-8", errors="surrogatepass")
    return f"{FILE}: {said}"


def _value(tree: Any, random: Random) -> str:
    """Give a parameter that exists another value."""
    node = random.choice(NODES)
    holder = tree[node]["ros__parameters"]
    where = [node]
    while isinstance(holder, dict):
        where.append(key := random.choice(sorted(holder)))
        holder, last = holder[key], holder
    last[key] = value = random.choice(VALUES)
    return f"{'/'.join(where)} = {value!r:.80}"


def look(folder: Path) -> Started:
    """What both nodes think of the file, and the values with which one of them starts."""
    path = str(folder / FILE)
    arguments = ["--ros-args", "--params-file", path]
    said = []
    for kind in NODES:
        verdict = Given.to(kind, None, arguments).verdict(all_default_settings())
        said += [*verdict.refusals, *verdict.warnings]
    kind = NODES[zlib.crc32((folder / FILE).read_bytes()) % 2]
    return Started(kind, _start(kind, arguments), "\n".join(said))


def _start(kind: str, arguments: list[str]) -> dict[str, Any]:
    """Values of the parameters of a node of that kind that is made and ended."""
    rclpy.init(args=[])
    try:
        node: Any = {"policy": PolicyNode, "command": CommandNode}[kind](cli_args=arguments)
        values = dict(node._settings.values)
        with contextlib.suppress(Exception):
            node.close()
        node.destroy_node()
        return values
    finally:
        rclpy.try_shutdown()


def settings(kind: str) -> dict[str, Setting]:
    """The settings of a kind of node by name."""
    return {setting.name: setting for setting in {"policy": POLICY_SETTINGS, "command": COMMAND_SETTINGS}[kind]}


def judge(folder: Path, started: Started) -> Iterator[str]:
    """Yield what is wrong with a file that was taken."""
    known = settings(started.kind)
    for name, value in started.values.items():
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name} is {value}"
        try:
            known[name].check(value)
        except ValueError as error:
            yield f"a value out of range is taken: {error}"
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
        documents = list(yaml.safe_load_all(text))
        written = {name: value for document in documents for name, value in _for(started.kind, document)}
    except (yaml.YAMLError, ValueError, TypeError):
        return  # the oracle reads less than the node
    if not all(_plain(document) for document in documents):
        return
    for name, value in written.items():
        if name in started.values:
            if _comparable(value, started.values[name]) and value != started.values[name]:
                yield f"{name} is {started.values[name]!r}, the file says {value!r:.60}"
        elif name not in started.said and not name.startswith(("use_sim_time", "qos_overrides.", "start_type")):
            yield f"{name!r:.60} is lost, and nobody says so"


def _plain(document: Any) -> bool:
    """Whether all sections lie under one key, and are for nodes by name or for all."""
    sections = document.items() if isinstance(document, dict) else ()
    return all(
        isinstance(section, dict)
        and set(section) <= {"ros__parameters"}
        and (key == "/**" or not ("*" in str(key) or str(key).endswith("/")))
        for key, section in sections
    )


def _for(kind: str, document: Any) -> Iterator[tuple[str, Any]]:
    """Names and values for that kind of node."""
    for key, section in document.items() if isinstance(document, dict) else ():
        if key in (kind, f"/{kind}", "/**") and isinstance(section, dict):
            yield from _flat(section.get("ros__parameters") or {})


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _comparable(written: Any, taken: Any) -> bool:
    """Whether both are read alike by every reader of YAML: numbers beside numbers, text beside text."""
    number = (int, float)
    if isinstance(written, bool) or isinstance(taken, bool):
        return type(written) is type(taken)
    return (isinstance(written, number) and isinstance(taken, number)) or (
        isinstance(written, str) and isinstance(taken, str)
    )
