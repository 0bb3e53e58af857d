"""One goal at a time: when it begins, how it fares, and how it ends; knows no ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..common.goals import CANCELLED, DONE, EMERGENCY, HELD, IDLE, RUNNING, TIMED_OUT, Request, short

LATE = 0.3  # seconds between two looks that are more than a delay
CLIENTS = 16  # whose last word is remembered
BEFORE = 1.0  # seconds in which the first word of what tells the end is one of what was before
SILENT = 1.0  # seconds without an action that count as being held
MOVED = {"position": 0.002, "orientation": 0.02, "joints": 0.01}  # metres, parts of a quaternion, radians


@dataclass(frozen=True)
class Scene:
    """What a goal is judged by. now: monotonic time [s]; ticks, last_tick [s], entropy, hold: of the policy's answers.

    active: whether the policy acts; fault: why it does not; arm: the line of the command node, None where none is
    heard.
    """

    now: float
    active: bool = True
    ticks: int = 0
    last_tick: float = 0.0
    entropy: float | None = None
    hold: str | None = None
    fault: str | None = None
    arm: str | None = None

    @property
    def motion(self) -> str:
        """What the arm does, in a word or two."""
        return "unknown" if self.arm is None else self.arm.partition(":")[0].split(" for ")[0]

    @property
    def held(self) -> str | None:
        """Why the arm is held; None where it is not."""
        if self.arm is None:
            return self.hold
        if self.motion == "disabled":
            return "the arm is disabled: call command/enable"
        return self.arm if self.motion in ("holding", "no commands") else self.hold


@dataclass(frozen=True)
class Goal:
    """A goal and how it fares.

    begun, ended: monotonic [s]; before, after: ticks of the policy until then; why: in words.
    """

    number: int = 0
    request: Request = field(default_factory=lambda: Request(""))
    state: str = IDLE
    why: str = ""
    begun: float = 0.0
    ended: float = 0.0
    before: int = 0
    after: int = 0

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.state == RUNNING


class Stillness:
    """For how long what is measured of an arm has not changed, by more than it is measured by."""

    def __init__(self) -> None:
        self._at: dict[str, NDArray[np.float64]] = {}
        self._since: float | None = None
        self._heard = 0.0

    def forget(self) -> None:
        """Begin anew with what is measured next."""
        self._at.clear()
        self._since = None

    def measure(self, values: Mapping[str, NDArray[np.float64]], now: float) -> None:
        """Take in what was measured, by the names of MOVED or with a joint's name behind a dot, at `now` [s]."""
        for name, value in values.items():
            bound, before = MOVED[name.partition(".")[0]], self._at.get(name)
            if before is None or np.abs(value - before).max() > bound:
                self._at[name] = value
                self._since = now
        self._heard = now

    @property
    def seconds(self) -> float:
        """For how long; 0 before anything is measured. Time in which nothing is measured does not count."""
        return 0.0 if self._since is None else self._heard - self._since


