"""When an answer is held against full recomputation, what was found, and when that is too far off; knows no node."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...engine import DeviceLostError, Tunables
from ..common.process import one_line
from .orders import Answer, Options

if TYPE_CHECKING:
    from ...engine import Policy
    from ...engine.actions.check import Agreement

DEVIATED = "self check"  # why everything is fresh
WINDOW = 8  # checks after each activation, and those that a mean looks back on


@dataclass(frozen=True)
class Findings:
    """What checks have found since configure.

    total: how many there were; window: the last ones; rehearsed: what that of configure came to, in words, empty before
    it; failure: why the last one came to nothing, None when it did not; exceeded: why everything is computed from now
    on, None while it need not be.
    """

    total: int = 0
    window: tuple[Agreement, ...] = ()
    rehearsed: str = ""
    failure: str | None = None
    exceeded: str | None = None

    def mean(self, name: str, least: int = 1) -> float:
        """Mean of a field in the window; where there are fewer than `least`, those to come count as 0."""
        return float(sum(getattr(one, name) for one in self.window) / max(len(self.window), least))

    def beyond(self, options: Options, share: float = 1.0) -> bool:
        """Whether the mean deviation is above this `share` of a bound, whatever the checks to come may find."""
        moved, turned = self.mean("translation", WINDOW), self.mean("rotation", WINDOW)
        return moved > share * options.check_translation or turned > share * options.check_rotation


class Checks:
    """Checks the first ticks after an activation that reuse anything, and every so many after them.

    `tell` gets each agreement; `exceed` the line once the deviation is too large, from when on `limit` lets nothing be
    reused. The inference thread checks; any thread may ask or begin anew.
    """

    def __init__(
        self,
        tell: Callable[[Agreement], None] = lambda _: None,
        exceed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._tell, self._exceed = tell, exceed
        self._lock = threading.Lock()
        self._findings = Findings()
        self._window: deque[Agreement] = deque(maxlen=WINDOW)
        self._left = WINDOW  # checks that are due whatever the parameter says
        self._since = 0  # ticks since the last check that reused anything
        self._just = False  # whether the tick before was checked

    def look(self) -> Findings:
        """What was found so far."""
        with self._lock:
            return self._findings

    def configure(self) -> None:
        """Forget all but what keeps everything from being reused: that is for whoever sets another mode."""
        with self._lock:
            self._window.clear()
            self._findings = Findings(exceeded=self._findings.exceeded)

    def begin(self) -> None:
        """Check the next ticks, as after each activation."""
        with self._lock:
            self._left, self._since = WINDOW, 0

    def anew(self) -> None:
        """Begin as if nothing had been found: somebody has set another mode."""
        self.begin()
        with self._lock:
            self._window.clear()
            self._findings = replace(self._findings, window=(), failure=None, exceeded=None)

    def limit(self, tunables: Tunables) -> Tunables:
        """Return `tunables` as a tick may run with them, the same object while nothing was exceeded."""
        if self.look().exceeded is None or tunables.mode == "full":
            return tunables
        return replace(tunables, mode="full")

    def consider(self, policy: Policy, answer: Answer, options: Options, waiting: bool) -> bool:
        """Check an answer that is out and settled, if that is due; whether the deviation has now become too large.

        waiting: whether the next images are there already.
        Where they are, a tick after a checked one is let alone, so that at most every other tick is late. A check that
        fails says why and is none; DeviceLostError is for the caller.
        """
        reused = bool(answer.result.reuse.reused)
        if answer.observation is None or not self._due(reused, options.check_every, waiting):
            return False
        try:
            self.note([policy.compare(answer.observation, answer.result)], options)
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001  (memory, say: the answer is out, and the ticks go on)
            self.fail(f"{type(error).__name__}: {one_line(error)}")
        if not (self._left or options.check_every):
            policy.end_comparing()
        return self.look().exceeded is not None

    def _due(self, reused: bool, every: int, waiting: bool) -> bool:
        """Whether a tick is checked, which is then counted."""
        with self._lock:
            self._since += reused
            due = reused and self._findings.exceeded is None and (self._left > 0 or 0 < every <= self._since)
            self._just = due and not (waiting and self._just)
            if self._just:
                self._left, self._since = max(self._left - 1, 0), 0
            return self._just

    def note(self, agreements: Sequence[Agreement], options: Options, counts: bool = True) -> None:
        """Take note of agreements; counts: whether they are judged, too."""
        for agreement in agreements:
            self._tell(agreement)
        with self._lock:
            before = self._findings
            if counts:
                self._window.extend(agreements)
            total = before.total + len(agreements)
            now = replace(before, total=total, window=tuple(self._window), failure=None)
            if counts and before.exceeded is None and now.beyond(options):
                now = replace(now, exceeded=_line(now, options))
            self._findings = now
        if now.exceeded is not None and before.exceeded is None:
            self._exceed(now.exceeded)

    def fail(self, why: str) -> None:
        """Take note that a check came to nothing."""
        with self._lock:
            self._findings = replace(self._findings, failure=why)

    def rehearsed(self, words: str) -> None:
        """Take note of what the check of configure came to."""
        with self._lock:
            self._findings = replace(self._findings, rehearsed=words)


def _line(now: Findings, options: Options) -> str:
    """What was found, what was expected, and what to do."""
    moved, turned = now.mean("translation", WINDOW), now.mean("rotation", WINDOW)
    return (
        f"mode full from now on: actions are {moved:.3g} m and {turned:.3g} rad off full recomputation at least, "
        f"in the mean of {WINDOW} checks; valid is up to self_check.translation {options.check_translation:g} and "
        f"self_check.rotation {options.check_rotation:g}: spend more rows or widen these, then set another mode"
    )
