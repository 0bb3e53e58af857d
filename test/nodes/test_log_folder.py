"""A node starts without a home, as systemd starts services, and says where its log files are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from vla_entropy_ros.nodes.common.log_folder import settle_log_folder

SCRIPT = Path(__file__).parents[2] / "scripts" / "command_node"
PLACES = ("HOME", "ROS_HOME", "ROS_LOG_DIR", "LOGS_DIRECTORY", "STATE_DIRECTORY")


@pytest.mark.parametrize("home", [None, "", "/nonexistent"])
def test_a_node_starts_without_a_home(tmp_path: Path, home: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in PLACES}
    environment |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(SCRIPT.parents[1])}
    if home is not None:
        environment["HOME"] = home
    process = subprocess.Popen([sys.executable, str(SCRIPT)], stderr=subprocess.PIPE, text=True, env=environment)
    patience = threading.Timer(60.0, process.kill)
    patience.start()
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "log files go to" in line:
                break
        process.send_signal(signal.SIGINT)
        lines.append(process.communicate()[1])
    finally:
        patience.cancel()
        process.kill()
    said = "".join(lines)
    assert process.returncode == 0, said
    why = "HOME=/nonexistent can't be written to" if home else "HOME is not set"
    (folder,) = tmp_path.glob("vla_entropy_ros_log_*")
    assert said.count(f"{why}: log files go to {folder}; set ROS_LOG_DIR=<folder> to choose another") == 1
    assert list(folder.iterdir())


def test_who_has_a_home_or_chose_a_folder_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for chosen in ({"HOME": str(tmp_path)}, {"ROS_HOME": "/data"}, {"ROS_LOG_DIR": "/data"}):
        environment = dict(chosen)
        assert settle_log_folder(environment) is None
        assert environment == chosen
    environment = {"STATE_DIRECTORY": f"{tmp_path}:/elsewhere"}
    said = settle_log_folder(environment)
    assert environment["ROS_LOG_DIR"] == str(tmp_path)
    assert said is not None
    assert f"log files go to {tmp_path}" in said
