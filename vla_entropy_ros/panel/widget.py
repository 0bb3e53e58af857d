"""The panel: one widget of Qt that looks at a source and asks for calls; it knows neither ROS nor rqt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from .charts import LatencyCard, TokensCard
from .columns import Columns
from .controls import KnobsCard
from .goal import GoalCard, StopButton
from .parts import BAD, DOUBT, GAP, GOOD, Still, Words
from .picture import PictureCard
from .snapshot import Orders, Said, Snapshot, Source, policy_of
from .state import StateCard

PERIOD = 50  # milliseconds between two looks, and at least between two drawings
STOPPED = "emergency stop"  # how the command node says why it holds
SETTLE = 1.0  # seconds until what the policy tells of the arm is newer than the answer of a stop
CHART_PERIOD = 0.2  # seconds, likewise, for the charts
ARRANGEMENTS = {  # by the smallest width in characters
    0: [["goal", "picture", "knobs", "latency", "tokens", "state"]],
    80: [["goal", "picture", "state"], ["knobs", "latency", "tokens"]],
    130: [["goal", "picture"], ["latency", "tokens"], ["knobs", "state"]],
}


class Panel(QtWidgets.QWidget):
    """Shows a policy and its knobs while it can be seen; hidden, it neither listens nor draws."""

    def __init__(self, source: Source, orders: Orders) -> None:
        super().__init__()
        self.setObjectName("VlaPolicyPanel")
        self.setWindowTitle("VLA policy")
        self._source, self._orders = source, orders
        self._shown = Snapshot()
        self._drawn: tuple[Any, ...] = ()
        self._charted_at = 0.0
        self._ended = False
        self._stopped_at: float | None = None  # when the stop was confirmed, until it is released
        self._still = Still()
        self.namespaces = QtWidgets.QComboBox()
        self.namespaces.setToolTip("Namespace of the robot whose policy is shown.")
        self.namespaces.setMinimumContentsLength(8)
        self.namespaces.activated.connect(lambda _: self.choose(self.namespaces.currentData()))
        self._still.watch(self.namespaces)
        self.trouble, self.stopped = Words(), Words()
        self.stop = StopButton()
        self.stop.clicked.connect(lambda _: self._emergency_stop())
        self.goal, self.knobs = GoalCard(orders.ask), KnobsCard(orders.set)
        self.picture, self.latency, self.tokens, self.state = PictureCard(), LatencyCard(), TokensCard(), StateCard()
        self._lay_out()
        self._timer = QtCore.QTimer(self)
        self._timer.setInterval(PERIOD)
        self._timer.timeout.connect(self._look)
        self._show(Snapshot(), first=True)

    def _lay_out(self) -> None:
        head = QtWidgets.QHBoxLayout()
        head.setSpacing(GAP)
        head.addWidget(QtWidgets.QLabel("Robot"))
        head.addWidget(self.namespaces)
        head.addStretch(1)
        head.addWidget(self.stop)
        sections = {
            "goal": self.goal, "picture": self.picture, "knobs": self.knobs, "latency": self.latency,
            "tokens": self.tokens, "state": self.state,
        }  # fmt: skip
        self.columns = Columns(sections, ARRANGEMENTS, lambda count: self.picture.overlay.set_tall(count == 1))
        whole = QtWidgets.QVBoxLayout(self)
        whole.setContentsMargins(GAP, GAP, GAP, GAP)
        whole.setSpacing(GAP)
        whole.addLayout(head)
        whole.addWidget(self.trouble)
        whole.addWidget(self.stopped)
        whole.addWidget(self.columns, 1)

    @property
    def namespace(self) -> str | None:
        """The namespace that is shown; None where none was found yet."""
        return self._source.look().namespace

    @property
    def history(self) -> list[str]:
        """Instructions given before, the last one first."""
        return self.goal.instruction.history

    def restore(self, namespace: str | None, history: Sequence[str]) -> None:
        """Take over what another session was left with."""
        self.goal.instruction.set_history(history)
        if namespace:
            self.choose(namespace)

    def choose(self, namespace: str) -> None:
        """Show the policy of that namespace."""
        self._source.choose(namespace)
        if self._timer.isActive():
            self._orders.choose(namespace)

    def end(self) -> None:
        """Ask and draw nothing any more, whatever still happens to the widget."""
        self._ended = True
        self._timer.stop()

    def showEvent(self, event: QtGui.QShowEvent) -> None:  # noqa: N802  (Qt's name)
        """Begin to look."""
        super().showEvent(event)
        if not self._ended:
            self._source.show()
            self._orders.choose(self._shown.namespace or "/")
            self._timer.start()

    def hideEvent(self, event: QtGui.QHideEvent) -> None:  # noqa: N802  (Qt's name)
        """Look no more."""
        super().hideEvent(event)
        self._timer.stop()
        if not self._ended:
            self._source.hide()
            self._orders.rest()

    def _emergency_stop(self) -> None:
        self.stopped.say("emergency stop ...", DOUBT)
        self._orders.emergency_stop()

    def _look(self) -> None:
        """Draw what is new, and pass on the answers that have come."""
        for said in self._orders.answers():
            self._answered(said)
        snapshot = self._source.look()
        if snapshot is not self._shown or self._charts_due(snapshot):
            self._show(snapshot)
        self.knobs.look(snapshot.knobs)

    def _answered(self, said: Said) -> None:
        if said.call == "set":
            self.knobs.answered(said)
        elif said.call == "emergency_stop":
            self.stopped.say(f"emergency stop: {said.words}", DOUBT if said.ok else BAD)
            self._stopped_at = time.monotonic() if said.ok else None
        else:
            self.goal.answered(said)

    def _forget_stop(self, snapshot: Snapshot) -> None:
        """Speak of the emergency stop no more once the arm is held by it no more, whoever released it."""
        held = snapshot.goal is not None and STOPPED in snapshot.goal.hold
        if self._stopped_at is not None and not held and time.monotonic() - self._stopped_at > SETTLE:
            self._stopped_at = None
            self.stopped.say("")

    def _charts_due(self, snapshot: Snapshot) -> bool:
        return self._charted(snapshot) != self._drawn

    def _charted(self, snapshot: Snapshot) -> tuple[Any, ...]:
        most = snapshot.knobs.get("max_age")
        return snapshot.ticks[-1:], len(snapshot.ticks), most and most.value

    def _show(self, snapshot: Snapshot, first: bool = False) -> None:
        """Draw the parts of a snapshot that differ from what is shown."""
        before, self._shown = self._shown, snapshot
        if first or snapshot.namespaces != before.namespaces or snapshot.namespace != before.namespace:
            self._show_namespaces(snapshot)
        if snapshot.namespace != before.namespace and self._timer.isActive():
            self._orders.choose(snapshot.namespace or "/")
        if first or (snapshot.trouble, snapshot.heard) != (before.trouble, before.heard):
            self._show_trouble(snapshot)
        if snapshot.picture is not before.picture:
            self.picture.overlay.show_picture(snapshot.picture)
        if snapshot.counts is not before.counts:
            self.picture.legend.show_counts(snapshot.counts)
        if snapshot.goal is not before.goal:
            self.goal.show_goal(snapshot.goal)
            self.state.show_goal(snapshot.goal)
            self._forget_stop(snapshot)
        if snapshot.health is not before.health:
            self.state.table.show_health(snapshot.health)
        if snapshot.knobs is not before.knobs:
            self.knobs.show_knobs(snapshot.knobs)
        if snapshot.ticks is not before.ticks:
            self.state.show_tick(snapshot.ticks[-1] if snapshot.ticks else None)
        if self._charts_due(snapshot) and time.monotonic() - self._charted_at > CHART_PERIOD:
            self._charted_at = time.monotonic()
            self._drawn = self._charted(snapshot)
            self.latency.show_ticks(snapshot.ticks)
            self.tokens.show_ticks(snapshot.ticks, snapshot.knobs)

    def _show_namespaces(self, snapshot: Snapshot) -> None:
        chosen = snapshot.namespace
        names = list(snapshot.namespaces)
        gone = [chosen] if chosen is not None and chosen not in names else []
        self.namespaces.clear()
        for name in [*names, *gone]:
            self.namespaces.addItem(f"{name} (gone)" if name in gone else name, name)
        self.namespaces.setCurrentIndex(self.namespaces.findData(chosen))

    def _show_trouble(self, snapshot: Snapshot) -> None:
        policy = policy_of(snapshot.namespace or "/")
        if snapshot.trouble:
            self.trouble.say(snapshot.trouble, DOUBT if snapshot.heard else BAD)
        else:
            said = (f"{policy} speaks", GOOD) if snapshot.heard else (f"listening for {policy} ...", DOUBT)
            self.trouble.say(*said)
        self.goal.set_reachable(snapshot.heard)
