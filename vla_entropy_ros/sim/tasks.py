"""The tasks of the tabletop: what they are called, what they ask for, one goal after the other."""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = ("red", "green", "blue", "yellow")
FAMILIES = ("pick", "put", "push", "long")
SECONDS = {"pick": 8.0, "put": 12.0, "push": 10.0, "long": 22.0}  # time limit of an episode, by family


@dataclass(frozen=True)
class Goal:
    """One thing to do with the cube of one colour; skill: pick, put, push_left or push_right."""

    skill: str
    colour: str

    @property
    def instruction(self) -> str:
        """The sentence that asks for it. Left and right are those of the image: the camera faces the robot."""
        if self.skill == "pick":
            return f"pick up the {self.colour} cube"
        if self.skill == "put":
            return f"put the {self.colour} cube on the plate"
        return f"push the {self.colour} cube to the {self.side}"

    @property
    def name(self) -> str:
        """An identifier, such as pick_red or push_red_left."""
        skill, _, side = self.skill.partition("_")
        return "_".join(filter(None, (skill, self.colour, side)))

    @property
    def side(self) -> str:
        """left or right for a push, else empty."""
        return self.skill.partition("_")[2]


@dataclass(frozen=True)
class Task:
    """One task: goals to reach in order, each with an instruction of its own."""

    goals: tuple[Goal, ...]

    @property
    def name(self) -> str:
        """An identifier: the goals' names joined by _then_."""
        return "_then_".join(goal.name for goal in self.goals)

    @property
    def family(self) -> str:
        """pick, put, push, or long for several goals."""
        return "long" if len(self.goals) > 1 else self.goals[0].skill.partition("_")[0]

    @property
    def seconds(self) -> float:
        """Time limit of an episode [s]."""
        return SECONDS[self.family]


SKILLS = ("pick", "put", "push_left", "push_right")
GOALS = tuple(Goal(skill, colour) for skill in SKILLS for colour in COLOURS)


def _sequences() -> list[Task]:
    """For each colour, two tasks of two goals, the second about the next colour."""
    following = dict(zip(COLOURS, (*COLOURS[1:], COLOURS[0]), strict=True))
    first = [Task((Goal("put", colour), Goal("push_left", following[colour]))) for colour in COLOURS]
    return first + [Task((Goal("push_right", colour), Goal("put", following[colour]))) for colour in COLOURS]


TASKS = {task.name: task for task in (*(Task((goal,)) for goal in GOALS), *_sequences())}


def find_task(name: str) -> Task:
    """Task of that name; raises ValueError that lists the valid ones."""
    try:
        return TASKS[name]
    except KeyError:
        raise ValueError(f"unknown task '{name}': valid are {', '.join(TASKS)}") from None


def family_tasks(family: str) -> list[str]:
    """Names of the tasks of one family; raises ValueError that lists the valid ones."""
    if family not in FAMILIES:
        raise ValueError(f"unknown suite '{family}': valid are {', '.join(FAMILIES)}")
    return [task.name for task in TASKS.values() if task.family == family]
