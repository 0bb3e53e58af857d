"""Make or update the virtual environment of a checkout: `make` runs this first; it needs nothing but Python itself.

ROS 2 comes from the sourced install if there is one (then the environment sees the system's packages), otherwise from
PyPI. torch comes for CUDA where there is an NVIDIA GPU, elsewhere for the CPU if any index in reach has that.
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this file is run by its path
from tools.steps import SetupError, StepError, Steps  # noqa: E402
from tools.steps import last_error as last_error  # noqa: E402

REQUIREMENTS = ROOT / "requirements"
PYTHONS = ((3, 10), (3, 13))
COMPILED, LIBRARY = ROOT / "vla_entropy_ros" / "engine" / "model" / "compiled", "_stack*.so"
STAMP, BUILT, FAILED, WITHOUT = ".compiled", "built", "failed", "without"  # how the last build of it went
GL_LIBRARY, GL_PACKAGE = "OSMesa", "libosmesa6"
QT_PACKAGES = {  # by library: what Qt needs beside its wheel, without a screen and on one
    "GL": "libgl1", "glib-2.0": "libglib2.0-0", "fontconfig": "libfontconfig1", "dbus-1": "libdbus-1-3",
    "X11-xcb": "libx11-xcb1", "xkbcommon-x11": "libxkbcommon-x11-0", "xcb-icccm": "libxcb-icccm4",
    "xcb-keysyms": "libxcb-keysyms1", "xcb-sync": "libxcb-sync1",
    **{f"xcb-{name}": f"libxcb-{name}0" for name in ("image", "randr", "render-util", "shape", "xfixes", "xinerama")},
}  # fmt: skip
APT = "apt-get install -y --no-install-recommends"
BUILDS = {"cpu": "CPU build", "cuda": "CUDA build"}  # of torch
CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # PyTorch's own; for Linux x86_64 PyPI has the CUDA build alone
CUDA_SIZE = 5.8  # GB of .venv with torch's CUDA build


def check_python() -> None:
    """Refuse a Python that the pinned packages don't support, or one without venv."""
    low, high = PYTHONS
    if not low <= sys.version_info[:2] <= high:
        found = platform.python_version()
        raise SetupError(f"Python {found} found, 3.{low[1]} to 3.{high[1]} needed: make PYTHON=python3.{high[1]} ...")
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError("this Python has no venv: apt-get install python3-venv")


def ros_source() -> str:
    """Return 'sourced' if a ROS 2 install is sourced and usable, else 'wheels'; SetupError where neither works."""
    distribution = os.environ.get("ROS_DISTRO")
    if distribution:
        if importlib.util.find_spec("rclpy") is None:
            raise SetupError(
                f"ROS_DISTRO={distribution} is set, but {sys.executable} can't import rclpy: "
                "use ROS's own Python (make PYTHON=/usr/bin/python3 ...) or open a shell without ROS"
            )
        return "sourced"
    if platform.machine() != "x86_64" or not sys.platform.startswith("linux"):
        raise SetupError(f"no ROS 2 packages on PyPI for {sys.platform} {platform.machine()}: source a ROS 2 install")
    return "wheels"


