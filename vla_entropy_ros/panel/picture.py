"""The camera's image with its visual tokens, and what their colours mean."""

from __future__ import annotations

from collections.abc import Mapping

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from .. import draw
from .parts import Card, chip, rgb
from .snapshot import Picture

EMPTY = "no picture yet: the policy draws one with each tick"
SMALLEST = 180  # pixels


class Overlay(QtWidgets.QWidget):
    """Draws a picture as large as there is room; the picture's own bytes are drawn from, not copied."""

    def __init__(self) -> None:
        super().__init__()
        self._picture: Picture | None = None
        self._image: QtGui.QImage | None = None
        self.setMinimumSize(SMALLEST, SMALLEST)
        self.set_tall(False)
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_OpaquePaintEvent)

    def set_tall(self, tall: bool) -> None:
        """Take the height that the width asks for, instead of what is left."""
        sizes = QtWidgets.QSizePolicy.Policy
        policy = QtWidgets.QSizePolicy(sizes.Expanding, sizes.Preferred if tall else sizes.Expanding)
        policy.setHeightForWidth(tall)
        self.setSizePolicy(policy)

    def show_picture(self, picture: Picture | None) -> None:
        """Draw `picture` from now on."""
        before, self._picture = self._picture, picture
        self._image = None
        if picture is not None:
            form = QtGui.QImage.Format.Format_RGB888
            self._image = QtGui.QImage(memoryview(picture.data), picture.width, picture.height, picture.step, form)
        if picture is None or before is None or (before.width, before.height) != (picture.width, picture.height):
            self.updateGeometry()
        self.update()

    def heightForWidth(self, width: int) -> int:  # noqa: N802  (Qt's name)
        """As high as the picture is then; cameras stand one below the other."""
        if self._picture is None:
            return min(width, SMALLEST * 2)
        return max(SMALLEST, round(width * self._picture.height / self._picture.width))

    def sizeHint(self) -> QtCore.QSize:  # noqa: N802  (Qt's name)
        """The size of the camera image as it is drawn."""
        return QtCore.QSize(2 * SMALLEST, self.heightForWidth(2 * SMALLEST))

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802, ARG002  (Qt's name)
        """Draw the picture in the middle."""
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QtGui.QPalette.ColorRole.Window))
        if self._image is None:
            painter.setPen(self.palette().color(QtGui.QPalette.ColorRole.WindowText))
            centred = QtCore.Qt.AlignmentFlag.AlignCenter | QtCore.Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect(), int(centred), EMPTY)
            return
        size = self._image.size().scaled(self.size(), QtCore.Qt.AspectRatioMode.KeepAspectRatio)
        place = QtCore.QRect(QtCore.QPoint(0, 0), size)
        place.moveCenter(self.rect().center())
        painter.drawImage(place, self._image)


class Legend(QtWidgets.QLabel):
    """The colours of draw.py, what each means, and how many tokens of the tick have it."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setToolTip("<br>".join(f"{_chip(code)} {draw.NAMES[code]}: {MEANINGS[code]}" for code in draw.NAMES))
        self.show_counts({})

    def show_counts(self, counts: Mapping[int, int]) -> None:
        """Show the number of tokens by selection code."""
        parts = [f"{_chip(code)}&nbsp;{name}&nbsp;<b>{counts.get(code, '–')}</b>" for code, name in draw.NAMES.items()]
        self.setText("&nbsp; ".join(parts))


def _chip(code: int) -> str:
    """A square in the colour of a selection code."""
    return chip(rgb(draw.COLOURS.get(code, draw.REUSED)))


MEANINGS = {
    0: "not computed: keys and values of an earlier tick serve; dimmed in the picture",
    1: "computed, since it changed, or since everything is",
    2: "computed for its visual information",
    3: "computed for the attention that the instruction pays it",
    4: "computed for both, visual information and attention",
    5: "computed before it comes to exceed max_age",
    6: "computed to fill the row budget",
}


class PictureCard(Card):
    """The section with the image and its legend."""

    def __init__(self) -> None:
        super().__init__("Visual tokens", grows=True)
        self.overlay, self.legend = Overlay(), Legend()
        self.body.addWidget(self.overlay, 1)
        self.body.addWidget(self.legend)
