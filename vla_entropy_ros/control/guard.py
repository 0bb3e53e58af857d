"""Whether the arm may move at all: switched on by a service, off by anyone, and latched by an emergency stop."""

from __future__ import annotations


class Guard:
    """Starts switched off unless `enabled`; an emergency stop switches it off and keeps it off until released."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.latched = False
        self._was_enabled = False  # when the emergency stop came

    @property
    def commanding(self) -> bool:
        """Whether commands are sent: to move, or to hold an arm that was stopped while it was under control."""
        return self.enabled or (self.latched and self._was_enabled)

    def switch_on(self, problem: str | None) -> str | None:
        """Let the arm move unless it is latched or there is a `problem`; returns why not, None when it may."""
        reason = "the emergency stop is latched: call ~/release first" if self.latched else problem
        self.enabled = reason is None
        return reason

    def switch_off(self) -> None:
        """Let nothing move."""
        self.enabled = False

    def trip(self) -> None:
        """Let nothing move until `release`."""
        if not self.latched:
            self._was_enabled = self.enabled
        self.enabled, self.latched = False, True

    def release(self) -> None:
        """Release the latch; the arm stays switched off."""
        self.latched = self._was_enabled = False
