"""A client of its own that gives a goal and is killed: `python -m tools.faults.lost_client INSTRUCTION`."""

from __future__ import annotations

import sys
import time

from vla_entropy_ros.client import VlaClient

RUNS = "runs"
PATIENCE = 60.0  # seconds until it goes by itself

if __name__ == "__main__":
    with VlaClient(patience=20.0) as client:
        answer = client.run(sys.argv[1], timeout=0.0, heartbeat=0.5)
        print(RUNS if answer else answer.words, flush=True)
        time.sleep(PATIENCE)
