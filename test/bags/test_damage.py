"""Damaged and hostile bags: one line, what comes before is read; time and memory do not go by what they claim."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zlib
from pathlib import Path

import lz4.frame
import pytest
from backports import zstd
from click.testing import CliRunner

from vla_entropy_ros.bags.bag import COMPRESSED, Bag, BagError
from vla_entropy_ros.bags.record_simulation import IMAGES
from vla_entropy_ros.cli import main
from vla_entropy_ros.resources import share_path

from . import mutations
from .mutations import peak
from .test_forms import image
from .written import chunk, described, mcap, message, record

SHIPPED = share_path("bags/pick_red")
TOLD = described(IMAGES, COMPRESSED)
BOMB = bytes(2**30)


def whole(*times: int) -> bytes:
    """Images at times [s] in an mcap file."""
    return b"".join(message(time * 10**9, image(time)) for time in times)


def read(file: Path) -> tuple[int, str]:
    """How many images there are before the damage, and what is said of it."""
    count = 0
    with Bag(file) as bag:
        try:
            for _ in bag.frames():
                count += 1
        except BagError as error:
            assert "\n" not in str(error)  # noqa: PT017
            return count, str(error)
    raise AssertionError(f"no damage was found in {file.name}")


def test_mutations_of_bags_end_in_one_line_in_no_time_and_little_memory() -> None:
    command = [sys.executable, mutations.__file__ or "", "60"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)
    assert len(figures) == 6
    for name, found in figures.items():
        assert found["tracebacks"] == [], name
        assert set(found["outcomes"]) == {"read to the end", "one line"}, name
        assert found["slowest [s]"] < 2, name
        assert found["most memory [MB]"] < 200, name
    assert figures["packed packed.mcap"]["other images"] == 0  # its chunks have checksums


def test_a_recording_that_was_cut_off_is_replayed_as_far_as_it_goes(tmp_path: Path) -> None:
    data = (SHIPPED / "pick_red.mcap").read_bytes()
    begins = [at for at, kind, _ in mutations.records(data) if kind == 6]
    assert len(begins) == 1  # so the chunk itself is lost with its end
    (tmp_path / "cut.mcap").write_bytes(mcap(TOLD, whole(1, 2), message(3 * 10**9, image(3))[:900], data_checksum=None))
    result = CliRunner().invoke(main, ["replay", str(tmp_path), "--instruction", "pick up the red cube", "--json"])
    assert result.exit_code == 1
    figures = json.loads(result.stdout)
    assert (figures["images"], figures["ticks"]) == (2, 2)
    assert "cut.mcap is damaged at byte " in figures["damage"]
    assert result.stderr == f"Error: {figures['damage']}; 2 images before that were read\n"
    shown = CliRunner().invoke(main, ["replay", str(tmp_path), "--instruction", "pick up the red cube"])
    assert (shown.exit_code, "2 images, 2 ticks" in shown.stdout) == (1, True)


def test_where_the_damage_comes_before_the_topics_it_is_said_why_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes((SHIPPED / "pick_red.mcap").read_bytes()[:5000])
    with pytest.raises(
        BagError, match=r"a.mcap is damaged at byte \d+: a record of .*: cut off\?; the bag has no topic of images"
    ):
        Bag(tmp_path)


def test_a_file_of_a_bag_that_is_empty_ends_it_after_those_before(tmp_path: Path) -> None:
    (tmp_path / "run_0.mcap").write_bytes(mcap(TOLD, whole(1, 2)))
    (tmp_path / "run_1.mcap").write_bytes(b"")
    count, said = read(tmp_path)
    assert (count, "run_1.mcap is empty" in said) == (2, True)


@pytest.mark.parametrize("packing", ["", "zstd", "lz4"])
def test_a_chunk_whose_checksum_is_wrong_ends_what_is_read(tmp_path: Path, packing: str) -> None:
    pack = {"": bytes, "zstd": zstd.compress, "lz4": lz4.frame.compress}[packing]
    good, bad = TOLD + whole(1), bytearray(whole(2))
    right, wrong = zlib.crc32(good), zlib.crc32(bad)
    bad[-1] ^= 1
    chunks = [
        chunk(pack(part), packing, len(part), begin, checksum)
        for part, begin, checksum in ((good, 10**9, right), (bytes(bad), 2 * 10**9, wrong))
    ]
    (tmp_path / "a.mcap").write_bytes(mcap(*chunks))
    count, said = read(tmp_path)
    assert (count, said.endswith("a chunk whose checksum is wrong")) == (1, True)


def test_a_checksum_of_all_data_is_honoured(tmp_path: Path) -> None:
    data = mcap(TOLD, whole(1, 2), data_checksum=None)
    (tmp_path / "right.mcap").write_bytes(mcap(TOLD, whole(1, 2), data_checksum=zlib.crc32(data)))
    (tmp_path / "wrong.mcap").write_bytes(mcap(TOLD, whole(1, 2), data_checksum=zlib.crc32(data) ^ 1))
    with Bag(tmp_path / "right.mcap") as bag:
        assert len(list(bag.frames())) == 2
    count, said = read(tmp_path / "wrong.mcap")
    assert (count, "a checksum that is not that of everything before" in said) == (2, True)


HOSTILE = {
    "a record of 2^60 bytes": (mcap(TOLD, whole(1), data_checksum=None) + b"\x06" + (2**60).to_bytes(8, "little"), 1),
    "a chunk that claims 2^60 bytes": (mcap(TOLD, whole(1), chunk(zstd.compress(b"a"), "zstd", 2**60)), 1),
    "a zstd bomb that claims little": (mcap(TOLD, whole(1), chunk(zstd.compress(BOMB), "zstd", 100)), 1),
    "a zstd bomb that says what it is": (mcap(TOLD, whole(1), chunk(zstd.compress(BOMB), "zstd", len(BOMB))), 1),
    "an lz4 bomb that claims little": (mcap(TOLD, whole(1), chunk(lz4.frame.compress(BOMB), "lz4", 100)), 1),
    "a second frame that is a bomb": (
        mcap(TOLD, whole(1), chunk(zstd.compress(b"a") + zstd.compress(BOMB), "zstd", 2**24)), 1
    ),
    "a message that is a bomb": (mcap(TOLD, whole(1), message(2 * 10**9, zstd.compress(BOMB))), 1),
    "many frames": (mcap(TOLD, whole(1), chunk(zstd.compress(b"") * 100_000, "zstd", 0)), 1),
    "a packing that nobody knows": (mcap(TOLD, whole(1), chunk(b"a", "brotli")), 1),
    "a chunk in a chunk": (mcap(TOLD, whole(1), chunk(chunk(b"")[:-3])), 1),
    "a message of no channel": (mcap(TOLD, whole(1), message(2 * 10**9, b"", 7)), 1),
    "a channel that becomes another": (mcap(TOLD, whole(1), chunk(described("/b", COMPRESSED))), 1),
    "a time after all times": (mcap(TOLD, chunk(message(2**63, image(1)))), 0),
    "a message that is none": (mcap(TOLD, whole(1), message(2 * 10**9, b"\0\1")), 1),
    "a record of no kind": (mcap(TOLD, whole(1), record(99, b"")), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_file_claims_costs_neither_time_nor_memory(tmp_path: Path, name: str) -> None:
    content, before = HOSTILE[name]
    (tmp_path / "a.mcap").write_bytes(content)
    peak()
    had, began = peak(), time.monotonic()
    count, said = read(tmp_path)
    assert count == before, said
    assert (time.monotonic() - began < 2, peak() - had < 200e6) == (True, True)


def test_a_file_that_unpacks_to_more_than_is_due_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mcap.zstd").write_bytes(zstd.compress(BOMB))
    with pytest.raises(BagError, match=r"a.mcap.zstd unpacks to more than \d+ bytes: unpack it yourself \(zstd -d\)"):
        Bag(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        "a: &a {}\nb: {<<: *a}",
        "rosbag2_bagfile_information: 3",
        "rosbag2_bagfile_information: {relative_file_paths: 3}",
        "rosbag2_bagfile_information: {relative_file_paths: [[3]]}",
        "rosbag2_bagfile_information: {relative_file_paths: []}",
        "x: 2020-99-99",
        "\x00",
        "{a: " * 20 + "b" + "}" * 20,
    ],
)
def test_metadata_that_can_not_be_read_is_said_in_one_line_with_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "metadata.yaml").write_text(content)
    with pytest.raises(BagError, match=r"is no bag: metadata.yaml .*; mend it, or remove it to have") as refusal:
        Bag(tmp_path)
    assert "\n" not in str(refusal.value)
