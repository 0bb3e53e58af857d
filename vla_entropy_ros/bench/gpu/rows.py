"""The table of what is measured: a line each, a thing of ours after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby

from ...engine.actions.drafts import Match
from ...engine.tunables import Tunables
from .replay import chance_match

MEASURED, ALWAYS = "measured", "always"  # when a draft holds: as often as in the measurement, or each


@dataclass(frozen=True)
class Row:
    """One line: weights, how its policy is made, and what its ticks run with.

    switches: keyword arguments of `Policy`; mode: None for the default's; drafts: of the tunables; held: MEASURED or
    ALWAYS. chooses: whether the device chooses the visual tokens, not the host. peer: transformers' `generate` over the
    same weights, in place of ours.
    """

    name: str
    quantisation: str = "none"
    switches: Mapping[str, bool] = field(default_factory=dict)
    mode: str | None = None
    drafts: str = "exact"
    held: str = MEASURED
    chooses: bool = True
    peer: bool = False

    def tunables(self, ours: Tunables) -> Tunables:
        """`ours`, in this row's mode and with its use of drafts."""
        return replace(ours, mode=self.mode or ours.mode, drafts=self.drafts)

    @property
    def profiled(self) -> bool:
        """Whether it is a policy as it is used, whose kernels are worth a look."""
        return self.held == MEASURED and self.drafts != "off" and not self.peer

    def match(self, share: float) -> Match | None:
        """When a draft counts, at that probability; None where there are none."""
        if self.drafts == "off":
            return None
        return chance_match(1.0 if self.held == ALWAYS else share)


BASELINE, STATIC, ONE_PASS = "transformers generate", "static cache, graphs", "one pass"
OURS = "+ selection on the device"
FP8, INT8 = "fp8: ", "int8: "
PLAIN = {"kernels": False}
ROWS = (
    Row(BASELINE, switches=PLAIN, peer=True),
    Row(STATIC, switches=PLAIN, mode="full", drafts="off"),
    Row("+ partial prefill", switches=PLAIN, drafts="off", chooses=False),
    Row("+ drafts", switches=PLAIN, chooses=False),
    Row("+ fused kernels", chooses=False),
    Row(OURS),
    Row(ONE_PASS, held=ALWAYS),
    Row(FP8 + "full, one token a pass", "fp8", mode="full", drafts="off"),
    Row(FP8 + "ours", "fp8"),
    Row(FP8 + ONE_PASS, "fp8", held=ALWAYS),
    Row(INT8 + "ours", "int8"),
    Row(INT8 + ONE_PASS, "int8", held=ALWAYS),
)

RATIOS = {  # name: the row above and the one below, by their mean latency
    "generate / ours": (BASELINE, OURS),
    "static graphs / ours": (STATIC, OURS),
    "generate / ours in fp8": (BASELINE, FP8 + "ours"),
    "static graphs / ours in fp8": (STATIC, FP8 + "ours"),
    "generate / ours in int8": (BASELINE, INT8 + "ours"),
}
BOUNDS = {"none": ONE_PASS, "fp8": FP8 + ONE_PASS, "int8": INT8 + ONE_PASS}  # the row that a roofline is drawn for


def by_weights(rows: tuple[Row, ...] = ROWS) -> Iterator[tuple[str, list[Row]]]:
    """Quantisation and rows of each group of neighbours with the same weights."""
    for quantisation, group in groupby(rows, key=lambda row: row.quantisation):
        yield quantisation, list(group)


def by_policy(rows: list[Row]) -> Iterator[tuple[dict[str, bool], list[Row]]]:
    """Switches and rows of each group of neighbours that one policy serves."""
    for switches, group in groupby(rows, key=lambda row: dict(row.switches)):
        yield switches, list(group)
