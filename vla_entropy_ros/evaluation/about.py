"""What a figure was measured with."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__

PARTS = ("torch", "numpy", "mujoco", "ros-rclpy")


def about() -> dict[str, Any]:
    """Versions of this package and of what it stands on, and the machine."""
    machine = {"system": platform.platform(), "machine": platform.machine(), "cpus": os.cpu_count()}
    return {"version": __version__, "python": platform.python_version(), **versions(PARTS), **machine}


def versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of those packages that are there."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Its name as Linux tells it, else the platform's."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
