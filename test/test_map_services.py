# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The mapper's other duties: copies, sessions, corrections, views rendered while idle, a map that stays bounded."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("std_srvs.srv", reason="services need std_srvs")
from nav_msgs.msg import Path
from robot import Robot, settings
from std_srvs.srv import Trigger

from ms2cl_ros.core import sidecar
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.nodes.submap_mapper import SubmapMapper


def mapping(ros, tiny_model, tmp_path, places=4, **more):
    """A robot and a mapper with some places 10 m apart."""
    robot = Robot(ros)
    robot.mapper = ros.node(SubmapMapper, settings(tiny_model, tmp_path, **more))
    robot.connected("points", "odometry")
    for place in range(places):
        robot.drive(1.0 + place, place)
        assert ros.spin_until(lambda n=place: robot.mapper.health.processed > n)
    return robot


def ask(ros, robot, service):
    client = robot.node.create_client(Trigger, f"submap_mapper/{service}")
    assert ros.spin_until(client.service_is_ready)
    answer = client.call_async(Trigger.Request())
    assert ros.spin_until(answer.done)
    return answer.result()


def test_save_writes_a_copy_that_opens_while_mapping_goes_on(ros, tiny_model, tmp_path):
    robot = mapping(ros, tiny_model, tmp_path, store__copy=str(tmp_path / "copies" / "copy.db"))
    answer = ask(ros, robot, "save")
    assert answer.success
    assert answer.message == f"4 submaps copied to {tmp_path / 'copies' / 'copy.db'}"
    robot.drive(9.0, 4)
    assert ros.spin_until(lambda: robot.mapper.store.count() == 5)
    with open_map(tmp_path / "copies" / "copy.db", sidecar.load(tiny_model), write=False) as copy:
        assert copy.count() == 4
        assert copy.check() == []


def test_clouds_are_mapped_while_a_copy_is_being_written(ros, tiny_model, tmp_path, monkeypatch):
    robot, go = mapping(ros, tiny_model, tmp_path), threading.Event()
    monkeypatch.setattr(robot.mapper.store, "save", lambda path: go.wait(20.0))
    client = robot.node.create_client(Trigger, "submap_mapper/save")
    assert ros.spin_until(client.service_is_ready)
    answer = client.call_async(Trigger.Request())
    ros.spin_until(lambda: False, 0.2)
    robot.drive(9.0, 4)
    assert ros.spin_until(lambda: robot.mapper.store.count() == 5, 10.0)
    assert not answer.done()
    go.set()
    assert ros.spin_until(answer.done)


def test_save_beside_the_map_has_the_time_in_its_name(ros, tiny_model, tmp_path):
    robot = mapping(ros, tiny_model, tmp_path, places=1)
    assert ask(ros, robot, "save").success
    assert len(list(tmp_path.glob("map_*Z.db"))) == 1


def test_save_to_a_place_that_cannot_be_written_says_so(ros, tiny_model, tmp_path):
    (tmp_path / "file").write_text("")
    robot = mapping(ros, tiny_model, tmp_path, places=1, store__copy=str(tmp_path / "file" / "copy.db"))
    answer = ask(ros, robot, "save")
    assert not answer.success
    assert "copy.db" in answer.message


def test_a_new_session_takes_what_comes_next(ros, tiny_model, tmp_path):
    robot = mapping(ros, tiny_model, tmp_path, places=2)
    answer = ask(ros, robot, "new_session")
    assert answer.success and answer.message.endswith("map.db; so far 1")
    robot.drive(9.0, 2)
    assert ros.spin_until(lambda: robot.mapper.store.count() == 3)
    assert [s.submaps for s in robot.mapper.store.sessions()] == [2, 1]


def test_a_corrected_path_moves_the_submaps_and_the_published_path(ros, tiny_model, tmp_path):
    robot = mapping(ros, tiny_model, tmp_path)
    assert ros.spin_until(lambda: robot.path and len(robot.path.poses) == 4)
    publisher = robot.node.create_publisher(Path, "submap_mapper/update_poses", 10)
    assert ros.spin_until(publisher.get_subscription_count)
    moved = robot.path
    for pose in moved.poses:
        pose.pose.position.y = 0.1 * pose.pose.position.x
    robot.path = None
    publisher.publish(moved)
    assert ros.spin_until(lambda: robot.path and robot.path.poses[3].pose.position.y)
    assert [p.pose.position.y for p in robot.path.poses] == pytest.approx([0.0, 1.0, 2.0, 3.0])
    assert [T[1, 3] for _, _, T in robot.mapper.store.poses()] == pytest.approx([0.0, 1.0, 2.0, 3.0])


@pytest.mark.parametrize("frame, stamp, reason", [("odom", 1, "the map's is 'map'"), ("map", 500, "covers none")])
def test_a_correction_that_cannot_be_meant_moves_nothing(ros, tiny_model, tmp_path, frame, stamp, reason):
    robot = mapping(ros, tiny_model, tmp_path, places=2)
    publisher = robot.node.create_publisher(Path, "submap_mapper/update_poses", 10)
    assert ros.spin_until(publisher.get_subscription_count)
    assert ros.spin_until(lambda: robot.path and len(robot.path.poses) == 2)
    path = robot.path
    path.header.frame_id = frame
    for i, pose in enumerate(path.poses):
        pose.header.stamp.sec += stamp * i + stamp - 1
        pose.pose.position.x += 5.0
    publisher.publish(path)
    assert ros.spin_until(lambda: robot.mapper.health.dropped["correction refused"] == 1)
    assert reason in robot.mapper.health.verdict()[1]
    assert [T[0, 3] for _, _, T in robot.mapper.store.poses()] == [0.0, 10.0]


def test_views_are_rendered_while_no_cloud_waits(ros, tiny_model, tmp_path):
    robot = mapping(ros, tiny_model, tmp_path, places=6, views__spacing=5.0, views__lateral_reach=0.0)
    assert ros.spin_until(lambda: len(robot.mapper.store.unrendered()) <= 3)
    stored = [robot.mapper.store.submap(key) for key, _, _ in robot.mapper.store.poses()]
    assert any(view.rendered for submap in stored for view in submap.views)
    assert robot.mapper.health.verdict()[0] == 0


def test_a_bounded_map_stays_bounded_and_so_does_its_path(ros, tiny_model, tmp_path):
    robot = mapping(ros, tiny_model, tmp_path, places=7, store__max_submaps=5)
    assert robot.mapper.store.count() <= 5
    assert ros.spin_until(lambda: robot.path and robot.path.poses and robot.path.poses[-1].pose.position.x == 60.0
                          and len(robot.path.poses) == robot.mapper.store.count())
