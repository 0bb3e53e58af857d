"""A checkpoint that takes long to load: the node goes on answering, one transition runs at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor

from vla_entropy_ros.engine import CheckpointError
from vla_entropy_ros.nodes.common.diagnostics import ERROR, STALE
from vla_entropy_ros.nodes.policy.node import PolicyNode

from . import conftest
from .robot import Robot

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
TASKS = ("inference", "observation", "cache")


class Slow:
    """A loader that the test holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.fault: Exception | None = None
        load: Callable[..., Any] = PolicyNode._load

        def held(node: PolicyNode, values: Any) -> Any:
            self.inside.set()
            assert self.go_on.wait(60.0)
            if self.fault is not None:
                raise self.fault
            return load(node, values)

        monkeypatch.setattr(PolicyNode, "_load", held)

    def configure(self, stage: Any) -> list[ChangeState.Response]:
        """Ask for configure; the list gets the answer."""
        answers: list[ChangeState.Response] = []
        client = stage.tester.create_client(ChangeState, "/policy/change_state")
        assert client.wait_for_service(conftest.PATIENCE)
        future = client.call_async(ChangeState.Request(transition=Transition(id=CONFIGURE)))
        future.add_done_callback(lambda done: answers.append(done.result()))
        assert self.inside.wait(conftest.PATIENCE)
        return answers


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """A loader that goes on in the end."""
    one = Slow(monkeypatch)
    yield one
    one.go_on.set()


@pytest.fixture(params=["the executor of the executables", "the single-threaded executor"])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every executor that rclpy's versions bring; before the stage is made."""
    if request.param.startswith("the single"):
        monkeypatch.setattr(conftest, "make_executor", SingleThreadedExecutor)


@pytest.mark.usefixtures("executor")
def test_the_node_answers_while_a_checkpoint_loads(slow: Slow, request: Any, checkpoint: Path) -> None:
    stage = request.getfixturevalue("stage")
    robot = Robot(stage, checkpoint)
    answers = slow.configure(stage)
    client = stage.tester.create_client(GetState, "/policy/get_state")
    assert client.wait_for_service(conftest.PATIENCE)
    waits = []
    for _ in range(20):
        answered = threading.Event()
        began = time.monotonic()
        future = client.call_async(GetState.Request())
        future.add_done_callback(lambda _, answered=answered: answered.set())
        assert answered.wait(conftest.PATIENCE)
        waits.append(time.monotonic() - began)
        assert future.result().current_state.id == State.TRANSITION_STATE_CONFIGURING
    assert sorted(waits)[len(waits) // 2] < 0.1
    assert stage.set_parameter("policy", "T", 7).successful
    for task in TASKS:
        status = stage.diagnostic(f"policy: {task}", lambda status: "loading" in status.message)
        assert status.level == STALE
        assert status.message.startswith(f"loading {checkpoint} for ")
    assert answers == []
    slow.go_on.set()
    stage.until(lambda: len(answers) == 1, "the answer")
    assert answers[0].success
    assert robot.state == State.PRIMARY_STATE_INACTIVE
    assert robot.inference._orders.options.tunables.T == 7
    assert robot.change(ACTIVATE)


def test_what_is_asked_for_meanwhile_is_refused_at_once(
    slow: Slow, stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    robot = Robot(stage, checkpoint)
    answers = slow.configure(stage)
    for transition in (CONFIGURE, ACTIVATE, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN):
        assert not robot.change(transition)
        assert f"transition {transition} refused: loading {checkpoint} for " in capfd.readouterr().err
    slow.go_on.set()
    stage.until(lambda: len(answers) == 1, "the answer")
    assert answers[0].success
    assert robot.change(ACTIVATE)


def test_a_transition_asked_for_as_soon_as_the_state_is_told_is_not_refused(
    slow: Slow, stage: Any, checkpoint: Path
) -> None:
    """Launch hears the new state before `change_state` has answered."""
    robot = Robot(stage, checkpoint)
    slow.configure(stage)
    slow.go_on.set()
    stage.until(lambda: robot.state == State.PRIMARY_STATE_INACTIVE, "the inactive state")
    assert robot.change(ACTIVATE)


def test_a_load_that_fails_late_is_told_and_may_be_tried_again(
    slow: Slow, stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = Robot(stage, checkpoint)
    slow.fault = CheckpointError("too small")
    answers = slow.configure(stage)
    slow.go_on.set()
    stage.until(lambda: len(answers) == 1, "the answer")
    assert not answers[0].success
    assert robot.state == State.PRIMARY_STATE_UNCONFIGURED
    stage.diagnostic("policy: inference", lambda status: status.level == ERROR and "too small" in status.message)
    slow.fault = None
    assert robot.change(CONFIGURE)


def test_parameters_that_do_not_fit_what_was_loaded_meanwhile_fail_configure(
    slow: Slow, stage: Any, checkpoint: Path
) -> None:
    robot = Robot(stage, checkpoint)
    answers = slow.configure(stage)
    assert stage.set_parameter("policy", "row_budget", 17).successful  # nobody knows yet that there are 16 tokens
    slow.go_on.set()
    stage.until(lambda: len(answers) == 1, "the answer")
    assert not answers[0].success
    said = "row_budget 17 is above the visual tokens of this policy"
    stage.diagnostic("policy: inference", lambda status: status.level == ERROR and said in status.message)
    assert stage.set_parameter("policy", "row_budget", 0).successful
    assert robot.change(CONFIGURE)


def test_a_node_that_ends_meanwhile_does_not_wait(
    slow: Slow, stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    robot = Robot(stage, checkpoint)
    slow.configure(stage)
    began = time.monotonic()
    stage.remove(robot.node, close=True)
    assert time.monotonic() - began < 5.0
    assert "the node ends before the checkpoint is loaded" in capfd.readouterr().err
