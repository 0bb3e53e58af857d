"""What a figure was measured with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .. import __version__

PARTS = ("torch", "numpy", "mujoco", "ros-rclpy")


def about() -> dict[str, Any]:
    """Versions of this package and of what it stands on, and the machine."""
    parts = {}
    for name in PARTS:
        try:
            parts[name] = version(name)
        except PackageNotFoundError:
            continue
    machine = {"system": platform.platform(), "machine": platform.machine(), "cpus": os.cpu_count()}
    return {"version": __version__, "python": platform.python_version(), **parts, **machine}
