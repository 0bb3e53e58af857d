"""The panel where it lives: beside the demo as a process, in rqt as a plugin, and in the package as files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner

from vla_entropy_ros.cli import beside, main
from vla_entropy_ros.client import VlaClient
from vla_entropy_ros.evaluation.interruption import interruptible

ROOT = Path(__file__).parents[2]
DOMAIN = int(os.environ["ROS_DOMAIN_ID"])


@pytest.mark.parametrize("missing", [["PyQt5"], ["pyqtgraph", "PyQt5"]])
def test_what_show_needs_is_named_in_one_line(missing: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in missing else object())
    with pytest.raises(click.ClickException) as refused:
        beside.need_panel()
    assert refused.value.message == (
        f"--show needs {' and '.join(missing)}: pip install 'vla_entropy_ros[panel]', or sudo apt-get install "
        "python3-pyqtgraph python3-pyqt5"
    )


def test_without_a_display_show_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(click.ClickException, match="needs a display") as refused:
        beside.need_panel()
    assert "\n" not in refused.value.message
    monkeypatch.setenv("DISPLAY", ":0")
    beside.need_panel()


def windows(folder: Path) -> list[int]:
    """Processes of windows whose logs are in `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if folder / "panel.log" in {one.readlink() for one in (entry / "fd").iterdir()}:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait(condition: Any, patience: float = 30.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def ended(folder: Path, run: Callable[[], None]) -> tuple[bool, str | None]:
    """Run something beside a window; whether it was interrupted, and what the window died of."""
    ending = None
    with interruptible():
        try:
            with beside.panel_beside(folder, DOMAIN) as ending:
                run()
        except KeyboardInterrupt:
            return True, None if ending is None else ending.problem
    return False, ending.problem


def test_a_window_that_is_closed_ends_what_runs_as_ctrl_c_does(tmp_path: Path) -> None:
    def run() -> None:
        wait(lambda: windows(tmp_path))
        time.sleep(3.0)  # it is up
        os.kill(windows(tmp_path)[0], signal.SIGTERM)
        wait(lambda: False)

    assert ended(tmp_path, run) == (True, None)
    assert windows(tmp_path) == []


def test_a_window_ends_with_what_runs(tmp_path: Path) -> None:
    assert ended(tmp_path, lambda: wait(lambda: windows(tmp_path))) == (False, None)
    assert windows(tmp_path) == []


def test_a_window_that_can_not_open_ends_the_run_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "no_such_platform")
    monkeypatch.delenv("QT_LOGGING_RULES", raising=False)
    interrupted, problem = ended(tmp_path, lambda: wait(lambda: False))
    assert interrupted
    assert problem is not None
    assert 'Could not find the Qt platform plugin "no_such_platform"' in problem
    assert "make setup" in problem
    assert str(tmp_path / "panel.log") in problem


def test_the_windows_history_outlives_it(tmp_path: Path) -> None:
    kept = tmp_path / "vla_entropy_ros" / "panel.conf"
    kept.parent.mkdir()
    kept.write_text("[General]\nhistory=pick up the red cube, push it\n")
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    window = subprocess.Popen([sys.executable, "-m", "vla_entropy_ros.panel.window"], env=environment, cwd=ROOT)
    with VlaClient(name="looker") as looker:
        assert looker.link.wait(lambda: f"vla_panel_{window.pid}_1" in looker.node.get_node_names(), 60.0)
    window.send_signal(signal.SIGINT)
    assert window.wait(20) == 0
    assert "history=pick up the red cube, push it" in kept.read_text()


class Context:
    """What rqt gives a plugin."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.widgets: list[Any] = []

    def serial_number(self) -> int:
        return self.number

    def add_widget(self, widget: Any) -> None:
        self.widgets.append(widget)


class Settings(dict):
    """rqt's settings of one instance: text by key."""

    def set_value(self, key: str, value: str) -> None:
        assert isinstance(value, str)
        self[key] = value

    def value(self, key: str, otherwise: str) -> str:
        return str(self.get(key, otherwise))


class Base:
    """rqt_gui_py's Plugin, as far as it matters."""

    def __init__(self, context: Any) -> None:
        self.name = ""

    def setObjectName(self, name: str) -> None:  # noqa: N802
        self.name = name


@pytest.fixture
def plugin_class(app: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The class that plugin.xml names, over a stand-in for rqt."""
    package, module = ModuleType("rqt_gui_py"), ModuleType("rqt_gui_py.plugin")
    module.Plugin = Base  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rqt_gui_py", package)
    monkeypatch.setitem(sys.modules, "rqt_gui_py.plugin", module)
    (described,) = ElementTree.parse(ROOT / "plugin.xml").getroot().iter("class")
    assert described.get("base_class_type") == "rqt_gui_py::Plugin"
    name, _, kind = str(described.get("type")).rpartition(".")
    yield getattr(__import__(name, fromlist=[kind]), kind)
    sys.modules.pop(name, None)


def test_rqt_finds_the_plugin_under_its_name() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert [one.get("plugin") for one in package.iter("rqt_gui")] == ["${prefix}/plugin.xml"]
    (described,) = ElementTree.parse(ROOT / "plugin.xml").getroot().iter("class")
    assert described.findtext("qtgui/label") == "VLA policy"
    assert described.findtext("qtgui/group/label") == "Robot Tools"


def test_several_instances_keep_their_namespace_and_history_in_the_perspective(plugin_class: Any, app: Any) -> None:
    first, second = (plugin_class(Context(number)) for number in (1, 2))
    (panel,) = (first._session.panel,)
    panel.restore("/left", ["pick up the red cube"])
    end = time.monotonic() + 5.0
    while panel.namespace != "/left":
        assert time.monotonic() < end
        time.sleep(0.02)
    kept = Settings()
    first.save_settings(Settings(), kept)
    assert kept["namespace"] == "/left"
    assert json.loads(kept["history"]) == ["pick up the red cube"]
    second.restore_settings(Settings(), kept)
    while second._session.panel.namespace != "/left":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert second._session.panel.history == ["pick up the red cube"]
    assert second._session.panel.windowTitle() == "VLA policy (2)"
    third = plugin_class(Context(3))
    third.restore_settings(Settings(), Settings())
    assert third._session.panel.history == []
    for one in (first, second, third):
        one.shutdown_plugin()


@pytest.mark.parametrize("closed", [True, False])
def test_closing_the_window_or_ctrl_c_ends_a_demo_with_its_panel_in_order(tmp_path: Path, closed: bool) -> None:
    command = [sys.executable, "-c", "from vla_entropy_ros.cli import main; main()", "demo", "--show"]
    run = subprocess.Popen(
        [*command, "--output", str(tmp_path), "--episodes", "50"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path,
    )  # fmt: skip
    log = tmp_path / "logs" / "policy.log"
    wait(lambda: (log.exists() and "instruction:" in log.read_text()) or run.poll() is not None, 120.0)
    assert run.poll() is None
    (window,) = windows(tmp_path / "logs")
    os.kill(window if closed else run.pid, signal.SIGTERM if closed else signal.SIGINT)
    said, _ = run.communicate(timeout=40)
    assert run.returncode == 0, said
    assert "interrupted after" in said
    assert windows(tmp_path / "logs") == []
    assert json.loads((tmp_path / "summary.json").read_text())["planned_episodes"] == 50


def test_a_demo_without_a_display_refuses_show_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    told = CliRunner().invoke(main, ["demo", "--show", "--output", str(tmp_path / "out")])
    assert told.exit_code == 1
    (line,) = told.output.splitlines()
    assert line.startswith("Error: --show needs a display")
    assert not (tmp_path / "out").exists()
