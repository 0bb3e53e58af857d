"""What nobody takes is named with the nearest valid name, and refused where the arm's safety hangs on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vla_entropy_ros.nodes.common.given import closest
from vla_entropy_ros.settings import all_default_settings

from .arguments import judged, written

REFUSED = {
    "command: {ros__parameters: {max_sped: 0.1}}": "section command: there is no parameter max_sped, the nearest is "
    "limits.max_speed; write that, or take max_sped out",
    "command: {ros__parameters: {max_speed: 0.1}}": "no parameter max_speed, the nearest is limits.max_speed;",
    "command: {ros__parameters: {workspace_z_low: 0.1}}": "no parameter workspace_z_low, the nearest is workspace.z",
    "command: {ros__parameters: {z_low: 0.1}}": "no parameter z_low, the nearest is workspace.z.low",
    "command: {ros__parameters: {limits: 0.1}}": "no parameter limits, the nearest is limits.",
    "command: {ros__parameters: {dryrun: true}}": "no parameter dryrun, the nearest is dry_run",
    "command: {ros__parameters: {dry_run: {a: 1}}}": "no parameter dry_run.a, the nearest is dry_run",
    "/**: {ros__parameters: {action_scal: 0.1}}": "no parameter action_scal, the nearest is action_scale",
    "policy: {ros__parameters: {limits: {max_speed: 0.1}}}": "",
    "comand: {ros__parameters: {limits: {max_speed: 0.1}}}": "section comand is not for /left/command, the nearest is "
    "command: its limits.max_speed would be lost; write command (in any namespace) or /left/command",
    "command_node: {ros__parameters: {dry_run: true}}": "section command_node is not for /left/command",
    "Command: {ros__parameters: {enabled: false}}": "section Command is not for /left/command",
    "/command: {ros__parameters: {dry_run: true}}": "section /command is not for /left/command",
    "/*/*/command: {ros__parameters: {max_sped: 1}}": "section /*/*/command is not for /left/command",
    "command: {ros__parameters: {rate: 30}}\ncomand: {ros__parameters: {dry_run: true}}": "section comand is not",
    "/left/command: {ros__parameters: {rate: 30}}\n/left/comand: {ros__parameters: {dry_run: true}}": "/left/comand is",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_guards_the_arm_and_does_not_arrive_is_refused(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    verdict = judged("command", "-r", "__ns:=/left", "--params-file", file)
    if not REFUSED[text]:  # the policy speaks of what stands in its own section
        assert verdict.refusals == []
        verdict = judged("policy", "--params-file", file)
        assert verdict.refusals == [
            f"{file}, section policy: limits.max_speed is a parameter of command, not of policy; move it to section "
            "command"
        ]
        return
    (refusal,) = verdict.refusals
    assert refusal.startswith(file)
    assert REFUSED[text] in refusal


@pytest.mark.parametrize(
    "text",
    [
        "policy: {ros__parameters: {chekpoint: x}}",
        "polcy: {ros__parameters: {checkpoint: x}}",
        "/policy: {ros__parameters: {checkpoint: x}}",
        "/**: {ros__parameters: {chekpoint: x}}",
        "policy: {ros__parameters: {max_age: 0.1, observation_max_age: 1}}",
    ],
)
def test_a_lost_checkpoint_is_refused_by_the_policy_alone(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    assert len(judged("policy", "-r", "__ns:=/left", "--params-file", file).refusals) == 1
    for other in ("command", "simulator"):
        verdict = judged(other, "-r", "__ns:=/left", "--params-file", file)
        assert (verdict.refusals, verdict.warnings) == ([], [])


WARNED = {
    "policy: {ros__parameters: {camera_slop: {a: 1}}}": "section policy: there is no parameter camera_slop.a, the "
    "nearest is observation.slop: it has no effect",
    "policy: {ros__parameters: {k_1: 3}}": "there is no parameter k_1, the nearest is k1: it has no effect",
    "policy: {ros__parameters: {rate: 3}}": "rate is a parameter of command, not of policy; move it to section command",
    "polcy: {ros__parameters: {k1: 3}}": "section polcy is not for /left/policy, the nearest is policy: it has",
    "/policy: {ros__parameters: {k1: 3}}": "section /policy is not for /left/policy, the nearest is policy: it has no",
    "/camera: {ros__parameters: {fps: 3}}": "has nothing for /left/policy: its sections are /camera; expected is a "
    "section policy or /**",
}


@pytest.mark.parametrize("text", WARNED)
def test_what_nobody_takes_is_named(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    verdict = judged("policy", "-r", "__ns:=/left", "--params-file", file)
    assert verdict.refusals == []
    (warning,) = verdict.warnings
    assert warning.startswith(file)
    assert WARNED[text] in warning


def test_what_is_meant_for_others_is_no_fault(tmp_path: Path) -> None:
    text = """
