"""What the policy shall do: an instruction with its history, the buttons, and how the goal fares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from .parts import BAD, DOUBT, GAP, GOOD, Card, Elided, Still, Words, dot
from .snapshot import Goal, Said

REMEMBERED = 20  # instructions
TIMEOUT = 60  # seconds
NO_INSTRUCTION = "no instruction yet: say what the policy shall do, such as 'pick up the red cube'"
BUTTONS = {  # call: label, what it does
    "stop": ("Stop", "Cancel the goal and hold the arm; without a goal, take the instruction back."),
    "reset": ("Reset", "Begin a new episode: everything is computed afresh at the next tick."),
    "enable": ("Enable", "Let the arm move."),
    "disable": ("Disable", "Hold the arm where it is, then send it nothing more."),
    "release": ("Release", "Undo the emergency stop; the arm moves after the next Enable."),
}
STATES = {"running": GOOD, "done": GOOD, "timed out": DOUBT, "cancelled": DOUBT, "held": BAD}
Ask = Callable[..., None]


class Instruction(QtWidgets.QComboBox):
    """A line to type an instruction into; up and down, and its list, lead through those given before."""

    def __init__(self, given: Callable[[], None]) -> None:
        super().__init__()
        self.setEditable(True)
        self.setInsertPolicy(QtWidgets.QComboBox.InsertPolicy.NoInsert)
        self.setCompleter(None)
        self.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.setMaxVisibleItems(REMEMBERED)
        self.view().setTextElideMode(QtCore.Qt.TextElideMode.ElideRight)
        self.lineEdit().setPlaceholderText("what the policy shall do")
        self.lineEdit().returnPressed.connect(given)

    @property
    def history(self) -> list[str]:
        """Instructions given before, the last one first."""
        return [self.itemText(number) for number in range(self.count())]

    def set_history(self, lines: Sequence[str]) -> None:
        """Take over instructions of another time; what is typed stays."""
        typed = self.currentText()
        self.clear()
        self.addItems([line for line in dict.fromkeys(lines) if line.strip()][:REMEMBERED])
        self.setEditText(typed)

    def remember(self, text: str) -> None:
        """Put an instruction first."""
        self.set_history([text, *self.history])


class GoalCard(Card):
    """The section with the instruction, the buttons, and the goal's state."""

    def __init__(self, ask: Ask) -> None:
        super().__init__("Goal")
        self._ask = ask
        self._still = Still()
        self._asked = ""  # the instruction whose answer is due
        self.said = Words()
        self.instruction = Instruction(self.start)
        self.timeout = QtWidgets.QSpinBox()
        self.timeout.setRange(0, 3600)
        self.timeout.setValue(TIMEOUT)
        self.timeout.setSuffix(" s")
        self.timeout.setSpecialValueText("no limit")
        self.timeout.setToolTip("Time after which the goal ends and the arm stops; 0: no limit.")
        for widget in (self.instruction, self.timeout):
            self._still.watch(widget)
        self.now = Elided()
        self.buttons: dict[str, QtWidgets.QPushButton] = {}
        self._lay_out()
        self.show_goal(None)
        self.set_reachable(False)

    def _lay_out(self) -> None:
        line = QtWidgets.QHBoxLayout()
        line.setSpacing(GAP)
        line.addWidget(self.instruction, 1)
        line.addWidget(self.timeout)
        self.body.addLayout(line)
        grid = QtWidgets.QGridLayout()
        grid.setSpacing(GAP)
        start = QtWidgets.QPushButton("Start")
        start.setToolTip("Have the policy follow the instruction; Return in the line does the same.")
        start.clicked.connect(lambda _: self.start())
        self.buttons["run"] = start
        for call, (label, meaning) in BUTTONS.items():
            button = QtWidgets.QPushButton(label)
            button.setToolTip(meaning)
            button.clicked.connect(lambda _, call=call: self._call(call))
            self.buttons[call] = button
        for number, button in enumerate(self.buttons.values()):
            button.setMinimumWidth(50)
            button.setAutoDefault(False)
            grid.addWidget(button, number // 3, number % 3)
        self.body.addLayout(grid)
        self.body.addWidget(self.now)
        self.body.addWidget(self.said)

    def start(self) -> None:
        """Give the instruction as a goal."""
        text = " ".join(self.instruction.currentText().split())
        if not self.buttons["run"].isEnabled():
            return
        if not text:
            self.said.say(NO_INSTRUCTION)
        else:
            self._asked = text
            self._call("run", text, float(self.timeout.value()))

    def _call(self, call: str, *arguments: Any) -> None:
        self.said.say(f"{self.buttons[call].text()} ...", "#8a9099")
        self._ask(call, *arguments)

    def answered(self, said: Said) -> None:
        """The nodes' word on a call."""
        label = self.buttons[said.call].text() if said.call in self.buttons else said.call
        self.said.say(f"{label}: {said.words}", GOOD if said.ok else BAD)
        if said.call == "run" and said.ok:
            self.instruction.remember(self._asked)

    def set_reachable(self, reachable: bool) -> None:
        """Whether there is a policy to speak to."""
        for button in self.buttons.values():
            button.setEnabled(reachable)

    def show_goal(self, goal: Goal | None) -> None:
        """Show how the goal fares."""
        if goal is None:
            self.mark.setText("")
            self.now.say("")
            return
        self.mark.setText(f"{dot(STATES.get(goal.state, '#8a9099'))} {goal.state}")
        self.now.say(in_words(goal))


def in_words(goal: Goal) -> str:
    """A goal in one line."""
    if not goal.number:
        return f"no goal yet; follows: {goal.instruction}" if goal.instruction else "no goal yet"
    limit = f" of {goal.timeout:.0f} s" if goal.timeout > 0 else ""
    until = f" until {goal.until}" if goal.until else ""
    spent = "" if math.isnan(goal.elapsed) else f"{goal.elapsed:.1f} s{limit}: "
    why = f" ({goal.why})" if goal.why else ""
    return f"{spent}{goal.instruction or 'no instruction'}{until}{why}"


class StopButton(QtWidgets.QPushButton):
    """The emergency stop: large, red, and never disabled."""

    def __init__(self) -> None:
        super().__init__("EMERGENCY STOP")
        self.setToolTip("Hold the arm now, and until Release. It is software: a robot has a button of its own, too.")
        self.setStyleSheet(
            "QPushButton { background: #c81e1e; color: white; border: 2px solid #8f1010; border-radius: 6px;"
            " font-weight: bold; font-size: 15px; padding: 6px 16px; }"
            "QPushButton:hover { background: #dd2b2b; } QPushButton:pressed { background: #8f1010; }"
        )
        self.setMinimumHeight(46)
        self.setAutoDefault(False)
        self.setCursor(QtGui.QCursor(QtCore.Qt.CursorShape.PointingHandCursor))
