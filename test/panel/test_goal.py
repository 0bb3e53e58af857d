"""Goals: what is asked of the nodes, what they answer, and a stop that always works."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from vla_entropy_ros.panel.goal import REMEMBERED
from vla_entropy_ros.panel.parts import Elided
from vla_entropy_ros.panel.snapshot import NO_POLICY, Said

from .standins import IDLE

LONG = "pick up the red cube and then " * 67  # 2,010 characters


def say(shown: Any, *said: Said) -> None:
    shown.orders.said += said
    shown.let(0.15)


def press(shown: Any, key: QtCore.Qt.Key) -> None:
    line = shown.panel.goal.instruction
    for kind in (QtCore.QEvent.Type.KeyPress, QtCore.QEvent.Type.KeyRelease):
        event = QtGui.QKeyEvent(kind, key, QtCore.Qt.KeyboardModifier.NoModifier)
        QtWidgets.QApplication.sendEvent(line, event)
    shown.let(0.02)


def test_start_gives_the_instruction_with_its_time_limit(shown: Any) -> None:
    goal = shown.panel.goal
    goal.instruction.setEditText("  pick up the\n red cube ")
    goal.timeout.setValue(12)
    goal.buttons["run"].click()
    assert shown.orders.of("run") == [("pick up the red cube", 12.0)]
    say(shown, Said("run", True, "goal 1 runs"))
    assert "goal 1 runs" in goal.said.words
    assert goal.instruction.history == ["pick up the red cube"]


def test_start_without_an_instruction_says_what_is_missing(shown: Any) -> None:
    shown.panel.goal.instruction.setEditText("   ")
    shown.panel.goal.buttons["run"].click()
    assert shown.orders.of("run") == []
    assert "instruction" in shown.panel.goal.said.words


def test_an_instruction_of_2000_characters_and_its_refusal_leave_the_panel_as_it_is(shown: Any) -> None:
    before = shown.panel.minimumSizeHint().width()
    began = time.monotonic()
    shown.panel.goal.instruction.setEditText(LONG)
    shown.panel.goal.buttons["run"].click()
    ((given, _),) = shown.orders.of("run")
    assert given == LONG.strip()
    say(shown, Said("run", False, f"the instruction takes 500 tokens: at most 128 are possible: {given}"))
    shown.tell(goal=replace(IDLE, number=1, state="held", why=LONG, instruction=LONG, hold=LONG))
    assert time.monotonic() - began < 2.0
    assert "at most 128 are possible" in shown.panel.goal.said.text()
    assert shown.panel.goal.instruction.history == []
    assert shown.panel.minimumSizeHint().width() == before
    assert shown.panel.goal.height() < 500
    for label in shown.panel.findChildren(Elided):
        assert len(label.toolTip()) < 1000
        assert label.height() < 3 * label.fontMetrics().height()


def test_a_word_without_end_does_not_widen_the_panel(shown: Any) -> None:
    before = shown.panel.minimumSizeHint().width()
    say(shown, Said("run", False, "x" * 2000))
    assert shown.panel.minimumSizeHint().width() == before
    assert shown.panel.width() == 1280


def test_up_and_down_lead_through_the_instructions_given_before(shown: Any) -> None:
    line = shown.panel.goal.instruction
    line.set_history(["third", "second", "first"])
    line.setEditText("")
    line.setCurrentIndex(-1)
    press(shown, QtCore.Qt.Key.Key_Down)
    assert line.currentText() == "third"
    press(shown, QtCore.Qt.Key.Key_Down)
    assert line.currentText() == "second"
    press(shown, QtCore.Qt.Key.Key_Up)
    assert line.currentText() == "third"


def test_the_last_20_instructions_are_kept_each_once(shown: Any) -> None:
    for number in [*range(30), 29, 28]:
        shown.panel.goal.instruction.remember(f"task {number}")
    history = shown.panel.history
    assert history[:3] == ["task 28", "task 29", "task 27"]
    assert len(history) == len(set(history)) == REMEMBERED
    shown.panel.restore(None, history)
    assert shown.panel.history == history


def test_cancelling_when_nothing_runs_is_answered_in_words(shown: Any) -> None:
    shown.panel.goal.buttons["stop"].click()
    assert shown.orders.of("stop") == [()]
    say(shown, Said("stop", False, "no goal runs"))
    assert shown.panel.goal.said.words == "Stop: no goal runs"


def test_every_button_asks_for_its_call(shown: Any) -> None:
    for call in ("stop", "reset", "enable", "disable", "release"):
        shown.panel.goal.buttons[call].click()
        assert shown.orders.of(call) == [()]


def test_the_emergency_stop_works_where_nothing_else_can_be_asked_for(shown: Any) -> None:
    shown.tell(trouble=NO_POLICY, heard=False, namespaces=(), namespace=None, knobs={})
    assert not any(button.isEnabled() for button in shown.panel.goal.buttons.values())
    assert shown.panel.stop.isEnabled()
    shown.panel.stop.click()
    assert shown.orders.of("emergency_stop") == [()]
    say(shown, Said("emergency_stop", False, "/command does not confirm the stop: use the robot's own"))
    assert "use the robot's own" in shown.panel.stopped.words
    assert shown.panel.stopped.isVisible()


def test_the_words_of_the_stop_go_when_anybody_has_released_it(shown: Any) -> None:
    shown.panel.stop.click()
    say(shown, Said("emergency_stop", True, "holding: emergency stop"))
    shown.tell(goal=replace(IDLE, motion="holding", hold="holding: emergency stop: call ~/release"))
    shown.let(1.2)
    shown.tell(goal=replace(IDLE, number=1, motion="holding", hold="holding: emergency stop: call ~/release"))
    assert "holding: emergency stop" in shown.panel.stopped.words
    shown.tell(goal=IDLE)
    assert shown.panel.stopped.words == ""


def test_the_emergency_stop_is_large_red_and_in_sight_in_a_narrow_dock(shown: Any) -> None:
    for width in (1280, 380):
        shown.panel.resize(width, 800)
        shown.let(0.1)
        stop = shown.panel.stop
        assert stop.height() >= 40
        assert shown.panel.rect().contains(stop.geometry())
        colour = stop.grab().toImage().pixelColor(12, stop.height() // 2)
        assert colour.red() > 150 > 100 > colour.green()


def test_how_the_goal_fares_is_told_in_words(shown: Any) -> None:
    goal = replace(
        IDLE, number=3, state="running", instruction="push the blue cube", until="still 2", timeout=60.0, elapsed=12.34,
        motion="holding", hold="no chunk for 0.4 s",
    )  # fmt: skip
    shown.tell(goal=goal)
    assert "running" in shown.panel.goal.mark.text()
    assert shown.panel.goal.now.text() == "12.3 s of 60 s: push the blue cube until still 2"
    assert shown.panel.state.lines["policy"].text() == "active"
    assert shown.panel.state.lines["arm"].text() == "holding: no chunk for 0.4 s"
    shown.tell(goal=replace(goal, state="held", why="no word of its client"))
    assert "(no word of its client)" in shown.panel.goal.now.text()
