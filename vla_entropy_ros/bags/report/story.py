"""What was read of a bag, as a run: ticks, holds, goals, changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from ...engine.errors import printable
from ...nodes.common.goals import IDLE, RUNNING, UNCONFIGURED
from .found import ALL, GOAL, SELECTION, STATUS
from .reading import Facts, Material
from .run import CLIENT, COMMAND, POLICY, Change, Goal, Run, Span, Tick
from .single import ticks_of
from .spans import Said, lasting

HELD = ("holding: ", "no commands: ")  # what the command node says of an arm that it does not let move
ASKED = "holding: disabled"  # but for this: somebody has asked for it
TICKED, TOLD = 0.5, 1.0  # seconds that a tick and a message of /diagnostics hold for
GONE = 2 * 10**9  # nanoseconds without a word of its goals: the policy was not there


def tell(material: Material) -> Run:
    """The run that a bag tells of."""
    topics = material.topics
    end = material.since(material.ended) if material.began is not None else 0.0
    told = [one for one in material.status if one.numbers]
    ticks = [Tick(material.since(one.recorded), one.recorded, one.stamp, one.numbers, one.words) for one in told]
    ticks = ticks or ticks_of(material.numbers, material.began or 0)
    states = _there(lasting(_texts(material, topics.state), COMMAND, end), material, end)
    changes, begins = _parameters(material)
    return Run(
        topics,
        end,
        ticks,
        states,
        _holds(material, ticks, states, end),
        _instructions(material, ticks, end),
        _goals(material),
        changes,
        begins,
        _warnings(material, end),
        _missing(material),
        _notes(material, told),
    )


def _texts(material: Material, topic: str | None) -> list[Said]:
    return [Said(material.since(recorded), text) for recorded, text in material.texts.get(topic or "", ())]


def _there(states: Sequence[Span], material: Material, end: float) -> list[Span]:
    """What the command node said, as long as it was there, where /diagnostics tells that."""
    name = f"{(material.topics.command or '').lstrip('/')}: "
    heard = [Said(material.since(one.recorded), name) for one in material.diagnostics if one.name.startswith(name)]
    lives = lasting(heard, COMMAND, end, TOLD)
    if not lives:
        return list(states)
    return [
        replace(state, end=min(state.end, next((life.end for life in lives if life.end >= state.begin), state.begin)))
        for state in states
    ]


def _holds(material: Material, ticks: Iterable[Tick], states: Sequence[Span], end: float) -> list[Span]:
    """Holds by who holds; what a goal's status tells of them counts where the arm says nothing itself."""
    held = lasting([Said(tick.time, tick.says("hold")) for tick in ticks], POLICY, end, TICKED)
    for span in states:
        if span.words.startswith(HELD) and span.words != ASKED:
            words = span.words.removeprefix(HELD[0])
            held.append(Span(span.begin, span.end, span.who, words))
    if not states:
        told = [Said(material.since(one.recorded), _held(one)) for one in material.goal]
        held += lasting(told, CLIENT, end, TOLD)
    return sorted(held, key=lambda span: (span.begin, span.who))


def _held(one: Facts) -> str:
    """Why a goal that runs is held; empty where none is."""
    return one.values.get("hold", "").removeprefix(HELD[0]) if one.values.get("state") == RUNNING else ""


def _instructions(material: Material, ticks: Iterable[Tick], end: float) -> list[Span]:
    """What was followed; without ticks that tell it, what was asked for."""
    followed = [Said(tick.time, tick.says("instruction")) for tick in ticks]
    if any(said.words for said in followed):
        return lasting(followed, POLICY, end, TOLD, same=str)
    return lasting(_texts(material, material.topics.instruction), CLIENT, end, same=str)


def _goals(material: Material) -> list[Goal]:
    """Goals in order."""
    runs: list[list[Facts]] = []
    for one in material.goal:
        if not (one.number("goal") or 0) > 0:
            continue
        if not runs or not _goes_on(runs[-1][-1], one):
            runs.append([])
        runs[-1].append(one)
    goals = []
    for told in runs:
        number, instruction = told[0].number("goal"), told[0].values.get("instruction")
        last = next((one for one in told if one.values.get("state") not in (RUNNING, IDLE)), told[-1])
        begin = material.since(told[0].recorded)
        ticks = last.number("ticks")
        words = {key: last.values.get(key, "") for key in ("state", "why", "until")}
        spent = None if ticks is None else int(ticks)
        ended = material.since(last.recorded)
        goals.append(Goal(int(number or 0), begin, ended, instruction or "", ticks=spent, **words))
    return goals


