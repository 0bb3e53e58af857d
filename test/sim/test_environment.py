"""The tabletop is deterministic by seed, its expert solves it, and bad commands are refused."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_entropy_ros.control import ActionChunk, Commander, Limits, Pose
from vla_entropy_ros.sim import COLOURS, EVERY_TASK, TASKS, Environment, Goal, family_tasks
from vla_entropy_ros.sim.environment import CLEARANCE, LANE, PLATE_CLEARANCE, PLATE_RADIUS, SIDES, ZONE
from vla_entropy_ros.sim.expert import LEVELS, MAX_STEP, expert_action, speed

PERIOD = 0.1


@pytest.fixture(scope="module")
def env() -> Environment:
    return Environment(image_size=112)


def run_expert(env: Environment, task: str, seed: int, seconds: float | None = None) -> float:
    env.reset(task, seed)
    seconds = seconds or env.task.seconds
    commander = Commander(Limits(), "base")
    commander.anchor(env.pose)
    while not env.success and env.time < seconds:
        commander.offer(ActionChunk(env.time, PERIOD, expert_action(env)[None], "base"), env.time)
        for _ in range(5):
            command = commander.command(env.time, env.pose)
            env.set_target(command.pose, command.opening)
            env.advance()
    return env.time


@pytest.mark.parametrize("task", TASKS)
def test_expert_solves_every_task(env: Environment, task: str) -> None:
    solved = 0
    for seed in range(3):
        run_expert(env, task, seed)
        solved += env.success
    assert solved >= 2


@pytest.mark.parametrize(("family", "goals"), [("long3", 3), ("long4", 4)])
def test_expert_solves_longer_sequences_goal_by_goal(env: Environment, family: str, goals: int) -> None:
    tasks = family_tasks(family)
    assert [len(EVERY_TASK[task].goals) for task in tasks] == [goals] * len(COLOURS)
    assert not set(tasks) & set(TASKS)
    for task in tasks:
        run_expert(env, task, 11)
        assert (env.success, env.reached, env.task.family) == (True, goals, family)


def test_the_instruction_changes_when_the_first_of_two_goals_is_reached(env: Environment) -> None:
    task = TASKS["put_red_then_push_green_left"]
    env.reset(task.name, 3)
    assert env.instruction == task.goals[0].instruction == "put the red cube on the plate"
    run_expert(env, task.name, 3)
    assert env.success
    assert env.instruction == task.goals[1].instruction == "push the green cube to the left"
    assert np.linalg.norm(env.cube_position("red")[:2] - env.plate_position) < PLATE_RADIUS
    assert env.cube_position("green")[1] < -ZONE


def test_left_and_right_are_those_of_the_image(env: Environment) -> None:
    env.reset("push_red_left", 0)
    places = {side: env.project(np.array([0.48, sign * ZONE, 0.0])) for side, sign in SIDES.items()}
    assert places["left"][0] < 0.5 < places["right"][0]
    assert all(((place > 0) & (place < 1)).all() for place in places.values())


@pytest.mark.parametrize("goal", [Goal("put", "blue"), Goal("push_left", "blue"), Goal("pick", "blue")])
def test_a_goal_is_not_reached_by_doing_nothing(env: Environment, goal: Goal) -> None:
    env.reset(goal.name, 5)
    env.advance(1.0)
    assert not env.success


def test_expert_moves_at_few_speeds_and_stops_near(env: Environment) -> None:
    step = speed(np.array([0.1, -0.011, 0.0005]))
    np.testing.assert_allclose(step, [MAX_STEP, -MAX_STEP / 8, 0.0])
    for value in np.linspace(-0.05, 0.05, 201):
        x = abs(speed(np.array([value, 0.0, value]))[2])
        asked = min(abs(value), MAX_STEP)
        if asked < 0.7 * MAX_STEP / 2 ** (LEVELS - 1):
            assert x == 0
        else:
            assert 0.7 < x / asked < 1.43
            assert np.log2(MAX_STEP / x) == pytest.approx(round(np.log2(MAX_STEP / x)))


def test_same_seed_replays_bit_for_bit(env: Environment) -> None:
    ends = []
    for _ in range(2):
        run_expert(env, "pick_blue", 3, seconds=1.5)
        ends.append((env.data.qpos.copy(), env.render()))
    np.testing.assert_array_equal(ends[0][0], ends[1][0])
    np.testing.assert_array_equal(ends[0][1], ends[1][1])


def test_every_episode_has_distractors_apart_from_the_target(env: Environment) -> None:
    for seed in range(40):
        env.reset("pick_green", seed)
        assert len(env.present) == 3
        assert "green" in env.present
        places = [env.cube_position(colour)[:2] for colour in env.present]
        gaps = [np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i]]
        assert min(gaps) > CLEARANCE
        assert min(np.linalg.norm(place - env.plate_position) for place in places) > PLATE_CLEARANCE


def test_the_lane_of_a_push_is_free(env: Environment) -> None:
    for seed in range(40):
        env.reset("push_green_right", seed)
        x, y = env.cube_position("green")[:2]
        for colour in set(env.present) - {"green"}:
            other = env.cube_position(colour)
            assert abs(other[0] - x) >= LANE or other[1] < y


def test_projection_meets_the_picture(env: Environment) -> None:
    for seed in range(8):
        env.reset("pick_red", seed)
        column, row = env.project(env.cube_position("red")) * env.image_size
        pixel = env.render()[int(row), int(column)].astype(int)
        assert pixel[0] > 2 * pixel[1:].max(), f"seed {seed}: {pixel} is not red"


def test_jitter_changes_the_picture_and_ends_with_the_next_plain_reset() -> None:
    varied, plain = Environment(image_size=112, jitter=True), Environment(image_size=112)
    for env in (varied, plain):
        env.reset("pick_red", 5)
    assert np.abs(varied.render().astype(int) - plain.render()).mean() > 1
    np.testing.assert_array_equal(varied.cube_position("red")[2], plain.cube_position("red")[2])
    varied.jitter = False
    varied.reset("pick_red", 5)
    np.testing.assert_array_equal(varied.model.geom_rgba, plain.model.geom_rgba)


def test_the_state_is_the_joints_the_pose_and_the_gripper(env: Environment) -> None:
    run_expert(env, "pick_red", 0, seconds=1.0)
    names, values = env.state
    assert names[-9:] == ("finger_left", "finger_right", "x", "y", "z", "roll", "pitch", "yaw", "gripper")
    assert len(names) == len(set(names)) == len(values)
    measured = dict(zip(names, values, strict=True))
    assert [measured[name] for name in env.joint_names] == env.joint_positions.tolist()
    np.testing.assert_array_equal([measured[axis] for axis in "xyz"], env.pose.position)
    turned = Rotation.from_euler("xyz", [measured[angle] for angle in ("roll", "pitch", "yaw")])
    assert (turned * env.pose.rotation.inv()).magnitude() < 1e-6
    assert measured["gripper"] == env.opening > 0.5


def test_target_that_is_not_finite_is_refused_and_nothing_moves(env: Environment) -> None:
    env.reset("pick_red", 0)
    before = env.data.ctrl.copy()
    with pytest.raises(ValueError, match="not a finite number"):
        env.set_target(Pose(np.array([np.nan, 0, 0]), np.array([1.0, 0, 0, 0])), 1.0)
    np.testing.assert_array_equal(env.data.ctrl, before)


def test_unknown_task_lists_the_valid_ones(env: Environment) -> None:
    with pytest.raises(ValueError, match="unknown task 'fold_laundry': valid are pick_red") as error:
        env.reset("fold_laundry", 0)
    assert all(f"pick_{colour}" in str(error.value) for colour in COLOURS)


def test_missing_gl_library_is_one_clear_line() -> None:
    code = (
        "from vla_entropy_ros.sim import Environment, RenderError\n"
        "try: Environment().render()\n"
        "except RenderError as error: print(error)"
    )
    env = {**os.environ, "MUJOCO_GL": "glfw", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    lines = [line for line in done.stdout.splitlines() if "libosmesa6" in line]
    assert len(lines) == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
