"""Charts of the last ticks: what the time went into, which tokens were computed, how old the others are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from .. import draw
from ..stages import PARTS
from .parts import Card, chip, rgb
from .snapshot import KEPT, Knob, Tick

STAGE_COLOURS = {  # apart for colour-blind eyes, too, and from both backgrounds
    "preprocess": "#56b4e9", "vision": "#e69f00", "select": "#cc79a7", "prefill": "#0072b2", "decode": "#009e73",
    "other": "#999999",
}  # fmt: skip
PERIOD_COLOUR, FRESH_COLOUR, AGE_COLOUR = "#d43a32", "#86bbe8", "#9f7fc4"
LINE_COLOURS = {"k_vis": rgb(draw.COLOURS[2]), "k_attn": rgb(draw.COLOURS[3])}  # as in the picture's legend
REUSED_COLOUR = rgb(draw.REUSED)
HIGH, LOW = 130, 80  # pixels
EDGES = np.arange(-KEPT, 1) + 0.5  # of the ticks' columns; the last tick is 0

Values = NDArray[np.float64]


class Chart(pg.PlotWidget):
    """Columns and lines over the last KEPT ticks, on an axis that grows at once and shrinks with hesitation."""

    def __init__(self, height: int) -> None:
        super().__init__()
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.setContentsMargins(0, 4, 4, 0)
        self.getViewBox().disableAutoRange()
        self.getViewBox().setRange(xRange=(EDGES[0], EDGES[-1]), yRange=(0, 1), padding=0)
        left, bottom = self.getAxis("left"), self.getAxis("bottom")
        left.setWidth(38)
        bottom.setTicks([[(tick, str(-tick)) for tick in range(1 - KEPT, 1) if tick % 20 == 0]])
        bottom.setHeight(20)
        for axis in (left, bottom):
            axis.setStyle(tickLength=-4, maxTickLevel=0)
        self.setMinimumHeight(height)
        self.setToolTip("One column for each tick, the last one to the right; below it, how many ticks ago.")
        self.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self.setViewportUpdateMode(QtWidgets.QGraphicsView.ViewportUpdateMode.FullViewportUpdate)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        self._top = 1.0
        self.adopt(QtWidgets.QApplication.palette())

    def sizeHint(self) -> QtCore.QSize:  # noqa: N802  (Qt's name)
        """No higher than it must be, unless there is room."""
        return QtCore.QSize(240, self.minimumHeight())

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:  # noqa: N802  (Qt's name)
        """Leave the wheel to the window."""
        event.ignore()

    def adopt(self, palette: QtGui.QPalette) -> None:
        """Take background and ink from a palette."""
        roles = QtGui.QPalette.ColorRole.Window, QtGui.QPalette.ColorRole.WindowText
        base, ink = (palette.color(role) for role in roles)
        self.setBackground(base)
        for name in ("left", "bottom"):
            self.getAxis(name).setPen(pg.mkPen(mixed(ink, base, 0.5)))
            self.getAxis(name).setTextPen(pg.mkPen(ink))

    def columns(self, colour: str) -> pg.PlotCurveItem:
        """Columns from 0 up, of that colour; those added later stand before those added earlier."""
        nothing = np.zeros(KEPT)
        curve = pg.PlotCurveItem(
            EDGES, nothing, stepMode="center", fillLevel=0.0, brush=pg.mkBrush(colour), pen=pg.mkPen(None)
        )
        self.addItem(curve)
        return curve

    def line(self, colour: str, dashed: bool = False) -> pg.PlotCurveItem:
        """A line over the columns."""
        style = QtCore.Qt.PenStyle.DashLine if dashed else QtCore.Qt.PenStyle.SolidLine
        pen = pg.mkPen(colour, width=2, style=style)
        curve = pg.PlotCurveItem(EDGES, np.full(KEPT, np.nan), stepMode="center", connect="finite", pen=pen)
        self.addItem(curve)
        return curve

    def reach(self, top: float) -> None:
        """Let the axis go up to `top` and a little more."""
        wanted = max(top, 1e-3) * 1.08
        if not self._top * 0.6 <= wanted <= self._top:
            self._top = wanted
            self.getViewBox().setYRange(0.0, wanted, padding=0)


class ChartCard(Card):
    """A section whose charts have the colours of its palette."""

    def changeEvent(self, event: QtCore.QEvent) -> None:  # noqa: N802  (Qt's name)
        """Follow the palette."""
        super().changeEvent(event)
        if event.type() == QtCore.QEvent.Type.PaletteChange:
            for chart in self.findChildren(Chart):
                chart.adopt(self.palette())


class LatencyCard(ChartCard):
    """Where the time of a tick goes, against the control period."""

    def __init__(self) -> None:
        super().__init__("Time of a tick", grows=True)
        self.chart = Chart(HIGH)
        order = [*PARTS, "other"]
        self._stacked = {name: self.chart.columns(STAGE_COLOURS[name]) for name in reversed(order)}  # highest first
        self._period = self.chart.line(PERIOD_COLOUR, dashed=True)
        self.body.addWidget(self.chart, 1)
        self.body.addWidget(key({**{name: STAGE_COLOURS[name] for name in order}, "control period": PERIOD_COLOUR}))
        self.show_ticks(())

    def show_ticks(self, ticks: Sequence[Tick]) -> None:
        """Draw these ticks, the newest to the right."""
        total = column([tick.total for tick in ticks])
        period = column([tick.period for tick in ticks])
        height = np.zeros(KEPT)
        for number, name in enumerate(PARTS):
            height = height + np.nan_to_num(column([tick.stages[number] for tick in ticks]))
            self._stacked[name].setData(EDGES, height)
        self._stacked["other"].setData(EDGES, np.maximum(height, np.nan_to_num(total)))
        self._period.setData(EDGES, period)
        self.chart.reach(highest(total, height, period))
        self.head.say(spread(total))


class TokensCard(ChartCard):
    """How many tokens are computed, the schedule's budgets, and the age of what is reused."""

    def __init__(self) -> None:
        super().__init__("Tokens of a tick", grows=True)
        self.chart = Chart(HIGH)
        self._reused = self.chart.columns(REUSED_COLOUR)
        self._fresh = self.chart.columns(FRESH_COLOUR)
        self._budgets = {name: self.chart.line(colour) for name, colour in LINE_COLOURS.items()}
        self.ages = Chart(LOW)
        self._oldest = self.ages.columns(AGE_COLOUR)
        self._max_age = self.ages.line(PERIOD_COLOUR, dashed=True)
        self.body.addWidget(self.chart, 3)
        self.body.addWidget(key({"fresh": FRESH_COLOUR, "reused": REUSED_COLOUR, **LINE_COLOURS}))
        self.body.addWidget(self.ages, 2)
        self.body.addWidget(key({"oldest age [ticks]": AGE_COLOUR, "max_age": PERIOD_COLOUR}))
        self.show_ticks((), {})

    def show_ticks(self, ticks: Sequence[Tick], knobs: Mapping[str, Knob]) -> None:
        """Draw these ticks, the newest to the right."""
        fresh, reused = (np.nan_to_num(column(values)) for values in split(ticks))
        self._fresh.setData(EDGES, fresh)
        self._reused.setData(EDGES, fresh + reused)
        budgets = {"k_vis": [tick.k_vis for tick in ticks], "k_attn": [tick.k_attn for tick in ticks]}
        for name, values in budgets.items():
            self._budgets[name].setData(EDGES, column(values))
        self.chart.reach(highest(fresh + reused))
        oldest = np.nan_to_num(column([tick.oldest for tick in ticks]))
        most = float(knobs["max_age"].value) if "max_age" in knobs else math.nan
        self._oldest.setData(EDGES, oldest)
        self._max_age.setData(EDGES, np.full(KEPT, most))
        self.ages.reach(highest(oldest, np.array([most]) if most <= 4 * max(oldest.max(), 5) else oldest))
        last = ticks[-1] if ticks else None
        self.head.say("" if last is None else f"fresh {last.fresh:.0f}, reused {last.reused:.0f}")