/**: {ros__parameters: {k1: 3, rate: 30.0, seed: 3, use_sim_time: false, qos_overrides: {/clock: {depth: 1}}}}
policy: {ros__parameters: {checkpoint: x}}
/left/command: {ros__parameters: {dry_run: true}}
/right/command: {ros__parameters: {dry_run: true}}
/camera: {ros__parameters: {enabled: true}}
/camera/**: {ros__parameters: {enabled: true}}
"""
    verdict = judged("command", "-r", "__ns:=/left", "--params-file", written(tmp_path, text))
    assert (verdict.refusals, verdict.warnings) == ([], [])
    arms = "arm1: {ros__parameters: {dry_run: true}}\narm2: {ros__parameters: {dry_run: true}}"
    verdict = judged("command", "-r", "__node:=arm1", "--params-file", written(tmp_path, arms))
    assert (verdict.refusals, verdict.warnings) == ([], [])
    assert verdict.facts[0].endswith("section arm1: dry_run; not for this node: arm2")


def test_the_command_line_and_the_making_program_are_judged_too() -> None:
    assert judged("command", "-p", "max_sped:=0.1").refusals == [
        "the command line: there is no parameter max_sped, the nearest is limits.max_speed; write that, or take "
        "max_sped out"
    ]
    verdict = judged("command", "-p", "fps:=3", "-p", "camera:gain:=3")
    assert verdict.refusals == []
    assert len(verdict.warnings) == 2
    assert "the nearest is" in verdict.warnings[0]
    assert "gain: is for another node than /command" in verdict.warnings[1]
    assert judged("policy", overrides=("chekpoint",)).refusals


NEIGHBOURS = {
    "/left/arm1: {ros__parameters: {limits.max_speed: 0.1, dry_run: true}}": "/left/arm1",
    "left: {arm1: {ros__parameters: {limits: {max_speed: 0.1}, rate: 30.0, use_sim_time: true}}}": "left/arm1",
    "arm1: {ros__parameters: {dryrun: true}}": "arm1",
    "/*/arm1: {ros__parameters: {enabled: true, action_scale: 0.1}}": "/*/arm1",
    "/**: {ros__parameters: {rate: 30.0}}\n/left/arm1: {ros__parameters: {dry_run: true}}": "/left/arm1",
    "policy: {ros__parameters: {k1: 3}}\n/left/arm1: {ros__parameters: {dry_run: true}}": "/left/arm1",
}


@pytest.mark.parametrize("text", NEIGHBOURS)
def test_a_section_for_a_name_that_the_node_was_not_given_is_refused(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    (refusal,) = judged("command", "-r", "__ns:=/left", "--params-file", file).refusals
    assert refusal.startswith(f"{file}: section {NEIGHBOURS[text]} is not for /left/command: its ")
    assert refusal.endswith(
        " would be lost; start the node as arm1 (-r __node:=arm1), or write command (in any namespace) or /left/command"
    )
    verdict = judged("command", "-r", "__ns:=/left", "-r", "__node:=arm1", "--params-file", file)
    assert [line for line in verdict.refusals if "would be lost" in line] == []
    assert judged("policy", "-r", "__ns:=/left", "--params-file", file).refusals == []


def test_a_checkpoint_for_a_name_that_the_policy_was_not_given_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "/left/vla: {ros__parameters: {checkpoint: /7b, device: cuda}}")
    (refusal,) = judged("policy", "-r", "__ns:=/left", "--params-file", file).refusals
    assert "section /left/vla is not for /left/policy: its checkpoint would be lost; start the node as vla" in refusal


@pytest.mark.parametrize(
    "text",
    [
        "/right/arm1: {ros__parameters: {dry_run: true}}",  # of another namespace
        "/left/arm1: {ros__parameters: {dry_run: true, fps: 3}}",  # of another kind
        "/left/camera: {ros__parameters: {enabled: true}}",
        "/left/arm1: {ros__parameters: {dry_run: true}}\ncommand: {ros__parameters: {rate: 30.0}}",
    ],
)
def test_a_section_of_a_neighbour_that_may_be_another_node_is_let_be(tmp_path: Path, text: str) -> None:
    verdict = judged("command", "-r", "__ns:=/left", "--params-file", written(tmp_path, text))
    assert verdict.refusals == []


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        ("policy", "polcy:checkpoint"),
        ("command", "comand:dry_run"),
        ("command", "comand:enabled"),
        ("command", "polcy:dry_run"),
        ("command", "policy:dry_run"),
    ],
)
def test_a_value_typed_for_a_node_that_is_not_there_is_refused_if_it_guards_the_arm(kind: str, typed: str) -> None:
    name = typed.partition(":")[2]
    assert judged(kind, "-p", f"{typed}:=true").refusals == [
        f"-p {typed}: is for another node than /{kind}, and {name} would be lost; write -p {name}:=..., or take it out"
    ]


def test_a_value_typed_for_a_misspelt_node_that_is_not_this_kinds_is_refused_too() -> None:
    assert judged("policy", "-p", "polcy:dry_run:=true").refusals == [
        "-p polcy:dry_run: is for another node than /policy, and dry_run is a parameter of command; give it to that "
        "node, or take it out"
    ]
    (refusal,) = judged("command", "-p", "arm1:max_sped:=1.0").refusals
    assert refusal.endswith("max_sped would be lost; write -p limits.max_speed:=..., or take it out")


@pytest.mark.parametrize(("kind", "typed"), [("policy", "command:dry_run"), ("command", "camera:enabled")])
def test_a_value_typed_for_others_is_named(kind: str, typed: str) -> None:
    verdict = judged(kind, "-p", f"{typed}:=true")
    assert verdict.refusals == []
    assert verdict.warnings == [f"-p {typed}: is for another node than /{kind}: it has no effect"]


@pytest.mark.parametrize("kind", all_default_settings())
def test_what_every_node_of_ros_takes_is_a_valid_name_too(tmp_path: Path, kind: str) -> None:
    verdict = judged(kind, "-p", "use_sim_tim:=true", "-p", "use_sim_time:=true")
    assert verdict.refusals == []
    assert verdict.warnings == [
        "the command line: there is no parameter use_sim_tim, the nearest is use_sim_time: it has no effect"
    ]
    file = written(tmp_path, "/**: {ros__parameters: {use_sim_tim: true}}")
    (warning,) = judged(kind, "--params-file", file).warnings
    assert "there is no parameter use_sim_tim, the nearest is use_sim_time: it has no effect" in warning


def test_the_nearest_name_may_lack_its_group() -> None:
    names = list(all_default_settings()["command"])
    pairs = {"max_joint_sped": "limits.max_joint_speed", "xlow": "workspace.x.low", "speed": "limits.max_speed",
             "stale_aftr": "chunk.stale_after", "lead_trans": "limits.lead_translation", "Rate": "rate"}  # fmt: skip
    assert {written: closest(written, names)[0] for written in pairs} == pairs
