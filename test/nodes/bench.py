"""The inference thread on a bench: a scripted policy, a clock that the test sets, and what was published."""

from __future__ import annotations

import array
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.logging import get_logger
from sensor_msgs.msg import Image

from vla_entropy_ros.engine import Observation, State, Tunables
from vla_entropy_ros.nodes.policy.inference import Inference
from vla_entropy_ros.nodes.policy.orders import Answer, Options
from vla_entropy_ros.nodes.policy.statistics import Statistics

PATIENCE = 5.0
NOW = 1000.0  # seconds, on a clock that the tests set
OPTIONS = Options(Tunables.default(), control_period=0.1, max_observation_age=0.5, default_instruction="")
RECORD = {"visual": 1, "fresh": 1, "reused": 0, "reason": None, "changed": 1, "by_visual": 0, "by_attention": 0}
RECORD |= {"old": 0, "filled": 0, "k_vis": 0, "k_attn": 0, "t": 0, "noise": None, "exposure": None}


@dataclass
class Outcome:
    """A result whose action says which tick it belongs to: only what the thread and the diagnostics look at."""

    actions: np.ndarray
    uncertainty: float | None = 0.25
    timings: Any = field(default_factory=lambda: SimpleNamespace(total=0.01))
    reuse: Any = field(default_factory=lambda: SimpleNamespace(**RECORD, age=np.zeros(1)))
    tokens: Any = ()
    unknown_words: Any = ()


class Scripted:
    """Stands in for the policy: notes every call, and can be held inside `infer` or made to fail."""

    def __init__(self, cameras: int = 1) -> None:
        self.info = SimpleNamespace(cameras=cameras)
        self.runner = SimpleNamespace(kind="graphs")
        self.calls: list[str] = []
        self.observations: list[Observation] = []
        self.tunables: list[Tunables] = []
        self.threads: set[str] = set()
        self.go_on = threading.Event()
        self.go_on.set()
        self.inside = threading.Event()
        self.fault: Exception | None = None
        self.value = 0.5
        self.uncertainty: float | None = 0.25

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)

    def self_test(self) -> None:
        self._note("self_test")

    def warm_up(self) -> None:
        self._note("warm_up")

    def reset(self, reason: str = "new episode") -> None:
        self._note("reset")

    def settle(self) -> None:
        self._note("settle")

    def set_tunables(self, tunables: Tunables) -> None:
        self._note("set_tunables")
        self.tunables.append(tunables)

    def infer(self, observation: Observation) -> Outcome:
        self._note("infer")
        self.observations.append(observation)
        self.inside.set()
        assert self.go_on.wait(PATIENCE)
        if self.fault is not None:
            raise self.fault
        return Outcome(np.full((1, 7), self.value), self.uncertainty)


class Bench:
    """An inference with a scripted policy, a clock, and what it published."""

    def __init__(self, cameras: int = 1) -> None:
        self.policy = Scripted(cameras)
        self.now = NOW
        self.published: list[Answer] = []
        self.observed: list[Answer] = []
        logger: Any = get_logger("bench")
        self.inference = Inference(OPTIONS, lambda: self.now, self.sense, self._publish, self.observed.append, logger)
        self.inference.load(lambda: self.policy)  # type: ignore[arg-type, return-value]

    @property
    def statistics(self) -> Statistics:
        """What the inference says of itself."""
        return self.inference.statistics()

    def sense(self, stamp: float) -> State | None:
        """The robot's state."""
        return None

    def _publish(self, answer: Answer) -> None:
        self.policy.calls.append("publish")
        self.published.append(answer)

    def run(self, instruction: str = "pick up the red cube") -> None:
        """Activate and instruct."""
        self.inference.start()
        self.inference.instruct(instruction)

    def see(
        self,
        stamp: float,
        value: int = 0,
        encoding: str = "mono8",
        frame: str = "",
        size: int = 1,
        camera: int = 0,
        now: float | None = None,
    ) -> None:
        """Offer an image of that time [s]; the clock stands there, too, or at `now`."""
        self.now = stamp if now is None else now
        message = Image(height=size, width=size, step=size, encoding=encoding, data=array.array("B", [value] * size**2))
        message.header.stamp = Time(sec=int(stamp), nanosec=round(stamp % 1 * 1e9))
        message.header.frame_id = frame
        self.inference.intake.offer(message, camera)

    def settle(self) -> None:
        """Wait until the thread has nothing left to do."""
        end = time.monotonic() + PATIENCE
        while (self.inference.intake._newest._item or self.statistics.busy_since) and time.monotonic() < end:
            time.sleep(0.001)
        self.inference._worker.call(lambda: None, PATIENCE)

    def tick(self, stamp: float, **image: Any) -> None:
        """One image, looked at to the end."""
        self.see(stamp, **image)
        self.settle()
