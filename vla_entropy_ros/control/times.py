"""One rule for the time of whatever is measured or seen: images, poses, joints and the chunks that answer them."""

from __future__ import annotations

import time
from datetime import datetime, timezone

FUTURE = 0.2  # seconds that a stamp may lie ahead: clocks of two machines differ a little
ANOTHER_CLOCK = 3600.0  # seconds: clocks that tell the same time never differ by so much
EPOCH = 1e9  # seconds: wall time lies above (2001), simulated time and time since boot below
NO_CLOCK = (
    "use_sim_time is true and nothing has come on /clock: start what publishes it (the simulator, "
    "ros2 bag play --clock), or set use_sim_time:=false"
)
BOOTED = 60.0  # seconds: a stamp so near to this machine's monotonic clock was taken from it


def stamp_problem(what: str, stamp: float, now: float, oldest: float) -> str | None:
    """Why `what`, measured at `stamp` [s], can't be used at `now` [s], and what to do; None when it can.

    It may be `oldest` [s] old and FUTURE ahead.
    """
    if now > 0.0 and stamp > 0.0 and -FUTURE <= now - stamp <= oldest:
        return None
    if not now > 0.0:
        return NO_CLOCK
    if not stamp > 0.0:
        cause = "its stamp is zero" if stamp == 0.0 else f"its stamp is {stamp:g}"
        return f"{what} has no time, {cause}: let its publisher fill in header.stamp with the node's clock"
    age = now - stamp
    if abs(age) > ANOTHER_CLOCK:
        return f"{what} is stamped by another clock: {_clocks(stamp, now)}"
    if age < 0.0:
        said = f"{-age:.2f} s ahead of this node's clock, valid is up to {FUTURE:g}"
        return f"{what} is {said}: synchronise the clocks of the machines (chrony, ptp)"
    said = f"{age:.2f} s old, valid is up to {oldest:g}"
    return f"{what} is {said}: its source is slow or has stopped, or its clock is behind (see ros2 topic hz, delay)"


def _clocks(stamp: float, now: float) -> str:
    """Which clock a stamp [s] far from `now` [s] looks like, which this node has, and what to do."""
    booted = abs(stamp - time.monotonic()) < BOOTED
    if now >= EPOCH > stamp:
        looks = "time since boot (the monotonic clock)" if booted else "simulated time or time since boot"
        asked = "stamp with wall time" if booted else "stamp with wall time, or set use_sim_time:=true here"
        return f"its stamp {stamp:.2f} looks like {looks}, this node has wall time: {asked}"
    if stamp >= EPOCH > now:
        return (
            f"its stamp {stamp:.2f} looks like wall time, this node has simulated time ({now:.2f}): "
            "set use_sim_time:=true for its publisher, or use_sim_time:=false here"
        )
    if now >= EPOCH:
        return (
            f"its stamp is of {_date(stamp)}, this node's clock says {_date(now)}: set the clocks right (chrony); for "
            "a recording: ros2 bag play --clock and use_sim_time:=true"
        )
    looks = "time since boot (the monotonic clock)" if booted else "the time of another simulation"
    return (
        f"its stamp {stamp:.2f} looks like {looks}, this node has simulated time ({now:.2f}): "
        "set use_sim_time:=true for its publisher, and let one node publish /clock"
    )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(min(seconds, 2.0**32), timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
