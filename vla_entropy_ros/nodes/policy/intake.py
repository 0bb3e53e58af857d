"""Images of one or several cameras to observations: one image of each, seen at about the same time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from sensor_msgs.msg import CompressedImage, Image

from ...engine.observation import View, interruption, is_late
from ...images import Converter, ImageError, Picture, read
from ..common.messages import seconds
from ..common.worker import Mailbox
from .statistics import Monitor

RAW_FIRST = 1.0  # seconds: while raw images come, compressed ones of the same camera are left aside
KEPT = 8  # images of one camera that wait for those of the others
MISSED = 100  # images lost at once that a rate takes into account

ImageMessage: TypeAlias = "Image | CompressedImage"


@dataclass(frozen=True)
class Frame:
    """One image as it came, and when it was seen [s]."""

    message: ImageMessage
    stamp: float


Frames: TypeAlias = "tuple[Frame, ...]"  # one of each camera


class CameraView:
    """What one camera showed last: its stream, frame, size and time."""

    def __init__(self) -> None:
        self._last_raw = float("-inf")
        self._before: View | None = None

    def accepts(self, message: ImageMessage, arrived: float) -> bool:
        """Whether this stream of the camera is the one to look at, `arrived` on the monotonic clock [s]."""
        if isinstance(message, Image):
            self._last_raw = arrived
            return True
        return arrived - self._last_raw >= RAW_FIRST

    def interruption(self, frame: Frame) -> str | None:
        """Why `frame` does not continue what was seen; None when it does. It becomes what was seen last."""
        message, before = frame.message, self._before
        size = ((message.height, message.width),) if isinstance(message, Image) else ()
        now = self._before = View(frame.stamp, size, (message.header.frame_id,))
        if before is None:
            return None
        if not (before.sizes and now.sizes):  # a compressed image does not tell its size
            before, now = (replace(view, sizes=before.sizes or now.sizes) for view in (before, now))
        if is_late(before.stamp, now.stamp):
            now = replace(now, stamp=before.stamp)
        self._before = now
        return interruption(before, now)


class ApproximateTimeSynchronizer:
    """Sets of frames, one per camera, whose stamps lie within `slop` [s] of each other; the newest set first.

    `message_filters` does the same on a ROS install; it is on no package index, so one small filter serves everywhere.
    """

    def __init__(self, cameras: int) -> None:
        self._waiting: list[deque[Frame]] = [deque(maxlen=KEPT) for _ in range(cameras)]
        self.unmatched = 0  # frames that no set could use

    def offer(self, camera: int, frame: Frame, slop: float) -> Frames | None:
        """The set that `frame` of `camera` completes, if it does."""
        if len(self._waiting) == 1:
            return (frame,)
        queue = self._waiting[camera]
        self.unmatched += len(queue) == KEPT
        queue.append(frame)
        best = [nearest(waiting, frame.stamp) for waiting in self._waiting]
        best[camera] = frame
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


def topic_of(camera: int) -> str:
    """The topic of a camera's raw images, counted from 0."""
    return f"image_{camera + 1}" if camera else "image"


def nearest(frames: Sequence[Frame], stamp: float) -> Frame | None:
    """The frame of `frames` that was seen nearest to `stamp` [s]."""
    return min(frames, key=lambda frame: abs(frame.stamp - stamp), default=None)


def spread(frames: Frames) -> float:
    """Time [s] between the first and the last of `frames`."""
    return max(frame.stamp for frame in frames) - min(frame.stamp for frame in frames)


def oldest(frames: Frames) -> Frame:
    """The frame that was seen first: an observation is as old as its oldest image."""
    return min(frames, key=lambda frame: frame.stamp)


def picture(frame: Frame, camera: int, convert: Converter) -> Picture:
    """The picture of a camera, counted from 0; names its topic in a doubt or an ImageError, except the first one's."""
    topic = f"{topic_of(camera)}: " if camera else ""
    try:
        seen = read(frame.message, convert)
    except ImageError as error:
        raise (ImageError(f"{topic}{error}") if topic else error) from None
    return seen if seen.doubt is None else replace(seen, doubt=topic + seen.doubt)


class Intake:
    """Turns the cameras' images into sets and keeps the newest one; takes nothing in unless it is open.

    `interrupted` gets why an image does not continue what its camera showed, before that image is used; `ready` is
    called when there is a set to take. Entered by one thread; `take` is for any.
    """

    def __init__(self, monitor: Monitor, interrupted: Callable[[str], None], ready: Callable[[], None]) -> None:
        self._monitor, self._interrupted, self._ready = monitor, interrupted, ready
        self._views: list[CameraView] = []
        self._synchronizer = ApproximateTimeSynchronizer(0)
        self._newest: Mailbox[Frames] = Mailbox()
        self._open = False
        self._arrived: list[float | None] = []  # monotonic time of each camera's newest image [s]
        self._stamps: list[float | None] = []  # and its own
        self.slop = 0.0  # seconds

    def begin(self, cameras: int) -> None:
        """Take in the images of so many cameras from now on."""
        self._views = [CameraView() for _ in range(cameras)]
        self._synchronizer = ApproximateTimeSynchronizer(cameras)
        self._arrived = [None] * cameras
        self._stamps = [None] * cameras
        self._monitor.note(last_received=tuple(self._arrived), stamps=tuple(self._stamps))
        self._open = True

    def end(self) -> None:
        """Take in nothing any more, and drop what nobody took."""
        self._open = False
        self._newest.take()

    def offer(self, message: ImageMessage, camera: int = 0) -> None:
        """Hand over the newest image of a camera; a set that nobody took yet is displaced by the next one."""
        arrived = time.monotonic()
        if not self._open or not self._views[camera].accepts(message, arrived):
            return
        frame = Frame(message, seconds(message.header.stamp))
        self._arrived[camera], self._stamps[camera] = arrived, frame.stamp
        self._monitor.note(last_received=tuple(self._arrived), stamps=tuple(self._stamps))
        self._monitor.count("received")
        self._monitor.add(images=1.0)
        if (reason := self._views[camera].interruption(frame)) is not None:
            self._monitor.count("interruptions")
            self._synchronizer.forget()
            self._newest.take()  # a set from before must not continue what comes after
            self._interrupted(reason)
        unmatched = self._synchronizer.unmatched
        chosen = self._synchronizer.offer(camera, frame, self.slop)
        self._monitor.count("unmatched", self._synchronizer.unmatched - unmatched)
        if chosen is not None:
            self._monitor.count("displaced", self._newest.put(chosen))
            self._ready()

    def miss(self, count: int) -> None:
        """Count images that were lost on the way."""
        self._monitor.count("lost", count)
        for _ in range(min(count, MISSED)):
            self._monitor.add(losses=1.0)

    @property
    def waiting(self) -> bool:
        """Whether there is a set that nobody took."""
        return self._newest.full

    def take(self) -> Frames | None:
        """The newest set, if there is one that nobody took."""
        return self._newest.take()
