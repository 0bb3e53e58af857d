"""What is given at start-up arrives in any namespace and under any name; a file that can't be read is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from vla_entropy_ros.nodes.command.node import CommandNode
from vla_entropy_ros.nodes.common.arguments import full_name, unread, without_parameters
from vla_entropy_ros.nodes.common.parameter_files import read
from vla_entropy_ros.nodes.common.process import StartError
from vla_entropy_ros.nodes.policy.node import PolicyNode
from vla_entropy_ros.settings import SettingError

from .arguments import judged, ros, written

NODES: dict[str, type[Any]] = {"policy": PolicyNode, "command": CommandNode}
VALUES = {
    "command": ("{limits: {max_speed: 0.1}, workspace.z.low: 1e-1, dry_run: true}", {
        "limits.max_speed": 0.1, "workspace.z.low": 0.1, "dry_run": True,
    }),
    "policy": ("{checkpoint: /models/7b, device: cuda, unnorm_key: bridge, observation: {slop: 1}}", {
        "checkpoint": "/models/7b", "device": "cuda", "unnorm_key": "bridge", "observation.slop": 1.0,
    }),
}  # fmt: skip
PLACES = {
    "/": [],
    "/left": ["-r", "__ns:=/left"],
    "/a/b": ["-r", "__ns:=/a/b"],
    "/left/arm1": ["-r", "__ns:=/left", "-r", "__node:=arm1"],
    "/arm1": ["--remap", "{kind}:__name:=arm1"],
}


def values_of(node: Any, names: Any) -> dict[str, Any]:
    values = {name: node.get_parameter(name).value for name in names}
    if hasattr(node, "close"):
        node.close()
    node.destroy_node()
    return values


@pytest.mark.parametrize("kind", NODES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("key", ["{kind}", "/**", "/**/{name}", "{full}", "'*'"])
def test_a_file_reaches_the_node_in_any_namespace_and_under_any_name(
    tmp_path: Path, kind: str, place: str, key: str
) -> None:
    remapped = [part.format(kind=kind) for part in PLACES[place]]
    name = "arm1" if place.endswith("arm1") else kind
    full = place if name == "arm1" else f"{place.rstrip('/')}/{kind}"
    if key == "'*'" and place not in ("/", "/arm1"):
        key = "/" + "*/" * place.count("/") + ("*" if name == kind else "")
    text, wanted = VALUES[kind]
    file = written(tmp_path, f"{key.format(kind=kind, name=name, full=full).rstrip('/')}: {{ros__parameters: {text}}}")
    node = NODES[kind](cli_args=ros(*remapped, "--params-file", file))
    assert node.get_fully_qualified_name() == full
    assert values_of(node, wanted) == wanted


def test_the_nodes_real_name_is_a_section_too(tmp_path: Path) -> None:
    file = written(tmp_path, "command: {ros__parameters: {rate: 30.0}}\narm1: {ros__parameters: {rate: 40.0}}")
    node = CommandNode(cli_args=ros("-r", "__ns:=/a/b", "-r", "__node:=arm1", "--params-file", file))
    assert values_of(node, ["rate"]) == {"rate": 40.0}


@pytest.mark.parametrize("namespace", [None, "left", "/a/b"])
def test_a_namespace_given_by_the_program_counts(tmp_path: Path, namespace: str | None) -> None:
    file = written(tmp_path, "command: {ros__parameters: {dry_run: true}}")
    node = CommandNode(cli_args=ros("--params-file", file), namespace=namespace)
    assert values_of(node, ["dry_run"]) == {"dry_run": True}


def test_what_is_given_last_counts_whatever_it_is_called(tmp_path: Path) -> None:
    """As people mean it: rcl alone lets the section that was named last win, wherever its values came from."""
    first = written(tmp_path, "command: {ros__parameters: {rate: 21.0, action_scale: 0.1, dry_run: true}}", "1.yaml")
    launch = written(tmp_path, "/left/command: {ros__parameters: {rate: 22.0, action_scale: 0.2}}", "2.yaml")
    last = written(tmp_path, "command: {ros__parameters: {rate: 23.0}}", "3.yaml")
    files = [part for file in (first, launch, last) for part in ("--params-file", file)]
    names = ["rate", "action_scale", "dry_run"]
    ns = ("-r", "__ns:=/left")
    node = CommandNode(cli_args=ros(*ns, *files, "-p", "action_scale:=0.3", "-p", "command:dry_run:=false"))
    assert values_of(node, names) == {"rate": 23.0, "action_scale": 0.3, "dry_run": False}
    node = CommandNode(cli_args=ros(*ns, "-p", "action_scale:=0.3", *files))
    assert values_of(node, names) == {"rate": 23.0, "action_scale": 0.2, "dry_run": True}


def test_simulated_time_in_a_section_reaches_the_clock(tmp_path: Path) -> None:
    file = written(tmp_path, "command: {ros__parameters: {use_sim_time: true}}")
    node = CommandNode(cli_args=ros("-r", "__ns:=/left", "--params-file", file))
    assert values_of(node, ["use_sim_time"]) == {"use_sim_time": True}


def test_rclpys_own_parameters_are_refused_with_what_is_valid(tmp_path: Path) -> None:
    file = written(tmp_path, "command: {ros__parameters: {use_sim_time: -1}}")
    with pytest.raises(StartError, match=r"'use_sim_time' to '-1' .* valid are true and false"):
        CommandNode(cli_args=ros("--params-file", file))


def test_anchors_quotes_and_several_documents_are_read(tmp_path: Path) -> None:
    text = "policy:\n  ros__parameters: {static: {similarity: &a 0.5}, scene_cut: *a}\n---\n"
    file = written(tmp_path, text + "left: {policy: {ros__parameters: {drafts: 'off', device: \"cuda:1\"}}}\n")
    node = PolicyNode(cli_args=ros("-r", "__ns:=/left", "--params-file", file))
    wanted = {"static.similarity": 0.5, "scene_cut": 0.5, "drafts": "off", "device": "cuda:1"}
    assert values_of(node, wanted) == wanted


def test_no_file_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "command: {ros__parameters: {dry_run: true}}")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    values_of(CommandNode(cli_args=ros("--params-file", file)), [])
    with pytest.raises(SettingError):
        CommandNode(cli_args=ros("--params-file", file, "-p", "rate:=1e9"))
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("kind", [*NODES, "simulator"])
@pytest.mark.parametrize("file", ["policy", "paper"])
@pytest.mark.parametrize("namespace", ["/", "/a/b"])
def test_the_shipped_files_are_taken_everywhere_without_a_word(kind: str, file: str, namespace: str) -> None:
    path = str(Path(__file__).parents[2] / "config" / f"{file}.yaml")
    verdict = judged(kind, "-r", f"__ns:={namespace}", "--params-file", path)
    assert (verdict.refusals, verdict.warnings) == ([], [])
    (said,) = verdict.facts
    applies = file == "policy" or kind == "policy"
    assert said.startswith(f"parameters from {path}: " + (f"section {kind}: " if applies else "none"))


def test_the_log_says_which_files_sections_and_names_apply(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "/**: {ros__parameters: {action_frame: arm}}\ncommand: {ros__parameters: {dry_run: true, rate: 30}}\n"
    file = written(tmp_path, f"{text}/camera/driver: {{ros__parameters: {{fps: 3}}}}")
    arguments = ros("-r", "__ns:=/left", "--params-file", file, "-p", "enabled:=false")
    values_of(CommandNode(cli_args=arguments), [])
    said = capfd.readouterr().err
    assert (
        f"parameters from {file}: section /**: action_frame; section command: dry_run, rate; "
        "not for this node: /camera/driver\n"
    ) in said
    assert "parameters from the command line: enabled\n" in said
    assert "WARN" not in said
    values_of(CommandNode(), [])
    assert "no parameters are given: all have the defaults of config/policy.yaml" in capfd.readouterr().err


BROKEN = {
    "": "has no section with ros__parameters; expected is <node>: {ros__parameters: {<parameter>: <value>}}",
    "just text": "its content has no ros__parameters",
    "a: [": "is not YAML: ",
    "command: {dry_run: true}": "command/dry_run has no ros__parameters",
    "command: {ros_parameters: {dry_run: true}}": "command/ros_parameters/dry_run has no ros__parameters",
    "ros__parameters: {dry_run: true}": "ros__parameters lies under no node's name",
    "command: {ros__parameters: 3}": "section command: ros__parameters is no group of parameters",
    "command: {ros__parameters: {dry_run: }}": "section command: dry_run has no value; give one",
    "command: {ros__parameters: &a {x: *a}}": "contains itself",
    "command: {ros__parameters: {dry_run: true, dry_run: false}}": "dry_run is given twice, the second time in line 1",
    "command:\n  ros__parameters:\n    limits: {max_speed: 0.1}\n    limits.max_speed: 5.0\n": (
        "limits.max_speed is given twice, the second time in line 4; keep one"
    ),
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_can_not_be_read_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(StartError) as refusal:
        read(file)
    said = str(refusal.value)
    assert said.startswith(f"parameter file {file}")
    assert BROKEN[text] in said
    assert "\n" not in said


def test_a_file_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "nope.yaml", tmp_path):
        with pytest.raises(StartError, match=rf"parameter file {path} can't be read: .*; check the path"):
            CommandNode(cli_args=ros("--params-file", str(path)))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StartError, match="it is not text"):
        read(str(tmp_path / "binary.yaml"))


def test_what_can_be_no_parameter_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name in ("pipe", "endless", "long"):
        (tmp_path / name).touch()
    (tmp_path / "pipe").unlink()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").unlink()
    (tmp_path / "endless").symlink_to("/dev/zero")
    os.truncate(tmp_path / "long", 2**33)
    for name, why in (
        ("pipe", "no plain file"),
        ("endless", "no plain file"),
        ("long", "8589934592 bytes long, at most"),
    ):
        with pytest.raises(StartError, match=rf"parameter file {tmp_path / name} can't be read: it is {why}"):
            read(str(tmp_path / name))


@pytest.mark.parametrize("text", ["[*{0}, *{0}, *{0}, *{0}]", "{{p: *{0}, q: *{0}, r: *{0}, s: *{0}}}"])
def test_aliases_that_would_fill_the_memory_are_refused_at_once(tmp_path: Path, text: str) -> None:
    lines = [f"  x{level}: &a{level} {text.format(f'a{level - 1}')}\n" for level in range(1, 30)]
    file = written(tmp_path, f"command:\n ros__parameters:\n  x0: &a0 [1]\n{''.join(lines)}")
    with pytest.raises(StartError, match="holds more than 10000 values, aliases written out"):
        read(file)


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="nested too deeply"):
        read(written(tmp_path, "command: {ros__parameters: {x: " + "[" * 5000 + "]" * 5000 + "}}"))


def test_what_rcl_refuses_is_told_with_the_name_of_the_users_file(tmp_path: Path) -> None:
    file = written(tmp_path, "command: {ros__parameters: {gripper: {open: [1, a]}}}")
    with pytest.raises(StartError, match=file):
        CommandNode(cli_args=ros("--params-file", file))


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ([], "/command"),
        (["__ns:=/left", "__node:=arm1"], "/left/arm1"),
        (["__name:=arm1", "__name:=arm2"], "/arm1"),
        (["other:__name:=arm1", "__name:=arm2"], "/arm2"),
        (["command:__node:=arm1", "arm1:__ns:=/q"], "/q/arm1"),
        (["__node:=arm1", "command:__ns:=/q"], "/arm1"),
        (["image:=/camera/image", "__ns:=/a/b/c"], "/a/b/c/command"),
    ],
)
def test_the_node_is_called_as_rcl_calls_it(rules: list[str], name: str) -> None:
    arguments = ros(*(part for rule in rules for part in ("-r", rule)))
    assert full_name("command", None, arguments) == name
    node = CommandNode(cli_args=arguments)
    assert node.get_fully_qualified_name() == name
    values_of(node, [])


def test_a_process_keeps_all_arguments_but_those_about_parameters() -> None:
    words = ["node", "-p", "mine", "--ros-args", "-r", "a:=b", "-p", "x:=1", "--params-file", "f",
             "--log-level", "info", "--", "-p", "mine"]  # fmt: skip
    kept = ["node", "-p", "mine", "--ros-args", "-r", "a:=b", "--log-level", "info", "--", "-p", "mine"]
    assert without_parameters(words) == kept


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        (["node", "--params-file", "mine.yaml"], "--params-file"),
        (["node", "--params-file=mine.yaml", "--ros-args"], "--params-file=mine.yaml"),
        (["node", "-p", "dry_run:=true"], "-p"),
        (["node", "dry_run:=true"], "dry_run:=true"),
        (["node", "--ros-args", "-r", "a:=b", "--", "-p", "dry_run:=true"], "-p"),
        (["node", "--ros-args", "-r", "a:=b", "-p", "dry_run:=true", "--"], None),
        (["/opt/node", "--verbose"], None),
    ],
)
def test_what_nobody_would_read_is_found(words: list[str], lost: str | None) -> None:
    assert unread(words) == lost


def test_an_executable_refuses_what_it_would_not_read() -> None:
    script = str(Path(__file__).parents[2] / "scripts" / "command_node")
    command = [sys.executable, script, "--params-file", "mine.yaml"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert "nobody reads --params-file where it stands: write it after --ros-args" in run.stderr


@pytest.mark.parametrize("place", ["/left", "/left/arm1"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{max_sped: 0.1}", "there is no parameter max_sped, the nearest is limits.max_speed; write that, or take "),
        ("{action_scale: 3}", "action_scale: 3.0 is out of range; valid are 0 to 2"),  # it has arrived
    ],
)
def test_an_executable_takes_a_file_in_a_namespace_and_refuses_in_one_line(
    tmp_path: Path, place: str, text: str, said: str
) -> None:
    script = str(Path(__file__).parents[2] / "scripts" / "command_node")
    file = written(tmp_path, f"command: {{ros__parameters: {text}}}")
    command = [sys.executable, script, *ros(*PLACES[place], "--params-file", file)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1, run.stderr
    assert said in run.stderr
