"""The simulator's camera shares a process with triton, whose LLVM is not that of Mesa."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vla_entropy_ros.sim.render import find_gl

LOAD = "import vla_entropy_ros.sim\n"
DRAW = LOAD + "env = vla_entropy_ros.sim.Environment(64)\nenv.reset('pick_red', 0)\nenv.render()\nenv.close()\n"
TRITON = "import triton\n"


def run(code: str, *folders: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own, with `folders` before everything that can be imported."""
    path = os.pathsep.join([*map(str, folders), str(Path(__file__).parents[2])])
    env = {**os.environ, "PYTHONPATH": path, **variables}
    env.pop("PYOPENGL_PLATFORM", None)  # of this process, which mujoco has set
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


@pytest.mark.parametrize(
    ("there", "chosen"), [("OSMesa EGL", "osmesa"), ("OSMesa", "osmesa"), ("EGL", "egl"), ("", "osmesa")]
)
def test_the_gl_library_that_is_here_is_taken(there: str, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: name if name in there.split() else None)
    assert find_gl() == chosen


def test_where_osmesa_is_missing_the_camera_draws_through_egl(tmp_path: Path) -> None:
    hide = "import ctypes.util\nfind = ctypes.util.find_library\n"
    hide += "ctypes.util.find_library = lambda name: None if name == 'OSMesa' else find(name)\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    if ctypes.util.find_library("EGL") is None:
        pytest.skip("EGL is not here")
    show = "import os\nprint(os.environ['MUJOCO_GL'])\n"
    done = run(DRAW + show, tmp_path, MUJOCO_GL="")
    assert (done.returncode, done.stdout.split()) == (0, ["egl"]), done.stderr


def test_what_is_chosen_by_hand_stays() -> None:
    show = "import os\nprint(os.environ['MUJOCO_GL'])\n"
    assert run(LOAD + show, MUJOCO_GL="disabled").stdout.split() == ["disabled"]
