"""What breaks around the nodes: processes, cameras, clocks, floods of orders, transitions."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_msgs.msg import String

from vla_entropy_ros.nodes.policy.settings import POLICY_SETTINGS
from vla_entropy_ros.settings import Setting, default_settings

from ..rig import INSTRUCTION, Rig
from .base import LASTS, STALE, Fault

UNRELATED = ("checkpoint", "default_instruction")  # of the policy's settings


class PolicyKilled(Fault):
    name = "policy process killed"
    cause = STALE

    def begin(self, rig: Rig) -> None:
        rig.policy.process.kill()

    def end(self, rig: Rig) -> None:
        rig.start_policy()


class CameraStopped(Fault):
    name = "camera stopped"
    cause = STALE

    def begin(self, rig: Rig) -> None:
        rig.camera.repeater.running.clear()

    def end(self, rig: Rig) -> None:
        rig.camera.repeater.running.set()


class PolicyStalled(CameraStopped):
    name = "camera stopped while the policy stalls"

    def approach(self, rig: Rig) -> None:
        """One more image is due when the policy goes on."""
        rig.policy.signal(signal.SIGSTOP)
        time.sleep(random.uniform(0.05, 0.1))

    def last(self, rig: Rig) -> None:
        """What the policy still makes of the last image comes late."""
        time.sleep(random.uniform(0.05, LASTS / 2))
        rig.policy.signal(signal.SIGCONT)
        super().last(rig)


class CameraResized(CameraStopped):
    name = "camera restarted at another size"

    def end(self, rig: Rig) -> None:
        rig.camera.size = 96 if rig.camera.size == 112 else 112
        super().end(rig)


class GarbageImages(Fault):
    name = "garbage and truncated JPEG"
    cause = STALE

    def begin(self, rig: Rig) -> None:
        spoils: tuple[Callable[[bytes], bytes], ...] = (
            lambda _: random.randbytes(random.randrange(2000)),
            lambda data: data[: random.randrange(20)],
            lambda data: data[:2] + random.randbytes(len(data)),
            lambda _: b"",
        )
        rig.camera.spoil = lambda data: random.choice(spoils)(data)

    def end(self, rig: Rig) -> None:
        rig.camera.spoil = None


class ClockJump(Fault):
    name = "clock jump"
    holds = False
    stand = "simulated time"
    unnoticed = True
    cause = "time|clock|jump|waiting for a chunk"

    def begin(self, rig: Rig) -> None:
        rig.jump(random.choice((-1, 1)) * random.uniform(3.0, 300.0))

    def end(self, rig: Rig) -> None:
        """Time goes on from there."""


class InstructionFlood(Fault):
    name = "instruction flood at 100 Hz"
    unnoticed = True
    cause = "policy says stop|instruction"
    holds = False

    def begin(self, rig: Rig) -> None:
        """The flood comes while it lasts."""

    def last(self, rig: Rig) -> None:
        until = time.monotonic() + LASTS
        while time.monotonic() < until:
            text = random.choice(("pick up the red cube", "put it down", "", "x" * 5000, "\u2603 \0"))
            rig.instructions.publish(String(data=text))
            time.sleep(0.01)

    def end(self, rig: Rig) -> None:
        rig.instructions.publish(String(data=INSTRUCTION))


class ParameterFlood(Fault):
    name = "parameter flood"
    unnoticed = True
    cause = f"{STALE}|policy says stop|held"
    holds = False

    def prepare(self, rig: Rig) -> None:
        self._settings = [s for s in POLICY_SETTINGS if not s.read_only and s.name not in UNRELATED]
        self._client: Any = rig.node.create_client(SetParameters, "policy/set_parameters")
        rig.until(self._client.service_is_ready, "the parameters")

    def begin(self, rig: Rig) -> None:
        """The flood comes while it lasts."""

    def last(self, rig: Rig) -> None:
        until = time.monotonic() + LASTS
        while time.monotonic() < until:
            setting = random.choice(self._settings)
            parameter = Parameter(setting.name, value=_any_value(setting)).to_parameter_msg()
            self._client.call_async(SetParameters.Request(parameters=[parameter]))  # some are lost: queues are finite
            time.sleep(0.005)
        rig.node.destroy_client(self._client)

    def end(self, rig: Rig) -> None:
        values = {**default_settings("policy"), **rig.budgets}
        rig.set_parameters("policy", {setting.name: values[setting.name] for setting in self._settings})


class PeerRestarted(Fault):
    name = "DDS peer restarted"
    cause = STALE

    def begin(self, rig: Rig) -> None:
        rig.camera.leave()

    def end(self, rig: Rig) -> None:
        rig.camera.join()


class LifecycleWalk(Fault):
    name = "lifecycle transitions in random order"
    cause = "policy says stop"
    walk = (
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
    )

    def prepare(self, rig: Rig) -> None:
        for _ in range(random.randrange(8)):
            rig.change(random.choice(self.walk))  # most are refused
        rig.bring_up()

    def begin(self, rig: Rig) -> None:
        rig.change(Transition.TRANSITION_DEACTIVATE)

    def last(self, rig: Rig) -> None:
        if random.random() < 0.5:
            rig.change(Transition.TRANSITION_CLEANUP)
        super().last(rig)

    def end(self, rig: Rig) -> None:
        rig.bring_up()


def _any_value(setting: Setting) -> Any:
    """Draw a value of the setting's type, often a valid one."""
    if setting.choices:
        return random.choice((*setting.choices, "nonsense"))
    if setting.kind == "bool":
        return random.random() < 0.5
    if setting.kind == "str":
        return "nonsense"
    low, high = float(setting.low or 0.0), float(setting.high or 0.0)
    value = random.uniform(low - 0.1 * (high - low), high + 0.1 * (high - low))
    return value if setting.kind == "float" else round(value)
