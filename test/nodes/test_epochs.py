"""Random histories of a node: no result outlives what it was an answer to, and nothing cached outlives a cut."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from .bench import NOW, PATIENCE, Bench, Outcome, Scripted

CUTS = ("reset", "restart", "frame", "size", "back")  # what ends an episode
INSTRUCTIONS = ("pick up the red cube", "put it down")
events = st.sampled_from(("see", "see", "see", "hold", "release", "instruct", "silence", *CUTS))


class History(Bench):
    """A bench that knows which events came before a tick began, and before it was published."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0  # events that must not be outlived
        self.began = 0  # their number when the running tick began
        self.cut = True  # whether an episode has ended since the last tick began
        self.stamp, self.frame, self.size, self.asked = NOW, 0, 1, 0
        self.inferred = 0
        infer, reset = self.policy.infer, self.policy.reset

        def watched(observation: Any) -> Outcome:
            assert not self.cut, "a tick on what was cached before a cut"
            assert observation.instruction == INSTRUCTIONS[self.asked]
            self.began = self.count
            self.inferred += 1
            return infer(observation)

        def began_anew(reason: str = "new episode") -> None:
            self.cut = False
            reset(reason)

        self.policy.infer, self.policy.reset = watched, began_anew  # type: ignore[method-assign]

    def _publish(self, tick: Any) -> None:
        assert self.began == self.count, "a result from before an event was published"
        super()._publish(tick)

    def do(self, event: str) -> None:
        """Let one event happen."""
        if event in ("see", "hold", "frame", "size", "back"):
            self._look(event)
        elif event == "release":
            self.policy.go_on.set()
            self.settle()
        else:
            self._order(event)

    def _look(self, event: str) -> None:
        self.frame += event == "frame"
        self.size += event == "size"
        self.stamp += -50.0 if event == "back" else 0.2
        if event in CUTS:
            self.count, self.cut = self.count + 1, True
        if event == "hold" and self.policy.go_on.is_set():
            self.policy.inside.clear()
            self.policy.go_on.clear()
            self.see(self.stamp, frame=str(self.frame), size=self.size)
            assert self.policy.inside.wait(PATIENCE) or not self.inference.instruction
            return
        self.see(self.stamp, frame=str(self.frame), size=self.size)
        if self.policy.go_on.is_set():
            self.settle()

    def _order(self, event: str) -> None:
        self.count += 1
        if event == "reset":
            self.cut = True
            self.inference.reset()
        elif event == "restart":
            self.cut = True
            self.inference.pause()
            self.inference.start()
            self.inference.instruct(INSTRUCTIONS[self.asked])
        else:
            self.asked = 1 - self.asked
            if event == "silence":
                self.inference.instruct("")
            self.inference.instruct(INSTRUCTIONS[self.asked])


@settings(max_examples=120, deadline=None)
@given(st.lists(events, min_size=3, max_size=14))
def test_no_result_and_no_cache_outlives_its_epoch(happened: list[str]) -> None:
    history = History()
    history.run(INSTRUCTIONS[0])
    for event in happened:
        history.do(event)
    history.do("release")
    history.do("see")
    assert history.published  # whatever happened, the next image gets its action
    assert history.statistics.fault is None
    assert history.inferred == len(history.published) + history.statistics.dropped
    assert history.inference.close()


def test_the_property_can_fail() -> None:
    """A node that forgets to begin a new epoch is found out."""
    history = History()
    history.run(INSTRUCTIONS[0])
    history.inference.reset = lambda *_: None  # type: ignore[method-assign]
    for event in ("see", "reset", "see"):
        history.do(event)
    assert "a tick on what was cached before a cut" in (history.statistics.fault or "")
    assert history.inference.close()
    assert isinstance(history.policy, Scripted)
