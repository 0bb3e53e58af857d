"""`rqt:=true` opens rqt for the policy at hand, when it is active for the first time, and stands in nobody's way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .described import FILES, ROOT, demo_actions, load, of, passed_on, policy_actions
from .standins import Recorded, standins


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An rqt that is found on PATH, and nothing else."""
    program = tmp_path / "rqt"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return program


def opening(actions: list[Any]) -> list[Recorded]:
    """The handlers that start a process."""
    handlers = [action.args[0] for action in of(actions, "RegisterEventHandler")]
    return [handler for handler in handlers if of(handler.options.get("entities", []), "ExecuteProcess")]


@pytest.mark.parametrize("file", FILES)
def test_rqt_is_an_argument_that_is_off(file: str) -> None:
    with standins(str(ROOT)):
        assert load(file).ARGUMENTS["rqt"][0] == "false"


@pytest.mark.parametrize("respawn", ["false", "true"])
def test_rqt_opens_once_and_not_before_the_policy_is_active(
    monkeypatch: pytest.MonkeyPatch, installed: Path, respawn: str
) -> None:
    assert opening(policy_actions(monkeypatch, respawn=respawn)) == []
    actions = policy_actions(monkeypatch, rqt="true", respawn=respawn)
    assert of(actions, "ExecuteProcess") == of(actions, "LogInfo") == []
    (handler,) = opening(actions)
    (policy,) = of(actions, "LifecycleNode")
    assert type(handler).__name__ == "OnStateTransition"
    assert handler.options["target_lifecycle_node"] is policy
    assert handler.options["goal_state"] == "active"
    assert handler.options["handle_once"] is True
    (window,) = handler.options["entities"]
    assert not {"on_exit", "respawn"} & set(window.options)  # who closes it closes nothing else


@pytest.mark.parametrize(
    ("arguments", "namespace"),
    [
        ({}, ""),
        ({"namespace": "left"}, "/left"),
        ({"namespace": "/cell/left/"}, "/cell/left"),
        ({"namespace": "left", "ros_namespace": "/cell"}, "/cell/left"),
        ({"ros_namespace": "/cell"}, "/cell"),
    ],
)
def test_rqt_opens_for_the_namespace_that_launch_gives(
    monkeypatch: pytest.MonkeyPatch, installed: Path, arguments: dict[str, str], namespace: str
) -> None:
    (handler,) = opening(policy_actions(monkeypatch, rqt="true", **arguments))
    (window,) = handler.options["entities"]
    executable, *options = window.options["cmd"]
    assert executable.options == {"package": "vla_entropy_ros", "executable": "rqt_policy"}
    assert options == ["--namespace", namespace]


def test_without_an_rqt_one_line_says_what_to_install_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, installed: Path
) -> None:
    installed.unlink()
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    actions = policy_actions(monkeypatch, rqt="true")
    (line,) = of(actions, "LogInfo")
    assert "rqt is not installed: sudo apt install ros-jazzy-rqt-common-plugins " in line.options["msg"]
    assert "\n" not in line.options["msg"]
    assert opening(actions) == []
    usual = [type(action).__name__ for action in policy_actions(monkeypatch)]
    assert [type(action).__name__ for action in actions if action is not line] == usual


def test_rqt_is_true_or_false(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="rqt:=yes: valid are true, false"):
        policy_actions(monkeypatch, rqt="yes")


def test_the_demo_passes_it_on() -> None:
    assert passed_on(demo_actions())["rqt"] == "false"
    assert passed_on(demo_actions(rqt="true"))["rqt"] == "true"
