"""Named facts of one instant as a stock message, for people, bags and other languages; and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

OK = DiagnosticStatus.OK


def facts_message(
    name: str, stamp: Time, values: Mapping[str, object], level: bytes = OK, message: str = ""
) -> DiagnosticArray:
    """One status with its stamp; `name` says of what, `message` the most important thing in words.

    Numbers have six digits, None is empty, truth is true or false.
    """
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    array = DiagnosticArray(status=[DiagnosticStatus(level=level, name=name, message=message, values=pairs)])
    array.header.stamp = stamp
    return array


def facts(message: DiagnosticArray) -> dict[str, str]:
    """The named facts of a message of `facts_message`; none where it has no status."""
    return {pair.key: pair.value for status in message.status[:1] for pair in status.values}


def number(text: str) -> float | None:
    """The number that a fact tells; None where it is empty or none."""
    try:
        return float(text)
    except ValueError:
        return None


def count(told: Mapping[str, str], name: str) -> int:
    """The whole number that a fact tells; 0 where it tells none."""
    return int(number(told.get(name, "")) or 0)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)
