# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict on a node's work, and the thread that does it."""

from __future__ import annotations

import random
import threading

import pytest

pytest.importorskip("rclpy")
from ms2cl_ros.ros.health import ERROR, OK, WARN, Health, Stream
from ms2cl_ros.ros.worker import Worker

S = 1_000_000_000


class Clock:
    """Time as the test sets it."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def patient(*topics):
    clock, log = Clock(), []
    return Health("submaps stored", tuple(Stream(t) for t in topics), log.append, clock), clock, log


def test_missing_messages_are_estimated_from_gaps_between_stamps():
    stream = Stream("/points")
    for tenth in [*range(10), 13, 14, 20]:
        stream.note(tenth * S // 10)
    assert (stream.received, stream.lost, stream.period) == (13, 3 + 5, pytest.approx(0.1))


def test_jitter_is_not_loss():
    stream = Stream("/points")
    jitter = random.Random(1)
    for i in range(1000):
        stream.note(i * S // 10 + jitter.randrange(-S // 50, S // 50))
    assert stream.lost == 0


def test_nothing_is_taken_for_lost_before_the_period_is_known():
    stream = Stream("/points")
    for t in (0, 5, 6):
        stream.note(t * S)
    assert (stream.lost, stream.period) == (0, None)


def test_a_late_message_is_no_clock_jump_but_a_second_start_is():
    stream = Stream("/points")
    assert [stream.note(t) for t in (10 * S, 11 * S, 21 * S // 2, 0)] == [False, False, False, True]
    assert stream.jumps == 1


def test_good_work_is_ok_and_counted():
    health, _, _ = patient("/points")
    health.note(health.streams[0], S)
    health.done(0.02)
    assert health.verdict() == (OK, "1 submaps stored")
    values = health.values()
    assert values["processed"] == "1"
    assert values["latency p50, s"] == "0.020"
    assert values["age of the last result, s"] == "0.0"


def test_a_silent_topic_is_named_with_what_to_check():
    health, clock, _ = patient("/points")
    clock.now += 6.0
    assert health.verdict(lambda topic: 0) == (WARN, "nothing on /points for 6 s; nobody publishes it: "
                                                     "check the topic's name")
    assert "publishers (2) are there" in health.verdict(lambda topic: 2)[1]


def test_drops_are_a_warning_until_nothing_has_gone_well_for_ten_seconds():
    health, clock, _ = patient()
    health.drop("no pose", "none at 5 s")
    assert health.verdict() == (WARN, "no pose: none at 5 s")
    clock.now += 11.0
    health.drop("no pose", "none at 16 s")
    assert health.verdict() == (ERROR, "no pose: none at 16 s")
    health.skip("not far enough")
    assert health.verdict()[0] == WARN
    clock.now += 11.0
    assert health.verdict()[0] == OK
    assert health.values()["dropped: no pose"] == "2"


def test_a_fault_is_an_error_until_it_ends():
    health, _, log = patient()
    health.fault("the disk is full")
    health.fault("the disk is full")
    assert health.verdict() == (ERROR, "the disk is full")
    assert log == ["the disk is full"]
    health.fault("")
    assert health.verdict()[0] == OK


def test_the_same_reason_is_logged_once_in_ten_seconds():
    health, clock, log = patient()
    for _ in range(5):
        health.drop("bad cloud", "too short")
    clock.now += 10.0
    health.drop("bad cloud", "too short")
    assert log == ["bad cloud: too short"] * 2
    assert health.dropped["bad cloud"] == 6


def test_with_a_depth_of_one_the_newest_job_wins():
    gate, began, seen = threading.Event(), threading.Event(), []

    def work(job):
        began.set()
        assert gate.wait(10)
        seen.append(job)

    worker = Worker(work, lambda error, job: None, 1, "test")
    assert worker.put(1) is None
    assert began.wait(10)
    assert [worker.put(2), worker.put(3)] == [None, 2]
    gate.set()
    finished = threading.Event()
    while len(seen) < 2 and not finished.wait(0.01):
        pass
    worker.stop()
    assert seen == [1, 3]


def test_an_exception_is_handed_over_and_the_next_job_is_done():
    failed, done = [], threading.Event()

    def work(job):
        if job == "bad":
            raise ValueError("no")
        done.set()

    worker = Worker(work, lambda error, job: failed.append((str(error), job)), 4, "test")
    worker.put("bad")
    worker.put("good")
    assert done.wait(10)
    worker.stop()
    assert failed == [("no", "bad")]


def test_idle_work_is_done_between_jobs_until_there_is_none_left():
    done, left, rested = [], [3, 2, 1], threading.Event()

    def idle():
        if left:
            done.append(left.pop())
        if not left:
            rested.set()
        return bool(left)

    worker = Worker(done.append, lambda error, job: None, 4, "test", idle)
    assert rested.wait(5.0)
    rested.clear()
    left.append(4)
    worker.put("job")
    assert rested.wait(5.0)
    worker.stop()
    assert done == [1, 2, 3, "job", 4]
