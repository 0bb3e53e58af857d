"""The cube in question is put elsewhere while it rests, never out of a hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vla_entropy_ros.control import Limits
from vla_entropy_ros.evaluation.closed_loop import ClosedLoop
from vla_entropy_ros.sim import TASKS, Environment
from vla_entropy_ros.sim.disturbances import HAND_CLEARANCE, move_target, rests
from vla_entropy_ros.sim.environment import (
    AREA_HIGH,
    AREA_LOW,
    CLEARANCE,
    CUBE_HALF,
    PLATE_CLEARANCE,
    SIDES,
    lane_free,
)
from vla_entropy_ros.sim.expert import expert_action

METRES = 0.1


@pytest.fixture(scope="module")
def env() -> Iterator[Environment]:
    made = Environment(image_size=112)
    yield made
    made.close()


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("task", TASKS)
def test_the_target_lands_where_a_reset_may_put_it_and_far_enough(env: Environment, task: str) -> None:
    moved = 0
    for seed in range(4):
        env.reset(task, seed)
        env.advance(0.2)
        colour = env.goal.colour
        before = {other: env.cube_position(other) for other in env.present}
        if not move_target(env, METRES, rng()):
            continue  # a table that is too full
        moved += 1
        here = env.cube_position(colour)
        spots = {other: env.cube_position(other)[:2] for other in env.present}
        assert np.linalg.norm(here[:2] - before[colour][:2]) >= METRES
        assert ((here[:2] >= AREA_LOW) & (here[:2] <= AREA_HIGH)).all()
        others = [spot for other, spot in spots.items() if other != colour]
        assert min(np.linalg.norm(here[:2] - other) for other in others) >= CLEARANCE
        assert np.linalg.norm(here[:2] - env.plate_position) >= PLATE_CLEARANCE
        assert np.linalg.norm(here - env.pose.position) >= HAND_CLEARANCE
        for goal in env.task.goals:
            rest = [spot for other, spot in spots.items() if other != goal.colour]
            assert not goal.side or lane_free(spots[goal.colour], SIDES[goal.side], rest)
        for other in set(env.present) - {colour}:
            np.testing.assert_array_equal(env.cube_position(other), before[other])
    assert moved >= 3


def test_it_shows_in_the_picture_and_stays_where_it_was_put(env: Environment) -> None:
    env.reset("pick_red", 3)
    env.advance(0.2)
    before = env.render()
    assert move_target(env, METRES, rng())
    place = env.cube_position("red")
    column, row = (env.project(place) * env.image_size).astype(int)
    assert np.abs(env.render()[row, column].astype(int) - before[row, column]).max() > 50
    env.advance(0.5)
    np.testing.assert_allclose(env.cube_position("red"), place, atol=1e-3)
    assert rests(env, "red")


def test_the_same_draw_gives_the_same_place(env: Environment) -> None:
    places = []
    for _ in range(2):
        env.reset("put_blue", 9)
        assert move_target(env, METRES, rng())
        places.append(env.cube_position("blue"))
    np.testing.assert_array_equal(places[0], places[1])


def test_a_cube_that_the_hand_touches_or_holds_is_never_moved(env: Environment) -> None:
    loop = ClosedLoop(env, "base", 0.1, Limits())
    touched = lifted = 0
    for seed in range(3):
        loop.start("pick_red", seed)
        body = env.model.body("red_cube").id
        while not env.success and env.time < env.task.seconds:
            loop.advance(expert_action(env)[None], 1)
            pairs = env.model.geom_bodyid[env.data.contact.geom]
            hand = any(body in pair and 0 not in pair for pair in pairs)
            high = env.cube_position("red")[2] > CUBE_HALF + 0.01
            touched, lifted = touched + hand, lifted + high
            if hand or high:
                before = env.data.qpos.copy()
                assert not move_target(env, METRES, rng())
                np.testing.assert_array_equal(env.data.qpos, before)
    assert touched > lifted > 5


def test_a_cube_that_slides_is_not_moved(env: Environment) -> None:
    env.reset("push_green_left", 1)
    env.advance(0.2)
    joint = env.model.body("green_cube").jntadr[0]
    env.data.qvel[env.model.jnt_dofadr[joint]] = 0.1
    assert not move_target(env, METRES, rng())


def test_where_no_place_is_left_nothing_moves(env: Environment) -> None:
    env.reset("pick_red", 3)
    before = env.data.qpos.copy()
    assert not move_target(env, 1.0, rng())
    np.testing.assert_array_equal(env.data.qpos, before)
