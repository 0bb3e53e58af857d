"""The simulator's camera shares a process with triton, whose LLVM is not that of Mesa."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = "import vla_entropy_ros.sim\n"
DRAW = LOAD + "env = vla_entropy_ros.sim.Environment(64)\nenv.reset('pick_red', 0)\nenv.render()\nenv.close()\n"
TRITON = "import triton\n"


def run(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own, with `folders` before everything that can be imported."""
    path = os.pathsep.join([*map(str, folders), str(Path(__file__).parents[2])])
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton comes with torch for CUDA")
@pytest.mark.parametrize("code", [DRAW + TRITON, TRITON + DRAW, LOAD + TRITON + DRAW], ids=["draw", "triton", "load"])
def test_the_camera_and_triton_share_a_process_whichever_comes_first(code: str) -> None:
    done = run(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("before", "expected"), [("", ["first"]), ("import OpenGL\n", [])], ids=["alone", "beside a GL library"]
)
def test_triton_is_loaded_before_the_gl_library_or_not_at_all(tmp_path: Path, before: str, expected: list[str]) -> None:
    where = "print('late' if 'OpenGL' in sys.modules or 'mujoco' in sys.modules else 'first')"
    (tmp_path / "triton.py").write_text(f"import sys\n{where}\n")
    done = run(before + LOAD, tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, expected), done.stderr


def test_a_triton_that_does_not_load_is_no_fault_of_the_camera(tmp_path: Path) -> None:
    (tmp_path / "triton.py").write_text("raise ImportError('libcuda.so.1: no such file')\n")
    done = run(DRAW, tmp_path)
    assert done.returncode == 0, done.stderr
