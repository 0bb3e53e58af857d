"""Which time of a recorded message counts: that in its header, or, where that tells nothing, when it was recorded."""

from __future__ import annotations

import struct
from collections import Counter

APART = 10 * 10**9  # nanoseconds between stamp and recorded time, above which they are of two clocks
ENOUGH = 10  # messages that tell whether stamps go on


def stamp_of(raw: bytes) -> int:
    """The stamp [ns] of a message that begins with a header, from its bytes on the wire; 0 where they are too few."""
    if len(raw) < 12:
        return 0
    seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] else ">iI", raw, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def restamp(raw: bytes, time: int) -> bytes:
    """The bytes of a message that begins with a header, with `time` [ns] as its stamp."""
    return raw[:4] + struct.pack("<iI" if raw[1] else ">iI", *divmod(time, 10**9)) + raw[12:]


class Clock:
    """Judges the stamps of one topic by its first messages, `seen` as recorded times and stamps [ns]."""

    def __init__(self, seen: list[tuple[int, int]]) -> None:
        recorded, stamps = ({pair[number] for pair in seen} for number in (0, 1))
        self._stuck = len(recorded) > 1 and len(stamps) == 1
        self._only_stamps = len(recorded) == 1 < len(stamps)
        self._count = 0
        self._told: Counter[str] = Counter()

    def is_usable(self, recorded: int, stamp: int) -> bool:
        """Whether a stamp counts; the recorded time does instead where it does not."""
        self._count += 1
        why = None
        if not self._only_stamps:
            if stamp == 0:
                why = "zero"
            elif abs(stamp - recorded) > APART:
                why = "of another clock"
            elif self._stuck:
                why = "all the same"
        if why is not None:
            self._told[why] += 1
        return why is None

    def notes(self, topic: str) -> list[str]:
        """What was found out, a line each."""
        return [
            f"{topic}: stamps of {count} of {self._count} messages are {why}: the time they were recorded at is used"
            for why, count in self._told.items()
        ]
