"""The documentation tells the truth about files, commands, parameters, topics and diagnostics."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vla_entropy_ros.cli import COMMANDS
from vla_entropy_ros.settings import default_settings

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "vla_entropy_ros"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
README_LINES = 120
PUBLISHES = ("create_publisher", "create_lifecycle_publisher", "create_subscription", "create_service")
every_page = pytest.mark.parametrize("page", PAGES, ids=IDS)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def code(page: Path) -> str:
    """A page's blocks and pieces of code, a line each."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return "\n".join(blocks + re.findall(r"`([^`\n]+)`", prose(page)))


def anchors(page: Path) -> set[str]:
    """What a link may name behind the # of a page's address."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_readme_can_be_read_at_once() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_linked() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page))
    }
    assert [str(page) for page in PAGES if page.name != "README.md" and page not in linked] == []


@every_page
def test_targets_and_commands_exist(page: Path) -> None:
    makefile, text = (ROOT / "Makefile").read_text(encoding="utf-8"), code(page)
    targets = set(re.findall(r"^#?make (?:PYTHON=\S+ )?([a-z]+)", text, re.MULTILINE))
    assert {target for target in targets if f"\n{target}:" not in makefile} == set()
    assert set(re.findall(r"vla-entropy ([a-z]+)", text)) <= set(COMMANDS)


@every_page
def test_files_exist(page: Path) -> None:
    """Paths in pieces of code begin at the root, or at the package; those with a variable part are not looked at."""
    named = re.findall(r"`([\w./-]+/[\w./-]*|[\w./-]+\.(?:py|md|yaml|xml|json|txt))`", prose(page))
    folders = ("vla_entropy_ros", "engine", "nodes", "control", "sim", "train", "bench", "evaluation", "tools", "test")
    known = [name for name in named if name.split("/")[0] in (*folders, "config", "launch", "scripts", "requirements")]
    assert [name for name in known if not (ROOT / name).exists() and not (PACKAGE / name).exists()] == []


def test_the_changelog_names_every_command() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert [command for command in COMMANDS if f"`{command}`" not in changelog.replace("vla-entropy ", "")] == []


def test_the_changelog_tells_how_to_mend_a_parameter_file() -> None:
    rows = re.findall(r"^\| (policy|command|simulator) \| `(\S+)` \| (gone.*|`(\S+)`) \|$", _changelog(), re.MULTILINE)
    assert len(rows) > 30
    for node, old, _, new in rows:
        assert old not in default_settings(node), old
        assert not new or new in default_settings(node), new


def test_the_changelog_tells_where_python_names_have_gone() -> None:
    rows = re.findall(r"^\| `(vla_entropy_ros\.\S+)` \| (.*) \|$", _changelog(), re.MULTILINE)
    assert len(rows) > 10
    for old, new in rows:
        assert not _resolves(old), old
        named = re.findall(r"`(vla_entropy_ros\.[\w.]+)`", new)
        assert named
        assert [name for name in named if not _resolves(name)] == []


def _resolves(name: str) -> bool:
    """Whether a module, or something in one, has that name."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def _changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def calls(folder: str) -> Iterator[ast.Call]:
    """Every call in the modules of a folder of nodes/."""
    for path in sorted((PACKAGE / "nodes" / folder).glob("*.py")):
        yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    """The name of the function or method that is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def text_of(node: ast.expr, instead: str = "...") -> str | None:
    """A string as it stands in the code, with `instead` for each part that varies; None for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else instead for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@pytest.mark.parametrize("node", ["policy", "command", "simulator"])
def test_topics_and_services_are_described(node: str) -> None:
    page = (ROOT / "docs" / "reference" / "topics.md").read_text(encoding="utf-8")
    section = page.partition(f"## {node.capitalize()} node")[2].partition("\n## ")[0]
    made = [call for call in calls(node) if name_of(call) in PUBLISHES]
    topics = {text for call in made for argument in call.args[1:2] if (text := text_of(argument, ""))}
    topics |= set(_class_topics(node))
    assert len(topics) > 2
    assert [topic for topic in sorted(topics) if f"`{topic}" not in section] == []


def _class_topics(folder: str) -> Iterator[str]:
    """Values of the class attribute `topic`, alone or beside another one."""
    for path in sorted((PACKAGE / "nodes" / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and "topic" in (
                names := ast.unparse(node.targets[0]).strip("()").split(", ")
            ):
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                yield from (text for value in values[names.index("topic") :][:1] if (text := text_of(value)))


@pytest.mark.parametrize("node", ["policy", "command", "simulator"])
def test_messages_of_the_diagnostics_are_described(node: str) -> None:
    page = (ROOT / "docs" / "reference" / "diagnostics.md").read_text(encoding="utf-8")
    reports = [call.args for call in calls(node) if name_of(call) == "Report" and len(call.args) > 1]
    messages = {text for _, message, *_ in reports if (text := text_of(message))}
    assert messages or node == "command"
    assert [message for message in sorted(messages) if message not in page] == []


def stands_on(page: str, text: str) -> bool:
    """Whether a line of the page has the text, whatever stands there for the parts that vary."""
    return re.search(".+".join(map(re.escape, text.split("..."))), page) is not None


@pytest.mark.parametrize("node", ["policy", "command", "simulator", "common"])
def test_lines_of_the_log_are_described(node: str) -> None:
    page = (ROOT / "docs" / "reference" / "diagnostics.md").read_text(encoding="utf-8")
    logged = [call for call in calls(node) if name_of(call) in ("warning", "error", "fatal")]
    lines = {text for call in logged for argument in call.args[:1] if (text := text_of(argument))}
    assert logged
    assert [line for line in sorted(lines) if not stands_on(page, line)] == []


def test_what_can_be_wrong_with_the_state_is_described() -> None:
    page = (ROOT / "docs" / "reference" / "diagnostics.md").read_text(encoding="utf-8")
    module = ast.parse((PACKAGE / "nodes" / "policy" / "robot_state.py").read_text())
    returned = [node.value for node in ast.walk(module) if isinstance(node, ast.Return) and node.value is not None]
    messages = {text for value in returned if (text := text_of(value))}
    assert len(messages) > 3
    assert [message for message in sorted(messages) if not stands_on(page, message)] == []


@pytest.mark.parametrize("node", ["policy", "command", "simulator", "common"])
def test_values_of_the_diagnostics_are_described(node: str) -> None:
    page = (ROOT / "docs" / "reference" / "diagnostics.md").read_text(encoding="utf-8")
    summaries = [call.args for call in calls(node) if name_of(call) == "summary" and len(call.args) > 1]
    keys = {f"{text_of(name)} p50 / p95 / max [{text_of(unit)}]" for name, unit, *_ in summaries}
    for path in sorted((PACKAGE / "nodes" / node).glob("*.py")):
        keys |= set(_report_keys(ast.parse(path.read_text())))
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def _report_keys(module: ast.Module) -> Iterator[str]:
    """Keys of the dictionaries that functions named like reports make."""
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        if "report" not in function.name and function.name != "_decoding":
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                yield from (text for key in node.keys if key is not None and (text := text_of(key)))
