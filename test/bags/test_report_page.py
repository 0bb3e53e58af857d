"""The page itself: its pictures, what it is made of, and the command that writes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from vla_entropy_ros.bags.report import frames
from vla_entropy_ros.cli import main
from vla_entropy_ros.draw import COLOURS, overlay

from .runs import GRID, RunBag, page, steps, ticks


class Resources(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_an_image_and_its_selection_are_joined_by_the_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Any, Any]] = []

    def noted(image: Any, codes: Any) -> Any:
        drawn.append((image, codes))
        return overlay(image, codes)

    monkeypatch.setattr(frames, "overlay", noted)
    with RunBag(tmp_path / "run") as bag:
        for number in range(1, 6):  # recorded long after they were taken, among others
            bag.image(1.0 + 0.1 * number, stamp=0.1 * number, grey=40 * number)
            bag.selection(1.4 + 0.1 * number, np.full((GRID, GRID), number, np.uint8), stamp=0.1 * number)
        bag.image(1.85, stamp=0.85, grey=250)
        bag.tick(1.9, stamp=0.3)
    figures, text = page(tmp_path / "run")
    ((image, codes),) = drawn
    assert abs(float(image.mean()) - 120) < 2
    assert set(codes.reshape(-1)) == {3}
    (shown,) = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", text)
    assert len(figures["moments"]) == 1
    assert len(shown) > 1000


def test_a_tick_whose_image_is_not_there_says_so(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        bag.image(1.0, stamp=0.9)
        bag.tick(1.1, stamp=0.95)
    figures, text = page(tmp_path / "run")
    assert figures["moments"][0]["picture"] == "the image of this tick is not in the bag"
    assert "the image of this tick is not in the bag" in text


@pytest.mark.parametrize(("codes", "said"), [((4, 4, 200), "4 x 4 codes up to 200"), ((200, 200, 1), "200 x 200")])
def test_a_selection_that_can_not_be_is_not_drawn(tmp_path: Path, codes: tuple[int, int, int], said: str) -> None:
    with RunBag(tmp_path / "run") as bag:
        bag.image(1.0)
        bag.selection(1.0, np.full(codes[:2], codes[2], np.uint8))
        bag.tick(1.0)
    figures, _ = page(tmp_path / "run")
    assert f"the selection of this tick is {said}" in figures["moments"][0]["picture"]


def test_the_cameras_of_a_tick_stand_one_below_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def noted(picture: Any) -> bytes:
        seen.append(picture)
        return b"JPEG"

    monkeypatch.setattr(frames, "encode_jpeg", noted)
    with RunBag(tmp_path / "run") as bag:
        for topic, grey in (("/image_10", 200), ("/image_2", 100), ("/image/compressed", 50)):
            bag.image(1.0, topic, stamp=1.0 if topic == "/image/compressed" else 1.02, grey=grey)
            bag.image(1.3, topic, stamp=1.3, grey=0)
        bag.selection(1.1, np.full((3 * GRID, GRID), 2, np.uint8), stamp=1.0)
        bag.tick(1.1, stamp=1.0)
    page(tmp_path / "run")
    (picture,) = seen
    greys = [float(part.mean()) for part in np.split(picture, 3)]
    assert greys == sorted(greys)
    assert greys[2] - greys[0] > 60


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a short run with something of everything."""
    path = tmp_path_factory.mktemp("bags") / "run"
    with RunBag(path) as bag:
        bag.parameters(0.5, "/policy", {"k2": 24})
        ticks(bag, *steps(1.0, 5))
        bag.state(1.1, "holding: chunk refused")
        bag.parameters(1.2, "/policy", k2=40)
        bag.goal(1.3, 1, "done", instruction="push", why="simulator/success is true")
        bag.diagnostics(1.4, ("policy: cache", 1, "3 % reused"))
    return page(path)[1]


def test_the_page_needs_nothing_but_itself(shown: str) -> None:
    parser = Resources()
    parser.feed(shown)
    assert {name.partition(":")[0] for name in parser.found if not name.startswith("#")} == {"data"}
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", shown)
    assert "@import" not in shown


HOSTILE = "</script><script>alert(1)</script><b>\"'&"


