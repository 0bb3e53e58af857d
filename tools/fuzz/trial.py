"""One trial: spoil a copy of a sound folder, let the product look at it within bounds, and judge what comes of it."""

from __future__ import annotations

import shutil
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from .bounded import HANGS, ROOM, Meter, bounded, unbound
from .kinds import Kind

SLOW = 2.0  # seconds of processor time that a refusal may take
LARGE = 200.0  # megabytes that it may take
LONGEST, SHORTEST = 4000, 20  # characters of a refusal
OWN = "vla_entropy_ros"


@dataclass(frozen=True)
class Outcome:
    """What came of one trial: refused, equal, different (and rightly so) or finding; what was done and what was said.

    seed: None for a folder that was not spoiled; cause: what findings of one kind have in common; seconds of processor
    time; megabytes at the peak.
    """

    kind: str
    seed: int | None
    subject: str
    done: str
    verdict: str
    said: str = ""
    cause: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0

    @property
    def again(self) -> str:
        """The command that does the same again."""
        which = "--count 0" if self.seed is None else f"--seed {self.seed} --count 1"
        return f"python -m tools.fuzz --kind {self.kind} {which}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "again": self.again}


@dataclass(frozen=True)
class Sound:
    """A folder before it is spoiled, what the product makes of it, and what is wrong with that already.

    seen: None where the product must not look at it in this process.
    """

    folder: Path
    seen: Any
    wrong: tuple[str, ...]


class Bench:
    """Sound folders of a kind, each looked at and judged once, so that all is there that is imported only once."""

    def __init__(self, name: str, kind: Kind, folder: Path) -> None:
        self.name, self._kind, self._folder = name, kind, folder
        self._sound: dict[str, Sound] = {}
        for subject, write in kind.subjects.items():
            sound = write(folder / name / subject)
            seen = kind.look(sound) if kind.here else None
            wrong = tuple(kind.judge(sound, seen, seen, "")) if kind.here else ()
            self._sound[subject] = Sound(sound, seen, wrong)

    def findings(self) -> list[Outcome]:
        """What is wrong before anything is spoiled."""
        faults = [(subject, text) for subject, sound in self._sound.items() for text in sound.wrong]
        return [Outcome(self.name, None, *one, "finding", one[1], cause(one[1])) for one in faults]

    def trial(self, seed: int, patience: float = HANGS, room: int = ROOM) -> Outcome:
        """Spoil a copy as `seed` has it, and judge what comes of it."""
        random = Random(f"{self.name} {seed}")
        subject = random.choice(sorted(self._sound))
        sound = self._sound[subject]
        copy = self._folder / "spoiled" / sound.folder.name
        shutil.copytree(sound.folder, copy)
        try:
            done = self._kind.spoil(copy, random)
            found = bounded(lambda: judged(self._kind, copy, sound, done), patience, room)
        finally:
            shutil.rmtree(copy.parent)
        if (ended := found.pop("ended", None)) is not None:
            found = {"verdict": "finding", "cause": ended, "said": found["said"]}
        return Outcome(self.name, seed, subject, done, **found)


def judged(kind: Kind, folder: Path, sound: Sound, done: str) -> dict[str, Any]:
    """What the product makes of a spoiled folder, as a verdict."""
    meter = Meter()
    try:
        seen = kind.look(folder)
    except BaseException as error:  # noqa: BLE001 - a panic of Rust is no Exception
        meter.stop()
        return {**refusal(kind, error, meter), **figures(meter)}
    meter.stop()
    unbound()
    try:
        wrong = [text for text in kind.judge(folder, seen, sound.seen, done) if text not in sound.wrong]
    except Exception as error:  # noqa: BLE001 - it reads a file that it expects to be sound where it was taken
        wrong = [f"what was taken is nothing that the judge can read: {type(error).__name__} {str(error)[:200]}"]
    if wrong:
        return {"verdict": "finding", "cause": cause(wrong[0]), "said": "; ".join(wrong), **figures(meter)}
    same = sound.seen is not None and seen.same(sound.seen)
    return {"verdict": "equal" if same else "different", **figures(meter)}


def cause(text: str) -> str:
    """What findings of one kind have in common."""
    return text.partition(":")[0]


def figures(meter: Meter) -> dict[str, float]:
    """Time and memory, rounded."""
    return {"seconds": round(meter.seconds, 3), "megabytes": round(meter.megabytes, 1)}


def refusal(kind: Kind, error: BaseException, meter: Meter) -> dict[str, Any]:
    """Whether an error is a refusal as it should be: of a known type, one line, fast and small."""
    said, name = str(error), type(error).__name__
    if name not in kind.refusals:
        return {"verdict": "finding", "cause": f"traceback: {name} {where(error)}", "said": f"{name}: {said[:300]}"}
    faults = [
        ("the refusal has several lines", "\n" in said or "\r" in said),
        ("the refusal holds control characters", any(ord(letter) < 32 or ord(letter) == 127 for letter in said)),
        (f"the refusal is longer than {LONGEST} characters", len(said) > LONGEST),
        ("the refusal says nothing", len(said) < SHORTEST or " " not in said),
        (f"the refusal takes more than {SLOW:g} s", meter.seconds > SLOW),
        (f"the refusal takes more than {LARGE:g} MB", meter.megabytes > LARGE),
    ]
    fault = next((fault for fault, holds in faults if holds), "")
    return {"verdict": "finding" if fault else "refused", "cause": fault, "said": said[:300]}


def where(error: BaseException) -> str:
    """The last place in this package that an error went through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if f"/{OWN}/" in frame.filename]
    if not frames:
        return "outside"
    return f"in {frames[-1].filename.rpartition(f'/{OWN}/')[2]}, {frames[-1].name}"
