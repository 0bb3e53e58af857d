"""Keeps a starting node off the shared-memory ports of one that was killed."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # where Fast DDS puts its ports on Linux
LOCK = "_el"  # ends the name of a file that goes with a port's reader when it ends in order
NUMBERS = 16  # of the 32 participants that find each other on one machine; beyond, ports are taken as they come
BASE, PER_DOMAIN, PER_PARTICIPANT, DISCOVERY, USER = 7400, 250, 2, 10, 11  # RTPS 2.3, section 9.6.1.1


@contextlib.contextmanager
def fresh_ports(domain: int, folder: Path = SHARED_MEMORY, lowest: int | None = None) -> Iterator[list[int]]:
    """While this lasts, a participant that is created in the DDS domain gets other ports than one that was killed.

    Fast DDS gives a participant the lowest number whose UDP port is free, also that of a killed process, and makes its
    shared-memory port anew; who wrote to the old one may go on writing there, and the new process stays deaf (Fast DDS
    issue 5469). So the UDP ports of numbers below a random one are held (`lowest`: this one), and of those whose shared
    memory was left behind. Yields these ports; nothing is changed without Fast DDS.
    """
    lowest = random.randrange(NUMBERS) if lowest is None else lowest
    first = BASE + PER_DOMAIN * domain
    with contextlib.ExitStack() as stack:
        held = []
        for number in range(NUMBERS):
            pair = first + PER_PARTICIPANT * number
            left = (folder / f"fastdds_port{pair + USER}{LOCK}").exists()
            if (number < lowest or left) and _bound(pair + DISCOVERY, stack):
                held.append(pair + DISCOVERY)
        yield held


def _bound(port: int, stack: contextlib.ExitStack) -> bool:
    """Take a UDP port for as long as `stack` lasts, unless a living participant has it."""
    try:
        stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("", port))
    except (OSError, OverflowError):
        return False
    return True
