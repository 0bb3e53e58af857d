"""What the executables call: imports a node's module, which takes seconds, so that a signal meanwhile ends quietly."""

from __future__ import annotations

import importlib
import os
import signal
import sys


def start(name: str) -> int:
    """Run the node of that name; returns the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # nothing runs yet that would need an orderly end
    try:
        module = importlib.import_module(f"{__package__}.{name}_node")
    except ImportError as error:
        sys.stderr.write(f"{name} can't start: {error}\n")
        return 1
    return int(module.main())
