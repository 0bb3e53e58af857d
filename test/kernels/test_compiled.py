"""Every kernel that a pass launches compiles for Ampere, Ada and Hopper, and holds its values in registers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="needs Triton: make kernels")

ROOT = Path(__file__).parents[2]
CAPABILITIES = (80, 89, 90)
SPILLS = 8  # instructions; a kernel that spills in its loop has hundreds


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_what_a_pass_launches_compiles_without_spilling(capability: int) -> None:
    bare = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    paths = os.pathsep.join([str(ROOT), *sys.path])
    command = [sys.executable, str(Path(__file__).with_name("compiled.py")), str(capability)]
    done = subprocess.run(
        command, cwd=ROOT, env=bare | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    kernels = {each["kernel"] for each in found}
    assert {"product_kernel", "gated_kernel", "attend_kernel", "rotate_kernel", "add_norm_kernel"} <= kernels
    assert capability < 89 or "round_kernel" in kernels
    for each in found:
        assert each["spills"] <= SPILLS, each
        assert each["registers"] <= 255
        assert each["shared"] <= each["room"], each
