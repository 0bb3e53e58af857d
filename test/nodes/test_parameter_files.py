"""Parameters as `ros2 param dump` and `load` move them: out of one node, into a file, into another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python

from vla_entropy_ros.nodes.command.node import CommandNode
from vla_entropy_ros.nodes.command.settings import COMMAND_SETTINGS
from vla_entropy_ros.nodes.common.parameters import Parameters
from vla_entropy_ros.nodes.policy.node import PolicyNode
from vla_entropy_ros.nodes.policy.settings import POLICY_SETTINGS
from vla_entropy_ros.settings import Setting, default_settings

CHANGED: dict[str, dict[str, Any]] = {
    "policy": {
        "T": 7,
        "k2": 30,
        "k1": 20,
        "mode": "full",
        "drafts": "off",
        "static.similarity": 0.5,
        "scene_cut": 0.5,
    },
    "command": {
        "action_scale": 1.0,
        "chunk.stale_after": 3,
        "workspace.x.high": 0.9,
        "dry_run": True,
        "gripper.open": -5.5,
    },
}
KINDS: dict[str, type[Any]] = {"policy": PolicyNode, "command": CommandNode}
TABLES = {"policy": POLICY_SETTINGS, "command": COMMAND_SETTINGS}


def dump(stage: Any, node: str) -> dict[str, Any]:
    """Values of all parameters by name, as the command line gathers them."""
    names = stage.call(ListParameters, f"/{node}/list_parameters").result.names
    answer = stage.call(GetParameters, f"/{node}/get_parameters", GetParameters.Request(names=names))
    return dict(zip(names, map(parameter_value_to_python, answer.values), strict=True))


def load(stage: Any, node: str, values: dict[str, Any]) -> dict[str, Any]:
    """Set all at once, as the command line does; reasons of refusals by name."""
    messages = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    answer = stage.call(SetParameters, f"/{node}/set_parameters", SetParameters.Request(parameters=messages))
    return {name: result.reason for name, result in zip(values, answer.results, strict=True) if not result.successful}


@pytest.mark.parametrize("node", KINDS)
def test_a_dump_brings_another_node_to_the_same_values(stage: Any, tmp_path: Path, node: str) -> None:
    first = stage.add(KINDS[node]())
    assert load(stage, node, CHANGED[node]) == {}
    before = dump(stage, node)
    assert {name: before[name] for name in CHANGED[node]} == CHANGED[node]
    file = tmp_path / "dump.yaml"
    file.write_text(yaml.safe_dump({f"/{node}": {"ros__parameters": before}}))
    again = yaml.safe_load(file.read_text())[f"/{node}"]["ros__parameters"]
    assert load(stage, node, again) == {}
    assert dump(stage, node) == before
    elsewhere = {setting.name: wrong(setting) for setting in TABLES[node] if setting.read_only}
    refused = load(stage, node, {**again, **elsewhere})
    assert set(refused) == set(elsewhere)
    assert all("read-only" in reason for reason in refused.values())
    assert dump(stage, node) == before
    first.close()
    stage.remove(first)
    stage.add(KINDS[node](cli_args=["--ros-args", "--params-file", str(file)]))
    assert dump(stage, node) == before


def test_every_refusal_says_why(stage: Any) -> None:
    stage.add(PolicyNode())
    for setting in POLICY_SETTINGS:
        answer = stage.set_parameter("policy", setting.name, wrong(setting))
        assert not answer.successful, setting.name
        assert answer.reason, setting.name
        assert "\n" not in answer.reason, setting.name


def wrong(setting: Setting) -> Any:
    """A value that the setting can't take."""
    if setting.read_only:
        return "elsewhere"
    if setting.kind in ("int", "float"):
        high = (setting.high or 0.0) + 1.0
        return float(high) if setting.kind == "float" else -1 if setting.choices else int(high)
    return "nonsense" if setting.choices else 3


def test_every_number_has_a_slider(stage: Any) -> None:
    """A range, and for float numbers no step: rqt_reconfigure draws a slider then."""
    node = Node("sliders")
    Parameters(node, POLICY_SETTINGS, default_settings("policy"))
    for setting in POLICY_SETTINGS:
        descriptor = node.describe_parameter(setting.name)
        if setting.kind == "int" and not setting.choices:
            assert descriptor.integer_range[0].to_value == setting.high
        if setting.kind == "float":
            bounds = descriptor.floating_point_range[0]
            assert (bounds.from_value, bounds.to_value, bounds.step) == (setting.low, setting.high, 0.0)
    node.destroy_node()


@pytest.mark.parametrize(("given", "pair"), [({"k1": 6}, (6, 3)), ({"k2": 1}, (2, 1))])
def test_a_file_may_give_one_of_a_pair(
    stage: Any, checkpoint: Path, tmp_path: Path, given: dict[str, int], pair: tuple[int, int]
) -> None:
    """The other keeps its default, on whichever side of it the given one lies."""
    content = {**default_settings("policy"), "k1": 2, "k2": 3, "row_budget": 0, "taper_rows": 0}
    content["checkpoint"] = str(checkpoint)
    files = []
    for name, values in (("defaults", content), ("given", given)):
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump({"policy": {"ros__parameters": values}}))
    arguments = [part for file in files for part in ("--params-file", str(file))]
    node = stage.add(PolicyNode(cli_args=["--ros-args", *arguments]))
    assert (node.get_parameter("k1").value, node.get_parameter("k2").value) == pair
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert stage.call(ChangeState, "/policy/change_state", request).success
