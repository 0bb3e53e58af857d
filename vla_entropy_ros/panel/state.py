"""How the nodes are: policy, arm and diagnostics, in words."""

from __future__ import annotations

from collections.abc import Sequence

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from ..nodes.common.goals import ACTIVE, INACTIVE, UNCONFIGURED
from .parts import DOUBT, GAP, GOOD, LEVEL_COLOURS, LEVELS, Card, Elided, dot, wrapped
from .snapshot import Goal, Health, Tick

UNKNOWN = "#8a9099"
POLICY = {ACTIVE: GOOD, INACTIVE: DOUBT, UNCONFIGURED: DOUBT}
MOTION = {"tracking": GOOD, "holding": DOUBT, "waiting": DOUBT, "disabled": UNKNOWN, "no commands": UNKNOWN}


class StateCard(Card):
    """The section that tells how everything is."""

    def __init__(self) -> None:
        super().__init__("State", grows=True)
        grid = QtWidgets.QGridLayout()
        grid.setHorizontalSpacing(GAP)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(2, 1)
        self.lines: dict[str, Elided] = {}
        self._dots: dict[str, QtWidgets.QLabel] = {}
        for row, name in enumerate(("policy", "arm", "reuse")):
            self._dots[name], self.lines[name] = QtWidgets.QLabel(), Elided()
            grid.addWidget(self._dots[name], row, 0)
            grid.addWidget(QtWidgets.QLabel(name), row, 1)
            grid.addWidget(self.lines[name], row, 2)
        self.body.addLayout(grid)
        self.table = HealthTable()
        self.body.addWidget(self.table, 1)
        self.show_goal(None)
        self.show_tick(None)

    def show_goal(self, goal: Goal | None) -> None:
        """Show what the policy knows of itself and of the arm."""
        policy, motion = (goal.policy, goal.motion) if goal is not None else ("", "")
        self._say("policy", POLICY.get(policy, UNKNOWN), policy or "unknown")
        held = goal.hold if goal is not None else ""
        words = held if held.startswith(f"{motion}:") else f"{motion}: {held}" if held else motion
        self._say("arm", DOUBT if held else MOTION.get(motion, UNKNOWN), words or "unknown")

    def show_tick(self, tick: Tick | None) -> None:
        """Show how the last tick chose."""
        if tick is None:
            self._say("reuse", UNKNOWN, "no tick yet")
            return
        why = f"; all fresh: {tick.reason}" if tick.reason else ""
        self._say("reuse", GOOD if not tick.reason else UNKNOWN, f"mode {tick.mode or 'unknown'}{why}")

    def _say(self, name: str, colour: str, text: str) -> None:
        marked = dot(colour)
        if self._dots[name].text() != marked:
            self._dots[name].setText(marked)
        self.lines[name].say(text)


class HealthTable(QtWidgets.QTableWidget):
    """The diagnostics of the namespace's nodes, a line each."""

    def __init__(self) -> None:
        super().__init__(0, 2)
        self._shown: tuple[Health, ...] = ()
        self.verticalHeader().hide()
        self.horizontalHeader().hide()
        self.setShowGrid(False)
        self.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        self.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self.setWordWrap(True)
        self.setVerticalScrollMode(QtWidgets.QAbstractItemView.ScrollMode.ScrollPerPixel)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(20)
        header.setSectionResizeMode(0, QtWidgets.QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QtWidgets.QHeaderView.ResizeMode.Stretch)
        self.verticalHeader().setMinimumSectionSize(self.fontMetrics().height() + 4)
        self.setMinimumHeight(120)
        self.viewport().setAutoFillBackground(False)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:  # noqa: N802  (Qt's name)
        """Let lines be as high as their words are then."""
        super().resizeEvent(event)
        self.resizeRowsToContents()

    def show_health(self, lines: Sequence[Health]) -> None:
        """Show these lines; only what has changed is touched."""
        if len(lines) != self.rowCount():
            self.setRowCount(len(lines))
            self._shown = ()
        for row, line in enumerate(lines):
            if self._shown and row < len(self._shown) and self._shown[row] == line:
                continue
            level = min(max(line.level, 0), len(LEVELS) - 1)
            for column, text in enumerate((LEVELS[level], f"{line.name}: {line.message}")):
                item = self.item(row, column)
                if item is None:
                    item = QtWidgets.QTableWidgetItem()
                    self.setItem(row, column, item)
                item.setText(text)
                item.setToolTip(wrapped(f"{LEVELS[level]}: {line.name}: {line.message}"))
            self.item(row, 0).setForeground(QtGui.QBrush(QtGui.QColor(LEVEL_COLOURS[level])))
            self.resizeRowToContents(row)
        self._shown = tuple(lines)
