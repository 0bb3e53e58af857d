"""What becomes of a goal, from what the status tells."""

from __future__ import annotations

from vla_entropy_ros.client.following import Following
from vla_entropy_ros.nodes.common.goals import CANCELLED, HELD

TOLD = {"goal": "3", "state": "running", "elapsed": "4.5", "ticks": "40", "client": "77"}


def followed() -> Following:
    following = Following("/policy")
    following.begin(3)
    following.hear(TOLD)
    return following


def test_a_goal_is_known_by_the_number_of_its_request() -> None:
    assert followed().number_of(77) == 3
    assert followed().number_of(78) is None


def test_where_two_policies_speak_the_goals_own_words_count_alone() -> None:
    following = followed()
    following.hear({"goal": "0", "state": "idle"}, alone=False)
    following.hear({"goal": "9", "state": "running"}, alone=False)
    assert following.result is None
    following.hear({**TOLD, "state": CANCELLED, "why": "a client asked for it"}, alone=False)
    assert following.result is not None
    assert following.result.why == "a client asked for it"


def test_what_was_told_of_a_goal_stays_where_another_is_told_of() -> None:
    for next_one, state in ({"goal": "4", "state": "running"}, CANCELLED), ({"goal": "0", "state": "idle"}, HELD):
        following = followed()
        following.hear(next_one)
        assert following.result is not None
        assert (following.result.state, following.result.elapsed, following.result.ticks) == (state, 4.5, 40)
