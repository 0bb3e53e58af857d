"""Action chunks in, the pose command of this instant out; no chunk, no motion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from .chunk import ActionChunk, ChunkError, blended, check_chunk, scaled
from .gripper import GripperHold
from .pose import Limits, Pose, beyond_lead, integrate, interpolate, keep_inside, limit_lead, limited, slow, within
from .saturation import cut_by, held_back
from .times import ANOTHER_CLOCK, FUTURE, stamp_problem

NO_CHUNK = "no chunk yet"
TORN_AWAY = (
    "the arm is farther from its target than it may lead: it was pushed, or does not follow; where it stays there, "
    "~/enable starts from it"
)
OVERDUE = "the last one came late and has run out"
SLACK = 1e-6  # seconds: rounding of stamps must neither make an action start twice nor refuse one that is just in time
ROUNDING = 1e-7  # metres, radians
PULLING = 1.0  # seconds in which a moving target may be pulled along by one lead


@dataclass(frozen=True)
class Rules:
    """How chunks become motion.

    stale_after: control periods without a new chunk until the arm is held; expired_after: seconds after the end of its
    last action from which a chunk moves nothing, however late it came; scale: factor on translations and rotations;
    blending: share of the chunk before where two overlap in time, 0 for none; tool: the deltas are in the axes of the
    tool, not of the frame; period: seconds from one command to the next, for which the speed limits hold even where
    one comes late; gripper_hold: least time between two changes of the gripper's side [s], 0 for none.
    """

    stale_after: float = 2.0
    expired_after: float = 0.15
    scale: float = 1.0
    blending: float = 0.0
    tool: bool = False
    period: float = math.inf
    gripper_hold: float = 0.0


class Motion(Enum):
    """What an arm under control does: wait for a first chunk, follow chunks, or stay where it was stopped."""

    IDLE = "idle"
    TRACKING = "tracking"
    HOLDING = "holding"


@dataclass(frozen=True)
class Command:
    """What the arm is told now, and why it is not tracking; None when it is.

    opening is the gripper's opening [0..1], or None as long as no action has said anything about it. clipped: for each
    action that begins with this command the names of the limits that cut it, none where it is done as it is.
    """

    pose: Pose
    opening: float | None
    state: Motion
    reason: str | None = None
    clipped: tuple[frozenset[str], ...] = ()


class Commander:
    """Turns chunks into a smooth pose target at any rate, inside limits.

    An action starts when its chunk arrives and moves the target over one period. A later chunk takes over at the next
    command, its actions that lie wholly in the past skipped: the target goes on from where it stands to where both
    have led, so nothing jumps. Some periods without a chunk, or a malformed one, hold the target where the arm is; so
    does the age of what the chunk answers, since a policy that stalled moves the arm for a scene that may be gone.
    """

    def __init__(self, limits: Limits, frame: str, rules: Rules | None = None) -> None:
        self.limits = limits
        self.frame = frame
        self.rules = rules or Rules()
        self._goal: Pose | None = None  # where the running action ends
        self._start: Pose | None = None  # where it began
        self._last: Pose | None = None  # what was commanded last
        self._tracked = False  # whether what was commanded last was on the way
        self._pulled = 0.0  # how far the measured arm has pulled its target along of late, in leads
        self._torn = False  # no chunk moves it until it is within the lead again
        self._last_time = 0.0
        self._began = 0.0
        self._period = 0.0
        self._pending: list[np.ndarray] = []
        self._opening: float | None = None  # as the last action asked for
        self._gripper = GripperHold()
        self._gripped: float | None = None  # as it was commanded
        self._drawn: frozenset[str] = frozenset()  # by which lead the running action's target was held back or along
        self._deadline: float | None = None
        self._overdue: str | None = None  # why the arm is held from then on
        self._last_stamp: float | None = None
        self._not_before = -np.inf
        self._reason: str | None = NO_CHUNK  # why no chunk is followed

    @property
    def moving(self) -> bool:
        """Whether a chunk is being followed."""
        return self._deadline is not None

    def anchor(self, pose: Pose, opening: float | None = None, not_before: float = -np.inf) -> None:
        """Forget all chunks and start over from `pose`; chunks observed before `not_before` [s] are refused."""
        self.stop(NO_CHUNK)
        self._goal = self._start = pose
        self._last = None  # what was commanded from another place must not pull the arm there
        if opening is not None:
            self._opening, self._gripped = opening, None
        self._pulled, self._torn, self._tracked = 0.0, False, False
        self._last_stamp = None
        self._not_before = not_before

    def stop(self, reason: str) -> None:
        """Drop what is running; the next command holds where the arm is, and an arm that is held stays there.

        A hold that followed the measured pose would let the arm creep with every further order to stop, and without
        end where what is measured is off and moves along.
        """
        if self.moving:
            self._goal = self._start = None
        self._pending.clear()
        self._deadline = None
        self._reason = reason

    def offer(self, chunk: ActionChunk, now: float) -> None:
        """Take over `chunk` at time `now` [s].

        Raises ChunkError when it is malformed or from another frame, which also stops the motion, and when it is out
        of order, too old or from the future, which does not: what runs goes on until it is stale itself.
        """
        try:
            check_chunk(chunk, self.frame)
        except ChunkError as error:
            self.stop(str(error))
            raise
        self._check_time(chunk, now)
        self._last_stamp = chunk.stamp
        past = min(int((now - chunk.stamp + SLACK) / chunk.period), len(chunk.actions) - 1)
        actions = scaled(chunk.actions[past:], self.rules.scale)
        if self._pending:
            actions = blended(np.stack(self._pending), actions, self.rules.blending)
        self._pending = list(actions)
        self._period = chunk.period
        self._began = now - chunk.period  # the first pending action starts at the next command
        stale, expired = now + chunk.period * self.rules.stale_after, chunk.end + self.rules.expired_after
        self._deadline = min(stale, expired)
        self._overdue = f"none for {self.rules.stale_after:g} control periods" if stale <= expired else OVERDUE
        self._reason = None

    def _check_time(self, chunk: ActionChunk, now: float) -> None:
        """Raise ChunkError when the time of `chunk` forbids it: as stamp_problem says, or out of order."""
        valid = self.rules.expired_after
        if chunk.stamp > now + FUTURE:
            problem = stamp_problem("it", chunk.stamp, now, math.inf)
            raise ChunkError(f"chunk refused: it answers an observation in the future: {problem}")
        if now > chunk.end + valid + SLACK:  # nothing else is asked of a stamp: simulated time begins at zero
            problem = stamp_problem("its observation", chunk.stamp, now, chunk.end - chunk.stamp + valid)
            if 0.0 < chunk.stamp >= now - ANOTHER_CLOCK:
                problem = (
                    f"it ran out {now - chunk.end:.2f} s ago, valid is up to {valid:g}: the policy takes longer than "
                    "its control_period (see the tick time in its diagnostics), or its clock is behind"
                )
            raise ChunkError(f"chunk refused: {problem}")
        if chunk.stamp < self._not_before:
            raise ChunkError(
                "chunk refused: it answers an observation older than the start from here; the next will do"
            )
        if self._last_stamp is not None and chunk.stamp <= self._last_stamp:
            raise ChunkError(
                "chunk refused: it answers an observation older than the last one, or the same: only one policy may "
                "publish chunks, and in order (see ros2 topic info -v action_chunk)"
            )

    def limited(self, chunk: ActionChunk, measured: Pose) -> np.ndarray:
        """Actions [H, 7] of `chunk`, scaled, as far as the limits let them lead from the measured pose."""
        return limited(measured, scaled(chunk.actions, self.rules.scale), self.limits, self.rules.tool)

    def command(self, now: float, measured: Pose) -> Command:
        """Command at time `now` [s], given the measured pose of the arm."""
        if self._deadline is not None and now > self._deadline:
            self.stop(f"chunks are stale: {self._overdue}")
        if self._goal is None or self._start is None:
            if self._tracked and not self.moving:
                self._last = None
            self._goal = self._start = measured if self._last is None else self._last
        clipped = self._begin_due(now, measured)
        pose = self._target(now, measured)
        if self.moving:
            self._torn = self._torn_away(pose, measured, now)
        if self.moving and self._torn:
            self.stop(TORN_AWAY)
            pose = self._last or measured
        if self.moving or self._gripped is None:
            self._gripped = self._gripper.hold(self._opening, now, self.rules.gripper_hold)
        if not self.moving:
            self._goal = self._start = pose
        self._last, self._last_time, self._tracked = pose, now, self.moving
        return Command(pose, self._gripped, self._state, self._reason, clipped)

    def _target(self, now: float, measured: Pose) -> Pose:
        """Where the running action has led at time `now` [s], within speed, lead and workspace."""
        assert self._goal is not None
        assert self._start is not None
        share = (now - self._began) / self._period if self._period > 0 else 1.0
        pose = interpolate(self._start, self._goal, min(max(share, 0.0), 1.0))
        if not self.moving:
            return pose
        last = measured if self._last is None else self._last  # the first step is one from where the arm is
        elapsed = math.inf if self._last is None else now - self._last_time
        pose = slow(last, pose, elapsed, self.limits, self.rules.period)
        pose = Pose(keep_inside(pose.position, last.position, self.limits), pose.quaternion)
        self._drawn |= held_back(pose, measured, self.limits)
        return limit_lead(pose, measured, self.limits)

    def _torn_away(self, pose: Pose, measured: Pose, now: float) -> bool:
        """Whether the arm has left its target, at one go or by and by: a target that went on would run after it."""
        last, limits = self._last, self.limits
        if last is None:
            return False
        beyond = beyond_lead(last, measured, limits)
        if self._torn and beyond > 0.0:
            return True
        passed = math.inf if self._torn else max(now - self._last_time, 0.0) / PULLING
        self._pulled = max(self._pulled - passed, 0.0) + beyond
        longest = limits.max_speed * self.rules.period, limits.max_turn_speed * self.rules.period
        step = within(last, pose, longest[0] + ROUNDING, longest[1] + ROUNDING)
        return self._pulled > 1.0 or not step

    @property
    def _state(self) -> Motion:
        if self.moving:
            return Motion.TRACKING
        return Motion.IDLE if self._reason == NO_CHUNK else Motion.HOLDING

    def _begin_due(self, now: float, measured: Pose) -> tuple[frozenset[str], ...]:
        """Start the actions that are due at time `now` [s]; the limits that cut each of them."""
        clipped = []
        while self._pending and now >= self._began + self._period - SLACK:
            clipped.append(self._begin(self._pending.pop(0), measured, now))
        return tuple(clipped)

    def _begin(self, action: np.ndarray, measured: Pose, now: float) -> frozenset[str]:
        """Start one action from wherever the target stands; it ends where it leads from the end of the one before."""
        assert self._goal is not None
        end = limit_lead(self._goal, measured, self.limits)
        clipped = cut_by(end, action, self._period, self.limits, self.rules.tool)
        if now < self._began + 2.0 * self._period:  # else a command came late: what is caught up runs ahead by itself
            clipped |= held_back(self._goal, measured, self.limits) | self._drawn
        self._drawn = frozenset()
        self._start = end if self._last is None else self._last
        self._goal = integrate(end, action, self.limits, self.rules.tool)
        self._opening = float(np.clip(action[6], 0.0, 1.0))
        self._began += self._period
        return clipped