def _goes_on(before: Facts, one: Facts) -> bool:
    """Whether two words tell of one goal: a policy that was started anew counts them from 1 again."""
    same = all(before.values.get(key) == one.values.get(key) for key in ("goal", "instruction"))
    over = before.values.get("state") not in (RUNNING, IDLE) and one.values.get("state") == RUNNING
    return same and not over and (one.number("elapsed") or 0.0) >= (before.number("elapsed") or 0.0)


def _parameters(material: Material) -> tuple[list[Change], dict[str, dict[str, str]]]:
    """What was set while the bag was recorded, and what the nodes began with; of policy and command node alone."""
    ours = (material.topics.policy, material.topics.command)
    known: dict[str, dict[str, str]] = defaultdict(dict)
    begins: dict[str, dict[str, str]] = {}
    changes = []
    for event in (event for event in material.events if event.node in ours):
        now, time = known[event.node], material.since(event.recorded)
        for name, value in event.new.items():
            begins.setdefault(event.node, {}).setdefault(name, value)
        now.update(event.new)
        for name, value in event.changed.items():
            if now.get(name) != value:
                changes.append(Change(time, event.node, name, now.get(name), value))
            now[name] = value
        changes += [Change(time, event.node, name, now.pop(name, None), None) for name in event.gone]
    return changes, begins


def _warnings(material: Material, end: float) -> list[Span]:
    """What /diagnostics did not find in order, by task, ours first; without it, why little was reused."""
    topics = material.topics
    by_name: Mapping[str, list[Said]] = defaultdict(list)
    for one in material.diagnostics:
        words = (one.line or "no word") if one.level else ""
        by_name[one.name].append(Said(material.since(one.recorded), words, one.level))
    spans = [span for name, said in by_name.items() for span in lasting(said, name, end, TOLD)]
    if not material.diagnostics:
        cache = f"{topics.policy.lstrip('/')}: cache"
        spans = [
            Span(span.begin, span.end, cache, span.words, 1) for span in lasting(_texts(material, topics.why), "", end)
        ]
    ours = tuple(f"{name.lstrip('/')}: " for name in (topics.policy, topics.command) if name)
    return sorted(spans, key=lambda span: (not span.who.startswith(ours), span.begin, span.who))


def _missing(material: Material) -> list[str]:
    """What the bag lacks, and which topic tells it, a line each."""
    topics, counts = material.topics, material.counts
    space = topics.policy.rpartition("/")[0]

    def told(*names: str | None) -> bool:
        return any(name is not None and counts[name] for name in names)

    ticks = "ticks" if not material.numbers else "why everything was fresh, why the policy held, the mode"
    rows = [
        (told(topics.status), ticks, topics.policy + STATUS),
        (told(topics.selection, topics.overlay), "which tokens were fresh, over the image", topics.policy + SELECTION),
        (
            told(*topics.images, topics.overlay),
            "images of the camera, whatever its topic is called",
            f"{space}/image/compressed",
        ),
        (told(topics.state), "what the command node did", f"{space}/command/state"),
        (told(topics.goal), "goals and how they ended", topics.policy + GOAL),
        (told(topics.events), "which parameters were set", "/parameter_events"),
        (told(topics.diagnostics), "warnings of the nodes", "/diagnostics"),
    ]
    lines = [f"not in the bag: {what}; --topic {topic} records it" for there, what, topic in rows if not there]
    return [*lines, f"{ALL} records all of this"] if lines else []


def _falls(counted: Iterable[Facts]) -> int:
    """How often what a policy counts upwards begins anew: its goals, its episodes and the ticks of each."""
    places = [[one.number(key) or 0.0 for key in ("goal", "episode", "tick")] for one in counted]
    return sum(after < before for before, after in pairwise(places))


def _ascents(told: Iterable[Facts]) -> int:
    """How often a policy said again that it is not configured yet: after it was more than that, or after silence."""
    states = [(one.recorded, one.values.get("policy") == UNCONFIGURED) for one in told]
    return sum(now and (not before or recorded - heard > GONE) for (heard, before), (recorded, now) in pairwise(states))


def _notes(material: Material, ticks: Iterable[Facts]) -> list[str]:
    """What else is to be known of the bag."""
    notes = [] if material.damage is None else [f"{material.damage}; what comes before it is shown"]
    notes += [f"{topic}: {count} messages can't be read" for topic, count in material.unread.items()]
    if begins := max(_falls(ticks), _falls(material.goal), _ascents(material.goal)):
        times = "once" if begins == 1 else f"{begins} times"
        notes.append(f"the policy began anew {times}: it counts episodes from 1 again, and goals where it was started")
    if not material.status and material.numbers:
        notes.append("ticks are put together from topics of one number each, by when they were recorded")
    return [printable(note) for note in notes]
