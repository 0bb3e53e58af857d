"""What the launch files start when they are given arguments, as recording stand-ins see it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from .standins import Context, Recorded, standins

ROOT = Path(__file__).parents[2]
FILES = ("policy", "demo")
FLAGS = {"enabled": "true", "dry_run": "true"}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_launch", ROOT / "launch" / f"{name}.launch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def policy_actions(monkeypatch: pytest.MonkeyPatch, **arguments: str) -> list[Any]:
    """What policy.launch.py starts when it is given `arguments`."""
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    with standins(str(ROOT)):
        module = load("policy")
        (description,) = module.generate_launch_description().args
        context = {a.args[0]: a.options["default_value"] for a in of(description, "DeclareLaunchArgument")}
        _, build = of(description, "OpaqueFunction")
        return [*description, *build.options["function"](Context(context | arguments))]


def of(actions: list[Any], kind: str) -> list[Any]:
    return [action for action in actions if type(action).__name__ == kind]


def parameters(node: Recorded) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for source in node.options["parameters"]:
        if isinstance(source, dict):
            merged.update(
                {name: value.args[0] if isinstance(value, Recorded) else value for name, value in source.items()}
            )
    return merged


def node(actions: list[Any], name: str) -> Recorded:
    (found,) = (a for a in [*of(actions, "Node"), *of(actions, "LifecycleNode")] if a.options["name"] == name)
    return found


def demo_actions(**arguments: str) -> list[Any]:
    """What demo.launch.py starts when it is given `arguments`."""
    with standins(str(ROOT)):
        module = load("demo")
        (description,) = module.generate_launch_description().args
        context = {a.args[0]: a.options["default_value"] for a in of(description, "DeclareLaunchArgument")}
        built: list[Any] = of(description, "OpaqueFunction")[-1].options["function"](Context(context | arguments))
        return built


def passed_on(actions: list[Any]) -> dict[str, str]:
    """Arguments that policy.launch.py is given by the demo."""
    (include,) = of(actions, "IncludeLaunchDescription")
    return dict(include.options["launch_arguments"])


def happened(**event: Any) -> SimpleNamespace:
    """A launch context in which such an event is being handled."""
    return SimpleNamespace(locals=SimpleNamespace(event=SimpleNamespace(**event)), is_shutdown=False)
