"""Runs faults again and again and says what came of them."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_entropy_ros.nodes.common.messages import seconds

from .rig import POLL, STATE, FaultError, Rig
from .scenarios import Fault

NAMED_WITHIN = 1.0  # seconds from a fault to the words that name it
NAMED_PATIENCE = 2.5  # seconds: what comes late is measured, too
LAG = 0.05  # seconds that this process may hear a chunk later than the command node, which stamps what it sends
IN_FLIGHT = 0.5  # seconds: max_observation_age; older images give no action, and no clock jumps by so little


@dataclass(frozen=True)
class Outcome:
    """What one repetition of a fault came to.

    began: when, on the monotonic clock [s]; safe, named: seconds from there to the safe command and to the words that
    name the cause, None where there was nothing to name; recovery: seconds from its end to motion.
    """

    began: float
    safe: float
    named: float | None
    recovery: float


@dataclass
class Figures:
    """What many repetitions of one fault came to, in seconds; what went wrong."""

    name: str
    safe: list[float] = field(default_factory=list)
    named: list[float] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, fault: Fault, rig: Rig) -> None:
        """Run the fault once."""
        try:
            outcome = once(fault, rig)
        except FaultError as error:
            self.failures.append(str(error))
            return
        self.safe.append(outcome.safe)
        self.recovery.append(outcome.recovery)
        if outcome.safe > fault.within:
            began, moved = outcome.began, outcome.began + outcome.safe
            self.failures.append(f"safe command after {outcome.safe:.2f} s; {newest_chunk(rig, began, moved)}")
        if outcome.named is not None:
            self.named.append(outcome.named)
            if outcome.named > NAMED_WITHIN:
                self.failures.append(f"the cause is named after {outcome.named:.2f} s")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "times": len(self.safe),
            "safe_command_s": spread(self.safe),
            "named_s": spread(self.named),
            "recovery_s": spread(self.recovery),
            "failures": self.failures,
        }


def once(fault: Fault, rig: Rig) -> Outcome:
    """Run the fault once; FaultError when a limit was passed, or the cause was not named."""
    fault.prepare(rig)
    rig.start_over()
    rig.moving()
    time.sleep(random.uniform(0.0, 0.3))
    rig.arm.violations.clear()
    try:
        began, ended, safe, named = suffer(fault, rig)
    except FaultError:
        with contextlib.suppress(FaultError):
            fault.end(rig)
        raise
    fault.end(rig)
    rig.moving()
    recovery = time.monotonic() - ended
    if rig.arm.violations:
        raise FaultError(rig.arm.violations[0])
    return Outcome(began, safe, named, recovery)


def suffer(fault: Fault, rig: Rig) -> tuple[float, float, float, float | None]:
    """When the fault began and when it may end [s, monotonic], and the seconds to safety and to a name for it."""
    fault.approach(rig)
    asked = time.monotonic()
    began = fault.begin(rig) or asked
    observed = rig.now() - IN_FLIGHT
    fault.last(rig)
    named = seconds_to_a_name(fault, rig, asked, began)
    ended = time.monotonic()
    safe = seconds_to_safety(rig, began, ended, None if fault.holds else observed)
    if fault.holds and not rig.arm.targets[-1].still:
        raise FaultError(f"the last command asks for motion: {rig.arm.targets[-1].pose.position.round(4).tolist()}")
    fault.check(rig)
    return began, ended, safe, named


def seconds_to_a_name(fault: Fault, rig: Rig, asked: float, began: float) -> float | None:
    """Seconds from `began` [s] until somebody named the cause; None where an arm that went on has none to name."""
    if fault.unnoticed and set(rig.words.said(STATE, asked)) <= {"tracking"}:
        return None
    while (heard := rig.words.naming(fault.cause, asked)) is None and time.monotonic() < began + NAMED_PATIENCE:
        time.sleep(POLL)
    if heard is None:
        raise FaultError(f"nothing names the cause ('{fault.cause}'): {rig.words.told(asked)}")
    return max(heard - began, 0.0)


def seconds_to_safety(rig: Rig, began: float, ended: float, observed: float | None) -> float:
    """Seconds from `began` until the arm no longer moved for what came before it.

    With `observed`, a chunk that answers an observation of after that ROS time [s] may move it again.
    """
    fresh = [] if observed is None else rig.answered(began, observed)
    until = min([ended, *(heard - LAG for heard in fresh)])
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
    text = f"{figures.name}: {len(figures.safe)} times"
    for values, said in (
        (figures.safe, "safe after"),
        (figures.named, "named after"),
        (figures.recovery, "in motion again after"),
    ):
        if (found := spread(values)) is not None:
            text += f", {said} {found['p50']:.2f} s (max {found['max']:.2f})"
    return text + "".join(f"\n  FAILED: {failure}" for failure in figures.failures)


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median, 95th percentile and maximum; None without values."""
    if not values:
        return None
    middle, high = np.percentile(values, (50, 95))
    return {"p50": round(float(middle), 4), "p95": round(float(high), 4), "max": round(float(max(values)), 4)}
