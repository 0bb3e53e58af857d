"""The shipped perspective names what the nodes offer, and is made to fit a namespace and what is installed."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from vla_entropy_ros.nodes.policy.telemetry import COUNTS, STAGES
from vla_entropy_ros.perspective import POLICY, SHIPPED, Perspective, Sought, fit, leave_out, main, read, settings

ROOT = Path(__file__).parents[2]
PLUGINS = ("rqt_plot/Plot", "rqt_reconfigure/Param", "rqt_runtime_monitor/RuntimeMonitor", "vla_entropy_ros/VlaPolicy")


@pytest.fixture
def shipped() -> Perspective:
    return read(ROOT / SHIPPED)


def values(perspective: Perspective) -> dict[str, object]:
    """Settings by their key, which none shares with another one."""
    found = [(key, value) for _, key, value in settings(perspective)]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_the_shipped_docks_show_what_the_policy_offers(shipped: Perspective) -> None:
    sought = Sought(shipped)
    assert sought.nodes == [POLICY]
    offered = {f"{POLICY}/{topic}/data" for topic in (*COUNTS, *(f"latency/{stage}" for stage in STAGES))}
    assert len(sought.fields) == 5
    assert set(sought.fields) <= offered
    assert values(shipped)["running-plugins"] == {plugin: [1] for plugin in PLUGINS}


def test_the_shipped_file_holds_nothing_else(shipped: Perspective) -> None:
    """Neither what rqt writes by itself, nor anything of the machine on which it was made."""
    assert set(values(shipped)) == {
        "running-plugins",
        "topics",
        "autoscroll",
        "x_limits",
        "selected_nodes",
        "namespace",
    }
    assert set(shipped["groups"]) == {"pluginmanager", "mainwindow"}
    assert set(shipped["groups"]["mainwindow"]["keys"]) == {"geometry", "state"}


def test_every_shipped_dock_has_a_place(shipped: Perspective) -> None:
    """Qt writes the name of each dock, which begins with that of its plugin, in UTF-16."""
    setting = shipped["groups"]["mainwindow"]["keys"]["state"]["repr(QByteArray.hex)"]
    (digits,) = re.findall("b'([0-9a-f]+)'", setting)
    state = bytes.fromhex(digits)
    names = [f"{plugin.replace('/', '__')}__1__".encode("utf-16-be") for plugin in PLUGINS]
    assert [state.count(name) for name in names] == [1] * len(PLUGINS)
    assert state.count("__1__".encode("utf-16-be")) == len(PLUGINS)


@pytest.mark.parametrize(("namespace", "policy"), [("/left", "/left/policy"), ("/cell/left", "/cell/left/policy")])
def test_all_names_move_into_a_namespace(shipped: Perspective, namespace: str, policy: str) -> None:
    before = copy.deepcopy(shipped)
    fit(shipped, namespace)
    assert Sought(shipped).nodes == [policy]
    assert [field.replace(policy, POLICY) for field in Sought(shipped).fields] == Sought(before).fields
    assert all(field.startswith(f"{policy}/") for field in Sought(shipped).fields)
    assert values(shipped)["namespace"] == namespace
    for key in ("running-plugins", "autoscroll", "x_limits"):
        assert values(shipped)[key] == values(before)[key]
    assert shipped["groups"]["mainwindow"] == before["groups"]["mainwindow"]


def test_without_a_namespace_nothing_changes(shipped: Perspective) -> None:
    before = copy.deepcopy(shipped)
    fit(shipped, "/")
    assert shipped == before


def test_names_that_only_look_alike_and_those_of_another_namespace_stay(shipped: Perspective) -> None:
    plot = shipped["groups"]["pluginmanager"]["groups"]["plugin__rqt_plot__Plot__1"]["groups"]["plugin"]["keys"]
    plot["topics"]["repr"] = "['/policy_b/latency/total/data', '/right/policy/latency/total/data']"
    fit(shipped, "/left")
    assert Sought(shipped).fields == ["/policy_b/latency/total/data", "/right/policy/latency/total/data"]
    plot["topics"]["repr"] = "'/policy/latency/total/data'"  # as rqt_plot writes a single one
    assert Sought(shipped).fields == ["/policy/latency/total/data"]


def test_docks_that_are_not_installed_are_left_out_and_told(shipped: Perspective) -> None:
    installed = {plugin.partition("/")[0] for plugin in PLUGINS}
    before = copy.deepcopy(shipped)
    assert leave_out(shipped, installed) == []
    assert shipped == before
    assert leave_out(shipped, installed - {"rqt_plot", "rqt_runtime_monitor"}) == ["rqt_plot", "rqt_runtime_monitor"]
    assert values(shipped)["running-plugins"] == {plugin: [1] for plugin in (PLUGINS[1], PLUGINS[3])}


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b'{"keys": {}, "groups": {}}', b'{"keys": {"a": 1}, "groups": {}}',
     json.dumps({"keys": {"running-plugins": {"type": "repr", "repr": "7"}}, "groups": {}}).encode()],
)  # fmt: skip
def test_a_file_that_is_no_perspective_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine.perspective"
    file.write_bytes(content)
    said = refused("--perspective-file", str(file))
    assert said.startswith(f"Error: {file} is no perspective as rqt exports it: ")


def test_a_namespace_that_is_none_and_a_missing_screen_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("--namespace", "a b") == "Error: no namespace: /a b; valid are names such as /left or /cell/left"
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert refused() == "Error: rqt needs a screen, and DISPLAY is not set"


def refused(*arguments: str) -> str:
    """The one line that the command refuses them with."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1, result.output
    (line,) = result.output.splitlines()
    return line
