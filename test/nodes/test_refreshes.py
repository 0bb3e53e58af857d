"""Why little of the cache is reused, in words: for each cause a history of ticks, and histories where all is well."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from vla_entropy_ros.engine import Tunables
from vla_entropy_ros.engine.reuse import selector
from vla_entropy_ros.nodes.common.diagnostics import OK, WARN, Window
from vla_entropy_ros.nodes.policy.orders import Answer
from vla_entropy_ros.nodes.policy.refreshes import FEW, LAST, NEW_INSTRUCTION, Tally, asked, little_reuse, means
from vla_entropy_ros.nodes.policy.reports import Bounds, cache_report
from vla_entropy_ros.nodes.policy.statistics import Monitor, Statistics

N = 100
TUNABLES = replace(Tunables.default(), mode="vla_cache", k1=4, k2=6, row_budget=30, max_age=20)
CALM = Tally(N, 30, changed=5, by_visual=0, by_attention=10, old=2, filled=13, reason=None)
FOUND: Any = SimpleNamespace(visual=N, noise=None, exposure=None)


def whole(reason: str) -> Tally:
    """A tick that computes everything."""
    return Tally(N, N, changed=N, by_visual=0, by_attention=0, old=0, filled=0, reason=reason)


def why(*ticks: Tally, tunables: Tunables = TUNABLES, found: Any = FOUND, several: str | None = None) -> str | None:
    """The line on a history."""
    return little_reuse(ticks, tunables, found, lambda: several)


@pytest.mark.parametrize(
    "ticks",
    [
        [CALM] * LAST,
        [whole("new episode")] * FEW,  # too few to judge by
        [whole("new episode"), *[CALM] * FEW],
        [replace(CALM, fresh=49, changed=24)] * LAST,  # a little above the budgets
    ],
)
def test_nothing_is_said_while_the_budgets_are_about_kept(ticks: list[Tally]) -> None:
    assert why(*ticks) is None


def test_mode_full_is_meant_to_reuse_nothing() -> None:
    assert why(*[whole("mode full")] * LAST, tunables=replace(TUNABLES, mode="full")) is None


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("scene cut", "scene cut in 20 of the last 50 ticks, more than scene_cut (0.6) of the patches changed"),
        ("new instruction", "new instruction in 20 of the last 50 ticks: who publishes on instruction"),
        ("new episode", "new episode in 20 of the last 50 ticks: who calls ~/reset?"),
        ("time jumped", "time jumped in 20 of the last 50 ticks: images come further apart than max_gap (2 s)"),
        ("the tick before failed", "the tick before failed in 20 of the last 50 ticks: see the log"),
        ("image size changed", "image size changed or the like in 20 of the last 50 ticks: is there one publisher"),
        ("a callback failed", "a callback failed or the like in 20 of the last 50 ticks: see the log"),
    ],
)
def test_a_reason_that_comes_again_and_again_is_named_and_counted(reason: str, said: str) -> None:
    line = why(*([CALM] * 30 + [whole(reason)] * 20))
    assert line is not None
    assert line.startswith(f"42% reused, the budgets allow 70%: {said}")


def test_the_reason_of_a_new_instruction_is_the_engines() -> None:
    """Which is not imported: it brings torch, and a node starts without."""
    assert NEW_INSTRUCTION == selector.NEW_INSTRUCTION


def test_two_cameras_on_one_topic_count_together_and_are_named() -> None:
    there, back = whole("the camera changed from 'a' to 'b'"), whole("the camera changed from 'b' to 'a'")
    line = why(*([whole("scene cut")] * 12 + [there, back] * 10), several="two publishers: a, b")
    assert line == (
        "nothing reused: the camera changed from 'b' to 'a' or the like in 20 of the last 32 ticks: "
        "two publishers: a, b"
    )


def test_an_age_bound_that_leaves_nothing_is_named() -> None:
    line = why(*[replace(CALM, fresh=96, old=90)] * LAST, tunables=replace(TUNABLES, max_age=1))
    assert line == "4% reused, the budgets allow 70%: 90 tokens a tick are older than max_age (1 ticks): raise it"


def test_budgets_for_nearly_all_tokens_are_named_and_not_what_fills_them() -> None:
    tunables = replace(TUNABLES, k1=20, k2=20, row_budget=97)
    line = why(*[replace(CALM, fresh=97, filled=80)] * LAST, tunables=tunables)
    assert line == (
        "3% reused, the budgets allow 3%: the budgets ask for nearly all of 100 visual tokens "
        "(k1 + k2 is 40, row_budget 97): lower them"
    )


def test_changed_patches_come_with_the_light_that_was_found() -> None:
    ticks = [replace(CALM, fresh=80, changed=70)] * LAST
    line = why(*ticks, found=SimpleNamespace(visual=N, noise=4.24, exposure=1.083))
    assert line is not None
    assert "70 patches a tick changed (noise 4.2 grey levels, exposure 1.08), and mode vla_cache computes" in line
    assert "mode place_entropy, which needs no still patches" in line
    unknown = why(*ticks)
    assert unknown is not None
    assert "70 patches a tick changed, and" in unknown


def test_a_scene_cut_may_be_noise_in_a_mode_that_compares_patches() -> None:
    assert "is the picture noisy" in (why(*[whole("scene cut")] * LAST) or "")
    places: Any = SimpleNamespace(**{**vars(TUNABLES), "mode": "place_entropy"})
    line = why(*[whole("scene cut")] * LAST, tunables=places)
    assert line is not None
    assert line.endswith("of the patches changed: does the camera move? keep it still, or raise scene_cut")


def test_the_largest_cause_is_told() -> None:
    changing = replace(CALM, fresh=90, changed=85, old=6)
    assert "changed, and mode" in (why(*([whole("scene cut")] * 10 + [changing] * 40)) or "")
    assert "scene cut in 40" in (why(*([whole("scene cut")] * 40 + [changing] * 10)) or "")


def test_a_cap_on_what_counts_as_static_asks_for_the_rest() -> None:
    capped = replace(TUNABLES, static_top_k=60)
    assert asked(capped, N) == 40 + 4 + 6
    assert why(*[replace(CALM, fresh=50, changed=40)] * LAST, tunables=capped) is None
    assert why(*[replace(CALM, fresh=80, changed=75)] * LAST, tunables=capped) is not None


def test_means_are_per_tick_and_by_reason() -> None:
    told = means([CALM, replace(CALM, by_visual=3, old=4)])
    assert told["fresh, visual [1 per tick]"] == "1.5"
    assert told["fresh, old [1 per tick]"] == "3.0"
    assert told["fresh, filled [1 per tick]"] == "13.0"
    assert means([]) == {}


def test_the_monitor_keeps_the_last_ticks_until_they_are_dropped() -> None:
    monitor = Monitor()
    for number in range(LAST + 5):
        monitor.tick(replace(CALM, fresh=number))
    assert [tally.fresh for tally in monitor.look().tallies] == list(range(5, LAST + 5))
    monitor.note(tallies=())
    assert monitor.look().tallies == ()


def reported(tallies: tuple[Tally, ...], **record: Any) -> Any:
    """The report on a node whose last tick had that record."""
    facts = {"visual": N, "k_vis": 5, "k_attn": 7, "t": 12, "reason": None, "noise": None, "exposure": None, **record}
    answer = Answer(Time(), 0.0, (), SimpleNamespace(reuse=SimpleNamespace(**facts)), 0.1)  # type: ignore[arg-type]
    now = Statistics(active=True, answer=answer, tallies=tallies, tunables=TUNABLES)
    return cache_report(replace(now, reused=Window(np.full(20, 70.0))), Bounds(1.0, 0.1, 1.0))


def test_the_report_shows_the_schedule_the_reasons_and_the_scene() -> None:
    calm = reported((CALM,) * LAST)
    assert (calm.level, calm.message) == (OK, "70% of 100 visual tokens reused")
    names = ("mode", "k_vis", "k_attn", "schedule t [ticks]", "fresh, attention [1 per tick]", "noise [grey levels]")
    assert [calm.values[name] for name in names] == ["vla_cache", 5, 7, 12, "10.0", "-"]
    bright = reported((CALM,) * LAST, noise=2.0, exposure=1.5)
    assert bright.values["noise [grey levels]"] == "2.00"
    assert bright.values["exposure, of the first frame's"] == "1.500"


def test_the_report_warns_with_the_line_that_says_why() -> None:
    report = reported((whole("scene cut"),) * LAST)
    assert report.level == WARN
    assert report.message == why(*(whole("scene cut"),) * LAST)
    assert report.message.startswith("nothing reused: scene cut in 50 of the last 50 ticks")
