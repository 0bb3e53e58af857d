"""The launch files start the executables that exist, with parameters that exist, and bring the policy up."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vla_entropy_ros.engine.tunables import MODES, QUANTISATIONS

from .described import FILES, FLAGS, ROOT, demo_actions, load, node, of, parameters, policy_actions
from .standins import standins


@pytest.mark.parametrize("file", FILES)
def test_every_argument_has_a_default_and_a_description(file: str) -> None:
    with standins(str(ROOT)):
        (description,) = load(file).generate_launch_description().args
    arguments = of(description, "DeclareLaunchArgument")
    assert len(arguments) >= 6
    for argument in arguments:
        assert isinstance(argument.options["default_value"], str)
        assert len(argument.options["description"]) > 10


def test_unset_arguments_leave_the_parameter_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = policy_actions(monkeypatch)
    policy = node(actions, "policy")
    assert policy.options["parameters"][0] == str(ROOT / "config" / "policy.yaml")
    assert parameters(policy) == parameters(node(actions, "command")) == {}


def test_given_arguments_reach_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = policy_actions(
        monkeypatch, checkpoint="7b", instruction="pick up the red cube", image="/cam/rgb", image_2="/wrist",
        action_frame="arm", enabled="True", namespace="left", command_type="twist_stamped", action_scale="0.5",
        dry_run="true", k1="3", k2="5", T="7", use_sim_time="true",
    )  # fmt: skip
    policy, command = node(actions, "policy"), node(actions, "command")
    wanted: dict[str, Any] = {"checkpoint": "7b", "default_instruction": "pick up the red cube", "action_frame": "arm"}
    wanted |= {"k1": 3, "k2": 5, "T": 7}
    assert parameters(policy) == {"use_sim_time": True, **wanted}
    assert parameters(command) == {
        "use_sim_time": True, "enabled": True, "action_frame": "arm", "command_type": "twist_stamped",
        "action_scale": 0.5, "dry_run": True,
    }  # fmt: skip
    assert ("image/compressed", "/cam/rgb/compressed") in policy.options["remappings"]
    assert ("image_2", "/wrist") in policy.options["remappings"]
    assert ("image_8/compressed", "image_8/compressed") in policy.options["remappings"]
    assert {policy.options["namespace"], command.options["namespace"]} == {"left"}


def test_every_camera_of_the_largest_checkpoint_has_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    from vla_entropy_ros.engine.families.openvla_config import MAX_CAMERAS
    from vla_entropy_ros.nodes.policy.camera import topics

    heard = [name + kind for name in topics(MAX_CAMERAS) for kind in ("", "/compressed")]
    assert [name for name, _ in node(policy_actions(monkeypatch), "policy").options["remappings"]] == heard


def test_every_node_has_keys_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, enclave in (({}, "/robot"), ({"enclave": "/left_arm"}, "/left_arm")):
        actions = policy_actions(monkeypatch, **arguments)
        for name in ("policy", "command"):
            assert node(actions, name).options["ros_arguments"] == ["--enclave", f"{enclave}/{name}"]


def test_an_argument_that_can_not_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="enabled:=yes: valid are true, false"):
        policy_actions(monkeypatch, enabled="yes")
    with pytest.raises(RuntimeError, match="action_scale:=much: valid are numbers"):
        policy_actions(monkeypatch, action_scale="much")
    for name in ("k1", "k2", "T"):
        with pytest.raises(RuntimeError, match=f"{name}:=2.5: valid are whole numbers"):
            policy_actions(monkeypatch, **{name: "2.5"})


@pytest.mark.parametrize(
    ("file", "typed", "nearest"),
    [
        ("policy", "k_1:=3", "k1"),
        ("policy", "unnormkey:=x", "unnorm_key"),
        ("policy", "tsk:=pick_blue", ""),  # the demo's: none of these is near
        ("demo", "tsk:=pick_blue", "task"),
        ("demo", "comand_type:=chunk", "command_type"),
    ],
)
def test_an_argument_that_does_not_exist_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, file: str, typed: str, nearest: str
) -> None:
    name = typed.partition(":=")[0]
    with pytest.raises(RuntimeError) as refusal:
        check(monkeypatch, file, ["ros2", "launch", "vla_entropy_ros", f"{file}.launch.py"], ["mode:=full", typed])
    said = str(refusal.value)
    assert said.startswith(f"{typed}: there is no argument {name}, the nearest is ")
    assert "\n" not in said
    assert f"the nearest is {nearest}" in said
    assert "valid are params_file, " in said


def check(monkeypatch: pytest.MonkeyPatch, file: str, command: list[str], typed: list[str]) -> None:
    """Let a launch file look at the arguments that were typed behind `command`."""
    monkeypatch.setattr("sys.argv", [*command, *typed])
    with standins(str(ROOT)):
        (description,) = load(file).generate_launch_description().args
    first = description[0]  # before anything is started
    first.options["function"](SimpleNamespace(argv=typed), *first.options["args"])


@pytest.mark.parametrize("file", FILES)
def test_arguments_of_those_who_include_a_launch_file_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str
) -> None:
    other = tmp_path / f"{file}.launch.py"
    other.touch()
    for command in (
        ["ros2", "launch", "mine", "mine.launch.py"],
        ["ros2", "launch", "mine", f"{file}.launch.py"],
        ["ros2", "launch", str(other)],
        ["ros2", "launch", f"missing/{file}.launch.py"],
        ["python3", "-m", "pytest"],
    ):
        check(monkeypatch, file, command, ["speed:=3", f"instruction:={'word ' * 900}"])
    with pytest.raises(RuntimeError, match="no argument speed"):
        check(monkeypatch, file, ["ros2", "launch", str(ROOT / "launch" / f"{file}.launch.py")], ["speed:=3"])


@pytest.mark.parametrize(("name", "choices"), [("mode", MODES), ("quantisation", QUANTISATIONS)])
def test_an_argument_names_every_choice_of_its_parameter(name: str, choices: tuple[str, ...]) -> None:
    with standins(str(ROOT)):
        _, said = load("policy").ARGUMENTS[name]
    assert set(choices) <= set(re.findall(r"\w+", said))


def test_the_demo_takes_its_own_arguments_and_the_policys(monkeypatch: pytest.MonkeyPatch) -> None:
    with standins(str(ROOT)):
        names = [*load("demo").ARGUMENTS, *load("policy").ARGUMENTS]
    assert {"k1", "k2", "T", "task"} <= set(names)
    command = ["ros2", "launch", "-d", "vla_entropy_ros", "demo.launch.py"]
    for file in FILES:  # the policy's file is included and looks, too
        check(monkeypatch, file, command, [f"{name}:=1" for name in names])


def test_a_parameter_file_that_does_not_exist_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = "params_file:=/nope.yaml: there is no such file; the shipped one is .*/config/policy.yaml"
    with pytest.raises(RuntimeError, match=refusal):
        policy_actions(monkeypatch, params_file="/nope.yaml")
    with pytest.raises(RuntimeError, match=refusal):
        demo_actions(params_file="/nope.yaml")


def test_an_argument_that_looks_like_yaml_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = policy_actions(monkeypatch, instruction="yes", unnorm_key="1e3", action_frame="off")
    (given,) = (s for s in node(actions, "policy").options["parameters"] if "unnorm_key" in s)
    (frame,) = (s for s in node(actions, "command").options["parameters"] if "action_frame" in s)
    for value in (*given.values(), *frame.values()):
        assert value.options == {"value_type": str}


def test_executables_and_parameters_exist() -> None:
    from vla_entropy_ros.nodes.command.settings import COMMAND_SETTINGS
    from vla_entropy_ros.nodes.policy.settings import POLICY_SETTINGS
    from vla_entropy_ros.nodes.simulator.settings import SIMULATOR_SETTINGS

    text = "".join((ROOT / "launch" / f"{file}.launch.py").read_text() for file in FILES)
    for executable in re.findall(r'executable="(\w+)"', text):
        assert os.access(ROOT / "scripts" / executable, os.X_OK), executable
    known = {setting.name for setting in (*POLICY_SETTINGS, *COMMAND_SETTINGS, *SIMULATOR_SETTINGS)}
    with standins(str(ROOT)):
        given = {*load("policy").POLICY_PARAMETERS.values(), *load("policy").COUNTS}
        given |= set(load("policy")._command_parameters({**dict.fromkeys(load("policy").ARGUMENTS, "1"), **FLAGS}))
        demo = load("demo")
        given |= {*demo.EPISODE, *(parameter for parameter, _ in demo.DEMO.values())}
    assert given <= known


def test_the_demo_computes_on_one_thread_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for told in ("1", "3"):
        with standins(str(ROOT)):
            (description,) = load("demo").generate_launch_description().args
        (threads,) = of(description, "SetEnvironmentVariable")
        assert threads.args == ("OMP_NUM_THREADS", told)
        monkeypatch.setenv("OMP_NUM_THREADS", "3")


def test_large_image_profile_is_set_unless_the_user_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (profile,) = of(policy_actions(monkeypatch), "SetEnvironmentVariable")
    assert Path(profile.args[1]).samefile(ROOT / "config" / "fastdds.xml")
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "mine.xml")
    with standins(str(ROOT)):
        (description,) = load("policy").generate_launch_description().args
    assert of(description, "SetEnvironmentVariable")[0].args[1] == "mine.xml"
    tree = ElementTree.parse(ROOT / "config" / "fastdds.xml")
    sizes = [int(str(e.text)) for e in tree.iter() if e.tag.endswith("segment_size")]
    assert sizes == [32 * 1024 * 1024]


@pytest.mark.parametrize("file", sorted((ROOT / "launch").glob("*.py")), ids=lambda file: file.name)
def test_launch_files_know_only_ros(file: Path) -> None:
    tree = ast.parse(file.read_text())
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not any(str(module).startswith("vla_entropy_ros") for module in modules)


def test_real_launch_builds_the_description() -> None:
    """Only where ROS 2's launch is installed."""
    pytest.importorskip("launch_ros")
    description = load("policy").generate_launch_description()
    assert description.get_launch_arguments()
    context = importlib.import_module("launch").LaunchContext()
    for entity in description.entities:
        entity.visit(context)