def test_text_of_a_bag_stays_text(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        ticks(bag, 1.0, instruction=HOSTILE, mode=HOSTILE, reason=HOSTILE, hold=HOSTILE)
        bag.goal(1.0, 1, HOSTILE, instruction=HOSTILE, why=HOSTILE, until=HOSTILE)
        bag.parameters(1.0, "/policy", {HOSTILE: HOSTILE})
        bag.parameters(1.1, "/policy", {}, **{HOSTILE: "<i>"})
        bag.state(1.0, f"holding: {HOSTILE}")
        bag.diagnostics(1.0, (f"policy: {HOSTILE}", 2, HOSTILE))
    figures, text = page(tmp_path / "run")
    assert figures["instructions"] == [HOSTILE]
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text
    assert re.findall(r"<script[^>]*>", text) == ['<script type="application/json" id="ticks">', "<script>"]
    assert "<b>" not in text
    assert "<i>" not in text
    shown = text.partition('id="ticks">')[2].partition("</script>")[0]
    assert HOSTILE in json.loads(shown)[0][1]


def test_a_long_instruction_is_cut_short_on_the_page_alone(tmp_path: Path) -> None:
    long = "pick up the red cube and " * 80
    with RunBag(tmp_path / "run") as bag:
        ticks(bag, *steps(1.0, 5), instruction=long)
    figures, text = page(tmp_path / "run")
    assert len(long) == 2000
    assert figures["instructions"] == [long.strip()]
    assert long[:150] in text
    assert long[:400] not in text
    assert "..." in text


def test_of_a_damaged_bag_what_comes_before_the_damage_is_shown(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        ticks(bag, *steps(1.0, 20))
    (file,) = (tmp_path / "run").glob("*.mcap")
    (tmp_path / "cut").mkdir()
    file.rename(tmp_path / "cut" / "run_0.mcap")
    (tmp_path / "cut" / "run_1.mcap").write_bytes(b"")
    figures, text = page(tmp_path / "cut")
    (note,) = figures["notes"]
    assert "run_1.mcap is empty" in note
    assert note.endswith("; what comes before it is shown")
    assert note in text
    assert figures["ticks"] == 20
    assert {moment["picture"] for moment in figures["moments"]} == {"drawn"}


def test_of_a_long_run_the_slowest_ticks_are_drawn(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        for number in range(5000):
            bag.tick(1.0 + 0.1 * number, latency__total=95.0 if number == 2501 else 20.0, tick=number)
    figures, text = page(tmp_path / "run")
    assert figures["total_ms"]["max"] == 95.0
    shown = json.loads(text.partition('id="ticks">')[2].partition("</script>")[0])
    assert len(shown) <= 2001
    assert any("95.0 of 100 ms" in words for _, words in shown)
    assert len(text) < 2_000_000


def test_colours_are_those_of_the_overlay(shown: str) -> None:
    assert all(f"--code{code}: rgb({' '.join(map(str, colour))})" in shown for code, colour in COLOURS.items())


def test_the_page_is_made_without_ros_and_without_torch(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        ticks(bag, 1.0)
    program = f"""
import sys
sys.modules["rclpy"] = sys.modules["torch"] = None
from vla_entropy_ros.cli import main
main(["inspect", "bag", {str(tmp_path / "run")!r}, "--output", {str(tmp_path / "page.html")!r}], standalone_mode=False)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"page     {tmp_path}/page.html\n")


def call(*arguments: str) -> Result:
    """Run `vla-entropy inspect bag`."""
    return CliRunner().invoke(main, ["inspect", "bag", *arguments])


def test_the_command_writes_to_a_folder_or_a_file_and_prints_figures(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        ticks(bag, *steps(1.0, 3))
    figures = json.loads(call(str(tmp_path / "run"), "--output", str(tmp_path / "pages"), "--json").stdout)
    assert (figures["page"], figures["ticks"]) == (str(tmp_path / "pages" / "report.html"), 3)
    result = call(str(tmp_path / "run"), "--output", str(tmp_path / "one.html"))
    assert (result.exit_code, (tmp_path / "one.html").stat().st_size > 10_000) == (0, True)
    assert "not in the bag: what the command node did; --topic /command/state records it" in result.output
    (tmp_path / "file").write_text("")
    refused = call(str(tmp_path / "run"), "--output", str(tmp_path / "file" / "page.html"))
    assert refused.exit_code == 1
    assert refused.output.splitlines()[-1].startswith(f"Error: no page can be written to {tmp_path}/file/page.html")
