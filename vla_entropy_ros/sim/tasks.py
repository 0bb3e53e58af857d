"""The tasks of the tabletop: what they are called, what they ask for, when they are done."""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = ("red", "green", "blue", "yellow")


@dataclass(frozen=True)
class Task:
    """One task: its name (an identifier), the instruction, and the colour of the cube it is about."""

    name: str
    instruction: str
    colour: str


TASKS = {f"pick_{colour}": Task(f"pick_{colour}", f"pick up the {colour} cube", colour) for colour in COLOURS}


def find_task(name: str) -> Task:
    """Task of that name; raises ValueError that lists the valid ones."""
    try:
        return TASKS[name]
    except KeyError:
        raise ValueError(f"unknown task '{name}': valid are {', '.join(TASKS)}") from None