def fingerprint(ros: str, gpu: bool) -> str:
    """Hash what decides whether the environment has to be made anew or updated; gpu: whether torch is to suit one."""
    digest = hashlib.sha256(f"{sys.version} {ROOT} {ros} {os.environ.get('ROS_DISTRO')} {gpu}".encode())
    own = [ROOT / "setup.py", Path(__file__), Path(__file__).with_name("steps.py")]
    for path in sorted([*REQUIREMENTS.glob("*.txt"), *own]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def installs(names: list[str]) -> list[str]:
    """pip's arguments for the given requirement files, pinned."""
    files = [argument for name in names for argument in ("-r", str(REQUIREMENTS / f"{name}.txt"))]
    return ["install", "--disable-pip-version-check", "-c", str(REQUIREMENTS / "constraints.txt"), *files]


def has_gpu() -> bool:
    """Whether an NVIDIA GPU answers."""
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0


def torch_pin() -> str:
    """The version of torch as pip takes it: 'torch==2.13.0'."""
    return next(w for w in (REQUIREMENTS / "constraints.txt").read_text().split() if w.startswith("torch=="))


def offered_build(pip: list[str]) -> str:
    """Which of BUILDS pip takes from the indexes it knows; reads the metadata of that one wheel only."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--no-deps", "--use-feature=fast-deps", "--quiet", "--report", str(report)]
        subprocess.run([*pip, *installs(["torch"]), *options], capture_output=True, check=False, cwd=ROOT)
        if not report.exists():
            return "cuda"
        wheel = json.loads(report.read_text())["install"][0]["metadata"]
    libraries = [name for name in wheel.get("requires_dist", []) if name.startswith(("nvidia-", "cuda-", "triton"))]
    return "cuda" if libraries else "cpu"


def build_there(python: str) -> str | None:
    """Which of BUILDS `python` has; None where torch is not there."""
    script = "import torch; print('cuda' if torch.version.cuda else 'cpu')"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def install_torch(steps: Steps, python: str, build: str) -> None:
    """Install torch unless it is there; `build` is one of BUILDS, or 'auto': what suits the machine and can be had.

    A CUDA build suits a machine without a GPU that has it already.
    """
    pip = [python, "-m", "pip"]
    wanted = ("cuda" if has_gpu() else "cpu") if build == "auto" else build
    there = build_there(python)
    if there == wanted or (there == "cuda" and build == "auto"):
        steps.skip("torch is there")
        return
    offered = offered_build(pip)
    replace = ["--force-reinstall"] if there else []  # its version is right
    if offered != wanted or replace:
        bounded = ["--retries", "2", "--timeout", "20"]  # seconds: an index behind a closed door ends within minutes
        how = {
            "cpu": [*pip, "install", torch_pin(), "--no-deps", "--index-url", CPU_INDEX, *bounded],
            "cuda": [*pip, "install", torch_pin().replace("==", "==="), "--no-deps"],  # exactly: not 2.13.0+cpu
        }
        own = [*pip, "install", torch_pin(), "--no-deps"]
        steps.total += 1
        try:
            steps.run(f"Installing torch ({BUILDS[wanted]})", [*(own if offered == wanted else how[wanted]), *replace])
        except StepError as error:
            if build != "auto":
                raise
            accept(wanted, there or offered, error.cause, Path(python))
    steps.run("Installing torch and what it needs", [*pip, *installs(["torch"])])


def accept(wanted: str, offered: str, cause: str, place: Path) -> None:
    """Say in one line that the other build of torch is taken, and why; SetupError where it has no room."""
    free = shutil.disk_usage(place.parent).free / 1e9
    other = BUILDS[offered] + (f", {CUDA_SIZE} GB in all" if offered == "cuda" else "")
    gone = f"torch's {BUILDS[wanted]} can't be had ({cause})"
    own = f"to have the {BUILDS[wanted]}, give pip an index that has it (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS)"
    if offered == "cuda" and free < CUDA_SIZE:
        raise SetupError(f"{gone}, and for the {other}, {free:.1f} GB are too little: {own}, or make room")
    print(f"{gone}: going on with the {other}; {own}", flush=True)


def stack_sources() -> str:
    """Hash of what the compiled stack is built from, as the package has it."""
    spec = importlib.util.spec_from_file_location("build_of_the_stack", COMPILED / "build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    return str(build.digest())


def compiler() -> str | None:
    """The C compiler that a build takes, None where there is none."""
    chosen = os.environ.get("CC", "").split()
    return shutil.which(chosen[0]) if chosen else shutil.which("gcc") or shutil.which("cc")


def install_package(steps: Steps, python: str) -> None:
    """Install this checkout to be run from where it is, and build its compiled stack where there is a compiler."""
    for path in COMPILED.glob(LIBRARY):
        path.unlink()  # of other sources
    editable = ["install", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    steps.run("Installing vla_entropy_ros", [python, "-m", "pip", *editable])
    how = BUILT if any(COMPILED.glob(LIBRARY)) else FAILED if compiler() else WITHOUT
    (Path(python).parents[1] / STAMP).write_text(f"{stack_sources()} {how}")
    if how == BUILT:
        return
    cause = "there is no C compiler" if how == WITHOUT else f"{compiler()} failed"
    again = "apt-get install gcc libc6-dev, then make setup" if how == WITHOUT else f"rm .venv/{STAMP}; make setup"
    told = "on a CPU, NumPy and PyTorch run the policy in its place, in twice the time"
    print(f"The compiled stack was not built, since {cause}: {told} (to try again: {again})", flush=True)
    if how == FAILED:
        print(f"What it said: {python} setup.py build_ext --inplace", flush=True)


def package_is_stale(folder: Path) -> bool:
    """Whether the compiled stack of the environment in `folder` is to be built again, or for the first time."""
    if not (folder / "bin" / "python").exists():
        return False
    stamp = folder / STAMP
    sources, _, how = stamp.read_text().partition(" ") if stamp.exists() else ("", "", "")
    if sources != stack_sources():
        return True
    return not any(COMPILED.glob(LIBRARY)) and how != FAILED and compiler() is not None


def install_gl(steps: Steps) -> None:
    """Install software OpenGL for the simulator's camera, where that is allowed."""
    if ctypes.util.find_library(GL_LIBRARY) or os.environ.get("MUJOCO_GL", "osmesa") != "osmesa":
        steps.skip(f"{GL_PACKAGE} is there")
    elif os.geteuid() == 0 and shutil.which("apt-get"):
        install_system(steps, GL_PACKAGE)
    elif ctypes.util.find_library("EGL"):
        steps.skip(f"{GL_LIBRARY} is not here, EGL is")
    else:
        raise SetupError(f"the simulator's camera needs the library {GL_LIBRARY}: sudo {APT} {GL_PACKAGE}")


def install_qt(steps: Steps) -> None:
    """Install what the panel needs of the system, where that is allowed; all else works without."""
    missing = " ".join(package for library, package in QT_PACKAGES.items() if not ctypes.util.find_library(library))
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        install_system(steps, missing)
    else:
        steps.skip(f"The panel can be shown after: sudo {APT} {missing}" if missing else "Qt's libraries are there")


def install_system(steps: Steps, packages: str) -> None:
    """Install Debian's packages."""
    update = f"apt-get update -qq; DEBIAN_FRONTEND=noninteractive exec {APT} {packages}"
    steps.run(f"Installing {packages}", ["sh", "-c", update])


def make(folder: Path, ros: str, build: str) -> None:
    """Make the environment in `folder`, from scratch or on top of what is there, with this `build` of torch."""
    steps = Steps(total=7)
    python = str(folder / "bin" / "python")
    options = ["--system-site-packages"] if ros == "sourced" else []
    source = f"the sourced ROS 2 {os.environ['ROS_DISTRO']}" if ros == "sourced" else "ROS 2 from PyPI"
    steps.run(f"Virtual environment {folder.name} with {source}", [sys.executable, "-m", "venv", *options, str(folder)])
    (folder / "COLCON_IGNORE").touch()
    steps.run("Installing build tools", [python, "-m", "pip", *installs(["build"]), "--upgrade"])
    install_torch(steps, python, build)
    names = ["runtime", "dev", "panel", *(["ros"] if ros == "wheels" else [])]
    steps.run(f"Installing {', '.join(names)} packages", [python, "-m", "pip", *installs(names)])
    install_package(steps, python)
    install_gl(steps)
    install_qt(steps)
    print(f"Ready after {time.monotonic() - steps.began:.0f} s.", flush=True)


def main() -> int:
    """Make the environment, or leave one that is up to date; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", default=".venv", help="the virtual environment (default: .venv)")
    text = "build of torch (default: as before; at first auto: for CUDA where there is an NVIDIA GPU)"
    parser.add_argument("--torch", choices=["auto", *BUILDS], help=text)
    chosen = parser.parse_args()
    folder = ROOT / chosen.folder
    try:
        check_python()
        ros = ros_source()
        stamp = folder / ".complete"
        made, _, before = stamp.read_text().partition(" ") if stamp.exists() else ("", "", "")
        build = chosen.torch or before or "auto"
        wanted = fingerprint(ros, build == "auto" and has_gpu())
        if build == before and made in (wanted, fingerprint(ros, True)):  # with a GPU that is gone, all works
            if package_is_stale(folder):
                install_package(Steps(total=1), str(folder / "bin" / "python"))
            return 0
        if (folder / "bin").exists() and (build, made) != (before, fingerprint(ros, False)):
            shutil.rmtree(folder)  # unless a GPU has come, and torch alone is to be replaced
        make(folder, ros, build)
        stamp.write_text(f"{wanted} {build}")
    except SetupError as error:
        print(f"\nset-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
