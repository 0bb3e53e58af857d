"""The knobs: what holds, what it may be, and what the policy answers when it is set."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pyqtgraph.Qt import QtCore, QtWidgets

from ..engine.tunables import tunable
from .parts import BAD, DOUBT, GAP, GOOD, Card, Still, Words, dot, wrapped
from .snapshot import KNOBS, Knob, Said

PAUSE = 0.2  # seconds between two settings while a slider is dragged
SETTLE = 2.0  # seconds in which what was set counts, though the policy's own word still tells the value before
PATIENCE = 12.0  # seconds after which no answer comes any more: a call has its own bound
PRAISE = 5.0  # seconds that "set" is shown
Wanted = Callable[[str, Any], None]


class KnobControl(QtCore.QObject):
    """One parameter: widgets that show it, and `wanted`, called with its name and the value that a person chose.

    While somebody drags it, and until an answer has come, what others say of the value waits.
    """

    def __init__(self, name: str, wanted: Wanted) -> None:
        super().__init__()
        self.name, self._wanted = name, wanted
        self.mark, self.words = QtWidgets.QLabel(), Words()
        self.mark.setMinimumWidth(self.mark.fontMetrics().horizontalAdvance("● set"))
        self._knob: Knob | None = None
        self._asked: Any = None
        self._asked_at: float | None = None
        self._settled_at = self._marked_at = 0.0

    @property
    def waiting(self) -> bool:
        """Whether an answer is due."""
        return self._asked_at is not None and time.monotonic() - self._asked_at < PATIENCE

    def show_knob(self, knob: Knob | None) -> None:
        """Show what holds now; None where that is not known."""
        if knob != self._knob:
            self._knob = knob
            self._range()
        if knob is None:  # another policy: what was said was said by the one before
            self._asked = self._asked_at = None
            self.words.say("")
            self.mark.clear()
        if knob is not None and not self._held() and not self.waiting:
            if knob.value == self._asked or time.monotonic() - self._settled_at > SETTLE:
                self._asked = None
            if self._asked is None:
                self._show(knob.value)

    def answered(self, said: Said) -> None:
        """The policy's word on what was asked."""
        if said.value != self._asked:
            return  # another value was asked for since
        self._asked_at = None
        self._settled_at = self._marked_at = time.monotonic()
        vain = said.ok and said.words != "set"
        if said.ok and not vain:
            self._mark("set", GOOD)
            self.words.say("")
        else:
            self.mark.clear()
            self.words.say(said.words, DOUBT if said.ok else BAD)
        if not said.ok:
            self._asked = None
            if self._knob is not None and not self._held():
                self._show(self._knob.value)

    def look(self) -> None:
        """Let the word of praise fade."""
        if self._marked_at and not self.words.words and time.monotonic() - self._marked_at > PRAISE:
            self._marked_at = 0.0
            self.mark.clear()

    def _ask(self, value: Any) -> None:
        self._asked, self._asked_at = value, time.monotonic()
        self._mark("...", "#8a9099")
        self._wanted(self.name, value)

    def _mark(self, word: str, colour: str) -> None:
        self.mark.setText(f"{dot(colour)} {word}")

    def _range(self) -> None:
        """The range or the choices have changed."""

    def _show(self, value: Any) -> None:
        """Show a value without asking for it."""

    def _held(self) -> bool:
        """Whether a person has it in hand."""
        return False


