"""A client of its own that gives a goal and is killed: `python -m tools.faults.lost_client INSTRUCTION`."""

from __future__ import annotations

import sys
import time

from vla_entropy_ros.client import VlaClient

RUNS = "runs"
HEARD = 2.0  # seconds: a goal whose first heartbeats are not heard has ended by then
TRIES = 3  # right after another client was killed, that is one of some fifteen goals
PATIENCE = 60.0  # seconds until it goes by itself

if __name__ == "__main__":
    with VlaClient(patience=20.0) as client:
        for _ in range(TRIES):
            answer = client.run(sys.argv[1], timeout=0.0, heartbeat=0.5)
            if not answer or client.wait(HEARD) is None:
                break  # refused, or it runs on
        print(RUNS if answer else answer.words, flush=True)
        time.sleep(PATIENCE)
