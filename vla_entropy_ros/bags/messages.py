"""What is read from a bag: images, joint states, poses, and what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control.pose import POSE_FIELDS, Pose, is_orientation
from ..engine import State
from ..images import Picture, read
from .clocks import restamp

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
STRING, JOINT_STATE, POSE = "std_msgs/msg/String", "sensor_msgs/msg/JointState", "geometry_msgs/msg/PoseStamped"


@dataclass(frozen=True)
class Recorded:
    """One message with a header: when it was recorded [ns], its bytes on the wire, and what they say.

    restamped: whether the recorded time counts, as the stamp in the header tells nothing.
    """

    recorded: int
    raw: bytes
    message: Any
    restamped: bool

    @property
    def stamp(self) -> float:
        """The message's time [s]."""
        if self.restamped:
            return self.recorded * 1e-9
        stamp = self.message.header.stamp
        return float(stamp.sec + stamp.nanosec * 1e-9)

    @property
    def wire(self) -> bytes:
        """Its bytes on the wire, with the message's time as the stamp."""
        return restamp(self.raw, self.recorded) if self.restamped else self.raw


@dataclass(frozen=True)
class JointStates(Recorded):
    """Where the joints were."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the joints."""
        return tuple(self.message.name)

    @property
    def values(self) -> NDArray[np.float64]:
        """Their positions [n] in radians or metres; not numbers where another number of positions was sent."""
        sent = self.message.position
        return sent if len(sent) == len(self.names) else np.full(len(self.names), np.nan)


@dataclass(frozen=True)
class ToolPose(Recorded):
    """Where the tool was."""

    names = POSE_FIELDS

    @property
    def values(self) -> NDArray[np.float64]:
        """Position [m] and turns about the fixed axes [rad], together [6]; not numbers where it is no orientation."""
        point, turn = self.message.pose.position, self.message.pose.orientation
        pose = Pose(np.array([point.x, point.y, point.z]), np.array([turn.x, turn.y, turn.z, turn.w]))
        return pose.fields if is_orientation(pose.quaternion) else np.append(pose.position, np.full(3, np.nan))


Measured = JointStates | ToolPose
MEASURED: dict[str, type[JointStates] | type[ToolPose]] = {JOINT_STATE: JointStates, POSE: ToolPose}


@dataclass(frozen=True)
class Frame(Recorded):
    """One image message, and of joint states and poses those nearest to it in time, as far as the bag has any.

    instruction: the last one when it was recorded; None before the first.
    """

    instruction: str | None = None
    measured: tuple[Measured, ...] = ()

    def picture(self) -> Picture:
        """The image, and why its colours may be others than the camera's; raises ImageError."""
        return read(self.message)

    def pixels(self) -> NDArray[np.uint8]:
        """RGB image [H, W, 3]; raises ImageError."""
        return self.picture().pixels

    def state(self, needed: Sequence[str] = ()) -> State | None:
        """All that was measured as one state, as old as its farthest part; None where the bag has nothing of it.

        Parts that tell nothing of what is `needed` do not make it older. Of a name told twice the pose counts, else
        what is nearest in time.
        """
        parts = sorted(self.measured, key=lambda part: (isinstance(part, ToolPose), -abs(part.stamp - self.stamp)))
        told = {
            name: (value, part.stamp) for part in parts for name, value in zip(part.names, part.values, strict=True)
        }
        if not told:
            return None
        stamps = [told[name][1] for name in needed if name in told] or [stamp for _, stamp in told.values()]
        farthest = max(stamps, key=lambda stamp: abs(stamp - self.stamp))
        return State(tuple(told), np.array([value for value, _ in told.values()]), farthest)
