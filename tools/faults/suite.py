"""Runs faults again and again and says what came of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_entropy_ros.nodes.common.messages import seconds

from .rig import FaultError, Rig
from .scenarios import Fault

SAFE_WITHIN = 0.3  # seconds from a fault to the safe command
IN_FLIGHT = 0.5  # seconds: max_observation_age; older images give no action, and no clock jumps by so little


@dataclass
class Figures:
    """What many repetitions of one fault came to: seconds to the safe command and to recovery; what went wrong."""

    name: str
    safe: list[float] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, fault: Fault, rig: Rig) -> None:
        """Run the fault once."""
        try:
            began, safe, recovery = once(fault, rig)
        except FaultError as error:
            self.failures.append(str(error))
            return
        self.safe.append(safe)
        self.recovery.append(recovery)
        if safe > SAFE_WITHIN:
            self.failures.append(f"safe command after {safe:.2f} s; {newest_chunk(rig, began, began + safe)}")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "times": len(self.safe),
            "safe_command_s": spread(self.safe),
            "recovery_s": spread(self.recovery),
            "failures": self.failures,
        }


def once(fault: Fault, rig: Rig) -> tuple[float, float, float]:
    """When the fault began [s], seconds from there to the safe command, and from its end to motion.

    FaultError when a limit was passed.
    """
    fault.prepare(rig)
    rig.moving()
    time.sleep(random.uniform(0.0, 0.3))
    rig.arm.violations.clear()
    fault.approach(rig)
    began = time.monotonic()
    fault.begin(rig)
    observed = rig.now() - IN_FLIGHT
    fault.last(rig)
    ended = time.monotonic()
    safe = seconds_to_safety(rig, began, ended, None if fault.holds else observed)
    fault.end(rig)
    rig.moving()
    recovery = time.monotonic() - ended
    if rig.arm.violations:
        raise FaultError(rig.arm.violations[0])
    return began, safe, recovery


def seconds_to_safety(rig: Rig, began: float, ended: float, observed: float | None) -> float:
    """Seconds from `began` until the arm no longer moved for what came before it.

    With `observed`, a chunk that answers an observation of after that ROS time [s] may move it again.
    """
    fresh = [] if observed is None else rig.answered(began, observed)
    until = min([ended, *fresh])
    return max((sent for sent in rig.arm.moved(began) if sent < until), default=began) - began


def newest_chunk(rig: Rig, began: float, moved: float) -> str:
    """Say what the motion at `moved` [s, monotonic] went back to, in seconds after `began`."""
    heard, chunk = max((pair for pair in rig.chunks if pair[0] <= moved), key=lambda pair: pair[0])
    observed = seconds(chunk.header.stamp) - rig.now() + time.monotonic()
    return f"the newest chunk came after {heard - began:.2f} s, for an image of {observed - began:.2f} s"


def run_faults(kinds: Sequence[type[Fault]], rig: Rig, repeats: int, tell: Callable[[str], None]) -> list[Figures]:
    """Run each fault `repeats` times in one go."""
    results = []
    for kind in kinds:
        figures = Figures(kind.name)
        for _ in range(repeats):
            figures.add(kind(), rig)
        tell(line(figures))
        results.append(figures)
    return results


def line(figures: Figures) -> str:
    """One line about a fault."""
    safe, recovery = spread(figures.safe), spread(figures.recovery)
    text = f"{figures.name}: {len(figures.safe)} times"
    if safe and recovery:
        text += f", safe after {safe['p50']:.2f} s (max {safe['max']:.2f})"
        text += f", in motion again {recovery['p50']:.2f} s later (max {recovery['max']:.2f})"
    return text + "".join(f"\n  FAILED: {failure}" for failure in figures.failures)


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median, 95th percentile and maximum; None without values."""
    if not values:
        return None
    middle, high = np.percentile(values, (50, 95))
    return {"p50": round(float(middle), 4), "p95": round(float(high), 4), "max": round(float(max(values)), 4)}
