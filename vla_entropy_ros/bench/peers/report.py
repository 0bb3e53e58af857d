"""Figures of the rows, what they were measured with, and both as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from ...evaluation.about import processor, versions
from ...evaluation.statistics import percentiles
from ..configurations import BASELINE, DEFAULT
from ..tables import drawn
from ..ticks import equal, jitter, times
from .kinds import Missing
from .replay import Row

PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "openvino", "numpy")
SEEN = ("preprocess", "vision")  # stages that are one in the table: peers split them as the engine does
COLUMNS = (
    "configuration", "tick p50", "p95", "p95 / p50", "of reusing ticks", "see + select + prefill + decode", "passes",
    "equal ticks", "x", "x fastest peer", "ready after [s]",
)  # fmt: skip
SHORT = ("configuration", "tick p50", "p95", "equal ticks", "x", "x fastest peer")  # where the others find no room
ROOM = 160  # characters that all of them need
Record = dict[str, Any]


def figures(rows: Sequence[Row], missing: Sequence[Missing]) -> dict[str, Any]:
    """One record per row, the first being the baseline of times and tokens; what is missing; both factors in words.

    over_full: median tick of the baseline by the row's; over_fastest_peer: that of the fastest peer, None without one.
    """
    peers = [row for row in rows if row.is_peer]
    fastest = min(peers, key=_middle, default=None)
    records = [_record(row, rows[0], fastest) for row in rows]
    return {
        "headline": headline(records, sum(not one.name.startswith((BASELINE, DEFAULT)) for one in missing)),
        "fastest_peer": None if fastest is None else fastest.name,
        "rows": records,
        "missing": [{"name": one.name, "why": one.why} for one in missing],
    }


def made_with() -> dict[str, Any]:
    """The processor, and versions of the packages that are there."""
    return {"processor": processor(), "packages": versions(PACKAGES)}


def _middle(row: Row) -> float:
    return float(np.median(times(row.samples, "total")))


def _record(row: Row, base: Row, fastest: Row | None) -> Record:
    samples = row.samples
    stages = {name: np.median(times(samples, name)) for name in ("select", "prefill", "decode")}
    seen = np.median(np.sum([times(samples, name) for name in SEEN], axis=0))
    middle = _middle(row)
    return {
        "name": row.name,
        "peer": row.is_peer,
        "backend": row.backend,
        "ticks": len(samples),
        "faults": row.faults,
        "tick_ms": percentiles(times(samples, "total").tolist()),
        "jitter": jitter(samples),
        "stage_ms": {name: round(float(value), 3) for name, value in ({"see": seen} | stages).items()},
        "passes": round(float(np.mean([sample.decoder_passes for sample in samples])), 3),
        "fresh_share": round(float(np.mean([sample.fresh / sample.visual for sample in samples])), 4),
        "equal_share": round(float(np.mean([equal(*pair) for pair in zip(samples, base.samples, strict=True)])), 4),
        "over_full": round(_middle(base) / middle, 3),
        "over_fastest_peer": None if fastest is None else round(_middle(fastest) / middle, 3),
        "prepare_s": None if row.seconds is None else round(row.seconds, 1),
    }


def headline(records: Sequence[Record], absent: int = 0) -> str:
    """The default's median tick against both: our plain path and the fastest peer that recomputes everything.

    absent: how many peers could not be had.
    """
    base, named = records[0], {record["name"]: record for record in records}
    ours = named.get(DEFAULT, base)
    peers = [record for record in records if record["peer"]]
    told = (
        f"{ours['name']}: {ours['tick_ms']['p50']:.1f} ms a tick, {ours['over_full']:.2f} times as fast as ours with "
        f"{BASELINE} ({base['tick_ms']['p50']:.1f} ms)"
    )
    if not peers:
        return f"{told}; no peer could be had"
    fastest = min(peers, key=lambda record: float(record["tick_ms"]["p50"]))
    those = f"the fastest peer{f' of those here ({absent} left out)' if absent else ''}"
    return (
        f"{told}, {ours['over_fastest_peer']:.2f} times as fast as {those}, which recomputes everything "
        f"({fastest['name']}, {fastest['tick_ms']['p50']:.1f} ms, {fastest['equal_share']:.1%} equal ticks)"
    )


def table(content: dict[str, Any], room: int = ROOM) -> Table:
    """One row per row, times in milliseconds; only the columns of SHORT where `room` characters are less than ROOM."""
    columns = COLUMNS if room >= ROOM else SHORT
    threads = f"{content['threads']} thread{'s' if content['threads'] > 1 else ''}"
    title = f"{content['images']} images, {content['processor']}, {threads}"
    cells = [dict(zip(COLUMNS, line, strict=True)) for line in _cells(content["rows"])]
    return drawn(title, columns, [[line[name] for name in columns] for line in cells])


def markdown(content: dict[str, Any]) -> str:
    """Headline, table, what it was measured with, and what is missing, for a document."""
    lines = (COLUMNS, ["---"] * len(COLUMNS), *_cells(content["rows"]))
    made = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    told = ", ".join(f"{name} {number}" for name, number in content["packages"].items())
    about = f"{content['images']} images, {content['processor']}, threads: {content['threads']}; {told}"
    missing = "".join(f"* {line}\n" for line in missing_lines(content))
    return f"{content['headline']}\n\n{made}\n{about}\n" + (f"\n{missing}" if missing else "")


def missing_lines(content: dict[str, Any]) -> list[str]:
    """A line for each row that could not be had."""
    return [f"left out: {one['name']}: {one['why']}" for one in content["missing"]]


def _cells(records: Sequence[Record]) -> Iterator[list[str]]:
    for record in records:
        tick, uneven, stages = record["tick_ms"], record["jitter"], record["stage_ms"]
        yield [
            record["name"],
            f"{tick['p50']:.1f}",
            f"{tick['p95']:.1f}",
            _number(uneven["all"]),
            "-" if record["peer"] else _number(uneven["reusing"]),
            " + ".join(f"{value:.1f}" for value in stages.values()),
            f"{record['passes']:.2f}",
            f"{record['equal_share']:.1%}",
            _number(record["over_full"]),
            _number(record["over_fastest_peer"]),
            "-" if record["prepare_s"] is None else f"{record['prepare_s']:.1f}",
        ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
