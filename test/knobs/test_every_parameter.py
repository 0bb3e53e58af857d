"""No parameter does nothing: each is in a test that shows what it changes."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tools.reference import TABLES

from .test_command import OTHER
from .test_tunables import CASES

ROOT = Path(__file__).parents[2]
LOADED = "nodes/test_knobs.py::test_what_a_policy_is_loaded_with"
FRAMES = "nodes/test_knobs.py::test_frame_and_reliability_are_those_of_the_start"
SIMULATED = "nodes/test_knobs.py::test_frames_and_size_of_the_simulator_are_those_of_the_start"
CAMERAS = "nodes/test_inference.py::test_several_cameras_make_one_observation_of_the_age_of_its_oldest_image"
STATE = "nodes/test_robot_state.py::test_two_publishers_may_own_different_joints_and_the_pose_is_in_fixed_axes"
GOALS = "nodes/test_goal_server.py::test_"
CHECKED = "nodes/test_self_check.py::test_"
REALTIME = "nodes/test_realtime.py::test_"
EPISODE = "nodes/test_simulator_node.py::test_a_task_service_begins_its_episode_and_the_seed_decides_it"

# Parameters with a table of cases of their own, and every other one by the test that shows its effect.
TABLED = {"policy": set(CASES), "command": set(OTHER), "simulator": set()}
SHOWN: dict[str, dict[str, str]] = {
    "policy": {
        **dict.fromkeys(("checkpoint", "device", "dtype", "quantisation", "unnorm_key", "preprocess"), LOADED),
        "allow_download": "nodes/test_knobs.py::test_a_download_is_a_matter_of_the_start",
        "control_period": "nodes/test_policy_node.py::test_a_changed_parameter_shows_in_the_next_tick",
        "action_frame": FRAMES,
        "default_instruction": "nodes/test_inference.py::test_the_default_instruction_serves_until_another_comes",
        "observation.max_age": "nodes/test_policy_faults.py::test_an_old_image_gives_a_warning",
        "observation.reliability": FRAMES,
        "observation.slop": CAMERAS,
        "state.names": STATE,
        "max_action_entropy": "nodes/test_policy_faults.py::test_an_uncertain_policy_orders_a_stop",
        "goal.preempt": GOALS + "a_second_goal_is_refused_or_takes_the_place_of_the_first",
        "goal.patience": GOALS + "how_long_an_arm_may_be_held_is_a_parameter",
        "self_check.every": CHECKED + "the_first_checks_arrive_on_topics_and_the_diagnostic_tells_them",
        "self_check.translation": CHECKED + "a_planted_fault_leads_to_mode_full_until_somebody_sets_another",
        "self_check.rotation": CHECKED + "a_turn_is_judged_by_a_bound_of_its_own",
        "realtime.cores": REALTIME + "the_inference_thread_alone_is_bound",
        "realtime.priority": REALTIME + "priority_and_memory_are_asked_for_on_the_inference_thread",
        "realtime.lock_memory": REALTIME + "priority_and_memory_are_asked_for_on_the_inference_thread",
        "warn.silence": "nodes/test_knobs.py::test_how_long_a_silence_is_reported",
        "warn.loss": "nodes/test_policy_faults.py::test_lost_images_are_counted_and_the_profile_is_named",
        "warn.tick": "nodes/test_policy_faults.py::test_what_counts_as_slow_is_a_parameter",
    },
    "command": {
        "command_type": "knobs/test_command.py::test_the_command_types_send_different_things",
        "dry_run": "nodes/test_command_safety.py::test_a_dry_run_that_begins_in_motion_leaves_the_arm_at_rest",
        "enabled": "nodes/test_command_safety.py::test_after_a_signal_the_last_thing_on_the_wire_is_the_hold",
        "gripper.open": "nodes/test_command_outputs.py::test_the_gripper_speaks_its_own_unit",
        "gripper.closed": "nodes/test_command_outputs.py::test_the_gripper_speaks_its_own_unit",
        "warn.clipped": "control/test_saturation.py::test_from_which_share_on_it_is_reported_is_a_parameter",
        "pose_timeout": "nodes/test_command_node.py::test_without_a_good_pose_nothing_is_sent",
    },
    "simulator": {
        "task": EPISODE,
        "seed": EPISODE,
        "camera.rate": "nodes/test_knobs.py::test_the_simulators_camera_keeps_its_rate",
        "camera.size": SIMULATED,
        "action_frame": SIMULATED,
        "camera.frame": SIMULATED,
    },
}
WORDS = {  # that the test has in place of the parameter's name
    "observation.slop": "camera_slop",
    "pose_timeout": "current_pose is 30.",
    "command_type": "sent_freely(command_type)",
}
ALL = [(node, setting.name) for node, settings in TABLES.items() for setting in settings]


@cache
def functions(file: str) -> dict[str, str]:
    """Source of the functions of a test file by name, decorators included."""
    text = (ROOT / "test" / file).read_text(encoding="utf-8")
    found = {}
    for item in ast.parse(text).body:
        if isinstance(item, ast.FunctionDef):
            first = min([item.lineno, *(decorator.lineno for decorator in item.decorator_list)])
            found[item.name] = "\n".join(text.splitlines()[first - 1 : item.end_lineno])
    return found


@pytest.mark.parametrize(("node", "name"), ALL)
def test_a_test_shows_what_it_changes(node: str, name: str) -> None:
    if name in TABLED[node]:
        return
    file, _, function = SHOWN[node][name].partition("::")
    source = functions(file)[function]
    assert WORDS.get(name, f'"{name}"') in source or f"{name}=" in source


def test_no_test_is_named_for_a_parameter_that_is_gone() -> None:
    for node, settings in TABLES.items():
        assert TABLED[node] | set(SHOWN[node]) <= {setting.name for setting in settings}
        assert not TABLED[node] & set(SHOWN[node])
