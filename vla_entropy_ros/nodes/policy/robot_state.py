"""The robot's state for a policy that needs one: joints and fields of the pose, measured nearest to an image's time."""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from ...control.pose import POSE_FIELDS
from ...control.times import ANOTHER_CLOCK, stamp_problem
from ...engine import ObservationError, SettingError, State
from ...engine.observation import LATE, MAX_STATE_AGE
from ..common.listen import RECENT, Source, Speakers, subscribe
from ..common.messages import pose_in, positions_by_name, seconds
from .graph import publishers

JOINTS, POSE = "joint_states", "current_pose"
KEPT = 12.0  # seconds: longer than the largest observation.max_age
NO_JOINTS = "joint_states refused: it names no joints, expected at least one: check its driver"
SPARE = 200  # samples beyond these that may wait to be dropped together
EVERY_SAMPLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)  # of every publisher; one joint each


def sources_of(given: str, needed: Sequence[str]) -> tuple[str, ...]:
    """Joint or pose field behind each name of the policy's state, `needed`; none where it needs no state.

    given: the parameter `state.names`. Raises SettingError when its names are of another number.
    """
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    if names and needed and len(names) != len(needed):
        raise SettingError(
            f"state.names has {len(names)} names ({', '.join(names)}), "
            f"the policy's state has {len(needed)} ({', '.join(needed)})"
        )
    return names if names and needed else tuple(needed)


class History:
    """What one joint or field was measured to be of late, and who told it."""

    def __init__(self) -> None:
        self._told: dict[Source, tuple[int, float]] = {}  # how often, and when last on the monotonic clock [s]
        self._stamps: list[float] = []
        self._values: list[float] = []

    def hear(self, source: Source, now: float) -> None:
        """Note that `source` tells it, at `now` on the monotonic clock [s]."""
        if source not in self._told:
            self._told = {one: told for one, told in self._told.items() if now - told[1] < RECENT}
        self._told[source] = self._told.get(source, (0, now))[0] + 1, now

    def tellers(self, now: float) -> list[Source]:
        """Who tells it by `now` [s], and has done so more than once: one message may be a driver's last or first."""
        return [source for source, (count, last) in self._told.items() if count > 1 and now - last < RECENT]

    def add(self, stamp: float, value: float) -> None:
        """Add a sample of time `stamp` [s]."""
        stamps, values = self._stamps, self._values
        if stamps and stamp <= stamps[-1] - LATE:  # time has gone back
            stamps.clear()
            values.clear()
        place = bisect_right(stamps, stamp)
        stamps.insert(place, stamp)
        values.insert(place, value)
        old = bisect_left(stamps, stamps[-1] - KEPT)
        if old > SPARE:
            del stamps[:old], values[:old]

    def nearest(self, stamp: float) -> tuple[float, float] | None:
        """Time [s] and value of the sample nearest to `stamp`; None without any."""
        place = bisect_left(self._stamps, stamp)
        around = range(max(place - 1, 0), min(place + 1, len(self._stamps)))
        best = min(around, key=lambda number: abs(self._stamps[number] - stamp), default=None)
        return None if best is None else (self._stamps[best], self._values[best])


