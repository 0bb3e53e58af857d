"""Images of several cameras: sets of about the same time, the newest ones, each image at most once."""

from __future__ import annotations

import pytest
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from vla_entropy_ros.nodes.common.messages import seconds
from vla_entropy_ros.nodes.policy.intake import ApproximateTimeSynchronizer, View, oldest, spread

SLOP = 0.03


def image(stamp: float, frame: str = "front", width: int = 4, height: int = 3) -> Image:
    """An image of that time [s]."""
    message = Image(width=width, height=height)
    message.header.stamp, message.header.frame_id = Time(sec=int(stamp), nanosec=round(stamp % 1 * 1e9)), frame
    return message


def test_one_camera_passes_as_it_is() -> None:
    synchroniser = ApproximateTimeSynchronizer(1)
    for stamp in (5.0, 1.0, 5.0):
        message = image(stamp)
        assert synchroniser.offer(0, message, 0.0) == (message,)


@pytest.mark.parametrize("phase", [0.0, 0.01, -0.012])
def test_cameras_of_one_rate_pair_up_frame_by_frame(phase: float) -> None:
    synchroniser = ApproximateTimeSynchronizer(2)
    sets = []
    for number in range(20):
        arrivals = sorted([(10 + number / 30, 0), (10 + number / 30 + phase, 1)])
        sets += [synchroniser.offer(camera, image(stamp), 0.015) for stamp, camera in arrivals]
    pairs = [one for one in sets if one is not None]
    assert len(pairs) == 20
    assert synchroniser.unmatched == 0


def test_a_fast_camera_lends_the_frame_nearest_to_the_slow_ones() -> None:
    synchroniser = ApproximateTimeSynchronizer(2)
    for number in range(9):
        assert synchroniser.offer(0, image(10 + number / 30), SLOP) is None
    pair = synchroniser.offer(1, image(10 + 7 / 30 + 0.004), SLOP)
    assert pair is not None
    assert seconds(pair[0].header.stamp) == pytest.approx(10 + 7 / 30)
    assert oldest(pair) is pair[0]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(0.0, 0.2),
)
@settings(max_examples=100, deadline=None)
def test_no_set_is_wider_than_the_slop_and_no_image_serves_twice(
    arrivals: list[tuple[int, float]], slop: float
) -> None:
    synchroniser = ApproximateTimeSynchronizer(3)
    used: list[Image] = []
    for camera, stamp in arrivals:
        chosen = synchroniser.offer(camera, image(10 + stamp, frame=str(camera)), slop)
        if chosen is None:
            continue
        assert [message.header.frame_id for message in chosen] == ["0", "1", "2"]
        assert spread(chosen) <= slop
        used += chosen
    assert len(used) == len(set(map(id, used)))


def test_what_waits_can_be_forgotten() -> None:
    synchroniser = ApproximateTimeSynchronizer(2)
    synchroniser.offer(0, image(10.0), SLOP)
    synchroniser.forget()
    assert synchroniser.offer(1, image(10.0), SLOP) is None


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (image(10.1), ""),
        (image(9.5), ""),  # late, no jump
        (image(500.0), ""),  # a gap, which the policy judges
        (image(10.1, frame="wrist"), "the camera changed from 'front' to 'wrist'"),
        (image(10.1, width=5), "the size of the image changed"),
        (image(5.0), "the images' time jumped back"),
    ],
)
def test_what_does_not_continue_what_was_seen(second: Image, said: str) -> None:
    view = View()
    assert view.change(image(10.0)) == ""
    assert view.change(second) == said
    assert view.change(second) == ""


def test_a_compressed_twin_is_no_other_camera() -> None:
    view = View()
    view.change(image(10.0))
    twin = CompressedImage()
    twin.header = image(10.1).header
    assert view.change(twin) == ""
    assert view.change(image(10.2)) == ""
