"""The panel as a whole: whom it shows, when it looks and draws, and what it draws."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyqtgraph.Qt import QtGui, QtWidgets

from vla_entropy_ros import draw
from vla_entropy_ros.panel.parts import rgb
from vla_entropy_ros.panel.snapshot import KEPT, NO_POLICY, Health

from .standins import ALIVE, picture, tick

ROOT = Path(__file__).parents[2]
FOREIGN = (
    "torch",
    "transformers",
    "mujoco",
    "rich",
    "click",
    "vla_entropy_ros.evaluation",
    "vla_entropy_ros.engine.policy",
)


def test_without_a_policy_the_panel_says_how_to_start_one(shown: Any) -> None:
    shown.tell(namespaces=(), namespace=None, trouble=NO_POLICY, heard=False)
    assert shown.panel.trouble.words == NO_POLICY
    assert "ros2 launch vla_entropy_ros policy.launch.py" in NO_POLICY


def test_every_policy_found_can_be_chosen(shown: Any) -> None:
    shown.tell(namespaces=("/left", "/right"), namespace="/left")
    choice = shown.panel.namespaces
    assert [choice.itemText(number) for number in range(choice.count())] == ["/left", "/right"]
    assert choice.currentText() == "/left"
    choice.setCurrentIndex(1)
    choice.activated.emit(1)
    assert shown.source.chosen == ["/right"]
    assert shown.orders.of("choose")[-1] == ("/right",)


def test_two_policies_of_one_name_are_told(shown: Any) -> None:
    words = "2 policies are named /policy: end all but one"
    shown.tell(trouble=words)
    assert shown.panel.trouble.words == words
    assert shown.panel.goal.buttons["stop"].isEnabled()


def test_a_policy_that_goes_away_is_told_and_comes_back_by_itself(shown: Any) -> None:
    words = "no word from /policy for 3 s"
    shown.tell(namespaces=(), trouble=words, heard=False)
    assert shown.panel.trouble.words == words
    assert shown.panel.namespaces.currentText() == "/ (gone)"
    assert not shown.panel.goal.buttons["run"].isEnabled()
    shown.tell(**ALIVE)
    assert shown.panel.trouble.words == "/policy speaks"
    assert shown.panel.namespaces.currentText() == "/"
    assert shown.panel.goal.buttons["run"].isEnabled()


def test_a_hidden_panel_neither_listens_nor_looks(shown: Any) -> None:
    assert shown.source.shown
    shown.panel.hide()
    shown.let(0.1)
    assert not shown.source.shown
    assert shown.orders.of("rest") == [()]
    before = shown.source.looks
    shown.let(0.3)
    assert shown.source.looks == before
    shown.panel.show()
    shown.let(0.1)
    assert shown.source.shown
    assert shown.source.looks > before


def test_nothing_is_drawn_unless_something_new_came_and_never_more_than_20_times_a_second(
    shown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {"picture": 0, "charts": 0}

    def count(owner: Any, method: str, name: str) -> None:
        real = getattr(owner, method)

        def counted(*arguments: Any) -> None:
            drawn[name] += 1
            real(*arguments)

        monkeypatch.setattr(owner, method, counted)

    shown.let(0.3)
    count(shown.panel.picture.overlay, "show_picture", "picture")
    count(shown.panel.latency, "show_ticks", "charts")
    shown.let(0.5)
    assert drawn == {"picture": 0, "charts": 0}
    began = time.monotonic()
    for number in range(200):
        shown.source.tell(ticks=(tick(number),), picture=picture(float(number), 8))
        shown.let(0.005)
    took = time.monotonic() - began
    assert 5 <= drawn["picture"] <= 20 * took + 1
    assert 2 <= drawn["charts"] <= 5 * took + 1


def test_the_last_tick_gets_into_the_charts_though_nothing_follows(shown: Any) -> None:
    for number in range(3):
        shown.tell(ticks=tuple(tick(one) for one in range(number + 1)))
    shown.tell(ticks=tuple(tick(one, fresh=77.0) for one in range(4)))
    shown.until(lambda: shown.panel.tokens.head.text().startswith("fresh 77"))


def test_the_picture_is_shown_as_it_came(shown: Any) -> None:
    shown.tell(picture=picture(colour=(200, 30, 40)))
    overlay = shown.panel.picture.overlay
    colour = overlay.grab().toImage().pixelColor(overlay.width() // 2, overlay.height() // 2)
    assert (colour.red(), colour.green(), colour.blue()) == (200, 30, 40)


def test_the_legend_has_the_colours_of_the_picture_and_counts_each_reason(shown: Any) -> None:
    shown.tell(counts={code: 10 + code for code in range(7)})
    text = shown.panel.picture.legend.text()
    for code, name in draw.NAMES.items():
        colour = rgb(draw.COLOURS[code] if code else draw.REUSED)
        assert f'color:{colour}">■</span>&nbsp;{name}&nbsp;<b>{10 + code}</b>' in text


def test_stages_are_stacked_up_to_the_total(shown: Any) -> None:
    shown.tell(ticks=tuple(tick(number, total=20.0 + number) for number in range(50)))
    latency = shown.panel.latency
    shown.until(lambda: latency._stacked["other"].yData[-1] > 0)
    heights = [
        latency._stacked[name].yData for name in ("preprocess", "vision", "select", "prefill", "decode", "other")
    ]
    assert [float(row[-1]) for row in heights] == [1.0, 3.0, 6.0, 10.0, 15.0, 69.0]
    assert np.all(heights[0][: KEPT - 50] == 0.0)
    assert float(latency._period.yData[-1]) == 100.0
    assert latency.head.text() == "p50 44.5, p95 66.5 ms"
    assert latency.chart.getViewBox().viewRange()[1][1] >= 100.0


def test_tokens_budgets_and_ages_are_drawn(shown: Any) -> None:
    shown.tell(ticks=(tick(0), tick(1, k_vis=12.0, k_attn=20.0, oldest=7.0)))
    tokens = shown.panel.tokens
    shown.until(lambda: tokens._fresh.yData[-1] > 0)
    assert float(tokens._fresh.yData[-1]) == 80.0
    assert float(tokens._reused.yData[-1]) == 256.0
    assert [float(tokens._budgets[name].yData[-1]) for name in ("k_vis", "k_attn")] == [12.0, 20.0]
    assert float(tokens._oldest.yData[-1]) == 7.0
    assert float(tokens._max_age.yData[-1]) == 20.0


def test_what_is_not_told_breaks_no_chart(shown: Any) -> None:
    gap = replace(tick(1), total=float("nan"), stages=(float("nan"),) * 5, fresh=float("nan"), oldest=float("inf"))
    shown.tell(ticks=(gap,))
    shown.let(0.4)
    shown.tell(ticks=(gap, tick(2)))
    shown.until(lambda: shown.panel.latency.head.text() == "p50 16.0, p95 16.0 ms")


def test_the_diagnostics_are_a_table_in_words(shown: Any) -> None:
    lines = [Health("policy: cache", 0, "34 % fresh"), Health("policy: device", 2, "gone"), Health("sim: x", 3, "old")]
    shown.tell(health=tuple(lines))
    table = shown.panel.state.table
    told = [[table.item(row, column).text() for column in range(2)] for row in range(table.rowCount())]
    assert told == [["OK", "policy: cache: 34 % fresh"], ["ERROR", "policy: device: gone"], ["STALE", "sim: x: old"]]
    shown.tell(health=tuple(lines[:1]))
    assert table.rowCount() == 1


@pytest.mark.parametrize(("window", "ink"), [("#efefef", "#000000"), ("#2b2d30", "#dddddd")])
def test_charts_follow_a_light_and_a_dark_palette(shown: Any, app: Any, window: str, ink: str) -> None:
    before = app.palette()
    palette = QtGui.QPalette(before)
    palette.setColor(QtGui.QPalette.ColorRole.Window, QtGui.QColor(window))
    palette.setColor(QtGui.QPalette.ColorRole.WindowText, QtGui.QColor(ink))
    try:
        app.setPalette(palette)
        shown.let(0.2)
        chart = shown.panel.latency.chart
        image = chart.grab().toImage()
        assert image.pixelColor(chart.width() // 2, 12).name() == window
        assert chart.getAxis("left").textPen().color().name() == ink
    finally:
        app.setPalette(before)


@pytest.mark.parametrize(("width", "columns"), [(1900, 3), (380, 1)])
def test_sections_stand_side_by_side_where_there_is_room(shown: Any, width: int, columns: int) -> None:
    shown.panel.resize(width, 900)
    shown.let(0.2)
    assert shown.panel.columns.columns == columns
    inside = shown.panel.columns.widget()
    assert inside.width() <= shown.panel.columns.viewport().width()
    for card in (shown.panel.goal, shown.panel.knobs, shown.panel.state, shown.panel.latency):
        assert card.isVisible()
        right = card.mapTo(inside, card.rect().bottomRight()).x()
        assert right <= inside.width()


def test_the_widgets_know_neither_ros_nor_what_loads_slowly() -> None:
    program = f"""
import sys
import vla_entropy_ros.panel.widget
print([name for name in ("rclpy", *{FOREIGN!r}) if name in sys.modules])
import vla_entropy_ros.panel.session
print([name for name in {FOREIGN!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr


def test_a_panel_that_has_ended_asks_for_nothing(shown: Any) -> None:
    shown.panel.end()
    shown.orders.asked.clear()
    shown.panel.hide()
    shown.panel.show()
    shown.let(0.2)
    assert shown.orders.asked == []
    assert isinstance(shown.panel, QtWidgets.QWidget)
