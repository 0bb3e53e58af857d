"""The layout for Foxglove names what there is and shows every panel; its page records and renames all of that."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vla_entropy_ros.settings import default_settings

ROOT = Path(__file__).parents[2]
LAYOUT: dict[str, Any] = json.loads((ROOT / "config" / "foxglove.json").read_text(encoding="utf-8"))
PANELS: dict[str, dict[str, Any]] = LAYOUT["configById"]
PAGE = (ROOT / "docs" / "how-to" / "foxglove.md").read_text(encoding="utf-8")
TOPICS = (ROOT / "docs" / "reference" / "topics.md").read_text(encoding="utf-8")
GOALS = (ROOT / "docs" / "reference" / "goals.md").read_text(encoding="utf-8")
NODES = ("policy", "command")
# Kinds of panel, by the names that Foxglove Studio's source and its fork's give them.
KINDS = ("3D", "CallService", "DiagnosticStatusPanel", "DiagnosticSummary", "Image", "Parameters", "Plot", "Publish")
GLOBAL = "/diagnostics"  # in every namespace the same


def strings(value: object) -> Iterator[str]:
    """Every text of the layout, keys among them."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from (key, *strings(below))
    elif isinstance(value, list):
        for below in value:
            yield from strings(below)
    elif isinstance(value, str):
        yield value


def names() -> set[str]:
    """Every topic and service that the layout names."""
    return {re.split(r"[.:]", text)[0] for text in strings(PANELS) if text.startswith("/")} - {"/policy"}


def leaves(tree: dict[str, Any] | str) -> list[str]:
    """Panels of a tree of splits, whose shares are per cent."""
    if isinstance(tree, str):
        return [tree]
    assert tree["direction"] in ("row", "column")
    assert 0 < tree["splitPercentage"] < 100
    return leaves(tree["first"]) + leaves(tree["second"])


def described() -> dict[str, str]:
    """Full names of the topics and services of the reference, each with the row it stands in."""
    rows: dict[str, str] = {}
    for node in (*NODES, "simulator"):
        section = TOPICS.partition(f"## {node.capitalize()} node")[2].partition("\n##")[0]
        for row in re.findall(r"^\|.*\|$", section, re.MULTILINE):
            said = re.findall(r"`([^`\s]+)`", "|".join(row.split("|")[:3]))
            stages = re.findall(r"`(\w+)`", row)
            every = [one.replace("<stage>", stage) for one in said for stage in (stages if "<stage>" in one else [""])]
            rows |= {_full(node, name): row for name in every}
    return rows


def _full(node: str, name: str) -> str:
    return name if name.startswith("/") else f"/{node}/{name[2:]}" if name.startswith("~/") else f"/{name}"


def expanded(command: str) -> list[str]:
    """Words of a command as bash hands them over."""
    run = subprocess.run(["bash", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def block(beginning: str) -> str:
    """The block of the page's code that begins so."""
    (found,) = (text for text in re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if beginning in text)
    return str(found)


def test_every_panel_of_the_layout_is_set_up_and_shown_once() -> None:
    shown = leaves(LAYOUT["layout"])
    assert sorted(shown) == sorted(PANELS)
    assert {name.partition("!")[0] for name in shown} == {*KINDS, "StateTransitions"}


def test_every_topic_and_service_of_the_layout_exists() -> None:
    assert len(names()) > 25
    assert sorted(names() - set(described())) == []


def test_what_is_called_and_published_has_its_type() -> None:
    rows = described()
    requests = {"std_srvs/SetBool": ["data"], "std_srvs/Trigger": []}
    for panel in (panel for panel in PANELS.values() if "serviceName" in panel):
        (kind,) = (kind for kind in requests if kind in rows[panel["serviceName"]])
        assert list(json.loads(panel["requestPayload"])) == requests[kind]
    said = PANELS["Publish!instruction"]
    assert said["datatype"].replace("/msg/", "/") in rows[said["topicName"]]
    assert list(json.loads(said["value"])) == ["data"]


def test_every_fact_that_is_plotted_is_told() -> None:
    facts = [match for text in strings(PANELS) if (match := re.match(r'(/\S+?)\.\S*\{key=="(.+)"\}', text))]
    assert facts
    page = {"/policy/status": TOPICS.partition("### Status of a tick")[2], "/policy/goal/status": GOALS}
    assert [match[2] for match in facts if f"`{match[2]}`" not in page[match[1]]] == []


def test_the_arm_is_shown_in_the_frame_of_the_actions() -> None:
    frames = {default_settings(node)["action_frame"] for node in NODES}
    assert {PANELS["3D!arm"]["followTf"], *re.findall(r"rviz2 -f (\w+)", PAGE)} == frames


def test_the_parameters_that_the_page_asks_for_exist() -> None:
    (asked,) = re.findall(r"'/policy\.\((.+?)\)'", PAGE)
    assert set(asked.split("|")) <= set(default_settings("policy"))


def test_the_recording_of_the_page_has_every_topic_of_the_layout() -> None:
    recorded = {word.removeprefix("--topic=") for word in expanded(block("vla-entropy record"))}
    called = {panel.get("serviceName") for panel in PANELS.values()} | {PANELS["Publish!instruction"]["topicName"]}
    assert names() - called - recorded == set()


@pytest.mark.parametrize("name", [GLOBAL, *sorted(names() - {GLOBAL})])
def test_the_page_renames_everything_for_a_namespace(name: str) -> None:
    command = block("sed -E").partition(" > ")[0]
    renamed = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f'"{name}' not in renamed or name == GLOBAL
    assert (f'"/left{name}' in renamed) == (name != GLOBAL)
