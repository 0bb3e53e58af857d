"""Recorded episodes: made in the simulator, kept in files, refused when they are of no use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vla_entropy_ros.bench.measure import watch
from vla_entropy_ros.bench.recording import Recording, RecordingError, load, record, record_finished, save
from vla_entropy_ros.cli.options import FRESH_SEED
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.evaluation.configurations import preset
from vla_entropy_ros.evaluation.plan import Silent
from vla_entropy_ros.sim import FAMILIES, TASKS, Environment


def test_a_recording_moves_and_survives_its_file(recordings: list[Recording], tmp_path: Path) -> None:
    one = recordings[0]
    assert len(one) == 12
    assert all((before != after).any() for before, after in zip(one.images, one.images[1:], strict=False))
    save(one, tmp_path / "episode.npz")
    read = load(tmp_path / "episode.npz")
    np.testing.assert_array_equal(read.images, one.images)
    np.testing.assert_array_equal(read.stamps, one.stamps)
    assert read.instructions == one.instructions == ("pick up the red cube",) * 12
    assert one.states is not None
    assert read.states is not None
    np.testing.assert_array_equal(read.states, one.states)
    assert read.state_names == one.state_names
    third = list(read.part([1, 4, 7]).observations())[2]
    assert third.state is not None
    assert third.state.stamp == third.stamp == one.stamps[7]
    assert (
        dict(zip(third.state.names, third.state.values, strict=True))["z"] == one.states[7][one.state_names.index("z")]
    )
    assert recordings[1].told == ["pick up the green cube"]


def test_a_file_with_one_instruction_for_all_images_is_read(recordings: list[Recording], tmp_path: Path) -> None:
    one = recordings[0]
    np.savez(tmp_path / "old.npz", images=one.images, stamps=one.stamps, instruction=one.instructions[0])
    assert load(tmp_path / "old.npz").instructions == one.instructions


def test_a_changing_instruction_is_kept_and_replayed(checkpoint: Path, changing: Recording, tmp_path: Path) -> None:
    policy = Policy.load(checkpoint)
    save(changing, tmp_path / "episode.npz")
    read = load(tmp_path / "episode.npz")
    assert read.told == ["pick up the red cube", "push the blue cube to the left"]
    quickly = replace(preset("paper", policy.info.visual_tokens), T=4)
    _, results = watch(policy, read, quickly)
    first, second = results[0].text_rows, results[7].text_rows
    assert [result.text_rows for result in results] == [first] * 7 + [second] * 5
    assert second == first + 2  # six words instead of four, or seven instead of five
    assert (results[6].reuse.k_vis, results[7].reuse.k_vis) == (quickly.k1, quickly.k2)  # begins anew
    assert results[7].reuse.reused > 0  # what was seen stays


def test_what_the_policy_is_told_is_recorded_with_each_image(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = iter([0] * 4 + [1] * 99)  # asked for at the start, and with every picture
    monkeypatch.setattr(Environment, "instruction", property(lambda self: self.task.goals[next(reached)].instruction))
    told = record(Policy.load(checkpoint), [("put_red_then_push_green_left", FRESH_SEED)], 0.6, Silent())[
        0
    ].instructions
    assert set(told) == {"put the red cube on the plate", "push the green cube to the left"}
    assert list(told) == sorted(told, reverse=True)
    assert len(told) == 6


def test_episodes_that_the_policy_finishes_are_preferred(
    policy: Policy, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[tuple[str, int]]] = []
    closed: list[bool] = []

    def recorded(_: Policy, scenes: list[tuple[str, int]], *__: object) -> Iterator[tuple[Recording, bool]]:
        asked.append([])
        try:
            for number, scene in enumerate(scenes):
                asked[-1].append(scene)
                done = TASKS[scene[0]].family != "put" and number > 0
                yield replace(recordings[0], instructions=(f"{scene[0]} {done}",) * len(recordings[0])), done
        finally:
            closed.append(True)

    monkeypatch.setattr("vla_entropy_ros.bench.recording._recorded", recorded)
    made = [recording.told[0].split() for recording in record_finished(policy, 2, 9, Silent())]
    assert [TASKS[task].family for task, _ in made] == [family for family in FAMILIES for _ in range(2)]
    assert [done for _, done in made] == ["True", "True", "False", "False", "True", "True", "True", "True"]
    assert [len(scenes) for scenes in asked] == [3, 6, 3, 3]
    assert [seed for _, seed in asked[1]] == [9, 10, 11, 12, 13, 14]
    assert len(closed) == 4


def test_an_excerpt_lies_around_the_change_of_instruction(changing: Recording, recordings: list[Recording]) -> None:
    part = changing.excerpt(6)
    np.testing.assert_array_equal(part.stamps, changing.stamps[4:10])
    np.testing.assert_array_equal(part.images, changing.images[4:10])
    assert part.instructions == changing.instructions[4:10]
    assert recordings[0].excerpt(5).stamps[0] == recordings[0].stamps[0]
    assert len(changing.excerpt(99)) == len(changing)


def test_an_unusable_file_is_refused_in_one_line(recordings: list[Recording], tmp_path: Path) -> None:
    path = tmp_path / "episode.npz"
    save(recordings[0], path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-30], b"", b"something else"):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match="cut short") as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert "pickle" not in str(caught.value)
    with pytest.raises(RecordingError, match="no recording at"):
        load(tmp_path / "nowhere.npz")
    np.savez(path, images=recordings[0].images)
    with pytest.raises(RecordingError, match="no stamps, instructions"):
        load(path)
    np.savez(path, images=recordings[0].images, stamps=recordings[0].stamps[::-1], instruction="go")
    with pytest.raises(RecordingError, match="ascending"):
        load(path)
    np.savez(path, images=recordings[0].images, stamps=recordings[0].stamps, instructions=["go"] * 3)
    with pytest.raises(RecordingError, match="instructions must be 12 texts"):
        load(path)
    parts = {"images": recordings[0].images, "stamps": recordings[0].stamps, "instructions": ["go"] * 12}
    np.savez(path, **parts, state_names=["elbow"], states=np.zeros((11, 1)))  # type: ignore[arg-type]
    with pytest.raises(RecordingError, match=r"states are float64 \[11, 1\], expected float64 \[12, 1\]"):
        load(path)
    two = np.stack((recordings[0].images,) * 2, axis=1)  # of two cameras
    np.savez(path, images=two, stamps=recordings[0].stamps, instructions=recordings[0].instructions)
    with pytest.raises(RecordingError, match="of one camera"):
        load(path)