def split(ticks: Sequence[Tick]) -> tuple[list[float], list[float]]:
    """Fresh and reused tokens of each tick."""
    return [tick.fresh for tick in ticks], [tick.reused for tick in ticks]


def column(values: Sequence[float]) -> Values:
    """The last KEPT values at the right end; NaN before them, and where one is no finite number."""
    full = np.full(KEPT, np.nan)
    if values:
        full[-len(values[-KEPT:]) :] = values[-KEPT:]
    return np.where(np.isfinite(full), full, np.nan)


def highest(*rows: Values) -> float:
    """The largest finite number of them all, 0 where there is none."""
    numbers = np.concatenate(rows)
    numbers = numbers[np.isfinite(numbers)]
    return float(numbers.max()) if len(numbers) else 0.0


def spread(total: Values) -> str:
    """Median and 95th percentile of the total in words."""
    known = total[np.isfinite(total)]
    if not len(known):
        return ""
    middle, high = np.percentile(known, (50, 95))
    return f"p50 {middle:.1f}, p95 {high:.1f} ms"


def key(colours: Mapping[str, str]) -> QtWidgets.QLabel:
    """What the colours of a chart mean."""
    names = {name.replace(" ", "&nbsp;"): colour for name, colour in colours.items()}
    label = QtWidgets.QLabel("&nbsp; ".join(f"{chip(colour)}&nbsp;{name}" for name, colour in names.items()))
    label.setWordWrap(True)
    return label


def mixed(one: QtGui.QColor, other: QtGui.QColor, share: float) -> QtGui.QColor:
    """A colour between two, `share` of the way from the first."""
    pairs = zip(one.getRgb()[:3], other.getRgb()[:3], strict=True)
    return QtGui.QColor(*(round(a + share * (b - a)) for a, b in pairs))
