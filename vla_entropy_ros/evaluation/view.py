"""The live view of a run: a panel on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..stages import STAGES
from .records import EpisodeRecord, TickRecord

BAR = 36  # characters
REDRAW = 0.1  # seconds
STAGE_STYLE = {"vision": "magenta", "prefill": "cyan", "decode": "yellow", "total": "bold white"}
FRESH_STYLE = {1: "bright_cyan", 2: "green", 3: "bright_red", 4: "yellow", 5: "magenta", 6: "bright_white"}  # by code


class LiveView:
    """Observer that shows task, episode, stage latencies, fresh and reused tokens, and the tally of successes."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._total = total
        self.console = console or Console()
        self._live = (
            Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        )
        self._drawn = 0.0
        self._began = time.monotonic()
        self._number = self._successes = 0

    def __enter__(self) -> LiveView:
        if self._live:
            self._live.start()
            self.note("starting simulator, policy and command node ...")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def note(self, text: str) -> None:
        """Say something where the panel will be."""
        if self._live:
            self._live.update(Panel(Text(text, style="dim"), title="vla-entropy", width=72), refresh=True)
        else:
            self.console.print(text, highlight=False)

    def begin(self, episode: EpisodeRecord) -> None:
        """An episode is about to start."""
        self._number += 1
        self._began = time.monotonic()
        self._draw(episode)

    def tick(self, episode: EpisodeRecord, tick: TickRecord) -> None:
        """A tick was answered; drawn with the next `idle`."""

    def idle(self, episode: EpisodeRecord) -> None:
        """Redraw if it is time."""
        if self._live and time.monotonic() - self._drawn > REDRAW:
            self._draw(episode)

    def end(self, episode: EpisodeRecord) -> None:
        """An episode is over: one line that stays."""
        self._successes += episode.success
        outcome = f"done in {episode.duration:.1f} s" if episode.success else f"not done after {episode.duration:.1f} s"
        totals = sorted(tick.latency["total"] for tick in episode.ticks)
        median = f"{len(totals)} ticks, median {totals[len(totals) // 2]:.0f} ms" if totals else "no tick"
        line = f"{self._number}/{self._total}  {episode.instruction:<36} {outcome:<20} {median}"
        self.console.print(line, style="green" if episode.success else "red", highlight=False)

    def _draw(self, episode: EpisodeRecord) -> None:
        if self._live:
            self._drawn = time.monotonic()
            self._live.update(self._panel(episode), refresh=True)

    def _panel(self, episode: EpisodeRecord) -> Panel:
        head = Text.assemble((episode.instruction, "bold"), f"   {episode.configuration}, seed {episode.seed}")
        done = self._number - 1
        tally = f"{self._successes} of {done} done" if done else "first episode"
        state = Text(f"episode {self._number}/{self._total}   {time.monotonic() - self._began:4.1f} s   {tally}")
        if not episode.ticks:
            body: list[Text | Table] = [Text("waiting for the first action ...", style="dim")]
        else:
            body = [latency_table(episode.ticks[-1]), token_bar(episode.ticks[-1])]
        return Panel(Group(head, state, Text(), *body), title="vla-entropy", width=72)


def latency_table(tick: TickRecord) -> Table:
    """One bar per stage, on the scale of the whole tick."""
    table = Table.grid(padding=(0, 1))
    longest = max(*tick.latency.values(), 1e-3)
    for stage in (stage for stage in STAGES if stage in tick.latency):
        value = tick.latency[stage]
        bar = Text("█" * max(round(BAR * value / longest), 0), style=STAGE_STYLE.get(stage, "blue"))
        table.add_row(stage.replace("_", " "), f"{value:6.1f} ms", bar)
    return table


def token_bar(tick: TickRecord) -> Text:
    """Share of fresh tokens by reason, then the reused ones."""
    text = Text(f"fresh {tick.fresh:3d}  reused {tick.reused:3d}  ")
    size = tick.selection.size
    for code, style in FRESH_STYLE.items():
        text.append("█" * round(BAR * float((tick.selection == code).sum()) / size), style=style)
    text.append("░" * round(BAR * tick.reused / size), style="dim")
    return text
