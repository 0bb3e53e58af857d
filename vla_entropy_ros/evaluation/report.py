"""The figures of an evaluation as tables, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from ..sim import EVERY_FAMILY
from .latency import OWN
from .outcomes import SOON

NONE = "-"
SMALLEST = 0.001  # a smaller p says nothing more
CALM = "none"  # the rows of episodes in which nothing went wrong
ALL = "all"  # families together
TIMES = ("tick p50 / p95 [ms]", "x")  # as measured: the only figures that another run has otherwise
TAIL = (*TIMES, "fresh", "passes", "age mean / max", "jerk", "target reused", "ticks to success")
UNDER = (
    "happened",
    "stale",
    "fresh p95",
    "moved, seen after p50 / p99 [ticks]",
    f"within {SOON}",
)  # where there are disturbances
AGAINST = "against full, points (pairs won / lost)"
LATE = (
    "against full", "against lock-step", "answer p50 / p95 [ms]", "age of the action p50 / p95 [ms]",
    "stale", "refused", "seconds to success p50 / p95",
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One table."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def without(self, names: tuple[str, ...]) -> Section:
        """The same table without some columns."""
        kept = [number for number, name in enumerate(self.columns) if name not in names]
        return Section(self.title, [self.columns[n] for n in kept], [[row[n] for n in kept] for row in self.rows])


def sections(figures: dict[str, Any], period: float) -> list[Section]:
    """All tables: in lock-step, in a world that goes on, and step by step for tasks of several goals.

    period: seconds between two ticks in lock-step.
    """
    made = [Section("lock-step", columns(figures), list(rows(figures, period)))]
    if "live" in figures:
        places = _places(figures)
        live = [
            _live(name, label, record, places)
            for label, by_name in figures["live"].items()
            for name, record in by_name.items()
        ]
        made.append(Section("live", ["configuration", "live", *places, *LATE], live))
    if any("steps" in record for record in figures["configurations"].values()):
        steps = list(_steps(figures))
        most = max(len(row) for row in steps)
        head = ["configuration", "round", "family", *(f"step {n}" for n in range(1, most - 2))]
        made.append(Section("in sequence", head, [row + [NONE] * (most - len(row)) for row in steps]))
    return made


def columns(figures: dict[str, Any]) -> list[str]:
    """Names of the first table's columns: a success rate per family, then times and reuse."""
    several = "disturbances" in figures
    return ["configuration", *["disturbance"] * several, *_places(figures), AGAINST, *TAIL, *UNDER * several]


def rows(figures: dict[str, Any], period: float) -> Iterator[list[str]]:
    """One row per configuration and disturbance.

    x: its median tick against that of full recomputation, plain if it is there, under the same disturbance.
    """
    several = "disturbances" in figures
    for label, made in rounds(figures).items():
        full = median(made.get("plain") or made.get("full") or {})
        for name, record in made.items():
            success = (_success(record, place) for place in _places(figures))
            under = _under(record) if several else []
            against = _points(record["against_full"])
            yield [name, *[label] * several, *success, against, *_tail(record, full, period), *under]


