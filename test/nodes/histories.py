"""Random histories of what may happen to a command node, for `Played` to play."""

from __future__ import annotations

import math

from hypothesis import strategies as st

NOW = 1.7e9  # seconds: when a history begins
NAN, HUGE = float("nan"), 1.7e308

small = st.floats(-0.08, 0.08)
wild = st.one_of(st.floats(-3.0, 3.0), st.sampled_from([NAN, math.inf, -math.inf, HUGE, -HUGE, 0.0]))
good = st.lists(st.tuples(*[small] * 6, st.floats(0.0, 1.0)).map(list), min_size=1, max_size=4)
bad = st.lists(st.lists(wild, min_size=7, max_size=7), min_size=1, max_size=3)
TUNED = {
    "action_scale": st.floats(0.0, 2.0),
    "limits.max_speed": st.floats(0.001, 5.0),
    "limits.max_translation": st.floats(0.001, 0.5),
    "limits.lead_translation": st.floats(0.001, 0.5),
    "workspace.x.low": st.floats(0.0, 0.5),
    "workspace.x.high": st.floats(0.4, 0.9),
    "gripper.open": st.floats(-5.0, 5.0),
    "dry_run": st.booleans(),
    "chunk.blending": st.floats(0.0, 0.9),
    "pose_timeout": st.floats(0.02, 5.0),
}
events = st.one_of(
    st.tuples(st.just("tick"), st.sampled_from([0.5, 1.0, 1.0, 1.0, 2.0, 25.0])),
    st.tuples(st.just("measure"), st.just(0.0), st.just(0.0), st.none()),
    st.tuples(
        st.just("measure"), st.sampled_from([0.0, 0.0, 0.02, 0.3, -0.3]), st.sampled_from([0.0, 0.0, 0.6, -0.6, NOW]),
        st.one_of(st.none(), wild),
    ),
    st.tuples(st.just("offer"), good, st.just(0.0), st.just("a"), st.just("base_link")),
    st.tuples(
        st.just("offer"), st.one_of(good, bad), st.sampled_from([0.0, 0.1, 3.0, -3.0]), st.sampled_from(["a", "b"]),
        st.sampled_from(["base_link", "base_link", "map"]),
    ),
    st.tuples(
        st.just("order"),
        st.sampled_from(
            ["stop", "emergency", "release", "enable", "enable", "disable", "jump of time", "twin", "other description",
             "description"]
        ),
    ),
    st.sampled_from(sorted(TUNED)).flatmap(lambda name: st.tuples(st.just("set"), st.just(name), TUNED[name])),
    st.tuples(st.just("break_down"), st.lists(wild, min_size=8, max_size=8), st.booleans()),
)  # fmt: skip
