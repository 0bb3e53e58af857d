"""What real-time habits bring to a tick: response times with and without them, on a quiet and on a busy machine.

python -m tools.realtime                 # 2000 ticks a cell, some ten minutes; as root, or with the limits of
python -m tools.realtime --ticks 200     # docs/how-to/realtime.md

The shipped policy with its defaults replays the shipped bag in a thread, on one thread of torch. A tick is due `PAUSE`
after the one before; its response time goes from there to the action, so a late wake-up counts. Blocks of all cells
take turns. Busy: a process per core that computes without end. A node and its executor are not part of it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_entropy_ros.bags.bag import Bag
from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.evaluation.about import processor
from vla_entropy_ros.nodes.common import realtime
from vla_entropy_ros.nodes.common.realtime import Realtime, RefusedError
from vla_entropy_ros.resources import default_checkpoint, share_path

BLOCK = 50  # ticks
PAUSE = 0.002  # seconds between two ticks: a share of the core above the 5 % that the kernel keeps from SCHED_FIFO
PERIOD = 0.1  # seconds between two images, as stamped
PERCENTILES = (50, 95, 99, 99.9, 100)
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(1000))"  # it must not outlive us
INSTRUCTION = "pick up the red cube"


class Replay:
    """The policy, tick by tick, back and forth through the bag."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.policy = Policy.load(default_checkpoint())
        self.policy.warm_up()
        with Bag(share_path("bags/pick_red")) as bag:
            images = [frame.pixels() for frame in bag.frames()]
        self._images = images + images[-2:0:-1]
        self._tick = 0

    def block(self, ticks: int) -> list[float]:
        """Response times [s] of so many ticks."""
        taken = []
        for _ in range(ticks):
            image = self._images[self._tick % len(self._images)]
            seen = Observation((image,), INSTRUCTION, PERIOD * self._tick)
            due = time.perf_counter() + PAUSE
            time.sleep(PAUSE)
            self.policy.infer(seen)
            taken.append(time.perf_counter() - due)
            self.policy.settle()
            self._tick += 1
        return taken


@contextmanager
def held(asked: Realtime) -> Iterator[None]:
    """Habits of the calling thread for a while; RefusedError where the system does not allow them."""
    cores = os.sched_getaffinity(0)
    try:
        if asked.cores:
            realtime.bind(asked.cores)
        if asked.lock_memory:
            realtime.lock_memory()
        if asked.priority:
            realtime.prioritise(asked.priority)
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, cores)
        ctypes.CDLL(None).munlockall()


@contextmanager
def neighbours(number: int) -> Iterator[None]:
    """So many busy processes for a while."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def cells(core: int, priority: int) -> dict[str, Realtime]:
    """What is compared, by name."""
    cores, bound = frozenset({core}), Realtime(frozenset({core}))
    return {
        "nothing": Realtime(),
        "cores": bound,
        "priority": Realtime(priority=priority),
        "cores, priority": replace(bound, priority=priority),
        "lock_memory": Realtime(lock_memory=True),
        "all": Realtime(cores, priority, lock_memory=True),
    }


def measure(replay: Replay, habits: dict[str, Realtime], ticks: int, busy: int) -> dict[str, list[float]]:
    """Response times [s] by habit, in turns, beside so many busy neighbours; without those that are refused."""
    taken: dict[str, list[float]] = {name: [] for name in habits}
    with neighbours(busy):
        replay.block(BLOCK)
        for turn in range(ticks // BLOCK):
            names = list(taken) if turn % 2 else list(reversed(taken))  # what precedes a block must not be the same
            for name in names:
                try:
                    with held(habits[name]):
                        taken[name] += replay.block(BLOCK)
                except RefusedError as error:
                    print(f"{name} is left out: {error}", flush=True)
                    del taken[name]
    return taken


def run(asked: argparse.Namespace, found: dict[str, Any]) -> None:
    """Measure everything on the calling thread, into `found`."""
    replay, cores = Replay(), sorted(os.sched_getaffinity(0))
    habits = cells(cores[-1], asked.priority)
    found["machine"] = {"processor": processor(), "cores": len(cores), "kernel": platform.release()}
    found["torch"], found["core"], found["priority"] = torch.__version__, cores[-1], asked.priority
    for where, busy in (("quiet", 0), (f"{len(cores)} busy neighbours", len(cores))):
        for name, taken in measure(replay, habits, asked.ticks, busy).items():
            cell = [round(1e3 * float(one), 2) for one in np.percentile(taken, PERCENTILES)]
            found["cells"].append({"machine": where, "habits": name, "ticks": len(taken), "milliseconds": cell})
        # Above 1, or 1 and the neighbours: others worked, too
        found["load"][where] = [round(one, 1) for one in os.getloadavg()]
        asked.output.parent.mkdir(parents=True, exist_ok=True)
        asked.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def table(found: dict[str, Any]) -> str:
    """The cells as a table."""
    names = [f"p{one:g}" if one < 100 else "max" for one in PERCENTILES]
    lines = [f"| machine | habits | ticks | {' | '.join(names)} |", "|---|---|---|" + "---|" * len(names)]
    for cell in found["cells"]:
        numbers = " | ".join(f"{one:.1f}" for one in cell["milliseconds"])
        lines.append(f"| {cell['machine']} | {cell['habits']} | {cell['ticks']} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=2000, help="ticks a cell")
    parser.add_argument("--priority", type=int, default=50)
    parser.add_argument("--output", type=Path, default=Path("output/realtime.json"))
    asked = parser.parse_args()
    found: dict[str, Any] = {"percentiles": list(PERCENTILES), "load": {}, "cells": []}
    thread = threading.Thread(target=run, args=(asked, found))  # the process's first one waits, as an executor does
    thread.start()
    thread.join()
    print(f"{found['machine']}, load over 1, 5 and 15 minutes: {found['load']}\n{table(found)}")


if __name__ == "__main__":
    main()
