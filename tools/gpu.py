"""On a machine with an NVIDIA GPU: run the tests that need one, then the benchmark at OpenVLA-7B's shape.

Takes ten minutes at most. Needs torch for CUDA, numpy, pillow, PyYAML, click, rich, safetensors, tokenizers,
transformers and matplotlib, for the tests pytest and hypothesis. Runs from a checkout, with whichever Python has
these, and installs nothing.
gpu.json and gpu.png in the output folder are what docs/ shows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 580.0  # seconds for everything
TESTS = ("test/engine/test_graphs.py", "test/engine/test_quantise.py")
TESTS_LIMIT = 200.0  # seconds of them; the benchmark takes the rest
COMMAND = "from vla_entropy_ros.cli import main; main()"


def run_step(title: str, command: list[str], limit: float) -> int:
    """Run one step from the root of the checkout; returns its exit status, 124 where it took too long."""
    began = time.monotonic()
    print(f"== {title}", flush=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    try:
        status = subprocess.run(command, cwd=ROOT, env=environment, timeout=limit, check=False).returncode
    except subprocess.TimeoutExpired:
        status = 124
    print(f"== {title}: exit status {status} after {time.monotonic() - began:.0f} s", flush=True)
    return status


def main() -> int:
    """Run tests and benchmark; returns the worse exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "gpu", help="folder (default: output/gpu)")
    parser.add_argument("--device", default="cuda", help="device of the benchmark (default: cuda)")
    parser.add_argument("--shape", default="7b", help="shape of the policy (default: 7b)")
    parser.add_argument("--ticks", default="200", help="timed ticks of each row (default: 200)")
    parser.add_argument("--no-tests", action="store_true", help="the benchmark only")
    chosen = parser.parse_args()
    began = time.monotonic()
    folder = chosen.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    statuses = []
    if not chosen.no_tests:
        tests = [sys.executable, "-m", "pytest", *TESTS, "-k", "cuda or kernel or device_memory", "-rs"]
        statuses.append(run_step("tests", tests, TESTS_LIMIT))
    bench = ["bench", "--device", chosen.device, "--shape", chosen.shape, "--ticks", chosen.ticks]
    left = LIMIT - (time.monotonic() - began)
    statuses.append(run_step("benchmark", [sys.executable, "-c", COMMAND, *bench, "--output", str(folder)], left))
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
