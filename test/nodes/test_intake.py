"""Images of several cameras: sets of about the same time, the newest ones, each image at most once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image

from vla_entropy_ros.nodes.policy.intake import ApproximateTimeSynchronizer, CameraView, Frame, Intake, oldest, spread
from vla_entropy_ros.nodes.policy.statistics import Monitor

SLOP = 0.03


def image(stamp: float, frame: str = "front", width: int = 4, height: int = 3) -> Frame:
    """An image of that time [s]."""
    message = Image(width=width, height=height)
    message.header.frame_id = frame
    return Frame(message, stamp)


def stamped(stamp: float, frame: str = "front") -> Image:
    """An image that tells its time [s] itself."""
    message = Image(width=4, height=3)
    message.header.frame_id = frame
    message.header.stamp = Time(seconds=stamp).to_msg()
    return message


def test_one_camera_passes_as_it_is() -> None:
    synchronizer = ApproximateTimeSynchronizer(1)
    for stamp in (5.0, 1.0, 5.0):
        message = image(stamp)
        assert synchronizer.offer(0, message, 0.0) == (message,)


@pytest.mark.parametrize("phase", [0.0, 0.01, -0.012])
def test_cameras_of_one_rate_pair_up_frame_by_frame(phase: float) -> None:
    synchronizer = ApproximateTimeSynchronizer(2)
    sets = []
    for number in range(20):
        arrivals = sorted([(10 + number / 30, 0), (10 + number / 30 + phase, 1)])
        sets += [synchronizer.offer(camera, image(stamp), 0.015) for stamp, camera in arrivals]
    pairs = [one for one in sets if one is not None]
    assert len(pairs) == 20
    assert synchronizer.unmatched == 0


def test_a_fast_camera_lends_the_frame_nearest_to_the_slow_ones() -> None:
    synchronizer = ApproximateTimeSynchronizer(2)
    for number in range(9):
        assert synchronizer.offer(0, image(10 + number / 30), SLOP) is None
    pair = synchronizer.offer(1, image(10 + 7 / 30 + 0.004), SLOP)
    assert pair is not None
    assert pair[0].stamp == pytest.approx(10 + 7 / 30)
    assert oldest(pair) is pair[0]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(0.0, 0.2),
)
@settings(max_examples=100, deadline=None)
def test_no_set_is_wider_than_the_slop_and_no_image_serves_twice(
    arrivals: list[tuple[int, float]], slop: float
) -> None:
    synchronizer = ApproximateTimeSynchronizer(3)
    used: list[Frame] = []
    for camera, stamp in arrivals:
        chosen = synchronizer.offer(camera, image(10 + stamp, frame=str(camera)), slop)
        if chosen is None:
            continue
        assert [frame.message.header.frame_id for frame in chosen] == ["0", "1", "2"]
        assert spread(chosen) <= slop
        used += chosen
    assert len(used) == len(set(map(id, used)))


def test_what_waits_can_be_forgotten() -> None:
    synchronizer = ApproximateTimeSynchronizer(2)
    synchronizer.offer(0, image(10.0), SLOP)
    synchronizer.forget()
    assert synchronizer.offer(1, image(10.0), SLOP) is None


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (image(10.1), None),
        (image(9.5), None),  # late, no jump
        (image(500.0), None),  # a gap, which the policy judges
        (image(10.1, frame="wrist"), "the camera changed from 'front' to 'wrist'"),
        (image(10.1, width=5), "image size changed"),
        (image(5.0), "time went backwards"),
    ],
)
def test_what_does_not_continue_what_was_seen(second: Frame, said: str | None) -> None:
    view = CameraView()
    assert view.interruption(image(10.0)) is None
    assert view.interruption(second) == said
    assert view.interruption(second) is None


def test_a_late_image_moves_no_bound() -> None:
    view = CameraView()
    assert [view.interruption(image(stamp)) for stamp in (10.0, 9.5, 9.1)] == [None] * 3
    assert view.interruption(image(8.9)) == "time went backwards"  # of the newest, not of the late ones


def test_a_compressed_twin_is_no_other_camera() -> None:
    view = CameraView()
    twin = CompressedImage()
    twin.header.frame_id = "front"
    assert view.interruption(Frame(twin, 9.9)) is None
    assert view.interruption(image(10.0)) is None
    assert view.interruption(Frame(twin, 10.1)) is None
    assert view.interruption(image(10.2)) is None
    assert view.interruption(Frame(twin, 10.3)) is None
    assert view.interruption(image(10.4, width=5)) == "image size changed"


def test_a_set_from_before_an_interruption_is_not_taken_after_it() -> None:
    reasons: list[str] = []
    intake = Intake(Monitor(), reasons.append, lambda: None)
    intake.slop = SLOP
    intake.begin(cameras=2)
    for stamp in (10.0, 10.1):
        for camera in (0, 1):
            intake.offer(stamped(stamp), camera)
    intake.offer(stamped(10.2, frame="wrist"), 0)  # its partner of the same moment has not come yet
    assert reasons == ["the camera changed from 'front' to 'wrist'"]
    assert intake.take() is None
    intake.offer(stamped(10.2), 1)
    taken = intake.take()
    assert taken is not None
    assert [frame.stamp for frame in taken] == pytest.approx([10.2, 10.2])
