"""The rooms are those of docs/architecture.md, and each imports only rooms that stand below it there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "vla_entropy_ros"
LISTS = {"vla_entropy_ros": PACKAGE, "engine": PACKAGE / "engine"}
ENGINE_ROOMS = 14  # files and folders at its top
FILE_LINES, FUNCTION_LINES = 300, 60
NEITHER_ROS_NOR_TORCH = {"rclpy", "torch", "launch", "sensor_msgs", "geometry_msgs", "std_msgs", "trajectory_msgs"}
FOREIGN = {  # by room: what it must not import
    "engine": NEITHER_ROS_NOR_TORCH - {"torch"},
    "control": NEITHER_ROS_NOR_TORCH,
    "sim": NEITHER_ROS_NOR_TORCH,
}


def listed(name: str) -> list[str]:
    """Rooms of a list in docs/architecture.md, from the top down."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = page.partition(f"```\n{name}/\n")[2].partition("```")[0]
    return re.findall(r"^  (\w+)(?:/|\.py) ", block, re.MULTILINE)


def rooms(folder: Path) -> set[str]:
    """Modules and packages at the top of `folder`."""
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}


def modules(folder: Path) -> list[Path]:
    """Every module below `folder`."""
    return sorted(folder.rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """Names, in parts, that a module of the package imports, those of the package from its root on."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = tuple(node.module.split(".")) if node.module else ()
            yield from ((*base, *module, alias.name) for alias in node.names)


def arrows(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Every import between two rooms of `folder`: from where, to where, and in which file."""
    prefix, known = folder.relative_to(ROOT).parts, rooms(folder)
    for path in modules(folder):
        source = path.relative_to(folder).parts[0].removesuffix(".py")
        for name in imported(path):
            inside = name[: len(prefix)] == prefix and len(name) > len(prefix)
            if source in known and inside and name[len(prefix)] in known - {source}:
                yield source, name[len(prefix)], str(path.relative_to(ROOT))


@pytest.mark.parametrize("name", LISTS)
def test_every_room_is_listed_once(name: str) -> None:
    assert sorted(listed(name)) == sorted(rooms(LISTS[name]))


@pytest.mark.parametrize("name", LISTS)
def test_imports_lead_downwards(name: str) -> None:
    order = listed(name)
    wrong = {(a, b, file) for a, b, file in arrows(LISTS[name]) if order.index(a) > order.index(b)}
    assert sorted(f"{file}: {a} imports {b}" for a, b, file in wrong) == []


@pytest.mark.parametrize(("name", "head"), [("vla_entropy_ros", "package"), ("engine", "engine")])
def test_the_table_of_imports_is_that_of_the_code(name: str, head: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition(f"| {head} | imports |\n|---|---|\n")[2].partition("\n\n")[0]
    told = {(a, b) for a, names in re.findall(r"^\| (\w+) \| (.*) \|$", table, re.MULTILINE) for b in names.split(", ")}
    assert sorted(told) == sorted({(a, b) for a, b, _ in arrows(LISTS[name])})


@pytest.mark.parametrize("room", FOREIGN)
def test_rooms_stay_apart_from_ros_and_torch(room: str) -> None:
    found = {(name[0], str(path)) for path in modules(PACKAGE / room) for name in imported(path)}
    assert sorted(pair for pair in found if pair[0] in FOREIGN[room]) == []


def test_the_engine_can_be_taken_in_at_a_glance() -> None:
    assert len(rooms(PACKAGE / "engine")) <= ENGINE_ROOMS


@pytest.mark.parametrize("folder", ["vla_entropy_ros", "tools", "test"])
def test_files_and_functions_are_short(folder: str) -> None:
    long = []
    for path in modules(ROOT / folder):
        source = path.read_text(encoding="utf-8")
        if (lines := len(source.splitlines())) > FILE_LINES:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        sizes = [(function.name, (function.end_lineno or 0) - function.lineno + 1) for function in functions]
        long += [f"{path.relative_to(ROOT)}: {name}: {size}" for name, size in sizes if size > FUNCTION_LINES]
    assert long == []
