"""The launch brings the policy up, once or after every start; the demo adds its own values to the user's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .described import ROOT, demo_actions, happened, load, node, of, parameters, passed_on, policy_actions
from .standins import standins


def test_policy_is_configured_then_activated_and_a_failure_ends_the_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    from lifecycle_msgs.msg import Transition

    actions = policy_actions(monkeypatch)
    handlers = [action.args[0] for action in of(actions, "RegisterEventHandler")]
    assert all(action in actions for action in of(actions, "LifecycleNode"))
    (start,) = of(handlers, "OnProcessStart")
    (configure,) = start.options["on_start"]
    assert configure.options["event"].options["transition_id"] == Transition.TRANSITION_CONFIGURE
    _, outcome = of(handlers, "OnStateTransition")
    assert outcome.options["start_state"] == "configuring"
    (react,) = outcome.options["entities"]
    (activate,) = react.options["function"](happened(goal_state="inactive"))
    assert activate.options["event"].options["transition_id"] == Transition.TRANSITION_ACTIVATE
    for state in ("unconfigured", "errorprocessing"):
        given_up = react.options["function"](happened(goal_state=state))
        assert "the policy could not be configured; its log says why" in failure(given_up)


def failure(given_up: list[Any]) -> str:
    """What the launch ends with: it is raised, since after Shutdown the status of `ros2 launch` would be 0."""
    (action,) = given_up
    with pytest.raises(RuntimeError) as raised:
        action.options["function"](None, *action.options["args"])
    return str(raised.value)


def test_the_policy_is_brought_up_once_so_that_a_person_may_configure_without_activating(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers = [action.args[0] for action in of(policy_actions(monkeypatch), "RegisterEventHandler")]
    assert [handler.options["handle_once"] for handler in handlers] == [True, True, True]


@pytest.mark.parametrize("name", ["policy", "command"])
def test_a_node_that_gives_up_ends_the_launch_and_one_that_was_killed_does_not(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    after_exit = node(policy_actions(monkeypatch), name).options["on_exit"]
    running, ending = SimpleNamespace(is_shutdown=False), SimpleNamespace(is_shutdown=True)
    for status in (0, -9):
        assert not after_exit(SimpleNamespace(process_name=name, returncode=status), running)
    assert not after_exit(SimpleNamespace(process_name=name, returncode=1), ending)
    given_up = after_exit(SimpleNamespace(process_name=name, returncode=1), running)
    assert failure(given_up) == f"{name} has ended; its log says why"


def test_a_policy_that_is_started_again_is_configured_and_activated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = policy_actions(monkeypatch, respawn="true")
    policy = node(actions, "policy")
    assert policy.options["respawn"] is True
    assert policy.options["respawn_delay"] > 0
    assert "respawn" not in node(actions, "command").options
    handlers = [action.args[0] for action in of(actions, "RegisterEventHandler")]
    assert [handler.options["handle_once"] for handler in handlers] == [False, False, False]
    (start,), (heard, configured) = of(handlers, "OnProcessStart"), of(handlers, "OnStateTransition")
    begin = start.options["on_start"]
    (react,), (hear,) = configured.options["entities"], heard.options["entities"]

    def activated() -> bool:
        return bool(react.options["function"](happened(goal_state="inactive")))

    assert [type(action).__name__ for action in begin(None, None)] == ["EmitEvent"]
    hear.options["function"](None)
    assert policy.options["on_exit"](SimpleNamespace(process_name="policy", returncode=1), happened())  # never worked
    assert activated()
    assert not activated()  # a person configured it by hand
    assert policy.options["on_exit"](SimpleNamespace(process_name="policy", returncode=1), happened()) is None
    (timer,) = begin(None, None)  # a killed one's service answers for seconds to come: asked until it is heard
    (ask,) = timer.options["actions"]
    emitted, again = ask.options["function"](None)
    assert type(emitted).__name__ == "EmitEvent"
    (ask,) = again.options["actions"]
    hear.options["function"](None)
    assert ask.options["function"](None) == []
    assert activated()


def test_demo_starts_the_simulator_and_passes_its_arguments_on() -> None:
    with standins(str(ROOT)):
        known = load("policy").ARGUMENTS
    actions = demo_actions()
    assert parameters(node(actions, "simulator")) == {}
    assert node(actions, "simulator").options["ros_arguments"] == ["--enclave", "/robot/simulator"]
    after_exit = node(actions, "simulator").options["on_exit"]
    ended, failed = SimpleNamespace(returncode=0), SimpleNamespace(returncode=-9)
    assert type(after_exit(ended, SimpleNamespace(is_shutdown=False))).__name__ == "Shutdown"
    assert after_exit(failed, SimpleNamespace(is_shutdown=True)) is None  # on Ctrl-C
    with pytest.raises(RuntimeError, match="the simulator has ended with status -9; its log says why"):
        after_exit(failed, SimpleNamespace(is_shutdown=False))
    passed = passed_on(actions)
    assert set(passed) <= set(known)
    assert (passed["checkpoint"], passed["enabled"], passed["action_scale"]) == ("small_policy", "true", "1.0")
    actions = demo_actions(seed="3", task="pick_blue", use_sim_time="true", respawn="true", checkpoint="/7b")
    assert parameters(node(actions, "simulator")) == {"seed": 3, "task": "pick_blue", "use_sim_time": True}
    passed = passed_on(actions)
    assert (passed["use_sim_time"], passed["respawn"], passed["checkpoint"]) == ("true", "true", "/7b")
    with pytest.raises(RuntimeError, match="seed:=x: valid are whole numbers"):
        demo_actions(seed="x")


def test_the_demos_own_values_do_not_replace_those_of_the_users_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("/**: {policy: {ros__parameters: {checkpoint: /7b}}}\ncommand: {ros__parameters: {enabled: false}}")
    passed = passed_on(demo_actions(params_file=str(file)))
    assert (passed["checkpoint"], passed["enabled"], passed["action_scale"]) == ("", "", "1.0")
    assert passed_on(demo_actions(params_file=str(file), enabled="true"))["enabled"] == "true"
    file.write_text('policy: {ros__parameters: {checkpoint: ""}}')
    assert passed_on(demo_actions(params_file=str(file)))["checkpoint"] == "small_policy"
    file.write_text("policy: [")  # the nodes refuse it
    assert passed_on(demo_actions(params_file=str(file)))["checkpoint"] == "small_policy"
