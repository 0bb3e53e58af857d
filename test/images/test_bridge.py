"""cv_bridge: used where it works, tried out first, and never the end of a node."""

from __future__ import annotations

import importlib.util
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from vla_entropy_ros.images import find_converter, read, to_rgb
from vla_entropy_ros.images.bridge import BRIDGED, agreeing, bridged
from vla_entropy_ros.images.encodings import ENCODINGS, Converter

from .sent import mosaic, packed, planar, scene, sent

# Reads a message as the real one does: rows of whole pixels, a byte order of which it would make two.
STANDIN = """
import cv2, numpy as np
CODES = {codes}
calls = []
class CvBridge:
    def imgmsg_to_cv2(self, message, desired_encoding):
        assert (desired_encoding, message.is_bigendian) == ("rgb8", 0)
        calls.append(message.encoding)
        samples, depth, code = CODES[message.encoding]
        kind = np.dtype("<u2") if depth == 2 else np.dtype(np.uint8)
        shape = (message.height, message.step // kind.itemsize // samples, samples)
        image = np.ndarray(shape, kind, buffer=message.data)[:, : message.width]
        image = np.ascontiguousarray(image[..., 0] if samples == 1 else image)
        rgb = image if code is None else cv2.cvtColor(image, code)
        return np.round(rgb / 257).astype(np.uint8) if depth == 2 else rgb
"""
CODES = {name: (ENCODINGS[name].samples, ENCODINGS[name].depth, ENCODINGS[name].conversion) for name in BRIDGED}
Find = Callable[[str], "tuple[Converter, list[str], list[str]]"]


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Find:
    """What is found where a module cv_bridge has that source: the converter, lines of information, warnings."""

    def found(source: str) -> tuple[Converter, list[str], list[str]]:
        (tmp_path / "cv_bridge.py").write_text(STANDIN.format(codes=CODES) + textwrap.dedent(source))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
        told: tuple[list[str], list[str]] = ([], [])
        converter = find_converter(told[0].append, told[1].append)
        return converter, *told

    return found


def test_it_decodes_where_it_works_and_the_log_says_so(find: Find) -> None:
    convert, told, warned = find("")
    assert told == [
        f"raw images are decoded by cv_bridge; nv12, nv21, nv24 and compressed ones by cv2 {cv2.__version__}"
    ]
    assert warned == []
    calls = sys.modules["cv_bridge"].calls
    picture = scene(6, 12)
    for encoding, rows in (
        ("8UC3", picture[..., ::-1].reshape(6, -1)),
        ("yuyv", packed(picture, "yuyv")),
        ("uyvy", packed(picture, "uyvy")),
        ("bayer_grbg16", mosaic(picture.astype(np.uint16) * 257, "grbg").astype(">u2")),
        ("nv12", planar(picture, "uv")),
    ):
        message = sent(encoding, rows, 6, 12, padding=5, big=True)
        np.testing.assert_array_equal(read(message, convert).pixels, read(message).pixels)
    assert calls == ["bgr8", "yuv422_yuy2", "yuv422", "bayer_grbg16"]  # under the names it knows


def test_without_one_cv2_decodes_and_the_log_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told: list[str] = []
    assert find_converter(told.append, pytest.fail) is to_rgb
    assert told == [f"raw images are decoded by cv2 {cv2.__version__}: cv_bridge is not installed"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise AttributeError('_ARRAY_API not found')", "AttributeError: _ARRAY_API not found"),
        ("raise ImportError('libopencv_core.so.406')", "ImportError: libopencv_core.so.406"),
        ("import os; os.kill(os.getpid(), 11)", "status -11"),
        ("class CvBridge:\n    pass", "it decodes nothing as cv2 does"),
        ("del CvBridge", "cannot import name 'CvBridge'"),
    ],
)
def test_a_broken_one_is_left_aside_with_a_line(find: Find, source: str, said: str) -> None:
    convert, told, warned = find(source)
    assert convert is to_rgb
    assert told == []
    (line,) = warned
    assert line.startswith(f"raw images are decoded by cv2 {cv2.__version__}: cv_bridge does not work here (")
    assert said in line
    assert "\n" not in line


def test_an_encoding_that_it_gets_wrong_is_decoded_by_cv2(find: Find) -> None:
    convert, _, warned = find("CODES['bgr8'] = (3, 1, None)")
    assert warned == [
        f"bgr8 images are decoded by cv2 {cv2.__version__}: cv_bridge fails on them or gives other colours"
    ]
    assert convert(np.array([[[1, 2, 3]]], np.uint8), "bgr8").tolist() == [[[3, 2, 1]]]


def test_one_that_fails_later_is_left_aside_from_then_on(find: Find) -> None:
    convert, _, warned = find("")
    del sys.modules["cv_bridge"].CODES["bgr8"]
    for _ in range(2):
        assert convert(np.array([[[1, 2, 3]]], np.uint8), "bgr8").tolist() == [[[3, 2, 1]]]
    assert warned == [f"bgr8 images are decoded by cv2 {cv2.__version__} from now on: cv_bridge failed ('bgr8')"]


@pytest.mark.skipif(importlib.util.find_spec("cv_bridge") is None, reason="cv_bridge comes with a ROS install only")
def test_both_agree_where_both_exist() -> None:
    assert agreeing(bridged()) == list(BRIDGED)


def test_it_is_imported_when_a_node_configures_and_not_before(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "cv_bridge.py").write_text("raise SystemExit('imported')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    code = "import vla_entropy_ros.images, vla_entropy_ros.nodes.policy.node"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
