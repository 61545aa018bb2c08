# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags played over real DDS: what arrives, when, how it is offered, and how playing ends."""

import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from kitti_folders import OXTS_NS, SCAN_NS, START_NS, STEP_NS, raw_drive

pytest.importorskip("rclpy")

from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import String

from ms2cl_ros.core.errors import ConfigError, DataError, Ms2clError
from ms2cl_ros.ros import player
from ms2cl_ros.ros.player import play
from ms2cl_ros.tools.bags import BagWriter, Topic, open_bag
from ms2cl_ros.tools.convert import convert_kitti_raw

RELIABLE = QoSProfile(depth=1000)
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TYPES = {"/points": PointCloud2, "/camera/image": Image, "/odometry": Odometry, "/clock": Clock}


@pytest.fixture
def drive_bag(tmp_path):
    convert_kitti_raw(raw_drive(tmp_path), tmp_path / "bag")
    return tmp_path / "bag"


@pytest.fixture
def words_bag(tmp_path):
    """Ten words at 20 Hz, and one latched at the beginning."""
    with BagWriter(tmp_path / "words") as bag:
        bag.add_topic("/words", "std_msgs/msg/String")
        bag.add_topic("/title", "std_msgs/msg/String", latched=True)
        bag.write("/title", START_NS, bag.message("std_msgs/msg/String", data="a title"))
        for k in range(10):
            bag.write("/words", START_NS + k * 50_000_000, bag.message("std_msgs/msg/String", data=f"word {k}"))
    return tmp_path / "words"


@contextmanager
def playing(path, **options):
    """The player in a thread; yields what it will have returned or raised, stops and joins it in the end."""
    stop, out = threading.Event(), {}

    def run():
        try:
            out["counts"] = play(path, stop=stop, **options)
        except Exception as e:
            out["error"] = e
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield out
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def listen(ros, topics, raw=True):
    """Everything that arrives, as (topic, bytes or message)."""
    heard = []
    node = ros.node("listener")
    for topic in topics:
        kind = TYPES.get(topic, String)
        node.create_subscription(kind, topic, lambda m, t=topic: heard.append((t, m)), RELIABLE, raw=raw)
    return heard


def test_every_message_arrives_in_order_with_the_recorded_bytes(ros, drive_bag):
    topics = ["/points", "/camera/image", "/odometry"]
    heard = listen(ros, topics)
    with playing(drive_bag, wait_for=3) as out:
        assert ros.spin_until(lambda: "counts" in out and len(heard) >= 13), (out, len(heard))
    with open_bag(drive_bag) as bag:
        for topic in topics:
            recorded = [bytes(r.raw) for r in bag.records([topic])]
            assert [m for t, m in heard if t == topic] == recorded
    assert {t: out["counts"][t] for t in topics} == {"/points": 4, "/camera/image": 4, "/odometry": 5}


def test_the_clock_runs_through_the_bags_time_and_never_back(ros, drive_bag):
    heard = listen(ros, ["/clock", "/points"], raw=False)
    with playing(drive_bag, wait_for=1) as out:
        assert ros.spin_until(lambda: "counts" in out and sum(t == "/points" for t, _ in heard) == 4)
    times = [m.clock.sec * 10**9 + m.clock.nanosec for t, m in heard if t == "/clock"]
    assert len(times) >= 2 and times == sorted(times)
    assert START_NS + SCAN_NS <= times[0] < times[-1] <= START_NS + OXTS_NS + 3 * STEP_NS


def test_without_a_clock_there_is_none(ros, words_bag):
    heard = listen(ros, ["/words", "/clock"], raw=False)
    with playing(words_bag, wait_for=1, clock=False) as out:
        assert ros.spin_until(lambda: "counts" in out and len(heard) >= 10)
    assert {t for t, _ in heard} == {"/words"}


def test_playing_takes_the_bags_time_divided_by_the_rate(words_bag):
    for rate, least in ((1.0, 0.45), (3.0, 0.15)):
        began = time.monotonic()
        play(words_bag, rate=rate, stop=threading.Event())
        assert time.monotonic() - began >= least