class RobotState:
    """Subscribes to what the policy's state is made of.

    x, y, z, roll, pitch, yaw are those of `current_pose`, every other name is a joint of `joint_states`, whose messages
    may each tell some of the joints.
    names: of the policy's state; sources: the joint or field behind each; frame: that of the pose. Messages come on the
    node's thread, `at` is for any.
    """

    def __init__(self, node: Node, names: Sequence[str], sources: Sequence[str], frame: str) -> None:
        self._node, self._names, self._sources, self._frame = node, tuple(names), tuple(sources), frame
        self._lock = threading.Lock()
        self._joints = {source: History() for source in sources if source not in POSE_FIELDS}
        self._pose = {source: History() for source in sources if source in POSE_FIELDS}
        self._seen: set[str] = set()  # joints that were told, the policy's or not
        self._faults: dict[str, str | None] = {JOINTS: None, POSE: None}  # why the last message was of no use
        self._subscriptions: list[Any] = []
        self._speakers = {topic: Speakers(node, topic) for topic in (JOINTS, POSE)}
        if self._joints:
            self._subscribe(JointState, JOINTS, self._on_joints)
        if self._pose:
            self._subscribe(PoseStamped, POSE, self._on_pose)

    def close(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def at(self, stamp: float) -> State:
        """The state measured nearest to `stamp` [s] so far, as old as its farthest part.

        Raises ObservationError that names the joint or field which is missing, not finite, or more than MAX_STATE_AGE
        away in time, and what to check.
        """
        topics = ((JOINTS, self._joints), (POSE, self._pose))
        with self._lock:
            samples = {name: history.nearest(stamp) for _, mine in topics for name, history in mine.items()}
            for topic, mine in topics:
                if missing := [name for name in mine if samples[name] is None]:
                    raise ObservationError(self._missing(topic, missing))
            for topic, mine in topics:
                told = {name: sample for name in mine if (sample := samples[name]) is not None}
                if (problem := self._problem(topic, told, stamp)) is not None:
                    raise ObservationError(problem)
        found = [sample for source in self._sources if (sample := samples[source]) is not None]
        farthest = max((time for time, _ in found), key=lambda time: abs(time - stamp))
        return State(self._names, np.array([value for _, value in found]), farthest)

    @property
    def several(self) -> str | None:
        """What more than one publisher tells of late, and who they are; None where each part has one."""
        now = time.monotonic()
        for topic, mine in ((JOINTS, self._joints), (POSE, self._pose)):
            with self._lock:
                recent = {name: history.tellers(now) for name, history in mine.items()}
            if crowded := [name for name, sources in recent.items() if len(sources) > 1]:
                names, full = self._speakers[topic].names(recent[crowded[0]]), self._node.resolve_topic_name(topic)
                return (
                    f"several publishers tell {', '.join(crowded)} on {full} ({names}), "
                    f"one is expected: end all but one, or remap ({topic}:=...)"
                )
        return None

    def _subscribe(self, kind: type, topic: str, take: Callable[[Any], None]) -> None:
        heard = partial(self._hear, topic, take)
        self._subscriptions.append(subscribe(self._node, kind, topic, heard, EVERY_SAMPLE))

    def _hear(self, topic: str, take: Callable[[Any], None], message: Any, info: Mapping[str, Any]) -> None:
        """Note who tells which of the needed joints or fields, and take them."""
        source, now = self._speakers[topic].note(info), time.monotonic()
        mine = self._pose if topic == POSE else self._joints
        with self._lock:
            for name in mine if topic == POSE else mine.keys() & set(message.name):
                mine[name].hear(source, now)
        take(message)

    def _missing(self, topic: str, missing: Sequence[str]) -> str:
        if fault := self._faults[topic]:
            return f"the state lacks {', '.join(missing)}: {fault}"
        lacks, full = f"the state lacks {', '.join(missing)}", self._node.resolve_topic_name(topic)
        needs = f"the policy needs {', '.join(self._sources)}"
        if topic == POSE or not self._seen:
            kind = PoseStamped if topic == POSE else JointState
            there = f"on {full}: {publishers(self._node, full, kind)}"
            return f"{lacks}: no {topic} yet; {needs}; {there}; is it published, and remapped here ({topic}:=...)?"
        has = ", ".join(sorted(self._seen))
        if prefixes := self._prefixes():
            given = ",".join(prefixes[0] + name if name in missing else name for name in self._sources)
            asked = f"the names differ by a prefix ({', '.join(prefixes)}): start with state.names:={given}"
            return f"{lacks}: {needs}, {topic} has {has}: {asked}"
        return f"{lacks}: {needs}, {topic} has {has}: check state.names and the drivers"

    def _prefixes(self) -> list[str]:
        """Prefixes with which every joint that is missing has been told."""
        lacking = [name for name, history in self._joints.items() if history.nearest(0.0) is None]
        found = [{seen.removesuffix(name) for seen in self._seen if seen.endswith(name)} for name in lacking]
        return sorted(set.intersection(*found) - {""}) if found else []

    def _problem(self, topic: str, samples: dict[str, tuple[float, float]], stamp: float) -> str | None:
        """Why samples of `topic`, time [s] and value by name, can't serve at time `stamp`; None when they can."""
        ages = {name: stamp - time for name, (time, _) in samples.items()}
        if old := [name for name, age in ages.items() if not abs(age) <= MAX_STATE_AGE]:
            farthest = max(old, key=lambda name: abs(ages[name]))
            measured, worst = samples[farthest][0], ages[farthest]
            if measured <= 0.0 or abs(worst) > ANOTHER_CLOCK:
                what = f"the state's {', '.join(old)} on {self._node.resolve_topic_name(topic)}"
                return stamp_problem(what, measured, stamp, MAX_STATE_AGE)
            said = f"{abs(worst):.2f} s {'older' if worst > 0 else 'newer'} than the image"
            why = self._faults[topic] or f"check the rate and the clock of {topic}"
            return f"the state's {', '.join(old)} is {said}, valid is up to {MAX_STATE_AGE:g}: {why}"
        if wrong := [name for name, (_, value) in samples.items() if not math.isfinite(value)]:
            return f"the state's {', '.join(wrong)} is not a finite number on {topic}: check the driver"
        return None

    def _on_joints(self, message: JointState) -> None:
        with self._lock:
            self._seen.update(message.name)
            try:
                positions = positions_by_name(message)
            except ValueError as error:
                self._faults[JOINTS] = str(error)
                return
            self._faults[JOINTS] = None if self._seen else NO_JOINTS
            stamp = seconds(message.header.stamp)
            for name in self._joints.keys() & positions.keys():
                self._joints[name].add(stamp, positions[name])

    def _on_pose(self, message: PoseStamped) -> None:
        with self._lock:
            try:
                pose = pose_in(self._frame, message, POSE)
            except ValueError as error:
                self._faults[POSE] = str(error)
                return
            self._faults[POSE] = None
            fields = dict(zip(POSE_FIELDS, pose.fields, strict=True))
            for name, history in self._pose.items():
                history.add(seconds(message.header.stamp), float(fields[name]))
