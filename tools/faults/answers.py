"""How soon goals are answered."""

from __future__ import annotations

import time
from typing import Any

from std_msgs.msg import String

from .rig import INSTRUCTION, FaultError, Rig, need
from .suite import spread

ANSWERED_WITHIN = 0.1  # seconds


def goal_answers(rig: Rig, count: int) -> dict[str, Any]:
    """Seconds in which a goal is accepted, a second one refused, and the first cancelled, `count` times each."""
    taken: dict[str, list[float]] = {"accepted": [], "refused": [], "cancelled": []}
    need(rig.client.reset())
    for _ in range(count):
        for name, expected, ask in (
            ("accepted", True, lambda: rig.client.run(INSTRUCTION, heartbeat=0.5)),
            ("refused", False, lambda: rig.client.run("push the red cube", heartbeat=0.5)),
            ("cancelled", True, rig.client.cancel),
        ):
            began = time.monotonic()
            answer = ask()
            taken[name].append(time.monotonic() - began)
            if answer.ok is not expected:
                raise FaultError(f"a goal that should be {name}: {answer.words}")
    rig.instructions.publish(String(data=INSTRUCTION))
    rig.moving()
    return {name: spread(values) for name, values in taken.items()}


def late_answers(figures: dict[str, Any]) -> list[str]:
    """Which of the answers took too long."""
    return [
        f"a goal is {name} after {times['max']} s" for name, times in figures.items() if times["max"] > ANSWERED_WITHIN
    ]
