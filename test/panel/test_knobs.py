"""Knobs: what holds is shown, what is set is answered beside it, and what was refused goes back."""

from __future__ import annotations

from typing import Any

import pytest
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from vla_entropy_ros.engine.tunables import MODES, tunable
from vla_entropy_ros.panel import controls
from vla_entropy_ros.panel.snapshot import KNOBS, Knob, Said

from . import standins

REFUSAL = "k1 + k2 300 is above the visual tokens of this policy: valid are 0 to 256"


def values(shown: Any, name: str) -> tuple[int, int]:
    """What slider and box show."""
    control = shown.panel.knobs.controls[name]
    return control.slider.value(), control.box.value()


def answer(shown: Any, name: str, value: Any, ok: bool, words: str) -> None:
    shown.orders.said.append(Said("set", ok, words, name, value))
    shown.let(0.15)


def test_a_refused_value_goes_back_and_the_words_stand_beside_it(shown: Any) -> None:
    control = shown.panel.knobs.controls["k1"]
    control.box.setValue(200)
    shown.let(0.05)
    assert shown.orders.of("set") == [("k1", 200)]
    assert values(shown, "k1") == (200, 200)
    answer(shown, "k1", 200, False, REFUSAL)
    assert values(shown, "k1") == (8, 8)
    assert control.words.words == REFUSAL
    assert control.words.isVisible()


def test_a_refused_mode_goes_back(shown: Any) -> None:
    control = shown.panel.knobs.controls["mode"]
    control.list.setCurrentText("full")
    control.list.activated.emit(control.list.currentIndex())
    assert shown.orders.of("set") == [("mode", "full")]
    answer(shown, "mode", "full", False, "mode: not now")
    assert control.list.currentText() == "place_entropy"
    assert control.words.words == "mode: not now"


def test_a_value_that_is_taken_stays_though_its_echo_comes_late(shown: Any) -> None:
    control = shown.panel.knobs.controls["k2"]
    control.box.setValue(40)
    answer(shown, "k2", 40, True, "set")
    assert "set" in control.mark.text()
    assert values(shown, "k2") == (40, 40)
    shown.tell(knobs={**standins.KNOBS, "T": Knob("T", 21, 1, 1000)})  # of another parameter
    assert values(shown, "k2") == (40, 40)
    shown.tell(knobs={**standins.KNOBS, "k2": Knob("k2", 40, 0, 256)})
    assert values(shown, "k2") == (40, 40)


def test_a_value_without_effect_says_why(shown: Any) -> None:
    words = "T has no effect while k1 and k2 are both 8"
    shown.panel.knobs.controls["T"].box.setValue(30)
    answer(shown, "T", 30, True, words)
    assert values(shown, "T") == (30, 30)
    assert shown.panel.knobs.controls["T"].words.words == words


def test_what_others_set_is_shown(shown: Any) -> None:
    knobs = {**standins.KNOBS, "k1": Knob("k1", 99, 0, 256), "mode": Knob("mode", "full")}
    shown.tell(knobs=knobs)
    assert values(shown, "k1") == (99, 99)
    assert shown.panel.knobs.controls["mode"].list.currentText() == "full"
    assert shown.orders.of("set") == []


def test_ranges_are_those_of_the_loaded_policy(shown: Any) -> None:
    control = shown.panel.knobs.controls["row_budget"]
    assert (control.slider.maximum(), control.box.maximum()) == (256, 256)
    shown.tell(knobs={**standins.KNOBS, "row_budget": Knob("row_budget", 40, 0, 64)})
    assert (control.slider.maximum(), control.box.maximum()) == (64, 64)
    assert values(shown, "row_budget") == (40, 40)
    assert shown.orders.of("set") == []


def test_a_dragged_slider_sets_five_times_a_second_at_most_and_the_last_value_at_its_release(shown: Any) -> None:
    slider = shown.panel.knobs.controls["k1"].slider
    slider.setSliderDown(True)
    for value in range(10, 110):
        slider.setValue(value)
        shown.let(0.01)
    dragged = len(shown.orders.of("set"))
    assert 2 <= dragged <= 9  # in a second and a bit
    slider.setSliderDown(False)
    shown.let(0.05)
    assert shown.orders.of("set")[-1] == ("k1", 109)
    assert len(shown.orders.of("set")) <= dragged + 1


