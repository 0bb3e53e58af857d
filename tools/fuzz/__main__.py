"""`make fuzz`: spoils files of every kind and tells what is not refused, or not taken, as it should be.

    python -m tools.fuzz                                   # 500 of each kind
    python -m tools.fuzz --kind config --seed 17 --count 1 # one of them again

Each finding is written to output/fuzz.jsonl at once; exit status 1 where there is any.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch loads: a process with more threads can't be forked
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")  # no shared memory that an ended process leaves behind

from rich.console import Console

from vla_entropy_ros.evaluation.bringup import environment, free_domain
from vla_entropy_ros.progress import bar

from .kinds import KINDS
from .trial import Bench, Outcome

SHOWN = 160  # characters of what was said


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--kind", action="append", choices=list(KINDS), help="kind of file; may be repeated (default: all)"
    )
    parser.add_argument("--count", type=int, default=500, help="files of each kind (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="number of the first one (default: 0)")
    parser.add_argument("--json", action="store_true", help="print all outcomes as JSON")
    parser.add_argument(
        "--output", type=Path, default=Path("output/fuzz.jsonl"), help="file for the findings, one a line"
    )
    return parser.parse_args()


def run(names: list[str], count: int, first: int, output: Path, console: Console) -> list[Outcome]:
    """Outcomes of `count` trials of each kind; findings are written when they are found."""
    import torch

    torch.set_num_threads(1)
    outcomes: list[Outcome] = []
    folder = Path(tempfile.mkdtemp(prefix="fuzz_"))
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with bar(console, "spoiling files", len(names) * count) as (progress, task), output.open("w") as findings:

            def keep(outcome: Outcome) -> None:
                outcomes.append(outcome)
                if outcome.verdict == "finding":
                    findings.write(json.dumps(outcome.as_dict()) + "\n")
                    findings.flush()

            for name in names:
                bench = Bench(name, KINDS[name], folder)
                for outcome in bench.findings():
                    keep(outcome)
                for seed in range(first, first + count):
                    keep(bench.trial(seed))
                    progress.advance(task)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def report(outcomes: list[Outcome]) -> str:
    """A line about each kind, then its findings: one example for each cause."""
    lines = []
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.kind == kind]
        verdicts = Counter(outcome.verdict for outcome in mine)
        told = ", ".join(f"{verdicts[name]} {name}" for name in ("refused", "equal", "different", "finding"))
        refused = [one for one in mine if one.verdict == "refused"]
        slowest, largest = (
            max((getattr(one, what) for one in refused), default=0.0) for what in ("seconds", "megabytes")
        )
        lines.append(f"{kind}: {len(mine)} files, {told}; refusals within {slowest:.2f} s and {largest:.0f} MB")
        found = [one for one in mine if one.verdict == "finding"]
        for cause, times in Counter(one.cause for one in found).most_common():
            example = next(one for one in found if one.cause == cause)
            lines.append(
                "\n      ".join(
                    (f"  {times} x {cause}", f"{example.subject}/{example.done}", example.said[:SHOWN], example.again)
                )
            )
    return "\n".join(lines)


def main() -> int:
    """Run what the command line asks for; 1 where there is a finding."""
    asked = options()
    os.environ.update(environment(free_domain()))
    outcomes = run(asked.kind or list(KINDS), asked.count, asked.seed, asked.output, Console(stderr=True))
    if asked.json:
        print(json.dumps([outcome.as_dict() for outcome in outcomes], indent=2))
    else:
        print(report(outcomes))
    return int(any(outcome.verdict == "finding" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
