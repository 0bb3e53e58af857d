"""What is said and is not so: a second driver, a second policy, encoders that jump, descriptions of no robot."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.control import Pose
from vla_entropy_ros.control.chunk import ACTION_NAMES
from vla_entropy_ros.nodes.common.messages import chunk_from, chunk_message, is_stop, pose_message

from ..peers import JOINTS, JointedArm, joint_state, time_message
from ..rig import Rig
from ..strangers import Stranger
from .base import Fault
from .stops import started

AWAY = 0.28  # metres between two measured states
GLITCH = {"poses": 0.3, "joints": 0.5}  # metres; radians or metres
RATE = 10.0  # hertz
FORGOTTEN = 1.5  # seconds after which a policy that was killed counts as a second one no more
UNSOUND = ({"velocity": "nan"}, {"lower": "0.5", "upper": "-0.5"}, {"velocity": "-2"}, {"upper": "inf"})


class SecondPose(Fault):
    name = "second publisher of current_pose, 28 cm away"
    cause = "jump|publishers"
    other: Stranger | None = None

    def begin(self, rig: Rig) -> float | None:
        self.other = self.appear(rig)
        began = self.other.met()
        self.other.repeat(RATE, self.saying(rig))
        return began

    def appear(self, rig: Rig) -> Stranger:
        """Let the other one appear."""
        return Stranger(rig, "another_driver", PoseStamped, "current_pose")

    def saying(self, rig: Rig) -> Callable[[], Any]:
        """What the other one says."""
        pose = rig.arm.pose
        away = Pose(pose.position + np.array([0.0, AWAY if pose.position[1] < 0 else -AWAY, 0.0]), pose.quaternion)
        return lambda: pose_message(away, time_message(rig.now()), "base_link")

    def end(self, rig: Rig) -> None:
        if self.other is not None:
            self.other.leave()


class SecondJoints(SecondPose):
    name = "second publisher of joint_states, all zero"
    stand = "joints"

    def appear(self, rig: Rig) -> Stranger:
        """Let a driver appear that knows of no joint yet."""
        return Stranger(rig, "another_driver", JointState, "joint_states")

    def saying(self, rig: Rig) -> Callable[[], Any]:
        """Zeros."""
        return lambda: joint_state(np.zeros(len(JOINTS)), rig.now())


class SecondPolicy(SecondPose):
    name = "second policy with opposite actions"
    cause = "publishers|policies"

    def appear(self, rig: Rig) -> Stranger:
        """Let another policy appear."""
        return Stranger(rig, "another_policy", JointTrajectory, "action_chunk")

    def saying(self, rig: Rig) -> Callable[[], Any]:
        """The opposite of what the policy said."""
        actions = chunk_from(next(chunk for _, chunk in reversed(rig.chunks) if not is_stop(chunk))).actions
        return lambda: chunk(actions * np.array([-1.0] * 6 + [1.0]), rig, "base_link")


class AllRefused(SecondPolicy):
    name = "policy in another frame: every chunk is refused"
    cause = "refused"

    def approach(self, rig: Rig) -> None:
        rig.policy.process.kill()
        time.sleep(FORGOTTEN)

    def saying(self, rig: Rig) -> Callable[[], Any]:
        """Something in another frame."""
        return lambda: chunk(np.full((1, 7), 0.02), rig, "map")

    def end(self, rig: Rig) -> None:
        super().end(rig)
        rig.start_policy()


def chunk(actions: Any, rig: Rig, frame: str) -> JointTrajectory:
    """Make a chunk that answers an observation of now."""
    return chunk_message(actions, ACTION_NAMES, 1.0 / RATE, time_message(rig.now()), frame)


class JumpedPose(Fault):
    name = "measured pose jumps by 0.3 m"
    cause = "jump"

    def begin(self, rig: Rig) -> None:
        direction = np.array([random.gauss(0, 1) for _ in range(3)])
        rig.arm.lie = GLITCH[self.stand] * direction / np.linalg.norm(direction)

    def end(self, rig: Rig) -> None:
        rig.arm.lie = None


class JumpedJoint(JumpedPose):
    name = "a measured joint jumps by 0.5 rad"
    stand = "joints"

    def begin(self, rig: Rig) -> None:
        lie = np.zeros(len(JOINTS))
        number = random.randrange(len(JOINTS))
        lie[number] = random.choice((-1, 1)) * GLITCH[self.stand]
        self.cause = f"'{JOINTS[number]}' jump"
        rig.arm.lie = lie


class UnsoundDescription(Fault):
    name = "NaN in a new robot description"
    stand = "joints"
    holds = False  # the sound one may go on serving

    def describe(self, rig: Rig) -> None:
        """Publish a description with one joint that can't be."""
        name = random.choice(JOINTS)
        self.cause = f"joint '{name}'"
        assert isinstance(rig.arm, JointedArm)
        rig.arm.describe(unsound(rig.arm.description, name))

    def begin(self, rig: Rig) -> float | None:
        self.describe(rig)
        return None

    def end(self, rig: Rig) -> None:
        assert isinstance(rig.arm, JointedArm)
        rig.arm.describe(rig.arm.description)


class UnsoundFromStart(UnsoundDescription):
    name = "NaN in the robot description when the command node starts"
    holds = True

    def approach(self, rig: Rig) -> None:
        rig.stop_command()
        self.describe(rig)

    def begin(self, rig: Rig) -> float | None:
        return started(rig)


def unsound(description: str, joint: str) -> str:
    """Description with a limit of that joint that can't be."""
    root = ElementTree.fromstring(description)
    limit = root.find(f"joint[@name='{joint}']/limit")
    assert limit is not None
    limit.attrib.update(random.choice(UNSOUND))
    return ElementTree.tostring(root, encoding="unicode")
