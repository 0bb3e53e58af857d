"""Arguments as people give them to a node, and what the node thinks of them."""

from __future__ import annotations

from pathlib import Path

from vla_entropy_ros.nodes.common.given import Given, Verdict
from vla_entropy_ros.settings import all_default_settings


def ros(*parts: str) -> list[str]:
    """ROS arguments."""
    return ["--ros-args", *parts]


def written(folder: Path, text: str, name: str = "given.yaml") -> str:
    """Path of a parameter file with that text."""
    file = folder / name
    file.write_text(text)
    return str(file)


def judged(kind: str, *arguments: str, overrides: tuple[str, ...] = ()) -> Verdict:
    """What a node of that kind says of its arguments."""
    return Given.to(kind, None, ros(*arguments), overrides).verdict(all_default_settings())
