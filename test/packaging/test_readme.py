"""The README tells the truth about parameters and commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from vla_entropy_ros.cli import COMMANDS
from vla_entropy_ros.nodes.command.settings import COMMAND_SETTINGS
from vla_entropy_ros.nodes.policy.settings import POLICY_SETTINGS
from vla_entropy_ros.nodes.simulator.settings import SIMULATOR_SETTINGS
from vla_entropy_ros.settings import Setting, default_settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TABLES = {"policy": POLICY_SETTINGS, "command": COMMAND_SETTINGS, "simulator": SIMULATOR_SETTINGS}


def rows(node: str) -> dict[str, list[str]]:
    """Cells of a node's parameter table by parameter."""
    table = README.partition(f"**`{node}`**")[2].partition("\n\n**")[0].partition("\n## ")[0]
    lines = re.findall(r"^\| `(\w+)`( †)? \| (.*?) \| (.*?) \| (.*) \|$", table, re.MULTILINE)
    return {name: [mark, default, valid, text] for name, mark, default, valid, text in lines}


@pytest.mark.parametrize("node", TABLES)
def test_every_parameter_stands_there_with_its_default_and_range(node: str) -> None:
    table, defaults = rows(node), default_settings(node)
    assert set(table) == set(defaults) == {setting.name for setting in TABLES[node]}
    for setting in TABLES[node]:
        mark, default, valid, _ = table[setting.name]
        assert bool(mark) == setting.read_only, setting.name
        assert yaml.safe_load(default) == defaults[setting.name], setting.name
        assert valid == valid_values(setting), setting.name


def valid_values(setting: Setting) -> str:
    """What the table says is valid."""
    if setting.choices:
        return ", ".join(map(str, setting.choices))
    if setting.low is not None:
        return f"{setting.low:g} to {setting.high:g}"
    return "true, false" if setting.kind == "bool" else "text"


def test_links_and_targets_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^\.?make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile, target


def test_the_changelog_names_every_command() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert [command for command in COMMANDS if f"`{command}`" not in changelog.replace("vla-entropy ", "")] == []