def rounds(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Records of the configurations in lock-step, by disturbance; those without one first."""
    return {CALM: figures["configurations"], **figures.get("disturbances", {})}


def families(figures: dict[str, Any]) -> list[str]:
    """Families of the tasks, in order."""
    first = next(iter(figures["configurations"].values()))
    return [family for family in EVERY_FAMILY if family in first["families"]]


def _places(figures: dict[str, Any]) -> list[str]:
    """Columns of success rates."""
    each = families(figures)
    return [*each, *[ALL] * (len(each) > 1)]


def _success(record: dict[str, Any], place: str) -> str:
    mine, paired = record if place == ALL else record["families"][place], record["against_full"] or {}
    low, high = mine["interval95"]
    told = place in paired and paired[place]["won"] + paired[place]["lost"]
    p = f", {_chance(paired[place]['p'])}" if told else ""
    return f"{mine['successes']} / {mine['episodes']} ({low:.0%} to {high:.0%}{p})"


def _chance(p: float) -> str:
    return f"p < {SMALLEST:g}" if p < SMALLEST else f"p {p:.2g}"


def _tail(record: dict[str, Any], full: float | None, period: float) -> list[str]:
    mine, duration = median(record), record["seconds_to_success"]
    return [
        _both(record["latency_ms"].get("total"), "{:.1f}"),
        f"{full / mine:.2f}" if full and mine else NONE,
        _number(record["fresh_share"], "{:.0%}"),
        _number(record["passes"], "{:.2f}"),
        NONE if record["age_mean"] is None else f"{record['age_mean']:.1f} / {record['age_max']}",
        _number(record["jerk"], "{:.1f}"),
        _number(record["target_reused"], "{:.0%}"),
        _number(duration and duration["p50"] / period, "{:.0f}"),
    ]


def _under(record: dict[str, Any]) -> list[str]:
    busy = [
        str(record["happened"]), _number(record.get("stale"), "{:.0%}"), _number(record["fresh_p95"], "{:.0%}"),
    ]  # fmt: skip
    moved = record.get("moved")
    if moved is None:
        return [*busy, NONE, NONE]
    half, most = (_number(moved[name], "{:.0f}") if moved[name] is not None else "never" for name in ("p50", "p99"))
    return [*busy, f"{half} / {most} (of {moved['episodes']})", f"{moved['soon']:.0%}"]


def _live(name: str, label: str, record: dict[str, Any], places: list[str]) -> list[str]:
    """A row of the live table."""
    late = record["late"]
    return [
        name, label, *(_success(record, place) for place in places),
        _points(record["against_full"]), _points(late["against_lock_step"]),
        _both(late["answer_ms"], "{:.0f}"), _both(late["action_age_ms"], "{:.0f}"),
        _number(late["stale"], "{:.0%}"), _number(late["refused"], "{:.0%}"),
        _both(record["seconds_to_success"], "{:.1f}"),
    ]  # fmt: skip


def _points(paired: dict[str, Any] | None) -> str:
    """Points of success more than the other side of the pairs, with their interval."""
    if not paired:
        return NONE
    pairs = paired[ALL]
    low, high = pairs["interval95"]
    return f"{pairs['points']:+.1f} [{low:.1f}, {high:.1f}] ({pairs['won']} / {pairs['lost']}, {_chance(pairs['p'])})"


def _steps(figures: dict[str, Any]) -> Iterator[list[str]]:
    """A row per configuration, round and family of several goals: how many of those that began a step did it."""
    for label, made in {**rounds(figures), **figures.get("live", {})}.items():
        for name, record in made.items():
            for family, steps in record.get("steps", {}).items():
                yield [name, label, family, *(f"{step['done']} / {step['began']}" for step in steps)]


def _both(values: dict[str, float] | None, form: str) -> str:
    return f"{form.format(values['p50'])} / {form.format(values['p95'])}" if values else NONE


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value)


def median(record: dict[str, Any]) -> float | None:
    """Median tick of a record [ms]."""
    tick = record.get("latency_ms", {}).get("total")
    return tick["p50"] if tick else None


def tables(figures: dict[str, Any], title: str, period: float) -> Iterator[Table]:
    """For a terminal."""
    for section in sections(figures, period):
        made = Table(title=f"{title}: {section.title}")
        for number, name in enumerate(section.columns):
            made.add_column(
                name, justify="left" if number == 0 or name in ("disturbance", "live", "round") else "right"
            )
        for row in section.rows:
            made.add_row(*row)
        yield made


def markdown(figures: dict[str, Any], period: float) -> str:
    """For a document."""
    return _pages(sections(figures, period))


def exact(figures: dict[str, Any], period: float) -> str:
    """What follows from the seeds alone, for a document: the same in every run on this kind of machine."""
    live = figures.get("live", {})
    simulated = {label: made for label, made in live.items() if not label.startswith(f"live {OWN},")}
    kept = {**figures, "live": simulated} if simulated else {k: v for k, v in figures.items() if k != "live"}
    return _pages([section.without(TIMES) for section in sections(kept, period)])


def _pages(parts: list[Section]) -> str:
    """One table after the other."""
    made = (
        "".join(f"| {' | '.join(line)} |\n" for line in [part.columns, ["---"] * len(part.columns), *part.rows])
        for part in parts
    )
    first, *rest = made
    return first + "".join(f"\n{part.title}:\n\n{text}" for part, text in zip(parts[1:], rest, strict=True))