def test_types_that_are_not_installed_are_left_out_with_one_warning(drive_bag, monkeypatch, capfd):
    installed = player._message_class
    monkeypatch.setattr(player, "_message_class", lambda t: None if t.startswith("tf2_msgs") else installed(t))
    counts = play(drive_bag, rate=20.0, stop=threading.Event())
    assert set(counts) == {"/points", "/camera/image", "/camera/camera_info", "/odometry"}
    said = [line for line in "".join(capfd.readouterr()).splitlines() if "[WARN]" in line]
    assert len(said) == 1
    assert "/tf (tf2_msgs/msg/TFMessage), /tf_static (tf2_msgs/msg/TFMessage)" in said[0]


def test_a_type_that_is_not_installed_is_an_error_if_asked_for(tmp_path, drive_bag, monkeypatch):
    monkeypatch.setattr(player, "_message_class", lambda t: None)
    with pytest.raises(DataError, match=r"cannot publish /tf \(tf2_msgs/msg/TFMessage\)"):
        play(drive_bag, topics=["/tf"], stop=threading.Event())


def test_a_missing_package_and_a_missing_name_are_both_not_installed():
    assert player._message_class("no_such_package_msgs/msg/Thing") is None
    assert player._message_class("std_msgs/msg/NoSuchThing") is None
    assert player._message_class("std_msgs/msg/String") is String


def test_only_the_topics_asked_for_are_played(words_bag):
    assert play(words_bag, topics=["title"], stop=threading.Event()) == {"/title": 1}
    with pytest.raises(DataError, match=r"no topic /nothing; it has: /title"):
        play(words_bag, topics=["/nothing"], stop=threading.Event())


def test_topics_are_remapped(ros, words_bag):
    heard = listen(ros, ["/other"], raw=False)
    with playing(words_bag, wait_for=1, remap={"/words": "/other"}) as out:
        assert ros.spin_until(lambda: "counts" in out and len(heard) == 10)
    assert out["counts"] == {"/other": 10, "/title": 1}
    assert [m.data for _, m in heard] == [f"word {k}" for k in range(10)]


def test_two_topics_are_not_put_on_one_name(words_bag):
    with pytest.raises(ConfigError, match="several topics of the bag on /title"):
        play(words_bag, remap={"/words": "/title"}, stop=threading.Event())


def test_a_name_that_ros_refuses_is_refused_with_the_reason(words_bag):
    with pytest.raises(ConfigError, match=r"cannot publish /words .* as '/no spaces'"):
        play(words_bag, remap={"/words": "/no spaces"}, stop=threading.Event())


def test_playing_can_start_in_the_middle_and_still_gives_what_is_latched(ros, words_bag):
    heard = []
    node = ros.node("listener")
    node.create_subscription(String, "/words", lambda m: heard.append(m.data), RELIABLE)
    node.create_subscription(String, "/title", lambda m: heard.append(m.data), LATCHED)
    with playing(words_bag, wait_for=2, start=0.3) as out:
        assert ros.spin_until(lambda: "counts" in out and len(heard) == 5), heard
    assert sorted(heard) == ["a title", *(f"word {k}" for k in range(6, 10))]


def test_a_late_subscriber_gets_what_was_latched(ros, words_bag):
    early = listen(ros, ["/words"])
    with playing(words_bag, wait_for=1, loop=True):
        assert ros.spin_until(lambda: len(early) >= 3)
        late = []
        ros.node("late").create_subscription(String, "/title", lambda m: late.append(m.data), LATCHED)
        assert ros.spin_until(lambda: late)
    assert late[0] == "a title"


def test_a_loop_begins_again_and_sets_the_clock_back(ros, words_bag):
    heard = listen(ros, ["/words", "/clock"], raw=False)

    def words():
        return [m.data for t, m in heard if t == "/words"]
    with playing(words_bag, wait_for=1, loop=True, rate=2.0) as out:
        assert ros.spin_until(lambda: len(words()) >= 12)
        assert "counts" not in out
    assert words()[:12] == [f"word {k % 10}" for k in range(12)]
    times = [m.clock.sec * 10**9 + m.clock.nanosec for t, m in heard if t == "/clock"]
    assert min(np.diff(times)) < 0
    assert out["counts"]["/words"] >= 12


