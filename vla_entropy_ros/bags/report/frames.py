"""The camera images of moments with their tokens drawn, joined by the stamp of the image."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from rosbags.serde import SerdeError

from ...draw import NAMES, SIZE, Picture, overlay
from ...images import ImageError, decode, encode_jpeg
from ..bag import types
from ..clocks import stamp_of
from ..errors import BagError
from ..storage import Storage
from .moments import Moment
from .reading import Material, Progress
from .run import Tick
from .single import NEAR, nearest

MOST_COLUMNS = 128  # visual tokens in a row of an image
ASIDE = 2 * 10**8  # nanoseconds between the images of two cameras of one tick, at most
Place = tuple[str, int, int]  # of a message: its topic, when it was recorded and its stamp [ns]


@dataclass(frozen=True)
class Parts:
    """The messages that a tick's picture is made of; None where the bag has none.

    image: what the policy answered; cameras: of each the image nearest to that.
    """

    image: Place | None
    cameras: tuple[Place, ...]
    selection: Place | None
    overlay: Place | None

    @property
    def places(self) -> set[Place]:
        """Those that there are."""
        return {place for place in (self.image, *self.cameras, self.selection, self.overlay) if place is not None}


def draw(storage: Storage, material: Material, moments: Sequence[Moment], progress: Progress) -> list[bytes | str]:
    """A JPEG file of each moment, or why there is none."""
    ticks = [moment.tick for moment in moments]
    cameras = _cameras(material, ticks)
    parts = [_parts(material, tick, cameras) for tick in ticks]
    messages = _read(storage, set().union(*(one.places for one in parts)), progress)
    drawn: list[bytes | str] = []
    for one in parts:
        try:
            drawn.append(encode_jpeg(_picture(one, messages)))
        except (ImageError, BagError) as error:
            drawn.append(str(error))
    return drawn


def _cameras(material: Material, ticks: Sequence[Tick]) -> list[str]:
    """A topic of each camera that has images, of two the one that more answers are to; image_2 before image_10."""
    stamps = {tick.stamp for tick in ticks}
    by_name: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for topic in material.topics.images:
        seen = material.images[topic]
        if seen:
            answered = sum(stamp in stamps for _, stamp in seen)
            by_name[topic.removesuffix("/compressed")].append((answered, len(seen), topic))
    names = sorted(
        by_name, key=lambda name: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    )
    return [max(by_name[name])[2] for name in names]


def _parts(material: Material, tick: Tick, cameras: Sequence[str]) -> Parts:
    """Which messages show a tick."""
    topics, stamp = material.topics, tick.stamp
    if stamp is None:
        stamp = _beside(material.images[topics.selection or ""], tick.recorded)

    def same(topic: str | None) -> Place | None:
        """The image of that stamp, of several the one recorded nearest: simulated time may begin anew."""
        found = [recorded for recorded, seen in material.images[topic or ""] if seen == stamp]
        return (topic or "", min(found, key=lambda at: abs(at - tick.recorded)), stamp or 0) if found else None

    answered = [place for place in map(same, cameras) if place is not None]
    around = [_near(material.images[camera], camera, stamp, tick.recorded) for camera in cameras]
    return Parts(
        next(iter(answered), None),
        tuple(place for place in around if place is not None),
        same(topics.selection),
        same(topics.overlay),
    )


def _beside(seen: Sequence[tuple[int, int]], recorded: int) -> int | None:
    """The stamp of what was recorded together with a tick."""
    if not seen:
        return None
    at, stamp = seen[nearest([one for one, _ in seen], recorded)]
    return stamp if abs(at - recorded) <= NEAR * 1e9 else None


def _near(seen: Sequence[tuple[int, int]], topic: str, stamp: int | None, recorded: int) -> Place | None:
    """The image of a camera that is nearest to a stamp."""
    close = [one for one in seen if stamp is not None and abs(one[1] - stamp) <= ASIDE]
    if not close or stamp is None:
        return None
    at, found = min(close, key=lambda one: (abs(one[1] - stamp), abs(one[0] - recorded)))
    return topic, at, found


def _read(storage: Storage, wanted: Collection[Place], progress: Progress) -> Mapping[Place, Any]:
    """These messages, as far as they can be read."""
    found: dict[Place, Any] = {}
    kinds, store, due = storage.topics, types(), {topic for topic, *_ in wanted}
    try:
        for message in storage.messages(due) if due else ():
            progress(len(message.raw))
            place = message.topic, message.recorded, stamp_of(message.raw)
            if place in wanted:
                try:
                    found[place] = store.deserialize_cdr(memoryview(message.raw), kinds[message.topic])
                except SerdeError:
                    continue
                if len(found) == len(wanted):
                    break
    except BagError:
        pass  # said when it was read before
    return found


def _picture(parts: Parts, messages: Mapping[Place, Any]) -> Picture:
    """The image with its tokens, cameras one below the other; raises BagError, ImageError."""
    if parts.overlay is not None and parts.overlay in messages:
        return decode(messages[parts.overlay])
    if parts.image is None or parts.image not in messages:
        raise BagError("the image of this tick is not in the bag")
    if parts.selection is None or parts.selection not in messages:
        return cv2.resize(decode(messages[parts.image]), (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8)
    codes = np.ascontiguousarray(decode(messages[parts.selection])[..., 0])
    rows, columns = codes.shape
    count = rows // columns if rows % columns == 0 else 1
    if codes.max() not in NAMES or max(rows // count, columns) > MOST_COLUMNS:
        said = f"{rows} x {columns} codes up to {codes.max()}"
        raise BagError(
            f"the selection of this tick is {said}, expected at most {MOST_COLUMNS} a side up to {max(NAMES)}"
        )
    if count == 1:
        return overlay(decode(messages[parts.image]), codes)
    seen = [messages[place] for place in parts.cameras if place in messages]
    if len(seen) != count:
        raise BagError(f"the policy saw {count} cameras, the bag has images of {len(seen)} at this tick")
    return np.vstack([overlay(decode(one), part) for one, part in zip(seen, np.split(codes, count), strict=True)])
