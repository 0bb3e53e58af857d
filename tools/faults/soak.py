"""Long runs and floods of questions: memory, threads, tick times, and how soon a parameter is set meanwhile."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from vla_entropy_ros.nodes.common.messages import is_stop, seconds

from .rig import Rig
from .suite import spread

SAMPLE_EVERY = 2.0  # seconds
WARM_UP = 0.2  # of the whole, at most LONG_ENOUGH
LONG_ENOUGH = 120.0  # seconds
PERIOD = 0.1  # seconds: control_period
GROWTH = 5.0  # MB of memory that a node may gain after its warm-up
TAIL = 2.0  # p99 over p50 of the tick
SET_WITHIN = 0.02  # seconds, the median
PAGE = os.sysconf("SC_PAGE_SIZE")


def memory(pid: int) -> float:
    """Resident memory of a process [MB]."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def threads(pid: int) -> int:
    """Threads of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def soak(rig: Rig, duration: float) -> dict[str, Any]:
    """Let everything run for `duration` seconds and compare the end with the state after the warm-up."""
    rig.moving()
    pids = {"policy": rig.policy.process.pid, "command": rig.command.process.pid}
    samples: dict[str, list[tuple[float, int]]] = {name: [] for name in pids}
    warm = min(WARM_UP * duration, LONG_ENOUGH)
    end, warm_end = time.monotonic() + duration, time.monotonic() + warm
    first_tick = first_chunk = 0
    while time.monotonic() < end:
        if time.monotonic() < warm_end:
            first_tick, first_chunk = len(rig.totals), len(rig.chunks)
        else:
            for name, pid in pids.items():
                samples[name].append((memory(pid), threads(pid)))
        del rig.arm.targets[:-100]  # so that this process stays small, too
        rig.until(lambda: True, "the command node")
        time.sleep(min(SAMPLE_EVERY, duration / 20))
    totals = np.array(rig.totals[first_tick:])
    stamps = np.array([seconds(chunk.header.stamp) for _, chunk in rig.chunks[first_chunk:] if not is_stop(chunk)])
    shown = np.array(rig.camera.shown)
    return {
        "duration_s": duration,
        "nodes": {name: growth(values) for name, values in samples.items()},
        "ticks": len(totals),
        "tick_s": spread(totals.tolist()),
        "tick_p99_over_p50": round(float(np.percentile(totals, 99) / np.median(totals)), 3),
        "ticks_missed": missed(stamps, totals, shown),
        "camera_gap_max_s": round(float(np.diff(shown[shown >= stamps[0]]).max()), 4),
        "violations": rig.arm.violations,
    }


def growth(samples: list[tuple[float, int]]) -> dict[str, float]:
    """Memory [MB] and threads at the beginning and at the end, medians of a tenth each."""
    tenth = max(1, len(samples) // 10)
    first, last = np.median(samples[:tenth], axis=0), np.median(samples[-tenth:], axis=0)
    return {
        "memory_mb": round(float(last[0]), 2),
        "memory_growth_mb": round(float(last[0] - first[0]), 2),
        "threads": int(last[1]),
        "thread_growth": int(last[1] - first[1]),
    }


def missed(stamps: np.ndarray, totals: np.ndarray, shown: np.ndarray) -> int:
    """Control periods without a tick, beyond those that the policy itself needed and those without an image.

    stamps [n]: of the observations that were answered; shown [m]: of all images, in which a busy machine leaves holes.
    """
    own = np.ceil(float(np.percentile(totals, 99)) / PERIOD) * PERIOD
    due = np.searchsorted(shown, stamps[:-1] + own - PERIOD / 4)  # the image after which the next tick is due
    following = shown[np.minimum(due, len(shown) - 1)]
    return int((stamps[1:] > np.maximum(stamps[:-1] + own, following) + PERIOD / 2).sum())


def soak_failures(figures: dict[str, Any]) -> list[str]:
    """List what does not hold."""
    failures = [f"{figures['ticks_missed']} ticks missed"] if figures["ticks_missed"] else []
    for name, node in figures["nodes"].items():
        if node["memory_growth_mb"] >= GROWTH:
            failures.append(f"{name} grew by {node['memory_growth_mb']} MB")
        if node["thread_growth"] > 0:
            failures.append(f"{name} gained {node['thread_growth']} threads")
    if figures["tick_p99_over_p50"] >= TAIL:
        failures.append(f"p99 / p50 of the tick is {figures['tick_p99_over_p50']}")
    return failures + figures["violations"][:1]


def _note(times: list[float], _: object) -> None:
    times.append(time.perf_counter())


def parameter_times(rig: Rig, count: int) -> dict[str, float] | None:
    """Seconds until `count` settings of a parameter were answered, while the policy ticks."""
    rig.moving()
    client: Any = rig.node.create_client(SetParameters, "policy/set_parameters")
    rig.until(client.service_is_ready, "the parameters")
    times = []
    for number in range(count):
        parameter = Parameter("T", value=100 + number % 2).to_parameter_msg()
        answered: list[float] = []
        began = time.perf_counter()
        future = client.call_async(SetParameters.Request(parameters=[parameter]))
        future.add_done_callback(partial(_note, answered))
        rig.until(partial(bool, answered), "an answer")
        times.append(answered[0] - began)
        time.sleep(0.013)  # another phase of the tick each time
    rig.node.destroy_client(client)
    return spread(times)
