"""Whether a measurement can follow from the one before, or has jumped further than the arm can move."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from .pose import Limits, Pose, turn_angle

V = TypeVar("V")

JITTER = 0.1  # seconds that a stamp may be off: so much longer an arm may have moved at its highest speed
SLACK, TURN_SLACK = 0.02, 0.1  # metres and radians beyond that, for an arm that overshoots
JOINT_SLACK = 0.05  # rad or m, likewise
SPAN = 0.1  # seconds over which measurements must follow as well: many small jumps in a row are one
UNBROKEN = 3 * SPAN  # seconds: the longest time between two that are compared so
SEEN = 0.2  # seconds after which a jump that stays can be told from one that comes back
NEAR = 0.05  # seconds: a jump that stays within what the arm moves in so long is taken for motion once it has settled
SETTLED = 1.0  # seconds without a jump after which a measurement that came back is trusted again

Excess = Callable[[V, V, float], "str | None"]  # what is too much between two values so many seconds apart


@dataclass
class _Track(Generic[V]):
    """A series of measurements that follow from each other: the newest one, its time [s], and when it came [s]."""

    value: V
    time: float
    came: float


class Plausibility(Generic[V]):
    """Judges measurements one by one: the trusted ones follow from each other, and what does not is a jump.

    A jump that comes back is trusted again after SETTLED seconds without another one. One that stays is a matter for a
    person, who calls `confirm`: the arm may be somewhere else than it was before, or the sensor may be wrong.
    """

    def __init__(self, excess: Excess[V], distance: Callable[[V, V], float]) -> None:
        self._excess, self._distance = excess, distance
        self._trusted: _Track[V] | None = None
        self._earlier: list[_Track[V]] = []  # trusted ones of once and twice SPAN ago, where there was no gap since
        self._rival: _Track[V] | None = None  # where a jump led to
        self._jump: str | None = None
        self._began = self._jumped = -np.inf  # when the first and the last of the rival's came [s]

    def judge(self, value: V, time: float, now: float) -> bool:
        """Whether `value`, measured at `time` [s] and heard at `now` [s], follows from what is trusted."""
        trusted, rival = self._trusted, self._rival
        if trusted is None:
            self._trust(_Track(value, time, now))
            return True
        nearer = rival is not None and self._distance(value, rival.value) < self._distance(value, trusted.value)
        excess = self._too_much(value, time)
        if excess is None and not nearer:
            self._trust(_Track(value, time, now))
            return True
        if rival is None:
            self._jump, self._began = excess, now
        self._jumped = now
        self._rival = _Track(value, time, now)
        return False

    def problem(self, now: float) -> str | None:
        """What has jumped and is not trusted at time `now` [s]; None when all is well."""
        if self._rival is None or self._trusted is None:
            return None
        if self._trusted.came < self._jumped - SETTLED:
            before = self._trusted, self._earlier[0]  # the jump may have begun with small ones that were trusted
            if not any(self._excess(track.value, self._rival.value, NEAR) for track in before):
                self._start_from(self._rival)
                return None
            return f"{self._jump}, and stayed there: look at the arm, then call ~/enable"
        if now - self._jumped < SETTLED:
            return self._jump
        if self._trusted.came > self._jumped:  # it came back, and has been there for long enough
            self._rival = None
            return None
        return f"{self._jump}, then nothing more was measured: look at the arm, then call ~/enable"

    def confirm(self, now: float) -> str | None:
        """Trust where the arm is measured now; why that can't be done while it jumps to and fro, None when it is."""
        if self._rival is not None and self._trusted is not None:
            both = min(self._trusted.came, self._jumped) > now - SETTLED  # speak
            to_and_fro = both and self._trusted.came > self._began
            if to_and_fro or now - self._began < SEEN:
                return self._jump
            if self._rival.came > self._trusted.came:
                self._start_from(self._rival)
        self._rival = None
        return None

    @property
    def newest(self) -> tuple[V, float] | None:
        """The newest measurement that is trusted, and its time [s]."""
        return None if self._trusted is None else (self._trusted.value, self._trusted.time)

    def forget(self) -> None:
        """Trust whatever comes next."""
        self._trusted = self._rival = None
        self._earlier = []

    def _start_from(self, track: _Track[V]) -> None:
        """Trust it, whatever was before."""
        self._trusted, self._rival, self._earlier = track, None, [track]

    def _trust(self, track: _Track[V]) -> None:
        """Go on from it."""
        if self._trusted is None or track.time - self._trusted.time > SPAN:
            self._earlier = [track]  # what was before a gap says no more
        elif track.time - self._earlier[-1].time >= SPAN:
            self._earlier = [self._earlier[-1], track]
        self._trusted = track

    def _too_much(self, value: V, time: float) -> str | None:
        """What is too much since the last trusted one, or since one of SPAN ago; None where both can be."""
        assert self._trusted is not None
        gap = time - self._trusted.time > SPAN
        compared = (self._trusted,) if gap else (self._trusted, self._earlier[0])
        excesses = (self._excess(track.value, value, max(time - track.time, 0.0)) for track in compared)
        return next((excess for excess in excesses if excess is not None), None)