def test_a_value_in_hand_is_not_taken_away(shown: Any) -> None:
    slider = shown.panel.knobs.controls["k1"].slider
    slider.setSliderDown(True)
    slider.setValue(50)
    shown.tell(knobs={**standins.KNOBS, "k1": Knob("k1", 3, 0, 256)})
    assert slider.value() == 50


def test_a_refusal_takes_no_slider_out_of_a_hand(shown: Any) -> None:
    slider = shown.panel.knobs.controls["k1"].slider
    slider.setSliderDown(True)
    slider.setValue(200)
    shown.let(0.05)
    answer(shown, "k1", 200, False, REFUSAL)
    assert slider.value() == 200
    slider.setSliderDown(False)
    shown.let(0.05)
    assert shown.orders.of("set")[-1] == ("k1", 200)
    answer(shown, "k1", 200, False, REFUSAL)
    assert slider.value() == 8


def test_what_is_being_typed_is_not_taken_away(shown: Any) -> None:
    box = shown.panel.knobs.controls["k2"].box
    box.lineEdit().setText("1")
    box.lineEdit().textEdited.emit("1")
    shown.tell(knobs={**standins.KNOBS, "k2": Knob("k2", 77, 0, 256)})
    assert box.lineEdit().text() == "1"
    box.lineEdit().setText("12")
    box.interpretText()
    box.editingFinished.emit()
    shown.let(0.3)
    assert shown.orders.of("set") == [("k2", 12)]


def test_a_value_whose_answer_never_comes_follows_others_again(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "PATIENCE", 0.2)
    monkeypatch.setattr(controls, "SETTLE", 0.2)
    shown.panel.knobs.controls["k1"].box.setValue(50)
    shown.let(0.5)
    assert values(shown, "k1") == (8, 8)


def test_another_policy_takes_over_no_words(shown: Any) -> None:
    shown.panel.knobs.controls["k1"].box.setValue(200)
    answer(shown, "k1", 200, False, REFUSAL)
    shown.tell(knobs={}, namespace="/right")
    shown.tell(knobs=standins.KNOBS)
    assert shown.panel.knobs.controls["k1"].words.words == ""


def test_the_wheel_scrolls_the_panel_and_turns_no_knob(shown: Any) -> None:
    for name in ("k1", "mode"):
        control = shown.panel.knobs.controls[name]
        for widget in (control.slider, control.box) if name == "k1" else (control.list,):
            middle = QtCore.QPointF(widget.rect().center())
            wheel = QtGui.QWheelEvent(
                middle, widget.mapToGlobal(middle.toPoint()), QtCore.QPoint(), QtCore.QPoint(0, -120),
                QtCore.Qt.MouseButton.NoButton, QtCore.Qt.KeyboardModifier.NoModifier,
                QtCore.Qt.ScrollPhase.NoScrollPhase, False,
            )  # fmt: skip
            QtWidgets.QApplication.sendEvent(widget, wheel)
    shown.let(0.3)
    assert shown.orders.of("set") == []


@pytest.mark.parametrize("name", KNOBS)
def test_each_knob_is_explained(shown: Any, name: str) -> None:
    control = shown.panel.knobs.controls[name]
    widget = control.list if name == "mode" else control.slider
    assert tunable(name).description.split(";")[0].split("(")[0].strip() in widget.toolTip()


def test_modes_are_a_list_of_choices(shown: Any) -> None:
    modes = shown.panel.knobs.controls["mode"].list
    assert tuple(modes.itemText(number) for number in range(modes.count())) == MODES


def test_nothing_can_be_set_before_it_is_known_what_holds(shown: Any) -> None:
    shown.tell(knobs={})
    assert not shown.panel.knobs.controls["k1"].slider.isEnabled()
    shown.tell(knobs=standins.KNOBS)
    assert shown.panel.knobs.controls["k1"].slider.isEnabled()
