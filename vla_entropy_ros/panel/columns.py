"""Sections side by side where there is room, below each other where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from .parts import GAP

Arrangement = Sequence[Sequence[str]]  # names of sections by column, from the top down


class Columns(QtWidgets.QScrollArea):
    """Arranges named sections in as many columns as fit; scrolls where they are higher than the window.

    arrangements: by the smallest width for each, in characters; one must be for 0. arranged: told how many columns
    there are.
    """

    def __init__(
        self,
        sections: Mapping[str, QtWidgets.QWidget],
        arrangements: Mapping[int, Arrangement],
        arranged: Callable[[int], None],
    ) -> None:
        super().__init__()
        self._sections, self._arrangements, self._arranged = sections, arrangements, arranged
        self._least = -1
        self.setWidgetResizable(True)
        self.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._arrange(0)

    @property
    def columns(self) -> int:
        """How many columns there are now."""
        return len(self._arrangements[self._least])

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:  # noqa: N802  (Qt's name)
        """Arrange anew where another number of columns fits."""
        super().resizeEvent(event)
        characters = self.width() / self.fontMetrics().averageCharWidth()
        fitting = [least for least in self._arrangements if least <= characters]
        self._arrange(max(fitting))

    def _arrange(self, least: int) -> None:
        if least == self._least:
            return
        self._least = least
        self._arranged(self.columns)
        inside = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(inside)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GAP + 2)
        for names in self._arrangements[least]:
            column = QtWidgets.QVBoxLayout()
            column.setSpacing(GAP + 2)
            for name in names:
                column.addWidget(self._sections[name])
            row.addLayout(column, 1)
        before = self.takeWidget()
        self.setWidget(inside)  # the sections have moved into it
        if before is not None:
            before.deleteLater()
        for section in self._sections.values():
            section.show()