def time_to_move(elapsed: float) -> float:
    """For how long [s] an arm may have moved between two measurements `elapsed` seconds apart."""
    return elapsed + min(elapsed, JITTER)


def pose_excess(topic: str, limits: Callable[[], Limits], timeout: Callable[[], float]) -> Excess[Pose]:
    """The test for measured poses, by the speed limits; after `timeout` seconds without any, by the lead.

    An arm that is not measured for so long is brought to rest: it goes to its last target and no further.
    """

    def excess(before: Pose, after: Pose, elapsed: float) -> str | None:
        bounds = limits()
        moved, turned = float(np.linalg.norm(after.position - before.position)), turn_angle(before, after)
        far, wide = bounds.lead_translation, bounds.lead_rotation
        if elapsed <= max(timeout(), UNBROKEN):
            far, wide = (speed * time_to_move(elapsed) for speed in (bounds.max_speed, bounds.max_turn_speed))
        far, wide = far + SLACK, wide + TURN_SLACK
        if moved > far:
            return f"{topic} jumped {moved:.2f} m in {elapsed:.2f} s, up to {far:.2f} can be"
        if turned > wide:
            return f"{topic} turned {turned:.2f} rad in {elapsed:.2f} s, up to {wide:.2f} can be"
        return None

    return excess


def pose_distance(one: Pose, other: Pose) -> float:
    """How far apart two poses are, in metres and radians taken together."""
    return float(np.linalg.norm(one.position - other.position)) + turn_angle(one, other)


def joint_excess(
    name: str, speed: Callable[[], float], lead: Callable[[], float], timeout: Callable[[], float], turns: bool
) -> Excess[float]:
    """The test for one joint: `speed` is its highest [rad/s or m/s], `lead` how far [rad or m] its target runs ahead.

    timeout: as for poses; turns: whether it goes round and round.
    """
    distance = joint_distance(turns)

    def excess(before: float, after: float, elapsed: float) -> str | None:
        moved = distance(before, after)
        measured = elapsed <= max(timeout(), UNBROKEN)
        far = (speed() * time_to_move(elapsed) if measured else lead()) + JOINT_SLACK
        if moved <= far:
            return None
        return f"joint '{name}' jumped {moved:.2f} rad or m in {elapsed:.2f} s, up to {far:.2f} can be"

    return excess


def joint_distance(turns: bool) -> Callable[[float, float], float]:
    """How far apart two positions of a joint are; of one that `turns`, the shorter way round."""
    if turns:
        return lambda one, other: abs(math.remainder(one - other, 2.0 * math.pi))
    return lambda one, other: abs(one - other)
