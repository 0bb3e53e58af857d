"""What the executables call: imports a node's module, which takes seconds, so that a signal meanwhile ends quietly."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from typing import NoReturn


def start(name: str, module: str | None = None) -> NoReturn:
    """Run the node of that name, or the one of a `module` elsewhere, and end the process with its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: os._exit(0))  # nothing runs yet that would need an orderly end
    try:
        node = importlib.import_module(module or f"{__package__}.{name}.node")
    except ImportError as error:
        sys.stderr.write(f"{name} can't start: {error}\n")
        sys.exit(1)
    status = int(node.main())
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # the terminal may be closed
            stream.flush()
    # The node is closed. Python would now take torch to pieces for a second of work, which on a busy machine outlasts
    # the patience of `ros2 launch`, and would wait for a checkpoint that is still being loaded.
    os._exit(status)
