"""From a bag to its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import BagError
from ..storage import Storage, files_of
from .found import find
from .frames import draw
from .moments import choose
from .page import render
from .reading import collect
from .story import tell

MEGABYTE = 10**6


def write_page(
    bag: Path, page: Path, policy: str | None = None, progress: Callable[[int, int], object] | None = None
) -> dict[str, Any]:
    """Write the page of a bag, and return the run's figures; raises BagError.

    policy: which one, where the bag has several; progress: is told megabytes done and due.
    """
    storage = Storage(bag)
    try:
        due, done = 2 * sum(file.stat().st_size for file in files_of(bag)), 0

        def note(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done // MEGABYTE, max(due, done) // MEGABYTE)

        try:
            topics = find(storage.topics, policy)
        except BagError as error:
            raise BagError(f"{storage.damage}; {error}" if storage.damage else str(error)) from None
        material = collect(storage, topics, note)
        run = tell(material)
        moments, left_out = choose(run)
        pictures = draw(storage, material, moments, note)
    finally:
        storage.close()
    if not (run.ticks or run.states or run.goals):
        raise BagError(f"{bag} tells nothing of a policy's run: {'; '.join((*run.notes, *run.missing))}")
    text = render(run, bag.resolve().name, material.began, moments, pictures, left_out)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BagError(f"no page can be written to {page}: {error.strerror or error}") from None
    return run.figures() | {
        "moments": [_moment(moment, picture) for moment, picture in zip(moments, pictures, strict=True)]
    }


def _moment(moment: Any, picture: bytes | str) -> dict[str, Any]:
    return {
        "time": round(moment.tick.time, 3),
        "why": [f"{cause.kind}: {cause.words}" for cause in moment.causes],
        "picture": "drawn" if isinstance(picture, bytes) else picture,
    }
