"""The rows as horizontal bars: the median tick, a whisker to the 95th percentile, the engine's own in colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OURS, PEERS = "tab:blue", "silver"
HEIGHT, WIDTH, MARGIN = 0.42, 10.0, 1.4  # inches: of a row, of the picture, of what is above and below the rows


def plot(content: dict[str, Any], path: Path) -> None:
    """Draw all rows, the slowest at the top; each says its median, and how often it says what the baseline says."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    records = sorted(content["rows"], key=lambda record: -float(record["tick_ms"]["p50"]))
    middles = [record["tick_ms"]["p50"] for record in records]
    highs = [record["tick_ms"]["p95"] for record in records]
    figure, axes = pyplot.subplots(figsize=(WIDTH, MARGIN + HEIGHT * len(records)), layout="constrained")
    beyond = [high - middle for middle, high in zip(middles, highs, strict=True)]
    axes.barh(
        range(len(records)), middles, xerr=[[0.0] * len(records), beyond], height=0.68,
        color=[PEERS if record["peer"] else OURS for record in records], ecolor="dimgray", capsize=3,
    )  # fmt: skip
    space = 0.012 * max(highs)
    for place, (record, high) in enumerate(zip(records, highs, strict=True)):
        told = f"{record['tick_ms']['p50']:.1f} ms, {record['equal_share']:.0%} equal"
        axes.text(high + space, place, told, va="center", fontsize=9)
    axes.set_yticks(range(len(records)), [record["name"] for record in records])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.28 * max(highs))  # room for what the longest bar says
    axes.set_xlabel("tick, image in to action out [ms]: median, and to the 95th percentile")
    axes.set_title(
        f"{content['images']} images, one process, {content['threads']} thread, {content['processor']}", fontsize=10
    )
    axes.spines[["top", "right"]].set_visible(False)
    marks = [Patch(color=OURS, label="this package"), Patch(color=PEERS, label="peers, everything recomputed")]
    figure.legend(handles=marks, loc="outside lower right", ncols=2, fontsize=9, frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
