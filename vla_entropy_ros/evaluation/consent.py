"""Ask the command node whether the arm may move."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from std_srvs.srv import SetBool

from .errors import RunError

SERVICE = "command/enable"

Call = Callable[[Any, str, Any], Any]  # service type, its name, request -> response


def enable(call: Call, pause: Callable[[], None], patience: float) -> None:
    """Let the arm move; RunError with the node's reason when it does not consent within `patience` seconds.

    A busy machine brings the arm's pose late, and without a current one the node refuses: it is asked again after
    each `pause`.
    """
    deadline = time.monotonic() + patience
    while not (answer := call(SetBool, SERVICE, SetBool.Request(data=True))).success:
        if time.monotonic() > deadline:
            raise RunError(f"{SERVICE}: {answer.message}")
        pause()


def disable(call: Call) -> None:
    """Let the node hold the arm and fall silent."""
    call(SetBool, SERVICE, SetBool.Request(data=False))