class Goals:
    """The goal that runs, or the last one.

    start, cancel and overrule change it at once; `look` ends it where it is due. Who ends a goal stops the arm.
    """

    def __init__(self) -> None:
        self.now = Goal()
        self.still = Stillness()
        self._fulfilled = False
        self._said: bool | None = None
        self._before = False  # it was true already when the goal began
        self._beats: dict[int, float] = {}  # when each client was heard last [s]
        self._looked = 0.0
        self._late = self._excused = False
        self._held_since: float | None = None

    def start(self, request: Request, scene: Scene) -> int:
        """Begin a goal in place of any other, and return its number."""
        self.now = Goal(self.now.number + 1, request, RUNNING, begun=scene.now, before=scene.ticks)
        self.still.forget()
        self._fulfilled, self._held_since = False, None
        self._said, self._before = None, False
        self._looked = scene.now
        return self.now.number

    def end(self, state: str, why: str, scene: Scene) -> None:
        """Let the running goal end; nothing where none runs."""
        if self.now.running:
            self.now = replace(self.now, state=state, why=why, ended=scene.now, after=scene.ticks)

    def cancel(self, scene: Scene) -> str | None:
        """End the running goal; why that is not possible, None where it was."""
        if not self.now.running:
            return f"no goal is running: {self.line()}"
        self.end(CANCELLED, "a client asked for it", scene)
        return None

    def beat(self, client: int, now: float) -> None:
        """The client of that number says at `now` [s] that it is there."""
        self._beats.pop(client, None)
        self._beats[client] = now
        if len(self._beats) > CLIENTS:
            others = (one for one in self._beats if one != self.now.request.client)
            del self._beats[next(others)]  # who was heard first

    def silence(self, request: Request, now: float) -> float:
        """For how many seconds longer than it may the client of a goal was silent; 0 where it has a right to."""
        if not request.heartbeat:
            return 0.0
        return max(now - self._beats.get(request.client, float("-inf")) - request.heartbeat, 0.0)

    def say(self, true: bool, now: float) -> None:
        """What the goal waits for is said to be true, or not, at `now` [s].

        What is true when it begins was true before, and tells nothing until it has been false.
        """
        if self._said is None and true and now - self.now.begun < BEFORE:
            true, self._before = False, True
        elif not true:
            self._before = False
        self._said = true
        self._fulfilled = self.now.running and true and not self._before

    def look(self, scene: Scene, patience: float) -> bool:
        """Whether the running goal ends now. patience: seconds for which the arm may be held."""
        late = scene.now - self._looked > LATE
        self._excused = late and not self._late  # held up itself: what the client said is heard by the next look
        self._looked, self._late = scene.now, late
        if not self.now.running:
            return False
        found = self._ending(scene, patience)
        if found is not None:
            self.end(*found, scene)
        return found is not None

    def _ending(self, scene: Scene, patience: float) -> tuple[str, str] | None:
        request, elapsed = self.now.request, scene.now - self.now.begun
        if not scene.active:
            return HELD, scene.fault or "the policy is not active any more"
        if self.silence(request, scene.now) and not self._excused:
            return HELD, f"the client is lost: it was silent for more than {request.heartbeat:g} s"
        if scene.arm is not None and scene.arm.startswith(EMERGENCY):
            return HELD, scene.arm
        if self._fulfilled:
            return DONE, f"{request.until.name} is true"
        if request.until.kind == "time" and elapsed >= request.until.seconds:
            return DONE, f"{request.until.seconds:g} s are over"
        held = self._hold(scene)
        if request.until.kind == "still" and self.still.seconds >= request.until.seconds:
            return DONE, f"the arm was still for {request.until.seconds:g} s"
        if request.timeout and elapsed >= request.timeout:
            return TIMED_OUT, f"not done within {request.timeout:g} s" + (f"; {held}" if held else "")
        if held is not None and self._held_since is not None and scene.now - self._held_since > patience:
            return HELD, held
        return None

    def _hold(self, scene: Scene) -> str | None:
        """Why the arm is held now; an arm that is held, or has had no action yet, is not still of its own."""
        held = scene.held or self._silence(scene)
        if held is None:
            self._held_since = None
        elif self._held_since is None:
            self._held_since = scene.now
        if held is not None or scene.ticks <= self.now.before:
            self.still.forget()
        return held

    def _silence(self, scene: Scene) -> str | None:
        """Why there is no action for the goal; None where there is."""
        last = max(scene.last_tick, self.now.begun)
        if scene.now - last <= SILENT:
            return None
        return f"no action for {scene.now - last:.1f} s: {scene.fault or 'see /diagnostics'}"

    def facts(self, scene: Scene) -> dict[str, object]:
        """What the status tells at the time of `scene`."""
        goal, request = self.now, self.now.request
        until, after = (scene.now, scene.ticks) if goal.running else (goal.ended, goal.after)
        acted = scene.ticks > goal.before
        return {
            "goal": goal.number,
            "state": goal.state,
            "why": goal.why,
            "instruction": request.instruction,
            "until": request.until.text,
            "timeout": request.timeout,
            "heartbeat": request.heartbeat,
            "client": request.client,
            "elapsed": round(until - goal.begun, 3),
            "ticks": max(after - goal.before, 0),
            "action_age": round(scene.now - scene.last_tick, 3) if acted else None,
            "entropy": scene.entropy if acted else None,
            "hold": scene.held or (self._silence(scene) if goal.running else None),
            "motion": scene.motion,
        }

    def line(self) -> str:
        """What there is to say of the goal, in words."""
        goal = self.now
        if not goal.number:
            return "none was given yet"
        why = f": {goal.why}" if goal.why else ""
        return f"goal {goal.number} '{short(goal.request.instruction)}' is {goal.state}{why}"