def test_start_beyond_the_end_is_refused(words_bag):
    with pytest.raises(DataError, match=r"cannot start 5 s into .* it lasts 0\.5 s"):
        play(words_bag, start=5.0, stop=threading.Event())


def test_subscribers_that_do_not_turn_up_are_an_error(words_bag):
    with pytest.raises(Ms2clError, match=r"0 of 2 subscriptions to /title, /words after 0\.1 s"):
        play(words_bag, wait_for=2, wait_timeout=0.1, stop=threading.Event())


@pytest.mark.parametrize("options", [{"rate": 0.0}, {"rate": -1.0}, {"rate": float("nan")}, {"start": -1.0},
                                     {"clock_rate": 0.0}, {"wait_for": -1}])
def test_options_out_of_range_are_refused(words_bag, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        play(words_bag, stop=threading.Event(), **options)


def test_progress_goes_from_the_first_to_the_last_moment(words_bag):
    seen = []
    play(words_bag, rate=10.0, on_progress=lambda *p: seen.append(p), stop=threading.Event())
    assert seen[0] == (0.0, 0.45) and seen[-1] == (0.45, 0.45) and len(seen) == 11


def test_an_empty_bag_is_refused(tmp_path):
    with BagWriter(tmp_path / "empty") as bag:
        bag.add_topic("/words", "std_msgs/msg/String")
    with pytest.raises(DataError, match="nothing to play"):
        play(tmp_path / "empty", stop=threading.Event())


def test_a_ros_1_bag_is_refused_with_the_command_that_converts_it(tmp_path):
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore
    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer(tmp_path / "old.bag") as writer:
        connection = writer.add_connection("/words", "std_msgs/msg/String", typestore=store)
        word = store.types["std_msgs/msg/String"](data="x")
        writer.write(connection, 1, store.serialize_ros1(word, connection.msgtype))
    with pytest.raises(DataError, match=r"rosbags-convert --src .*old\.bag"):
        play(tmp_path / "old.bag", stop=threading.Event())


def _offer(reliability, durability, depth=10):
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
    never = QosTime(0, 0)
    return Qos(QosHistory.KEEP_LAST, depth, QosReliability[reliability], QosDurability[durability], never, never,
               QosLiveliness.AUTOMATIC, never, False)


@pytest.mark.parametrize("name, offers, reliability, durability", [
    ("/points", (), "RELIABLE", "VOLATILE"),
    ("/tf_static", (), "RELIABLE", "TRANSIENT_LOCAL"),
    ("/points", (("BEST_EFFORT", "VOLATILE"),) * 2, "BEST_EFFORT", "VOLATILE"),
    ("/map", (("RELIABLE", "TRANSIENT_LOCAL"),), "RELIABLE", "TRANSIENT_LOCAL"),
    ("/points", (("BEST_EFFORT", "VOLATILE"), ("RELIABLE", "VOLATILE")), "RELIABLE", "VOLATILE"),
    ("/points", (("UNKNOWN", "UNKNOWN"),), "RELIABLE", "VOLATILE")])
def test_topics_are_offered_as_they_were_recorded(name, offers, reliability, durability):
    qos = player._qos(Topic(name, "x/msg/Y", 1, tuple(_offer(*o) for o in offers)))
    assert (qos.reliability, qos.durability) == (ReliabilityPolicy[reliability], DurabilityPolicy[durability])
    assert qos.depth == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_even_twice_ends_playing_cleanly(words_bag, number, tmp_path):
    code = f"from ms2cl_ros.ros.player import play; print('played', play({str(words_bag)!r}, loop=True, on_progress=" \
           "lambda done, total: print('going', flush=True)))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        assert process.stdout.readline() == "going\n"
        process.send_signal(number)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode == 0, err
    assert "played {'/title': 1" in out and "Traceback" not in err
