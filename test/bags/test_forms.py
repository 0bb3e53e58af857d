"""Bags in every form that people have: which files, how packed, what else is in them."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from rosbags import rosbag1
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from vla_entropy_ros.bags.bag import COMPRESSED, Bag, BagError
from vla_entropy_ros.bags.record_simulation import IMAGES
from vla_entropy_ros.resources import share_path

from .mutations import rewritten
from .written import chunk, described, mcap, message, write_bag

SHIPPED = share_path("bags/pick_red")


def recorded(path: Path, topic: str | None = None) -> list[float]:
    """Times of the images in a bag [s]."""
    with Bag(path, topic) as bag:
        return [frame.recorded * 1e-9 for frame in bag.frames()]


@pytest.mark.parametrize("plugin", StoragePlugin)
def test_a_lone_file_is_a_bag_given_by_itself_or_as_the_only_one_in_a_folder(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    folder = rewritten(tmp_path / "bag", plugin=plugin)
    (folder / "metadata.yaml").unlink()
    (file,) = folder.iterdir()
    assert recorded(folder) == recorded(file) == recorded(SHIPPED)
    with Bag(file) as bag:
        assert (bag.topic, bag.instruction) == (IMAGES, "pick up the red cube")


def splits(folder: Path, *numbers: int) -> Path:
    """A bag in several files, the n-th with an image at n seconds."""
    folder.mkdir()
    for number in numbers:
        made = write_bag(folder.parent / f"made{number}", [float(number)], [])
        shutil.move(made / f"made{number}.mcap", folder / f"run_{number}.mcap")
    return folder


def test_the_files_of_a_folder_without_metadata_are_read_in_order(tmp_path: Path) -> None:
    assert recorded(splits(tmp_path / "bag", 10, 2, 1)) == [1.0, 2.0, 10.0]


def test_what_only_looks_like_a_number_in_a_name_is_none(tmp_path: Path) -> None:
    folder = splits(tmp_path / "bag", 1)
    (folder / "run_1.mcap").rename(folder / "1²2_0.mcap")
    assert recorded(folder) == [1.0]


def test_a_pipe_beside_the_files_is_not_waited_for(tmp_path: Path) -> None:
    folder = splits(tmp_path / "bag", 1)
    os.mkfifo(folder / "run_2.mcap")
    assert recorded(folder) == [1.0]


def test_a_file_that_the_metadata_lists_twice_is_read_once(tmp_path: Path) -> None:
    folder = splits(tmp_path / "bag", 1)
    told = "rosbag2_bagfile_information: {relative_file_paths: [run_1.mcap, run_1.mcap]}"
    (folder / "metadata.yaml").write_text(told)
    assert recorded(folder) == [1.0]


@pytest.mark.parametrize("value", ['!!timestamp "x"', '!!int ""', "1" + ":59" * 100_000, "1" + ":59" * 2000 + ".5"])
def test_metadata_is_text_and_nothing_is_made_of_it(tmp_path: Path, value: str) -> None:
    folder = splits(tmp_path / "bag", 1)
    told = "rosbag2_bagfile_information: {relative_file_paths: [run_1.mcap]}"
    (folder / "metadata.yaml").write_text(f"a: {value}\n{told}\n")
    assert recorded(folder) == [1.0]


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT"


@pytest.mark.parametrize(("table", "columns"), [
    ("topics", "x AS id, 'a' AS name, 'b' AS type, 'cdr' AS serialization_format FROM c WHERE x < 0"),
    ("messages", "x AS id, 1 AS topic_id, x AS timestamp, x'00' AS data FROM c WHERE x < 0"),
])  # fmt: skip
def test_views_in_place_of_tables_are_refused(tmp_path: Path, table: str, columns: str) -> None:
    file = next(rewritten(tmp_path / "bag", plugin=StoragePlugin.SQLITE3).glob("*.db3"))
    with sqlite3.connect(file) as base:
        base.execute(f"ALTER TABLE {table} RENAME TO old")
        base.execute(f"CREATE VIEW {table} AS {ENDLESS} {columns}")
    with pytest.raises(BagError, match="expected tables topics and messages"):
        Bag(file)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_message_that_is_none_ends_the_bag_in_one_line(tmp_path: Path) -> None:
    file = next(rewritten(tmp_path / "bag", plugin=StoragePlugin.SQLITE3).glob("*.db3"))
    with sqlite3.connect(file) as base:
        base.execute("UPDATE messages SET data = x'0001' WHERE id = (SELECT max(id) FROM messages)")
    with pytest.raises(BagError, match="the bag is damaged: a message of"), Bag(file) as bag:
        list(bag.frames())
    gc.collect()


def test_files_of_several_bags_in_one_folder_are_named(tmp_path: Path) -> None:
    folder = splits(tmp_path / "bag", 1)
    shutil.copy(folder / "run_1.mcap", folder / "other.mcap")
    with pytest.raises(BagError, match=r"several bags at .*: name one of other.mcap, run_1.mcap"):
        Bag(folder)


def test_files_that_the_metadata_lists_and_that_are_not_there_are_named(tmp_path: Path) -> None:
    folder = splits(tmp_path / "bag", 1)
    listed = "rosbag2_bagfile_information: {relative_file_paths: [run_1.mcap, run_2.mcap, old/run_3.mcap]}"
    (folder / "metadata.yaml").write_text(listed)
    with pytest.raises(BagError, match=r"lacks run_2.mcap, run_3.mcap, which .* lists \(1 of 3 files are there\)"):
        Bag(folder)


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
def test_what_zstd_has_packed_is_read_with_metadata_and_without(tmp_path: Path, mode: CompressionMode) -> None:
    folder = rewritten(tmp_path / "bag", mode)
    with Bag(folder) as bag, Bag(SHIPPED) as shipped:
        assert [frame.raw for frame in bag.frames()] == [frame.raw for frame in shipped.frames()]
    (folder / "metadata.yaml").unlink()
    assert len(recorded(folder)) == 40


def test_messages_of_a_recorder_that_was_cut_off_are_found_in_its_log(tmp_path: Path) -> None:
    folder = rewritten(tmp_path / "bag", plugin=StoragePlugin.SQLITE3)
    base = sqlite3.connect(folder / "bag.db3")
    base.executescript("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0")
    base.execute("UPDATE messages SET timestamp = timestamp + 1000000000")
    base.commit()
    shutil.copytree(folder, tmp_path / "left")  # as it is while the recorder writes
    base.close()
    assert recorded(tmp_path / "left")[0] == recorded(SHIPPED)[0] + 1


def test_a_bag_of_ros_1_is_refused_with_a_command_that_converts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    kinds = store.types
    with Bag(SHIPPED) as bag, rosbag1.Writer(tmp_path / "old.bag") as writer:
        to = writer.add_connection("/camera/image/compressed", COMPRESSED, typestore=store)
        for frame in bag.frames():
            time = kinds["builtin_interfaces/msg/Time"](*divmod(frame.recorded, 10**9))
            header = kinds["std_msgs/msg/Header"](0, time, "")
            image = kinds[COMPRESSED](header, "jpeg", frame.message.data)
            writer.write(to, frame.recorded, store.serialize_ros1(image, COMPRESSED))
    with pytest.raises(BagError, match=r"old.bag is a bag of ROS 1: convert it \(rosbags-convert ") as refusal:
        Bag(tmp_path)
    command = str(refusal.value).partition("rosbags-convert ")[2].partition(")")[0].split()
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "rosbags.convert", *command], check=True, timeout=60)
    assert recorded(tmp_path / "folder") == recorded(SHIPPED)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.mcap", b"", "a.mcap is empty: was the recording cut off?"),
        ("a.mcap", b"PK\x03\x04 zip", "a.mcap begins with 50 4b 03 04 20 7a 69 70; a bag is an .mcap or .db3 file"),
        ("a.db3", b"SQLite format 3\0" + bytes(90), "a.db3 is damaged, or no bag: "),
        ("a.mcap", mcap(described("/a", COMPRESSED, encoding="ros1")), "messages encoded as 'ros1', expected cdr"),
        ("notes.txt", b"a", "no bag at"),
    ],
)
def test_files_that_are_no_bag_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BagError) as refusal:
        Bag(tmp_path)
    assert said in str(refusal.value)


def image(stamp: int) -> bytes:
    """An image message on the wire."""
    with Bag(SHIPPED) as bag:
        raw = next(bag.frames()).raw
    return raw[:4] + stamp.to_bytes(4, "little") + raw[8:]


def test_types_that_nobody_knows_and_an_unchunked_file_are_no_hindrance(tmp_path: Path) -> None:
    foreign = described("/odd", "odd_msgs/msg/Odd", 2, schema="unknown") + message(10**9, b"odd", 2)
    body = described(IMAGES, COMPRESSED) + foreign + message(2 * 10**9, image(2)) + message(10**9, image(1))
    (tmp_path / "a.mcap").write_bytes(mcap(body))
    assert recorded(tmp_path) == [1.0, 2.0]


def test_chunks_that_overlap_in_time_are_put_in_order(tmp_path: Path) -> None:
    def of(*times: int) -> bytes:
        made = b"".join(message(time * 10**9, image(time)) for time in times)
        return chunk(described(IMAGES, COMPRESSED) + made, begin=min(times) * 10**9)

    (tmp_path / "a.mcap").write_bytes(mcap(of(3, 5), of(1, 4), of(2)))
    assert recorded(tmp_path) == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("asked", ["/a/image/compressed", "a/image/compressed", "a/image", "/a/image/"])
def test_a_topic_may_be_given_with_or_without_slash_and_transport(tmp_path: Path, asked: str) -> None:
    folder = write_bag(tmp_path / "bag", [2.0], [(2.0, 1.0)], camera="/a/image/compressed")
    with Bag(folder, asked, "joint_states") as bag:
        assert (bag.topic, bag.state_topic) == ("/a/image/compressed", "/joint_states")


def test_a_topic_that_is_there_itself_comes_before_its_compressed_one(tmp_path: Path) -> None:
    both = described("/camera/image", "sensor_msgs/msg/Image", 1) + described("/camera/image/compressed", COMPRESSED, 2)
    (tmp_path / "a.mcap").write_bytes(mcap(both))
    with Bag(tmp_path, "camera/image") as bag:
        assert bag.topic == "/camera/image"
    with pytest.raises(BagError, match="no image topic 'camera' in the bag: valid are /camera/image, /camera/image/c"):
        Bag(tmp_path, "camera")
