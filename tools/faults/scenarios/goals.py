"""What becomes of a goal: cancelled, or left by a client that is killed."""

from __future__ import annotations

import subprocess
import sys

from std_msgs.msg import String

from vla_entropy_ros.client import Until

from ..lost_client import RUNS
from ..rig import INSTRUCTION, PATIENCE, FaultError, Rig, need
from .base import Fault


class GoalCancelled(Fault):
    name = "goal cancelled"
    cause = "policy says stop"
    within = 0.2  # two control periods

    def prepare(self, rig: Rig) -> None:
        need(rig.client.run(INSTRUCTION, timeout=0.0, heartbeat=0.0))

    def begin(self, rig: Rig) -> None:
        need(rig.client.cancel())

    def end(self, rig: Rig) -> None:
        rig.instructions.publish(String(data=INSTRUCTION))


class ClientKilled(GoalCancelled):
    name = "client of a goal killed, which asked for a heartbeat"
    cause = "client is lost"
    within = 1.0
    _client: subprocess.Popen[str] | None = None

    def prepare(self, rig: Rig) -> None:
        command = [sys.executable, "-m", "tools.faults.lost_client", INSTRUCTION]
        self._client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._client.stdout is not None
        if (said := self._client.stdout.readline().strip()) != RUNS:
            raise FaultError(f"no goal runs: {said}")

    def begin(self, rig: Rig) -> None:
        assert self._client is not None
        self._client.kill()

    def end(self, rig: Rig) -> None:
        if self._client is not None:
            self._client.kill()
            self._client.wait(PATIENCE)
        super().end(rig)


class GoalFulfilled(GoalCancelled):
    name = "goal that is done while the arm moves"

    def prepare(self, rig: Rig) -> None:
        need(rig.client.run(INSTRUCTION, timeout=0.0, until=Until.topic("done"), heartbeat=0.0))

    def approach(self, rig: Rig) -> None:
        rig.until(rig.done.get_subscription_count, "a listener of 'done'")
        rig.say_done(False)

    def begin(self, rig: Rig) -> None:
        rig.say_done(True)
