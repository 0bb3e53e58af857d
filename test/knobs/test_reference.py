"""The reference page of the parameters is the one that the tables of settings give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tools import reference
from vla_entropy_ros.settings import default_settings


def test_the_page_is_up_to_date() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run `python -m tools.reference`"


def test_a_changed_table_makes_the_page_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    before = reference.page()
    monkeypatch.setitem(reference.TABLES, "simulator", reference.TABLES["simulator"][1:])
    assert reference.page() != before


@pytest.mark.parametrize("node", reference.TABLES)
def test_every_parameter_stands_there_with_its_default(node: str) -> None:
    text = reference.section(node, reference.TABLES[node])
    rows = re.findall(r"^\| `([\w.]+)`( †)? \| `(.*?)` \| (.+?) \| (.+?) \| (.+) \|$", text, re.MULTILINE)
    defaults = default_settings(node)
    assert {name: yaml.safe_load(default) for name, _, default, *_ in rows} == defaults
    marked = {name for name, mark, *_ in rows if mark}
    assert marked == {setting.name for setting in reference.TABLES[node] if setting.read_only}


def test_the_command_writes_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reference, "PAGE", tmp_path / "docs" / "page.md")
    reference.main()
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page()
