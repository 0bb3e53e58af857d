"""Orders to stop, however they come: emergency stops of any kind of publisher, closed terminals."""

from __future__ import annotations

import random
import signal
import time

from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

from vla_entropy_ros.nodes.common.listen import LATCHED
from vla_entropy_ros.nodes.common.messages import is_stop

from ..rig import STATE, FaultError, Rig
from ..strangers import Stranger
from .base import Fault

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
CLOSED = (signal.SIGHUP, signal.SIGQUIT)  # a terminal that is closed, and Ctrl-\ in it


class LatchedStop(Fault):
    name = "emergency stop latched by a publisher that appears"
    cause = "emergency stop"
    qos = LATCHED
    operator: Stranger | None = None

    def appear(self, rig: Rig) -> Stranger:
        """Let the operator's publisher appear."""
        self.operator = Stranger(rig, "operator", Bool, "emergency_stop", self.qos)
        return self.operator

    def begin(self, rig: Rig) -> float | None:
        operator = self.appear(rig)
        operator.say(Bool(data=True))
        return operator.met()

    def end(self, rig: Rig) -> None:
        if self.operator is not None:
            self.operator.leave()
        rig.release()


class BestEffortStop(LatchedStop):
    name = "emergency stop of a best-effort publisher"
    qos = BEST_EFFORT

    def approach(self, rig: Rig) -> None:
        self.appear(rig).met()

    def begin(self, rig: Rig) -> None:
        assert self.operator is not None
        self.operator.repeat(10.0, lambda: Bool(data=True))


class StopBeforeStart(LatchedStop):
    name = "emergency stop latched before the command node starts"

    def approach(self, rig: Rig) -> None:
        rig.stop_command()
        self.appear(rig).say(Bool(data=True))

    def begin(self, rig: Rig) -> float | None:
        return started(rig)


def started(rig: Rig) -> float:
    """Start the command node so that it moves the arm at once; when it first said something [s, monotonic]."""
    asked = time.monotonic()
    rig.start_command(enabled=True)
    rig.until(lambda: rig.words.spoke(STATE, asked) is not None, "the command node's state")
    return rig.words.spoke(STATE, asked) or asked


class CommandHungUp(Fault):
    name = "command node ended by SIGHUP or SIGQUIT"
    cause = "the node is going"

    def begin(self, rig: Rig) -> None:
        rig.command.signal(random.choice(CLOSED))

    def check(self, rig: Rig) -> None:
        rig.ended(rig.command)

    def end(self, rig: Rig) -> None:
        rig.ended(rig.command)
        rig.start_command()
        rig.enable()


class PolicyHungUp(Fault):
    name = "policy ended by SIGHUP or SIGQUIT"
    cause = "policy says stop"

    def begin(self, rig: Rig) -> None:
        rig.policy.signal(random.choice(CLOSED))

    def check(self, rig: Rig) -> None:
        rig.ended(rig.policy)
        if not is_stop(rig.chunks[-1][1]):
            raise FaultError("the last chunk of a policy that ended is no order to stop")

    def end(self, rig: Rig) -> None:
        rig.ended(rig.policy)
        rig.start_policy()
