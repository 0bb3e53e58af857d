"""A panel with its own way to ROS, put together and ended in order."""

from __future__ import annotations

from .calls import Calls, connect
from .feed import Feed
from .widget import Panel


class Session:
    """`panel` is shown by whoever makes this, on the thread of Qt; several may live side by side.

    domain: of DDS, None as the environment says.
    """

    def __init__(self, domain: int | None = None) -> None:
        self._feed = Feed(domain)
        self._calls = Calls(connect(self._feed.node))
        self.panel = Panel(self._feed, self._calls)

    def close(self) -> None:
        """End threads and nodes; a goal that the panel gave ends, and the arm stops."""
        self.panel.end()
        self._calls.close()
        self._feed.close()
