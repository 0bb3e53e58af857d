"""`make faults`: every fault again and again, nonsense on every topic, a long run; figures on screen and as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from vla_entropy_ros.evaluation.bringup import environment, free_domain
from vla_entropy_ros.resources import SMALL_POLICY

from ..random_policy import write_random_policy
from .answers import goal_answers, late_answers
from .cost import costs
from .fuzz import COMMAND, JOINTED, POLICY, fuzz
from .rig import STANDS, FaultError, Rig
from .scenarios import FAULTS, Fault
from .soak import SET_WITHIN, parameter_times, soak, soak_failures
from .suite import run_faults


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="make faults ARGS=...", description=__doc__)
    parser.add_argument("--repeats", type=int, default=20, help="times each fault happens (default: 20)")
    parser.add_argument("--only", action="append", default=[], help="part of a fault's name; may be repeated")
    parser.add_argument("--fuzz", type=int, default=1000, help="messages per subscription (default: 1000)")
    parser.add_argument(
        "--sets", type=int, default=200, help="parameter sets to time, a tenth as many goals (default: 200)"
    )
    parser.add_argument("--soak", type=float, default=1800.0, help="seconds of the long run, 0: none (default: 1800)")
    parser.add_argument("--cost", type=int, default=2000, help="ticks of the command node to time (default: 2000)")
    parser.add_argument("--output", type=Path, default=Path("output/faults.json"), help="file for the figures")
    return parser.parse_args()


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def faults(chosen: list[type[Fault]], repeats: int, folder: Path, settings: dict[str, str]) -> dict[str, Any]:
    """Figures of the chosen faults, by name."""
    checkpoint = str(write_random_policy(folder / "random_policy"))
    figures: dict[str, Any] = {}
    for stand, values in STANDS.items():
        kinds = [kind for kind in chosen if kind.stand == stand]
        if not kinds or repeats == 0:
            continue
        with Rig(folder / f"faults_{stand.split()[0]}", settings, checkpoint, **values) as rig:
            figures |= {one.name: one.as_dict() for one in run_faults(kinds, rig, repeats, say)}
    return figures


def nonsense(count: int, folder: Path, settings: dict[str, str]) -> dict[str, Any]:
    """Send the fuzzed messages; what came of them."""
    checkpoint = str(write_random_policy(folder / "random_policy"))
    with Rig(folder / "fuzz", settings, checkpoint) as rig:
        figures = fuzz(rig, {**POLICY, **COMMAND}, count)
    with Rig(folder / "fuzz_joints", settings, checkpoint, command_type="joint_trajectory") as rig:
        joints = fuzz(rig, JOINTED, count)
    say(f"nonsense: {figures}; to an arm with joints: {joints}")
    return {"sent": {**figures["sent"], **joints["sent"]}, "moves": figures["moves"] + joints["moves"]}


def endurance(sets: int, seconds: float, folder: Path, settings: dict[str, str]) -> dict[str, Any]:
    """Time parameter sets and the long run, with the small policy that is shipped."""
    with Rig(folder / "soak", settings, SMALL_POLICY) as rig:
        figures: dict[str, Any] = {}
        if sets:
            figures["goal_answers_s"] = goal_answers(rig, max(sets // 10, 1))
            say(f"goals are answered within: {figures['goal_answers_s']}")
            figures["parameter_set_s"] = parameter_times(rig, sets)
            say(f"parameter set while the policy ticks: {figures['parameter_set_s']}")
        if seconds:
            figures["soak"] = soak(rig, seconds)
            say(f"long run: {figures['soak']}")
    return figures


def failures(figures: dict[str, Any]) -> list[str]:
    """Everything that does not hold."""
    found = [f"{name}: {text}" for name, fault in figures["faults"].items() for text in fault["failures"]]
    if figures.get("fuzz", {}).get("moves"):
        found.append(f"nonsense moved the arm {figures['fuzz']['moves']} times")
    times = figures.get("parameter_set_s")
    if times and times["p50"] > SET_WITHIN:
        found.append(f"a parameter set takes {times['p50']} s")
    found += late_answers(figures.get("goal_answers_s", {}))
    return found + (soak_failures(figures["soak"]) if "soak" in figures else [])


def main() -> int:
    """Run what the command line asks for; 1 where something does not hold, 2 where no such fault is known."""
    asked = options()
    chosen = [kind for kind in FAULTS if not asked.only or any(part in kind.name for part in asked.only)]
    if not chosen:
        say(f"no such fault: valid are parts of {', '.join(kind.name for kind in FAULTS)}")
        return 2
    settings = environment(free_domain())
    os.environ.update(settings)
    folder = Path(tempfile.mkdtemp(prefix="faults_"))
    try:
        figures: dict[str, Any] = {"faults": faults(chosen, asked.repeats, folder, settings)}
        if asked.fuzz:
            figures["fuzz"] = nonsense(asked.fuzz, folder, settings)
        if asked.cost:
            figures["tick_cost"] = costs(asked.cost)
            say(f"a tick of the command node: {figures['tick_cost']}")
        if asked.sets or asked.soak:
            figures |= endurance(asked.sets, asked.soak, folder, settings)
    except FaultError as error:
        say(f"FAILED: {error}; logs in {folder}")
        return 1
    figures["failures"] = failures(figures)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(figures, indent=2) + "\n")
    say("\n".join(figures["failures"]) or "all of it holds")
    say(f"{asked.output}; logs in {folder}")
    return 1 if figures["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
