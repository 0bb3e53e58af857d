"""How time passes between what a camera sees and the motion that answers it."""

from __future__ import annotations

from dataclasses import dataclass

from ..sim.environment import CONTROL_STEP
from .latency import Drawn, Latency

SLACK = 1e-6  # seconds: times are sums of steps


@dataclass(frozen=True)
class Timing:
    """The world of one episode goes on while the policy thinks.

    latency: of an answer; camera_rate [Hz]; transport: of a picture to the policy [s]; period: seconds an action lasts.
    """

    latency: Latency
    camera_rate: float
    transport: float
    period: float

    @property
    def label(self) -> str:
        """What it was asked for with, in one line."""
        way = f", {self.transport * 1e3:.12g} ms on the way" if self.transport else ""
        return f"live {self.latency.label}, {self.camera_rate:.12g} Hz{way}, actions of {self.period:.12g} s"


def lock_step(period: float) -> Timing:
    """A picture every period, and an answer at the next command: nothing depends on the machine's speed."""
    return Timing(Drawn("lock-step", (CONTROL_STEP,)), 1.0 / period, 0.0, period)
