"""The tabletop is deterministic by seed, its expert solves it, and bad commands are refused."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from vla_entropy_ros.control import ActionChunk, Commander, Limits, Pose
from vla_entropy_ros.sim import COLOURS, TASKS, Environment
from vla_entropy_ros.sim.environment import CLEARANCE
from vla_entropy_ros.sim.expert import expert_action

PERIOD = 0.1


@pytest.fixture(scope="module")
def env() -> Environment:
    return Environment(image_size=112)


def run_expert(env: Environment, task: str, seed: int, seconds: float = 8.0) -> float:
    env.reset(task, seed)
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
    for seed in range(5):
        run_expert(env, task, seed)
        solved += env.success
    assert solved >= 4


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


def test_projection_meets_the_picture(env: Environment) -> None:
    for seed in range(8):
        env.reset("pick_red", seed)
        column, row = env.project(env.cube_position("red")) * env.image_size
        pixel = env.render()[int(row), int(column)].astype(int)
        assert pixel[0] > 2 * pixel[1] and pixel[0] > 2 * pixel[2], f"seed {seed}: {pixel} is not red"


def test_jitter_changes_the_picture_and_ends_with_the_next_plain_reset() -> None:
    varied, plain = Environment(image_size=112, jitter=True), Environment(image_size=112)
    for env in (varied, plain):
        env.reset("pick_red", 5)
    assert np.abs(varied.render().astype(int) - plain.render()).mean() > 1
    np.testing.assert_array_equal(varied.cube_position("red")[2], plain.cube_position("red")[2])
    varied.jitter = False
    varied.reset("pick_red", 5)
    np.testing.assert_array_equal(varied.model.geom_rgba, plain.model.geom_rgba)


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
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stdout + done.stderr
