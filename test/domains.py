"""The DDS domains of a test process: other runs have other process ids, and demos take higher domains."""

from __future__ import annotations

import os

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # gw0, gw1, ...
_NUMBER = os.getppid() + int(_WORKER.removeprefix("gw")) if _WORKER else os.getpid()
OWN = 1 + 2 * (_NUMBER % 20)  # this process's nodes, and those that it starts to meet them
APART = OWN + 1  # nodes that a test starts apart from them, one set at a time
