# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odometry that comes late, seldom, never, or of another body."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")
from nav_msgs.msg import Odometry

from ms2cl_ros.core.config import FramesConfig
from ms2cl_ros.ros import odometry
from ms2cl_ros.ros.odometry import Motion, OdometryTopic

MS = 1_000_000


class Node:
    """Takes subscriptions and leaves them alone."""

    def create_subscription(self, *_, **__):
        pass


class Warned:
    """A Health of which only warnings are kept."""

    def __init__(self):
        self.reasons = []

    def warn(self, reason, detail):
        self.reasons.append(reason)


class Time:
    """Time that passes in sleep alone; `arriving`: {moment in s: what to do then}."""

    def __init__(self):
        self.now, self.slept, self.arriving = 100.0, 0.0, {}

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.slept += seconds
        for moment in [m for m in self.arriving if m <= self.now]:
            self.arriving.pop(moment)()


@pytest.fixture
def time(monkeypatch):
    passing = Time()
    monkeypatch.setattr(odometry, "time", passing)
    return passing


def message(ms, x=0.0, child="base_link"):
    out = Odometry()
    out.header.frame_id, out.child_frame_id = "odom", child
    out.header.stamp.sec, out.header.stamp.nanosec = ms // 1000, ms % 1000 * MS
    out.pose.pose.position.x, out.pose.pose.orientation.w = float(x), 1.0
    return out


def topic(wait=0.3):
    return OdometryTopic(Node(), FramesConfig(), warned := Warned(), Motion(0.5), wait), warned


def test_an_image_between_two_poses_is_answered_at_once(time):
    heard, warned = topic()
    for ms in (1000, 1100):
        heard.take(message(ms, x=ms / 100))
    np.testing.assert_allclose(heard.awaited(1050 * MS).T_map_base[:3, 3], [10.5, 0.0, 0.0], atol=1e-9)
    assert (time.slept, warned.reasons) == (0.0, [])


@pytest.mark.parametrize("before", [(), (500,), (1000,)], ids=["none yet", "long ago", "a moment ago"])
def test_an_image_waits_for_odometry_that_is_on_its_way(time, before):
    heard, warned = topic()
    for ms in before:
        heard.take(message(ms))
    time.arriving[100.2] = lambda: [heard.take(message(ms, x=ms)) for ms in (1040, 1060)]
    assert heard.awaited(1050 * MS).T_map_base[0, 3] == pytest.approx(1050.0)
    assert time.slept == pytest.approx(0.2, abs=0.01)
    assert not warned.reasons
    assert heard.values() == {"images with odometry": "1", "images without odometry": "0"}


def test_a_topic_that_fell_silent_costs_one_wait_and_is_told_once(time):
    heard, warned = topic()
    heard.take(message(1000))
    assert [heard.awaited(ms * MS) for ms in (1100, 1200, 1300)] == [None] * 3
    assert time.slept == pytest.approx(0.3, abs=0.02)
    assert warned.reasons == ["odometry late"]
    assert heard.values()["images without odometry"] == "3"


def test_without_any_odometry_there_is_one_wait_and_no_warning(time):
    heard, warned = topic()
    assert [heard.awaited(ms * MS) for ms in (1100, 1200)] == [None] * 2
    assert time.slept == pytest.approx(0.3, abs=0.02)
    assert not warned.reasons


def test_once_odometry_has_caught_up_it_is_waited_for_again(time):
    heard, _ = topic()
    heard.take(message(1000))
    assert heard.awaited(1100 * MS) is None
    for ms in (1100, 1200):
        heard.take(message(ms))
    slept = time.slept
    time.arriving[time.now + 0.1] = lambda: heard.take(message(1300))
    assert heard.awaited(1250 * MS) is not None
    assert time.slept - slept == pytest.approx(0.1, abs=0.01)


def test_a_clock_set_back_does_not_forbid_to_wait(time):
    heard, _ = topic()
    heard.take(message(100_000))
    assert heard.awaited(100_100 * MS) is None
    heard.take(message(1000))
    time.arriving[time.now + 0.1] = lambda: heard.take(message(1100))
    assert heard.awaited(1050 * MS) is not None


def test_odometry_of_another_body_is_refused_with_a_warning(time):
    heard, warned = topic(wait=0.0)
    heard.take(message(1000, child="camera_link"))
    assert warned.reasons == ["bad odometry"]
    assert heard.awaited(1000 * MS) is None
