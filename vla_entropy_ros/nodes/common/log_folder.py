"""Where rcl writes its log files: it gives up where it finds no home, as for a service that systemd starts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

CHOSEN = ("ROS_LOG_DIR", "ROS_HOME")
OF_SERVICES = ("LOGS_DIRECTORY", "STATE_DIRECTORY")  # what systemd gives a unit that asks for one


def settle_log_folder(environment: MutableMapping[str, str] | None = None) -> str | None:
    """Choose a folder where nobody chose one and there is no home to write to; returns a line that says so."""
    environment = os.environ if environment is None else environment
    home = environment.get("HOME", "")
    if any(environment.get(name) for name in CHOSEN) or _writable(home):
        return None
    given = (environment.get(name, "").partition(os.pathsep)[0] for name in OF_SERVICES)
    folder = next((path for path in given if _writable(path)), None)
    folder = folder or tempfile.mkdtemp(prefix="vla_entropy_ros_log_")
    environment["ROS_LOG_DIR"] = folder
    why = f"HOME={home} can't be written to" if home else "HOME is not set"
    return f"{why}: log files go to {folder}; set ROS_LOG_DIR=<folder> to choose another"


def _writable(path: str) -> bool:
    """Whether a log folder can be made in `path`, or is there already."""
    folder = Path(path) / ".ros" / "log"
    exists = next((above for above in (folder, *folder.parents) if above.exists()), None)
    return bool(path) and Path(path).is_absolute() and Path(path).is_dir() and os.access(str(exists), os.W_OK | os.X_OK)
