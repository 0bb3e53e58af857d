"""The package builds with a compiler and without, from a checkout and from a source distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILED = Path("vla_entropy_ros", "engine", "model", "compiled")
LIBRARY = f"{COMPILED}/_stack"
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in a source distribution, unpacked."""
    checkout, folder = (tmp_path_factory.mktemp(name) for name in ("checkout", "sources"))
    skipped = shutil.ignore_patterns(".*", "build", "output", "*.egg-info", "__pycache__", "install", "log", "*.so")
    shutil.copytree(ROOT, checkout, ignore=skipped, dirs_exist_ok=True)
    command = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(folder)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True, timeout=120)
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder)
    return next(path for path in folder.iterdir() if path.is_dir())


def wheel(sources: Path, folder: Path, compiler: str) -> tuple[list[str], list[str]]:
    """Build a wheel; returns what is in it, and the lines that tell of the compiled stack."""
    shutil.rmtree(sources / "build", ignore_errors=True)
    command = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run(
        [*command, str(sources)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300,
        env={**os.environ, "CC": compiler},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    (path,) = folder.glob("*.whl")
    told = [line.strip() for line in done.stdout.splitlines() if "_stack" in line and "warning" in line]
    return zipfile.ZipFile(path).namelist(), told


def test_a_source_distribution_has_all_that_the_stack_is_built_from(sources: Path) -> None:
    for path in [*(ROOT / COMPILED).glob("*.[ch]"), *(ROOT / COMPILED).glob("*.py")]:
        assert (sources / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_wheel_has_the_stack_and_its_sources(sources: Path, tmp_path: Path, compiler: str) -> None:
    names, told = wheel(sources, tmp_path, compiler)
    assert told == []
    assert [name for name in names if name.startswith(LIBRARY)]
    for path in (ROOT / COMPILED).glob("*.[ch]"):  # their hash is checked at load
        assert str(path.relative_to(ROOT)) in names


def test_without_a_compiler_a_line_says_so_and_the_wheel_does_without(sources: Path, tmp_path: Path) -> None:
    names, told = wheel(sources, tmp_path, str(tmp_path / "no-compiler"))
    assert not [name for name in names if name.startswith(LIBRARY)]
    assert f"{COMPILED}/library.py" in names
    (line,) = told
    assert "building extension" in line
    assert "no-compiler" in line


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
def test_a_compiler_that_fails_is_a_line(sources: Path, tmp_path: Path) -> None:
    refusing = tmp_path / "refusing"
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)
    names, told = wheel(sources, tmp_path, str(refusing))
    assert not [name for name in names if name.startswith(LIBRARY)]
    assert len(told) == 1


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
def test_a_colcon_install_has_the_stack(sources: Path, tmp_path: Path) -> None:
    """As colcon calls the build."""
    command = ["install", "--single-version-externally-managed", "--record", str(tmp_path / "record")]
    subprocess.run(
        [sys.executable, "setup.py", "-q", *command, "--prefix", str(tmp_path)],
        check=True, capture_output=True, cwd=sources, timeout=120,
    )  # fmt: skip
    (library,) = tmp_path.rglob("_stack*.so")
    assert library.parts[-5:-1] == COMPILED.parts
