"""What the sections of the panel are made of: cards, labels that elide, colours of levels, a quiet mouse wheel."""

from __future__ import annotations

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

LEVELS = ("OK", "WARN", "ERROR", "STALE")
LEVEL_COLOURS = ("#2f9e56", "#b87800", "#d43a32", "#8a9099")  # by level; readable on dark and on light
GOOD, BAD, DOUBT = LEVEL_COLOURS[0], LEVEL_COLOURS[2], LEVEL_COLOURS[1]
SHOWN, TOOLTIP = 240, 600  # characters at most, in a section and in a tooltip
LONG_WORD = 40  # characters after which a word is broken, so that no line is wider than the panel
GAP = 6  # pixels
CORNER = 6.0  # pixels


class Card(QtWidgets.QWidget):
    """A section with a title; `body` takes what it holds, one below the other, `head` stands beside the title.

    grows: whether it takes the height that is left.
    """

    def __init__(self, title: str, grows: bool = False) -> None:
        super().__init__()
        sizes = QtWidgets.QSizePolicy.Policy
        self.setSizePolicy(sizes.Preferred, sizes.Expanding if grows else sizes.Maximum)
        self.body = QtWidgets.QVBoxLayout(self)
        self.body.setContentsMargins(10, 8, 10, 10)
        self.body.setSpacing(GAP)
        row = QtWidgets.QHBoxLayout()
        row.setSpacing(GAP)
        label = QtWidgets.QLabel(title)
        label.setFont(bold(label.font()))
        row.addWidget(label)
        self.mark, self.head = QtWidgets.QLabel(), Elided()
        self.head.setAlignment(QtCore.Qt.AlignmentFlag.AlignRight)
        row.addWidget(self.head, 1)
        row.addWidget(self.mark)
        self.body.addLayout(row)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802, ARG002  (Qt's name)
        """Draw the frame; a style sheet would keep the palette of the day it was set."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setPen(self.palette().color(QtGui.QPalette.ColorRole.Mid))
        painter.drawRoundedRect(QtCore.QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), CORNER, CORNER)


class Elided(QtWidgets.QLabel):
    """A label of one line that ends in dots where there is no room; the tooltip has the rest."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        self.say(text)

    def say(self, text: str) -> None:
        """Show `text`, its first line."""
        line = " ".join(text[: 10 * TOOLTIP].split())
        if line != self.text():
            self.setText(line)
            self.setToolTip(wrapped(line))

    def minimumSizeHint(self) -> QtCore.QSize:  # noqa: N802  (Qt's name)
        """As narrow as it may get."""
        return QtCore.QSize(20, super().minimumSizeHint().height())

    def sizeHint(self) -> QtCore.QSize:  # noqa: N802  (Qt's name)
        """As high as a line, whatever its length."""
        return QtCore.QSize(60, self.fontMetrics().height() + 2)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802, ARG002  (Qt's name)
        """Draw as much as there is room for."""
        painter = QtGui.QPainter(self)
        place = self.contentsRect()
        line = self.fontMetrics().elidedText(self.text(), QtCore.Qt.TextElideMode.ElideRight, place.width())
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawText(place, int(self.alignment() | QtCore.Qt.AlignmentFlag.AlignVCenter), line)


class Words(QtWidgets.QLabel):
    """What was said, behind a coloured dot, in lines; takes no room while there is nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred)
        self.words = ""
        self._colour = ""
        self.hide()

    def say(self, text: str, colour: str = BAD) -> None:
        """Say `text`, what is very long in the tooltip only; nothing where it is empty."""
        if (text, colour) != (self.words, self._colour):
            self.words, self._colour = text, colour
            self.setText(f"{dot(colour)} {escaped(text, SHOWN)}")
            self.setToolTip(wrapped(text))
            self.setVisible(bool(text))


class Still(QtCore.QObject):
    """Leaves the mouse wheel to the window: a value must not change because somebody scrolls past it."""

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:  # noqa: N802  (Qt's name)
        """Ignore the wheel over what has not the focus."""
        if event.type() == QtCore.QEvent.Type.Wheel and isinstance(watched, QtWidgets.QWidget):
            event.ignore()
            return not watched.hasFocus()
        return False

    def watch(self, widget: QtWidgets.QWidget) -> None:
        """Keep the wheel from `widget` unless it has the focus, which takes a click."""
        widget.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        widget.installEventFilter(self)


def dot(colour: str) -> str:
    """A dot of that colour, as rich text."""
    return f'<span style="color:{colour}">●</span>'


def chip(colour: str) -> str:
    """A square of that colour, as rich text."""
    return f'<span style="color:{colour}">■</span>'


def rgb(colour: tuple[int, int, int]) -> str:
    """A colour as Qt and HTML write it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def wrapped(text: str) -> str:
    """`text` as a tooltip of several lines, cut where it is long."""
    safe = escaped(text, TOOLTIP)
    return f"<qt>{safe}</qt>" if safe else ""


def escaped(text: str, most: int) -> str:
    """`text` as a part of rich text: at most so many characters, and words that can be broken."""
    cut = text if len(text) <= most else f"{text[:most]} ..."
    words = (word[at : at + LONG_WORD] for word in cut.split() for at in range(0, len(word), LONG_WORD))
    return " ".join(words).replace("&", "&amp;").replace("<", "&lt;")


def bold(font: QtGui.QFont) -> QtGui.QFont:
    """That font in bold."""
    heavy = QtGui.QFont(font)
    heavy.setBold(True)
    return heavy
