"""Images of one or several cameras to observations: one image of each, seen at about the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from sensor_msgs.msg import CompressedImage, Image

from ...engine.pacing import LATE
from ..common.messages import seconds

RAW_FIRST = 1.0  # seconds: while raw images come, compressed ones of the same camera are left aside
KEPT = 8  # images of one camera that wait for those of the others

ImageMessage: TypeAlias = "Image | CompressedImage"


class View:
    """What one camera showed last: its stream, frame, size and time."""

    def __init__(self) -> None:
        self._last_raw = float("-inf")
        self._frame: str | None = None
        self._size: tuple[int, int] | None = None
        self._stamp = float("-inf")

    def accepts(self, message: ImageMessage, arrived: float) -> bool:
        """Whether this stream of the camera is the one to look at, `arrived` on the monotonic clock [s]."""
        if isinstance(message, Image):
            self._last_raw = arrived
            return True
        return arrived - self._last_raw >= RAW_FIRST

    def change(self, message: ImageMessage) -> str:
        """Why `message` does not continue what was seen; empty when it does. It becomes what was seen last."""
        frame, stamp = message.header.frame_id, seconds(message.header.stamp)
        size = (message.width, message.height) if isinstance(message, Image) else self._size
        reason = ""
        if self._frame is not None and frame != self._frame:
            reason = f"the camera changed from '{self._frame}' to '{frame}'"
        elif self._size is not None and size != self._size:
            reason = "the size of the image changed"
        elif stamp < self._stamp - LATE:
            reason = "the images' time jumped back"
        self._frame, self._size, self._stamp = frame, size, stamp
        return reason


class ApproximateTimeSynchronizer:
    """Sets of messages, one per camera, whose stamps lie within `slop` [s] of each other; the newest set first.

    `message_filters` does the same on a ROS install; it is on no package index, so one small filter serves everywhere.
    """

    def __init__(self, cameras: int) -> None:
        self._waiting: list[deque[ImageMessage]] = [deque(maxlen=KEPT) for _ in range(cameras)]
        self.unmatched = 0  # messages that no set could use

    def offer(self, camera: int, message: ImageMessage, slop: float) -> tuple[ImageMessage, ...] | None:
        """The set that `message` of `camera` completes, if it does."""
        if len(self._waiting) == 1:
            return (message,)
        queue = self._waiting[camera]
        self.unmatched += len(queue) == KEPT
        queue.append(message)
        stamp = seconds(message.header.stamp)
        best = [nearest(waiting, stamp) for waiting in self._waiting]
        best[camera] = message
        chosen = tuple(one for one in best if one is not None)
        if len(chosen) < len(best) or spread(chosen) > slop:
            return None
        for waiting, one in zip(self._waiting, chosen, strict=True):
            while waiting.popleft() is not one:
                self.unmatched += 1
        return chosen

    def forget(self) -> None:
        """Drop what waits."""
        for waiting in self._waiting:
            waiting.clear()


def nearest(messages: Sequence[ImageMessage], stamp: float) -> ImageMessage | None:
    """The message of `messages` that was seen nearest to `stamp` [s]."""
    return min(messages, key=lambda message: abs(seconds(message.header.stamp) - stamp), default=None)


def spread(messages: Sequence[ImageMessage]) -> float:
    """Time [s] between the first and the last of `messages`."""
    stamps = [seconds(message.header.stamp) for message in messages]
    return max(stamps) - min(stamps)


def oldest(messages: Sequence[ImageMessage]) -> ImageMessage:
    """The message of `messages` that was seen first: an observation is as old as its oldest image."""
    return min(messages, key=lambda message: seconds(message.header.stamp))
