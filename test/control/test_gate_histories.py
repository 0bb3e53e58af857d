"""No random history of commands, faults and changed limits brings anything unsound through the gate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_entropy_ros.control import (
    ActionChunk,
    ChunkError,
    Commander,
    Gate,
    GateError,
    Limits,
    Motion,
    Pose,
    Rules,
    UnreachableError,
)
from vla_entropy_ros.control.kinematics import slow_joints
from vla_entropy_ros.control.pose import AT_REST, Velocity, velocity
from vla_entropy_ros.sim.arm import HOME as JOINTS_HOME

from .test_gate import HOME, LIMITS, PERIOD, gate, moved
from .test_kinematics import ARM

SLACK = 2e-6
STEP, TURN = LIMITS.max_speed * PERIOD, LIMITS.max_turn_speed * PERIOD
anything = st.one_of(st.floats(), st.floats(-2, 2), st.sampled_from([np.nan, np.inf, -np.inf, 1e308, 0.0]))
vectors = st.lists(anything, min_size=3, max_size=3).map(np.array)
near = st.sampled_from([0.08, 0.01]).flatmap(
    lambda far: st.lists(st.floats(-far, far), min_size=3, max_size=3).map(np.array)
)
turns = st.one_of(near, st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3).map(np.array))
sound_poses = st.builds(
    lambda xyz, turn: Pose(HOME.position + xyz, (Rotation.from_rotvec(turn) * HOME.rotation).as_quat()), near, turns
)
any_poses = st.one_of(sound_poses, st.builds(Pose, vectors, st.lists(anything, min_size=4, max_size=4).map(np.array)))


@given(st.lists(st.tuples(any_poses, sound_poses, st.booleans(), st.booleans()), max_size=12))
@example([(moved(0.004), HOME, True, False), (moved(0.012), HOME, True, False)])
@example([(HOME, HOME, False, False), (HOME, moved(0.0625), False, False), (moved(0.124), moved(0.0625), False, False)])
@settings(max_examples=150, deadline=None)
def test_no_sequence_of_targets_passes_outside_the_limits(sequence: list[tuple[Pose, Pose, bool, bool]]) -> None:
    narrow = replace(LIMITS, workspace_high=(0.455, 0.4, 0.6))
    last_gate, last, rests = Gate(narrow, PERIOD), None, False
    for pose, measured, moving, held in sequence:
        (last_gate.hold if held else last_gate.free)()
        try:
            last_gate.pose(pose, moving, measured)
        except GateError:
            continue
        assert np.isfinite(pose.position).all()
        assert np.linalg.norm(pose.quaternion) == pytest.approx(1.0, abs=SLACK)
        lead, before = np.linalg.norm(pose.position - measured.position), measured if last is None else last
        step = np.linalg.norm(pose.position - before.position)
        turn = (pose.rotation * before.rotation.inv()).magnitude()
        if moving:
            assert not held
            assert lead <= LIMITS.lead_translation + SLACK
            assert step <= STEP + SLACK
            assert turn <= TURN + SLACK
            outermost = np.maximum(measured.position, before.position)
            assert np.all(pose.position <= np.maximum(narrow.workspace_high, outermost) + SLACK)
        else:
            drawn = step <= STEP + SLACK and lead <= np.linalg.norm(before.position - measured.position) + SLACK
            assert lead <= LIMITS.lead_translation + SLACK or step <= SLACK or (last is not None and drawn)
            assert not rests or step <= SLACK
        last, rests = pose, not moving


@given(st.lists(st.lists(anything, min_size=7, max_size=7), max_size=3), st.booleans(), vectors, vectors, anything)
@settings(max_examples=150, deadline=None)
def test_no_velocity_action_or_opening_passes_outside_the_limits(
    actions: list[list[float]], moving: bool, linear: np.ndarray, angular: np.ndarray, opening: float
) -> None:
    last = gate()
    try:
        last.actions(np.array(actions), moving)
    except GateError:
        pass
    else:
        table = np.array(actions)
        assert np.linalg.norm(table[:, :3], axis=1).max() <= (LIMITS.max_translation + SLACK) * moving
        assert (
            Rotation.from_euler("xyz", table[:, 3:6]).magnitude().max() <= (LIMITS.max_rotation + SLACK) * moving + 1e-7
        )
    try:
        last.velocity(Velocity(linear, angular), moving, HOME)
    except GateError:
        pass
    else:
        assert np.linalg.norm(linear) <= (LIMITS.max_speed + SLACK) * moving
        assert np.linalg.norm(angular) <= (LIMITS.max_turn_speed + SLACK) * moving
    try:
        last.opening(opening, 1.0, -1.0)
    except GateError:
        return
    assert -1.0 - 2 * SLACK <= opening <= 1.0 + 2 * SLACK


joint_steps = st.tuples(
    st.sampled_from([0.01, 1.0, 1e300, np.nan]), st.lists(st.floats(-1, 1), min_size=7, max_size=7), st.booleans()
)


@given(st.lists(joint_steps, max_size=8))
@settings(max_examples=100, deadline=None)
def test_no_sequence_of_joints_passes_outside_the_limits(sequence: list[tuple[float, list[float], bool]]) -> None:
    last_gate, last = gate(), JOINTS_HOME
    speed = np.minimum(ARM.speed, LIMITS.max_joint_speed)
    for size, offsets, moving in sequence:
        joints = last + size * np.array(offsets)[: len(JOINTS_HOME)]
        try:
            last_gate.joints(ARM.names, joints, moving, JOINTS_HOME, ARM)
        except GateError:
            continue
        assert np.isfinite(joints).all()
        if moving:
            assert np.all(np.abs(joints - last) <= speed * PERIOD + SLACK)
            assert np.all((joints >= ARM.low - SLACK) & (joints <= ARM.high + SLACK))
        else:
            assert np.all(np.abs(joints - JOINTS_HOME) <= LIMITS.lead_rotation + SLACK) or np.all(joints == last)
        last = joints


@dataclass
class History:
    """A commander that lives through a random history, each of its commands shown to a gate."""

    rules: Rules
    limits: Limits = LIMITS
    now: float = 1000.0
    measured: Pose = HOME
    tracked: int = 0
    commander: Commander = field(init=False)
    gate: Gate = field(init=False)
    before: tuple[Pose, float] | None = None

    def __post_init__(self) -> None:
        self.commander, self.gate = Commander(self.limits, "base", self.rules), Gate(self.limits, PERIOD)
        self.anchor()

    def anchor(self) -> None:
        self.commander.anchor(self.measured, not_before=self.now - 0.3)
        self.gate.forget()

    def offer(self, actions: np.ndarray, age: float) -> None:
        chunk = ActionChunk(self.now - age, 0.1, actions, "base")
        try:
            self.commander.offer(chunk, self.now)
        except ChunkError:
            return
        self.gate.actions(self.commander.limited(chunk, self.measured), True)

    def limit(self, limits: Limits) -> None:
        self.commander.limits = self.gate.limits = self.limits = limits

    def let(self, elapsed: float, follows: float, pushed: np.ndarray) -> None:
        """Let one command leave after `elapsed` seconds; the arm follows it by a share and is pushed."""
        self.now += elapsed
        command = self.commander.command(self.now, self.measured)
        moving = command.state is Motion.TRACKING
        self.gate.pose(command.pose, moving, self.measured)
        if command.opening is not None:
            self.gate.opening(command.opening, 0.0, 1.0)
        speed = AT_REST
        if moving and self.before is not None:
            last, then = self.before
            speed = velocity(last, command.pose, self.now - then, self.measured, self.limits)
        self.gate.velocity(speed, moving, self.measured)
        self.before = (command.pose, self.now) if moving else None
        self.tracked += moving
        way = follows * (command.pose.position - self.measured.position)
        self.measured = Pose(self.measured.position + way + pushed, command.pose.quaternion)


small = st.lists(st.floats(-0.004, 0.004), min_size=3, max_size=3).map(np.array)
pushes = st.one_of(st.just(np.zeros(3)), small, st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3).map(np.array))
chunks = st.lists(
    st.one_of(st.lists(st.floats(-1, 1), min_size=7, max_size=7), st.lists(anything, min_size=7, max_size=7)),
    min_size=1, max_size=4,
).map(np.array)  # fmt: skip
any_limits = st.builds(
    Limits, *[st.floats(0.001, 0.3)] * 2, st.tuples(*[st.floats(-1, 0.4)] * 3), st.tuples(*[st.floats(0.5, 1)] * 3),
    *[st.floats(0.002, 0.5)] * 2, st.floats(0.01, 3.0), st.floats(0.01, 10.0),
)  # fmt: skip
events = st.one_of(
    st.tuples(st.just("let"), st.sampled_from([PERIOD, PERIOD, 0.0, 0.013, 0.4, 3.0]), st.floats(0, 1), pushes),
    st.tuples(st.just("let"), st.just(PERIOD), st.floats(0.2, 1), st.just(np.zeros(3))),
    st.tuples(st.just("offer"), chunks, st.sampled_from([0.0, 0.05, 0.15, -0.1, 5.0])),
    st.tuples(st.just("limit"), any_limits),
    st.tuples(st.just("anchor")),
    st.tuples(st.just("stop")),
)  # fmt: skip


@given(
    st.builds(
        Rules, st.floats(1, 50), st.floats(0, 2), st.floats(0.1, 2), st.floats(0, 0.9), st.booleans(), st.just(PERIOD)
    ),
    st.lists(events, max_size=60),
)
@settings(max_examples=200, deadline=None)
def test_whatever_happened_a_commander_asks_for_nothing_that_the_gate_refuses(rules: Rules, history: list[Any]) -> None:
    arm = History(rules)
    for name, *arguments in history:
        if name == "stop":
            arm.commander.stop("ordered")
        else:
            getattr(arm, name)(*arguments)


def test_such_a_history_moves_the_arm_at_all() -> None:
    arm = History(Rules(period=PERIOD))
    for number in range(40):
        if number % 5 == 0:
            arm.offer(np.array([[0.02, 0.01, 0, 0, 0, 0.05, 1.0]]), 0.0)
        arm.let(PERIOD, 0.5, np.zeros(3))
    assert arm.tracked > 30
    assert arm.measured.position[0] > HOME.position[0] + 0.1


@given(st.lists(st.lists(st.floats(-0.05, 0.05), min_size=6, max_size=6), min_size=1, max_size=6),
       st.sampled_from([PERIOD, 0.5]))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_joint_positions_on_the_way_to_a_target_pass(actions: list[list[float]], stall: float) -> None:
    last, now, sent = gate(), 0.0, JOINTS_HOME
    commander = Commander(LIMITS, "base", Rules(50.0, 50.0, period=PERIOD))
    commander.anchor(ARM.forward(JOINTS_HOME))
    commander.limits = last.limits = Limits(workspace_low=(-2, -2, -2), workspace_high=(2, 2, 2))
    speed = np.minimum(ARM.speed, LIMITS.max_joint_speed)
    commander.offer(ActionChunk(0.0, 0.1, np.array([[*action, 1.0] for action in actions]), "base"), 0.0)
    for number in range(25):
        measured, elapsed = sent, stall if number == 5 else PERIOD
        now += elapsed
        command = commander.command(now, ARM.forward(measured))
        try:
            wanted = ARM.solve(command.pose, sent)
        except UnreachableError:
            return
        sent = slow_joints(sent, wanted, elapsed, speed, PERIOD)
        last.joints(ARM.names, sent, True, measured, ARM)
