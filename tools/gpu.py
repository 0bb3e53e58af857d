"""On a machine with an NVIDIA GPU: does it compute what the CPU does, the tests that need one, then the benchmark.

    python3 tools/gpu.py --output FOLDER           # ten minutes at most: check.json, tests.json, gpu.json, pictures
    python3 tools/gpu.py --output FOLDER --train   # the small policy instead, as long; goes on where it stopped

What is there is whole at every moment. Exit status 1 if a captured graph computes something else, if a test fails, or
if one is skipped for want of CUDA; 124 if time ran out. Needs torch for CUDA, numpy, OpenCV, pillow, PyYAML, click,
rich, safetensors, tokenizers, transformers, matplotlib, lz4 and backports.zstd, for the tests pytest and hypothesis, to
train mujoco. Runs from a checkout, with whichever Python has these, and installs nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 580.0  # seconds for everything
CHECK_LIMIT, TESTS_LIMIT = 90.0, 200.0  # of it; the benchmark takes the rest
TESTS = ("test/engine/test_graphs.py", "test/kernels/test_fused_kernels.py")
CHOSEN = "cuda or kernel or device_memory"
ON_CUDA = "VLA_ENTROPY_ROS_TESTS_ON_CUDA"  # set: tests of kernels run there or not at all
COMMAND = "from vla_entropy_ros.cli import main; main()"
CHECK = "vla_entropy_ros.bench.gpu.across"
RUN = ROOT / "output" / "train-gpu"  # of --train: demonstrations stay here
TRAINED = ("policy.pt", "log.jsonl", "checkpoint")  # of its files, what is copied


def run_step(title: str, command: list[str], limit: float) -> int:
    """Run one step from the root of the checkout; returns its exit status, 124 where it took too long."""
    began = time.monotonic()
    print(f"== {title}", flush=True)
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, ON_CUDA: "1"}
    step = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        status = step.wait(max(limit, 0.0))
    except subprocess.TimeoutExpired:
        status = 124
    finally:
        with contextlib.suppress(ProcessLookupError):  # also those that it started
            os.killpg(step.pid, signal.SIGKILL)
    step.wait()
    print(f"== {title}: exit status {status} after {time.monotonic() - began:.0f} s", flush=True)
    return status


def run_tests(folder: Path) -> int:
    """Run the tests that need CUDA and write tests.json; returns 1 where one was skipped, or none ran."""
    report = folder / "tests.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", *TESTS, "-k", CHOSEN, "-rs", f"--junitxml={report}"]
    status = run_step("tests", command, TESTS_LIMIT)
    found = outcomes(report)
    status = status or int(bool(found["skipped"]) or not found["passed"])
    (folder / "tests.json").write_text(json.dumps({"status": status, **found}, indent=1) + "\n")
    for name in found["skipped"]:
        print(f"== tests: skipped, which is a failure here: {name}", flush=True)
    return status


def outcomes(report: Path) -> dict[str, list[str]]:
    """Names of the tests in a JUnit report by what came of them, with the reason; none where there is no report."""
    found: dict[str, list[str]] = {"passed": [], "skipped": [], "failed": []}
    if not report.exists():  # the run was cut off: pytest writes it at the end
        return found
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag: child.get("message", "") for child in case}
        kind = "failed" if kinds.keys() & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        cause = kinds.get("failure") or kinds.get("error") or kinds.get("skipped")
        found[kind].append(f"{case.get('name')}{f': {cause}' if cause else ''}")
    return found


def measure(chosen: argparse.Namespace, folder: Path, began: float) -> int:
    """Check, tests and benchmark; returns the worst exit status."""
    statuses = []
    for name in ("check.json", "tests.json", "gpu.json"):
        (folder / name).unlink(missing_ok=True)  # of a run before
    if not chosen.no_tests:
        check = [sys.executable, "-m", CHECK, "--device", chosen.device, "--output", str(folder)]
        statuses += [run_step("check", check, CHECK_LIMIT), run_tests(folder)]
    bench = ["bench", "--device", chosen.device, "--shape", chosen.shape, "--ticks", chosen.ticks]
    left = LIMIT - (time.monotonic() - began)
    statuses.append(run_step("benchmark", [sys.executable, "-c", COMMAND, *bench, "--output", str(folder)], left))
    return max(map(abs, statuses))  # a step that was killed has a negative one


def train(device: str, folder: Path) -> int:
    """Train the small policy for as long as there is time, and copy what came of it; returns the exit status.

    Cut off before its end, its newest round's policy is the checkpoint; the same command goes on from there.
    """
    command = ["train", "--device", device, "--processes", str(os.cpu_count() or 1), "--output", str(RUN)]
    status = run_step("training", [sys.executable, "-c", COMMAND, *command], LIMIT)
    rounds = sorted(RUN.glob("policy-*"), key=lambda path: int(path.name.partition("-")[2]))
    for name in TRAINED:
        made = RUN / name if (RUN / name).exists() or name != "checkpoint" or not rounds else rounds[-1]
        if made.is_dir():
            shutil.copytree(made, folder / name, dirs_exist_ok=True)
        elif made.exists():
            shutil.copy2(made, folder / name)
    return abs(status)


def main(arguments: Any = None) -> int:
    """Run what is asked for; returns the worst exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "gpu", help="folder (default: output/gpu)")
    parser.add_argument("--device", default="cuda", help="device of the benchmark (default: cuda)")
    parser.add_argument("--shape", default="7b", help="shape of the policy (default: 7b)")
    parser.add_argument("--ticks", default="100", help="timed ticks of each row (default: 100)")
    parser.add_argument("--no-tests", action="store_true", help="the benchmark only")
    parser.add_argument("--train", action="store_true", help="train the small policy, and nothing else")
    chosen, began = parser.parse_args(arguments), time.monotonic()
    folder = chosen.output.resolve()
    if folder.exists() and not folder.is_dir():
        parser.error(f"--output {folder}: a file is there, expected a folder or nothing")
    folder.mkdir(parents=True, exist_ok=True)
    return train(chosen.device, folder) if chosen.train else measure(chosen, folder, began)


if __name__ == "__main__":
    sys.exit(main())
