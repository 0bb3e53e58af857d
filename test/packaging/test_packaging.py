"""An installed package holds all that runs: models, scene, launch files, defaults, executables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NODES = ("policy_node", "command_node", "simulator_node")
EXECUTABLES = (*NODES, "action_node")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package: a build leaves folders behind."""
    source = tmp_path_factory.mktemp("source") / "package"
    skipped = shutil.ignore_patterns(".*", "build", "output", "*.egg-info", "__pycache__", "install", "log")
    shutil.copytree(ROOT, source, ignore=skipped)
    return source


@pytest.fixture(scope="module")
def wheel(package: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The package as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(folder)]
    subprocess.run([*command, str(package)], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_is_complete(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for file in [*(ROOT / "vla_entropy_ros").rglob("*.py"), *(ROOT / "vla_entropy_ros" / "models").glob("*/*")]:
        assert str(file.relative_to(ROOT)) in names
    assert "vla_entropy_ros/sim/scene.xml" in names
    page = ROOT / "vla_entropy_ros" / "bags" / "report" / "page"
    assert {str(file.relative_to(ROOT)) for file in page.iterdir()} <= names
    data = {name.partition(".data/data/")[2]: name for name in names if ".data/data/" in name}
    assert "share/ament_index/resource_index/packages/vla_entropy_ros" in data
    for file in [
        ROOT / "package.xml",
        ROOT / "plugin.xml",
        *(ROOT / "launch").iterdir(),
        *(ROOT / "config").iterdir(),
        *(ROOT / "bags").glob("*/*"),
    ]:
        if file.is_file():
            assert f"share/vla_entropy_ros/{file.relative_to(ROOT)}" in data
    for node in EXECUTABLES:
        assert wheel.getinfo(data[f"lib/vla_entropy_ros/{node}"]).external_attr >> 16 & 0o111


def test_the_shipped_policy_is_small(wheel: zipfile.ZipFile) -> None:
    assert sum(info.file_size for info in wheel.infolist() if "/models/" in info.filename) <= 16 * 10**6


@pytest.mark.parametrize("node", NODES)
def test_executables_refuse_a_wrong_value_in_one_line(node: str) -> None:
    name = {"policy_node": "T", "command_node": "rate", "simulator_node": "camera.rate"}[node]
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / node), "--ros-args", "-p", f"{name}:=-1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert name in line
    assert "FATAL" in line
    assert "Traceback" not in run.stderr


def test_what_runs_no_policy_does_not_wait_for_torch() -> None:
    program = """
import sys
import vla_entropy_ros.evaluation.demo, vla_entropy_ros.evaluation.suite
import vla_entropy_ros.nodes.command.node, vla_entropy_ros.nodes.simulator.node
import vla_entropy_ros.engine
assert "torch" not in sys.modules, "torch"
vla_entropy_ros.engine.Policy
assert "torch" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("links", [False, True])
def test_the_command_of_a_colcon_build_runs_in_the_environment_at_hand(
    package: Path, tmp_path: Path, links: bool
) -> None:
    """As colcon calls the build, which would write its own interpreter into the command: that one has no packages."""
    site = tmp_path / "site-packages"
    site.mkdir()
    if links and int(version("setuptools").partition(".")[0]) >= 80:
        pytest.skip("setuptools >= 80 has no develop that could link")
    command = ["develop", "--no-deps", "--install-dir", str(site)]
    if not links:
        command = ["install", "--single-version-externally-managed", "--record", str(tmp_path / "record")]
    subprocess.run(
        [sys.executable, "setup.py", "-q", *command, "--prefix", str(tmp_path)],
        check=True, capture_output=True, cwd=package, env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip
    (script,) = tmp_path.rglob("lib/vla_entropy_ros/vla-entropy")
    assert script.read_text().splitlines()[0] == "#!/usr/bin/env python3"
    assert os.access(script, os.X_OK)
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [package, *tmp_path.rglob("site-packages")]))},
    )  # fmt: skip
    assert "Usage: vla-entropy" in done.stdout, done.stderr
