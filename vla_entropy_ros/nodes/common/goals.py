"""The words of the goal interface, as both of its ends use them: names, requests, and when a goal is done."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

START, CANCEL, STATUS, BEAT = "goal/start", "goal/cancel", "goal/status", "goal/heartbeat"  # below the policy's name
HEARTBEAT = 0.2  # seconds between two words of the status
IDLE, RUNNING, DONE, TIMED_OUT, CANCELLED, HELD = "idle", "running", "done", "timed out", "cancelled", "held"
ACTIVE, INACTIVE, UNCONFIGURED = "active", "inactive", "unconfigured"  # what the status says of the policy
EMERGENCY = "holding: emergency stop"  # how the command node's line begins then
ENDS = (DONE, TIMED_OUT, CANCELLED, HELD)
SHOWN = 60  # characters of an instruction in a line
MOST = 86400.0  # seconds that a goal may ask for
BRIEF = 0.2  # seconds: the shortest silence of a client that tells anything
HIGHEST = 2**31 - 1  # number of a client, as a std_msgs/Int32 carries it
UNSENDABLE = re.compile("[\0\ud800-\udfff]")  # NUL cuts a text, half a pair of surrogates is no sign
EXAMPLES = "'topic <name>' of a std_msgs/Bool, 'still <seconds>', 'time <seconds>', or nothing"
FIELDS: dict[str, tuple[type, ...]] = {
    "instruction": (str,), "timeout": (float, int), "until": (str,), "heartbeat": (float, int), "client": (int,),
}  # fmt: skip

EXPECTED: dict[tuple[type, ...], str] = {(str,): "text", (int,): "a whole number"}

Kind = Literal["", "topic", "still", "time"]


@dataclass(frozen=True)
class Until:
    """When a goal is done: a std_msgs/Bool on a topic is true, the arm was still or the goal ran for `seconds`.

    The empty one is never fulfilled: such a goal ends by its timeout, or when it is cancelled.
    """

    kind: Kind = ""
    name: str = ""
    seconds: float = 0.0

    @classmethod
    def topic(cls, name: str) -> Until:
        """Done when true is heard on the std_msgs/Bool topic `name`, relative to the policy's namespace."""
        sendable("the name of a topic", name)
        return cls.of(f"topic {name}")

    @classmethod
    def still(cls, seconds: float) -> Until:
        """Done when the arm has been where it is for `seconds`, without being held."""
        return cls.of(f"still {seconds}")

    @classmethod
    def time(cls, seconds: float) -> Until:
        """Done after `seconds`."""
        return cls.of(f"time {seconds}")

    @classmethod
    def of(cls, text: str) -> Until:
        """Read what `text` says; ValueError in one line with what is valid."""
        kind, _, rest = sendable("until", text).strip().partition(" ")
        rest = rest.strip()
        if kind == "topic" and rest and " " not in rest:
            return cls("topic", rest)
        if kind in ("still", "time"):
            seconds = _seconds(f"until '{short(text)}'", rest)
            if seconds == 0.0:
                raise ValueError(f"until '{short(text)}': 0 seconds are over at once: valid are more")
            return cls("still" if kind == "still" else "time", seconds=seconds)
        if not kind:
            return cls()
        raise ValueError(f"until '{short(text)}': valid are {EXAMPLES}")

    @property
    def text(self) -> str:
        """As it travels, and as it is shown."""
        return f"{self.kind} {self.name or format(self.seconds, 'g')}" if self.kind else ""


@dataclass(frozen=True)
class Request:
    """What a goal asks for; times in seconds, 0 for none.

    heartbeat: the longest silence of the client; client: the number that it says meanwhile, its own.
    """

    instruction: str
    timeout: float = 0.0
    until: Until = Until()
    heartbeat: float = 0.0
    client: int = 0

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Request:
        """Read named values; ValueError in one line that names what came and what is valid."""
        for name, value in given.items():
            if name not in FIELDS:
                raise ValueError(f"a goal has no '{short(name)}': valid are {', '.join(FIELDS)}")
            if isinstance(value, bool) or not isinstance(value, FIELDS[name]):
                expected = EXPECTED.get(FIELDS[name], "a number of seconds")
                raise ValueError(f"{name} is {short(repr(value))}, expected {expected}")
        text = sendable("the instruction", given.get("instruction", "")).strip()
        if not text:
            raise ValueError("a goal needs an instruction that is not empty, such as 'pick up the red cube'")
        timeout, heartbeat = (_seconds(name, given.get(name, 0.0)) for name in ("timeout", "heartbeat"))
        if 0.0 < heartbeat < BRIEF:
            raise ValueError(f"heartbeat: {heartbeat:g} s is too short: valid are 0 for none, or {BRIEF:g} and more")
        client = int(given.get("client", 0))
        if not int(heartbeat > 0.0) <= client <= HIGHEST:
            what = "a heartbeat needs the number of the client that sends it" if heartbeat and not client else "client"
            raise ValueError(f"{what}: {client} came, valid are 1 to {HIGHEST}, of its own")
        return cls(text, timeout, Until.of(str(given.get("until", ""))), heartbeat, client)

    @property
    def values(self) -> dict[str, str | float | int]:
        """As named values."""
        return {
            "instruction": self.instruction,
            "timeout": float(self.timeout),
            "until": self.until.text,
            "heartbeat": float(self.heartbeat),
            "client": self.client,
        }


def unheard(client: int, policy: str) -> str:
    """Why a goal of a client whose heartbeat does not reach the policy is refused."""
    return f"client {client} is not heard yet: say that number on {policy}/{BEAT}, and ask again"


def sendable(what: str, text: object) -> str:
    """A text that arrives as it was sent; ValueError in one line where it is none."""
    if not isinstance(text, str):
        raise ValueError(f"{what} is text, not {short(repr(text))}")
    if UNSENDABLE.search(text):
        raise ValueError(f"{what} {short(ascii(text))} holds a sign that can't be sent: valid is Unicode without NUL")
    return text


def short(text: str) -> str:
    """`text` in one line that fits beside other words."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 4].rstrip()} ..."


def _seconds(what: str, value: object) -> float:
    """The seconds that `value` tells; ValueError in one line."""
    try:
        seconds = math.nan if "_" in str(value) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0.0 <= seconds <= MOST:
        raise ValueError(f"{what}: {value!r} is no time: valid are 0 to {MOST:g} seconds")
    return seconds
