"""The tasks of the tabletop: what they are called, what they ask for, one goal after the other."""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = ("red", "green", "blue", "yellow")
FAMILIES = ("pick", "put", "push", "long")
LONGER = ("long3", "long4")  # families for which one asks by name: three and four goals in sequence
EVERY_FAMILY = (*FAMILIES, *LONGER)
SECONDS = {"pick": 8.0, "put": 12.0, "push": 10.0, "long": 22.0, "long3": 32.0, "long4": 40.0}  # limit of an episode


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
        """pick, put, push, or for several goals long, long3, long4."""
        count = len(self.goals)
        return self.goals[0].skill.partition("_")[0] if count == 1 else "long" if count == 2 else f"long{count}"

    @property
    def seconds(self) -> float:
        """Time limit of an episode [s]."""
        return SECONDS[self.family]


SKILLS = ("pick", "put", "push_left", "push_right")
GOALS = tuple(Goal(skill, colour) for skill in SKILLS for colour in COLOURS)


FOLLOWING = dict(zip(COLOURS, (*COLOURS[1:], COLOURS[0]), strict=True))


def _sequences() -> list[Task]:
    """For each colour, two tasks of two goals, the second about the next colour."""
    first = [Task((Goal("put", colour), Goal("push_left", FOLLOWING[colour]))) for colour in COLOURS]
    return first + [Task((Goal("push_right", colour), Goal("put", FOLLOWING[colour]))) for colour in COLOURS]


def _longer() -> list[Task]:
    """For each colour, a task of three goals about three cubes, and one that takes the first cube up again."""
    made = []
    for one in COLOURS:
        other = FOLLOWING[one]
        third = FOLLOWING[other]
        three = (Goal("put", one), Goal("push_left", other), Goal("push_right", third))
        made += [Task(three), Task((*three, Goal("pick", one)))]
    return made


TASKS = {task.name: task for task in (*(Task((goal,)) for goal in GOALS), *_sequences())}
EVERY_TASK = TASKS | {task.name: task for task in _longer()}


def find_task(name: str) -> Task:
    """Task of that name; raises ValueError that lists the valid ones."""
    try:
        return EVERY_TASK[name]
    except KeyError:
        raise ValueError(f"unknown task '{name}': valid are {', '.join(EVERY_TASK)}") from None


def family_tasks(family: str) -> list[str]:
    """Names of the tasks of one family; raises ValueError that lists the valid ones."""
    if family not in EVERY_FAMILY:
        raise ValueError(f"unknown suite '{family}': valid are {', '.join(EVERY_FAMILY)}")
    return [task.name for task in EVERY_TASK.values() if task.family == family]
