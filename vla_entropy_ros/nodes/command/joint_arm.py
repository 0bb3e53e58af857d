"""The arm measured by its joints, through the chain of the robot description."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ...control import DescriptionError, Kinematics, Limits, Plausibility, Pose, read_chain
from ...control.kinematics import Joints
from ...control.plausibility import joint_distance, joint_excess
from ...control.times import stamp_problem
from ..common.listen import RECENT, SafetyInput, Source, subscribe
from ..common.messages import positions_by_name
from .arm import Measurement, outside

EVERY = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)  # of several that each tell some joints
LOG_PERIOD = 5.0  # seconds between two lines about the same fault


class JointArm(Measurement):
    """Measures the arm by `joint_states`, through the chain of `robot_description` (URDF) from frame to tool.

    Each message may tell some of the joints, and each joint may have a publisher of its own.
    """

    def __init__(
        self,
        node: Node,
        frame: str,
        tool_frame: str,
        now: Callable[[], float],
        timeout: Callable[[], float],
        limits: Callable[[], Limits],
    ) -> None:
        super().__init__(node, "joint_states", now, timeout)
        self._frame, self._tool_frame, self._limits = frame, tool_frame, limits
        self._logger = node.get_logger()
        self.kinematics: Kinematics | None = None
        self._text: str | None = None  # of the description that serves
        self._place: Pose | None = None  # of the tool, as far as it was worked out
        self._doubt: str | None = f"no robot_description yet on {node.resolve_topic_name('robot_description')}"
        self._changed = False  # a sound description differs from the one that served, and nobody has agreed
        self._begin(None)
        self._descriptions = SafetyInput(node, String, "robot_description", self._on_description, depth=1)
        subscribe(node, JointState, self._topic, self._on_joints, EVERY)

    @property
    def joints(self) -> Joints | None:
        """Positions [n] of the chain's joints; None until each was measured."""
        return self._values.copy() if len(self._values) and np.isfinite(self._values).all() else None

    @property
    def pose(self) -> Pose | None:
        """Pose of the tool, from the joints."""
        return self._place

    def problem(self, now: float) -> str | None:
        """Why the measured joints can't be relied on at time `now` [s]; None when they can."""
        if self._doubt is not None or self.kinematics is None:
            return self._doubt
        if (reason := self.silence() or self._missing() or self.jump(now)) is not None:
            return reason
        oldest = int(self._stamps.argmin())
        what = f"joint '{self.kinematics.names[oldest]}' of {self._topic}"
        if (reason := stamp_problem(what, float(self._stamps[oldest]), now, self._timeout())) is not None:
            return reason + self._renamed(self.kinematics.names[oldest])
        return self.kinematics.outside(self._values) or outside(self._limits(), self._place, self._topic)

    def jump(self, now: float) -> str | None:
        """The joint that can't have gone where it is measured, or a description that has changed."""
        if self._changed:
            return "robot_description has changed: look at limits and frames, then call ~/enable"
        reasons = [one.problem(now) for one in self._plausible]
        self._adopt()
        return next((reason for reason in reasons if reason is not None), None)

    def several(self) -> str | None:
        """Who tells the same joint, where they are more than one."""
        if self._shared is None or time.monotonic() - self._shared[2] > RECENT:
            return None
        name, sources, _ = self._shared
        return f"several tell joint '{name}' on {self._full_name}: {self._speakers.names(list(sources))}; keep one"

    def confirm(self, now: float) -> str | None:
        """Trust where the joints are measured now; why that can't be done, None when it is."""
        self._changed = False
        if self.kinematics is not None:  # a person goes on with the description that serves
            self._doubt = None
        reasons = [one.confirm(now) for one in self._plausible]
        self._adopt()
        return next((reason for reason in reasons if reason is not None), None)

    def forget(self) -> None:
        """Trust whatever is measured next."""
        for one in self._plausible:
            one.forget()
        self._fault = None

    def _begin(self, kinematics: Kinematics | None) -> None:
        """Measure anew, through `kinematics`."""
        self.kinematics = kinematics
        names = () if kinematics is None else kinematics.names
        self._places = {name: place for place, name in enumerate(names)}
        self._values, self._stamps = np.full(len(names), np.nan), np.full(len(names), -np.inf)
        self._place = None
        self._told: dict[str, tuple[Source, float]] = {}  # who told each joint last, and when
        self._shared: tuple[str, tuple[Source, Source], float] | None = None  # a joint that two tell, who, and when
        self._seen: set[str] = set()
        self._last_names: Sequence[str] = ()
        self._plausible = [self._judge_of(kinematics, place) for place in range(len(names)) if kinematics is not None]

    def _judge_of(self, kinematics: Kinematics, place: int) -> Plausibility[float]:
        joint = kinematics.chain.moving[place]
        turns = joint.kind == "continuous"

        def speed() -> float:
            return min(float(kinematics.speed[place]), self._limits().max_joint_speed)

        def lead() -> float:
            limits = self._limits()
            return limits.lead_translation if joint.kind == "prismatic" else limits.lead_rotation

        return Plausibility(joint_excess(joint.name, speed, lead, self._timeout, turns), joint_distance(turns))

    def _on_description(self, message: String) -> None:
        if message.data == self._text:
            self._doubt = None  # the one that serves
            return
        try:
            kinematics = Kinematics(read_chain(message.data, self._frame, self._tool_frame))
        except DescriptionError as error:
            # also where a sound one serves: what the arm is like is in doubt until that is told again
            further = "" if self.kinematics is None else "; ~/enable goes on with the one before"
            self._doubt = f"robot_description refused: {error}{further}"
            self._logger.error(self._doubt, throttle_duration_sec=LOG_PERIOD)
            return
        self._changed = self.kinematics is not None
        self._doubt, self._text = None, message.data
        self._begin(kinematics)

    def _on_joints(self, message: JointState, info: Mapping[str, Any]) -> None:
        source = self._speakers.note(info)
        self._arrived = time.monotonic()
        self._seen.update(message.name)
        self._last_names = message.name
        mine = [name for name in message.name if name in self._places]
        if not mine:  # of other joints, wheels for example, which need not even have positions
            return
        if len(set(mine)) < len(mine):
            twice = next(name for name in mine if mine.count(name) > 1)
            self.refuse(f"joint '{twice}' stands twice in one message on {self._full_name}: which driver publishes it?")
            return
        accepted = self._accept(lambda: positions_by_name(message), message.header.stamp)
        if accepted is None:
            return
        positions, stamp, now = accepted
        for name in mine:
            self._take(name, positions[name], stamp, now)
            self._note_owner(name, source)
        self._walk()

    def _adopt(self) -> None:
        """Take over what has become trusted without a new message."""
        changed = False
        for place, one in enumerate(self._plausible):
            if one.newest is not None and one.newest[1] != self._stamps[place]:
                self._values[place], self._stamps[place] = one.newest
                changed = True
        if changed:
            self._walk()

    def _walk(self) -> None:
        """Work out where the tool is, when joints come and not when a command is due."""
        if self.kinematics is not None and (joints := self.joints) is not None:
            self._place = self.kinematics.forward(joints)

    def _take(self, name: str, value: float, stamp: float, now: float) -> None:
        place = self._places[name]
        if not math.isfinite(value):
            self.refuse(f"joint '{name}' of {self._topic} is {value}, expected a finite number: check its driver")
        elif self._plausible[place].judge(value, stamp, now):
            self._values[place], self._stamps[place] = value, stamp

    def _note_owner(self, name: str, source: Source) -> None:
        before, now = self._told.get(name), time.monotonic()
        if before is not None and before[0] != source and now - before[1] < RECENT:
            self._shared = name, (before[0], source), now
        self._told[name] = source, now

    def _renamed(self, name: str) -> str:
        """What is told instead of joint `name`, where the last message does not tell it."""
        if name in self._last_names:
            return ""
        return f"; the last message told {', '.join(self._last_names) or 'no joints'} instead"

    def _missing(self) -> str | None:
        """Which joints of the chain nobody has told, and what they may be called; None when all were told."""
        missing = [name for name, place in self._places.items() if not np.isfinite(self._values[place])]
        if not missing:
            return None
        others = sorted(self._seen - self._places.keys())
        said = f"{self._full_name} lacks {', '.join(missing)} of the chain to '{self._tool_frame}'"
        if alike := {name: other for name in missing for other in others if other.endswith(name)}:
            name, other = next(iter(alike.items()))
            return (
                f"{said}, but has {', '.join(sorted(alike.values()))}: the names differ by the prefix "
                f"'{other.removesuffix(name)}'; give robot_description the same, or remap joint_states"
            )
        return (
            f"{said}; it has {', '.join(others) or 'no others'}: does a driver publish them, and is it remapped here?"
        )