class NumberControl(KnobControl):
    """A whole number: a slider and a box."""

    def __init__(self, name: str, wanted: Wanted, still: Still) -> None:
        super().__init__(name, wanted)
        self.slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self.slider.setMinimumWidth(60)
        self.box = QtWidgets.QSpinBox()
        self.box.setKeyboardTracking(False)
        self.box.setMinimumWidth(64)
        still.watch(self.slider)
        still.watch(self.box)
        self._rest = QtCore.QTimer(self)
        self._rest.setSingleShot(True)
        self._sent_at = 0.0
        self._typing = False
        self.box.lineEdit().textEdited.connect(lambda _: self._type(True))
        self.box.editingFinished.connect(lambda: self._type(False))
        self._rest.timeout.connect(self._send)
        self.slider.valueChanged.connect(self._slid)
        self.slider.sliderReleased.connect(self._send)
        self.box.valueChanged.connect(self._typed)

    def _slid(self, value: int) -> None:
        self._quietly(self.box, value)
        self._send_soon()

    def _typed(self, value: int) -> None:
        self._quietly(self.slider, value)
        self._send_soon()

    def _type(self, typing: bool) -> None:
        self._typing = typing

    def _send_soon(self) -> None:
        """Ask for what slider and box show, now or when PAUSE has passed."""
        left = PAUSE - (time.monotonic() - self._sent_at)
        if left <= 0.0 and not self._rest.isActive():
            self._send()
        elif not self._rest.isActive():
            self._rest.start(round(1000 * left))

    def _send(self) -> None:
        self._rest.stop()
        value = self.slider.value()
        if value != (self._asked if self._asked is not None else self._knob.value if self._knob else None):
            self._sent_at = time.monotonic()
            self._ask(value)

    def _range(self) -> None:
        if self._knob is not None:
            for widget in (self.slider, self.box):
                blocked = widget.blockSignals(True)
                widget.setRange(self._knob.low, self._knob.high)
                widget.blockSignals(blocked)
            self.slider.setPageStep(max(1, (self._knob.high - self._knob.low) // 20))

    def _show(self, value: Any) -> None:
        for widget in (self.slider, self.box):
            self._quietly(widget, int(value))

    def _held(self) -> bool:
        return self.slider.isSliderDown() or self._rest.isActive() or self._typing

    def _quietly(self, widget: QtWidgets.QSlider | QtWidgets.QSpinBox, value: int) -> None:
        blocked = widget.blockSignals(True)
        widget.setValue(value)
        widget.blockSignals(blocked)


class ChoiceControl(KnobControl):
    """One of several words: a list."""

    def __init__(self, name: str, wanted: Wanted, still: Still) -> None:
        super().__init__(name, wanted)
        self.list = QtWidgets.QComboBox()
        self.list.addItems(tunable(name).choices)
        still.watch(self.list)
        self.list.activated.connect(lambda _: self._chosen())

    def _chosen(self) -> None:
        if self._knob is None or self.list.currentText() != self._knob.value:
            self._ask(self.list.currentText())

    def _show(self, value: Any) -> None:
        self.list.setCurrentText(str(value))

    def _held(self) -> bool:
        return bool(self.list.view().isVisible())


class KnobsCard(Card):
    """The section with all knobs."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__("Knobs")
        self._still = Still()
        grid = QtWidgets.QGridLayout()
        grid.setHorizontalSpacing(GAP + 2)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        self.controls: dict[str, KnobControl] = {}
        self._widgets: list[QtWidgets.QWidget] = []
        for number, name in enumerate(KNOBS):
            control = self._control(name, wanted)
            self.controls[name] = control
            label = QtWidgets.QLabel(name)
            row = 2 * number
            grid.addWidget(label, row, 0)
            if isinstance(control, NumberControl):
                grid.addWidget(control.slider, row, 1)
                grid.addWidget(control.box, row, 2)
                inputs: list[QtWidgets.QWidget] = [control.slider, control.box]
            else:
                assert isinstance(control, ChoiceControl)
                grid.addWidget(control.list, row, 1, 1, 2)
                inputs = [control.list]
            grid.addWidget(control.mark, row, 3)
            grid.addWidget(control.words, row + 1, 1, 1, 3)
            for widget in (label, *inputs):
                widget.setToolTip(wrapped(f"{name}: {tunable(name).description}"))
            self._widgets += inputs
        self.body.addLayout(grid)
        self.show_knobs({})

    def _control(self, name: str, wanted: Wanted) -> KnobControl:
        kind = ChoiceControl if tunable(name).choices else NumberControl
        return kind(name, wanted, self._still)

    def show_knobs(self, knobs: Mapping[str, Knob]) -> None:
        """Show what holds now; what is not known can't be set."""
        for widget in self._widgets:
            widget.setEnabled(bool(knobs))
        for name, control in self.controls.items():
            control.show_knob(knobs.get(name))

    def answered(self, said: Said) -> None:
        """The policy's word on a parameter that was set."""
        if said.name in self.controls:
            self.controls[said.name].answered(said)

    def look(self, knobs: Mapping[str, Knob]) -> None:
        """Show again what holds, where a person or an answer had kept it from being shown."""
        for name, control in self.controls.items():
            control.look()
            control.show_knob(knobs.get(name))
