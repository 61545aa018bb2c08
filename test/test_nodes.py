# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Both nodes in process: what is bad is counted and named, what comes next works, nothing stored is lost."""

from __future__ import annotations

import sqlite3
from array import array
from contextlib import closing

import numpy as np
import pytest

pytest.importorskip("rclpy")
from conftest import write_tiny_model
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot import Robot, settings
from sensor_msgs.msg import PointField
from synthetic_messages import (
    CAMERA_EXTRINSICS,
    LIDAR_EXTRINSICS,
    camera_info,
    cloud,
    compressed,
    image,
    odometry,
    packed,
    pose_stamped,
    scan_points,
    transform,
    tree,
)

from ms2cl_ros.core import sidecar
from ms2cl_ros.core.errors import ConfigError, ModelError, StoreError
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.nodes.place_matcher import PlaceMatcher
from ms2cl_ros.nodes.submap_mapper import SubmapMapper


@pytest.fixture
def mapper(ros, tiny_model, tmp_path):
    node = ros.node(SubmapMapper, settings(tiny_model, tmp_path))
    robot = Robot(ros)
    robot.connected("points", "odometry")
    robot.mapper = node
    return robot


@pytest.fixture
def city(ros, tiny_model, tmp_path):
    """A matcher in a map of five places."""
    node = ros.node(SubmapMapper, settings(tiny_model, tmp_path))
    robot = Robot(ros)
    robot.connected("points", "odometry")
    for place in range(5):
        robot.drive(1.0 + place, place)
        assert ros.spin_until(lambda n=place + 1: node.store.count() == n)
    ros.remove(node)
    robot.matcher = ros.node(PlaceMatcher, settings(tiny_model, tmp_path))
    robot.connected("image", "image/compressed", "camera_info")
    return robot


def counted(node, reason, n=1):
    return lambda: node.health.dropped[reason] >= n


def test_a_drive_becomes_submaps_with_their_poses(mapper, ros):
    for i in range(3):
        mapper.drive(1.0 + i, i)
        assert ros.spin_until(lambda n=i + 1: mapper.mapper.store.count() == n)
    assert ros.spin_until(lambda: mapper.path and len(mapper.path.poses) == 3)
    assert mapper.path.header.frame_id == "map"
    assert [p.pose.position.x for p in mapper.path.poses] == [0.0, 10.0, 20.0]


def test_a_pose_is_interpolated_at_the_clouds_stamp(mapper, ros):
    mapper.pub["points"].publish(cloud(1.05, 0))
    mapper.pub["odometry"].publish(odometry(1.0, 0.0))
    mapper.pub["odometry"].publish(odometry(1.2, 0.4))
    assert ros.spin_until(lambda: mapper.path and mapper.path.poses)
    assert mapper.path.poses[0].pose.position.x == pytest.approx(1.0, abs=1e-6)


def test_a_cloud_too_near_the_last_submap_is_skipped_before_decoding(mapper, ros):
    mapper.drive(1.0, 0)
    assert ros.spin_until(lambda: mapper.mapper.store.count() == 1)
    broken = cloud(2.0, 0)
    broken.data = array("B", bytes(5))
    mapper.drive(2.0, 0.05, broken)
    assert ros.spin_until(lambda: mapper.mapper.health.skipped["not far enough from the last submap"])
    assert not mapper.mapper.health.dropped


def shuffled_fields(t):
    xyz = scan_points(0)
    extra = {name: np.zeros(len(xyz), np.float32) for name in ("intensity", "ring")}
    return packed(t, {"intensity": extra["intensity"], "z": xyz[:, 2], "ring": extra["ring"], "x": xyz[:, 0],
                      "y": xyz[:, 1]}, padding=12)


def not_finite(t):
    xyz = scan_points(0)
    xyz[::7] = np.nan
    xyz[3::11, 0] = np.inf
    message = packed(t, {axis: xyz[:, i] for i, axis in enumerate("xyz")})
    message.is_dense = False
    return message


@pytest.mark.parametrize("odd", [shuffled_fields, not_finite])
def test_an_unusual_cloud_is_mapped(mapper, ros, odd):
    mapper.drive(1.0, 0, odd(1.0))
    assert ros.spin_until(lambda: mapper.mapper.store.count() == 1)


def empty(message):
    message.data, message.width, message.row_step = array("B"), 0, 0


def short(message):
    message.data = message.data[:1000]


def contradictory(message):
    message.width *= 2


def no_step(message):
    message.point_step = 0


def no_fields(message):
    message.fields = [PointField(name="ring", offset=0, datatype=PointField.FLOAT32, count=1)]


def all_nan(message):
    message.data = array("B", np.full(len(message.data) // 4, np.nan, "<f4").tobytes())


@pytest.mark.parametrize("spoil", [empty, short, contradictory, no_step, no_fields, all_nan])
def test_a_bad_cloud_is_counted_and_named_and_the_next_one_is_mapped(mapper, ros, spoil):
    bad = cloud(1.0, 0)
    spoil(bad)
    mapper.drive(1.0, 0, bad)
    assert ros.spin_until(counted(mapper.mapper, "bad cloud"))
    mapper.drive(2.0, 1)
    assert ros.spin_until(lambda: mapper.mapper.store.count() == 1)
    name = "submap_mapper: mapping"
    assert ros.spin_until(lambda: mapper.status.get(name, (0, "", {}))[2].get("submaps") == "1")
    level, message, values = mapper.status[name]
    assert level == 1
    assert "bad cloud" in message
    assert values["dropped: bad cloud"] == "1"


def test_a_cloud_without_any_pose_is_dropped_after_its_wait(mapper, ros):
    mapper.pub["points"].publish(cloud(1.0, 0))
    assert ros.spin_until(counted(mapper.mapper, "no pose"))
    mapper.drive(2.0, 1)
    assert ros.spin_until(lambda: mapper.mapper.store.count() == 1)


@pytest.mark.parametrize(("frame", "child"), [("odom", "base_link"), ("map", "imu")])
def test_odometry_of_another_frame_is_refused_with_the_remedy(mapper, ros, frame, child):
    mapper.pub["odometry"].publish(odometry(1.0, 0, frame, child))
    assert ros.spin_until(counted(mapper.mapper, "bad pose"))
    assert "set frames." in mapper.mapper.health.verdict()[1]


def test_a_clock_that_jumps_back_is_counted_and_mapping_goes_on(mapper, ros):
    mapper.drive(100.0, 0)
    assert ros.spin_until(lambda: mapper.mapper.store.count() == 1)
    mapper.drive(5.0, 1)
    assert ros.spin_until(lambda: mapper.mapper.store.count() == 2)
    jumps = {s.topic: s.jumps for s in mapper.mapper.health.streams}
    assert jumps == {"/points": 1, "/odometry": 1}
    assert "clock jumped back" in mapper.mapper.health.verdict()[1]


def test_poses_may_come_as_pose_stamped(ros, tiny_model, tmp_path):
    node = ros.node(SubmapMapper, settings(tiny_model, tmp_path, frames__pose_source="pose"))
    robot = Robot(ros)
    poses = robot.node.create_publisher(type(pose_stamped(0, 0)), "pose", 10)
    robot.connected("points")
    assert ros.spin_until(lambda: poses.get_subscription_count())
    for dt in (-0.05, 0.05):
        poses.publish(pose_stamped(1.0 + dt, 3))
    robot.pub["points"].publish(cloud(1.0, 3))
    assert ros.spin_until(lambda: node.store.count() == 1)


def test_what_is_stored_outlives_the_node_and_is_shown_by_the_next(mapper, ros, tiny_model, tmp_path):
    mapper.drive(1.0, 0)
    assert ros.spin_until(lambda: mapper.mapper.store.count() == 1)
    ros.remove(mapper.mapper)
    mapper.path = None
    again = ros.node(SubmapMapper, settings(tiny_model, tmp_path))
    assert ros.spin_until(lambda: mapper.path and len(mapper.path.poses) == 1)
    mapper.connected("points", "odometry")
    mapper.drive(2.0, 1)
    assert ros.spin_until(lambda: again.store.count() == 2)


def test_a_second_mapper_on_the_same_map_is_refused(mapper, ros, tiny_model, tmp_path):
    with pytest.raises(StoreError, match="another process is writing the map"):
        ros.node(SubmapMapper, settings(tiny_model, tmp_path))


@pytest.mark.parametrize("place", range(5))
def test_a_camera_finds_its_place_and_heading(city, ros, place):
    city.pub["camera_info"].publish(camera_info(9.0))
    ros.spin_until(lambda: city.matcher._info)
    city.pub["image"].publish(image(10.0, place))
    assert ros.spin_until(lambda: city.matches and city.candidates)
    match = city.matches[0]
    assert match.header.frame_id == "map"
    assert match.header.stamp.sec == 10
    position, q = match.pose.pose.position, match.pose.pose.orientation
    # the pooled grid forgives 4 degrees; the place itself is one of five, 10 m apart
    assert (position.x, position.y) == (pytest.approx(10.0 * place, abs=0.01), pytest.approx(0.0, abs=0.01))
    assert 2 * np.degrees(np.arctan2(q.z, q.w)) == pytest.approx(0.0, abs=8.1)
    covariance = np.array(match.pose.covariance).reshape(6, 6)
    assert np.all(np.linalg.eigvalsh(covariance) > 0)
    assert city.candidates[0].poses[0] == match.pose.pose
    assert len(city.candidates[0].poses) == 5


def test_a_compressed_image_is_matched_and_its_raw_twin_is_not_matched_again(city, ros):
    city.pub["camera_info"].publish(camera_info(9.0))
    ros.spin_until(lambda: city.matcher._info)
    city.pub["image/compressed"].publish(compressed(10.0, 2))
    assert ros.spin_until(lambda: city.matches)
    city.pub["image"].publish(image(10.0, 2))
    assert ros.spin_until(lambda: city.matcher.health.skipped["the same image raw and compressed"])
    assert len(city.matches) == 1


def test_an_image_of_a_place_that_is_not_in_the_map_gets_candidates_but_no_pose(city, ros):
    city.pub["camera_info"].publish(camera_info(9.0))
    ros.spin_until(lambda: city.matcher._info)
    city.pub["image"].publish(image(10.0, 23))
    assert ros.spin_until(lambda: city.candidates)
    assert ros.spin_until(lambda: city.matcher.health.skipped["not sure enough to be told (LOST)"] == 1)
    assert not city.matches


def test_odometry_of_another_body_is_left_out_with_the_remedy(city, ros):
    city.connected("odometry")
    city.pub["odometry"].publish(odometry(9.0, 2, "odom", "trailer"))
    assert ros.spin_until(lambda: "set frames.base to 'trailer'" in city.matcher.health.verdict()[1])


def unknown_encoding(message):
    message.encoding = "plasma9"


def too_short(message):
    message.data = message.data[:100]


def wrong_size(message):
    message.height, message.width, message.step = 60, 160, 480
    message.data = message.data[:60 * 480]


def no_size(message):
    message.height = message.width = 0


@pytest.mark.parametrize("spoil", [unknown_encoding, too_short, wrong_size, no_size])
def test_a_bad_image_is_counted_and_named_and_the_next_one_is_matched(city, ros, spoil):
    city.pub["camera_info"].publish(camera_info(9.0))
    ros.spin_until(lambda: city.matcher._info)
    bad = image(10.0, 2)
    spoil(bad)
    city.pub["image"].publish(bad)
    assert ros.spin_until(counted(city.matcher, "bad image"))
    city.pub["image"].publish(image(11.0, 2))
    assert ros.spin_until(lambda: city.matches)
    name = "place_matcher: matching"
    assert ros.spin_until(lambda: city.status.get(name, (0, "", {}))[2].get("dropped: bad image") == "1")


def test_a_truncated_jpeg_is_counted_and_named_and_the_next_one_is_matched(city, ros):
    city.pub["camera_info"].publish(camera_info(9.0))
    ros.spin_until(lambda: city.matcher._info)
    bad = compressed(10.0, 2)
    bad.data = bad.data[:200]
    city.pub["image/compressed"].publish(bad)
    assert ros.spin_until(counted(city.matcher, "bad image"))
    city.pub["image/compressed"].publish(compressed(11.0, 2))
    assert ros.spin_until(lambda: city.matches)


def test_images_without_camera_info_are_counted_until_it_comes(city, ros):
    city.pub["image"].publish(image(10.0, 2))
    assert ros.spin_until(counted(city.matcher, "no camera_info"))
    assert "/camera_info" in city.matcher.health.verdict()[1]
    uncalibrated = camera_info(10.5)
    uncalibrated.k = [0.0] * 9
    city.pub["camera_info"].publish(uncalibrated)
    ros.spin_until(lambda: city.matcher._info)
    city.pub["image"].publish(image(11.0, 2))
    assert ros.spin_until(counted(city.matcher, "bad image"))
    city.pub["camera_info"].publish(camera_info(11.5))
    ros.spin_until(lambda: city.matcher._info.k[0])
    city.pub["image"].publish(image(12.0, 2))
    assert ros.spin_until(lambda: city.matches)


def test_an_image_clock_that_jumps_back_is_counted_and_matching_goes_on(city, ros):
    city.pub["camera_info"].publish(camera_info(9.0))
    ros.spin_until(lambda: city.matcher._info)
    for n, t in enumerate((100.0, 5.0)):
        city.pub["image"].publish(image(t, 2))
        assert ros.spin_until(lambda n=n: len(city.matches) == n + 1)
    assert city.matcher.health.streams[0].jumps == 1


def test_the_matcher_waits_for_a_map_and_opens_it_when_it_appears(ros, tiny_model, tmp_path):
    matcher = ros.node(PlaceMatcher, settings(tiny_model, tmp_path))
    robot = Robot(ros)
    assert matcher.health.verdict()[0] == 1
    assert "waiting for a map" in matcher.health.verdict()[1]
    mapper = ros.node(SubmapMapper, settings(tiny_model, tmp_path))
    robot.connected("points", "odometry", "image", "camera_info")
    robot.pub["camera_info"].publish(camera_info(0.5))
    ros.spin_until(lambda: matcher._info)
    ros.spin_until(lambda: matcher.map.opened)
    robot.pub["image"].publish(image(0.6, 3))
    assert ros.spin_until(counted(matcher, "empty map"))
    robot.drive(1.0, 3)
    assert ros.spin_until(lambda: mapper.store.count() == 1)
    robot.pub["image"].publish(image(1.1, 3))
    assert ros.spin_until(lambda: robot.matches)
    assert robot.matches[0].pose.pose.position.x == pytest.approx(30.0, abs=0.01)


def test_a_map_that_was_replaced_is_opened_anew(city, ros, tiny_model, tmp_path):
    path = tmp_path / "map.db"
    other = tmp_path / "other.db"
    open_map(other, sidecar.load(tiny_model), write=True).close()
    other.replace(path)
    assert ros.spin_until(lambda: city.matcher.map.store is not None and city.matcher.map.store.count() == 0)


def test_a_damaged_view_is_left_out_with_a_warning_and_the_rest_of_the_map_serves(city, ros, tmp_path):
    with closing(sqlite3.connect(tmp_path / "map.db")) as db:
        db.execute("UPDATE views SET descriptors = zeroblob(length(descriptors)) WHERE id = 2")
        db.commit()
    city.pub["camera_info"].publish(camera_info(9.0))
    ros.spin_until(lambda: city.matcher._info)
    city.pub["image"].publish(image(10.0, 3))
    assert ros.spin_until(lambda: city.matches and city.candidates)
    assert city.matches[0].pose.pose.position.x == pytest.approx(30.0, abs=0.01)
    assert len(city.candidates[0].poses) == 4
    level, text = city.matcher.health.verdict()
    assert level == 1
    assert "view 2 of submap 2" in text
    assert "ms2cl database prune --damaged" in text


def test_a_map_of_another_model_is_refused_at_start(city, ros, tmp_path):
    folder = tmp_path / "other_model"
    folder.mkdir()
    write_tiny_model(folder, "other", columns=10)
    for node in (PlaceMatcher, SubmapMapper):
        with pytest.raises(StoreError, match="was made with model 'tiny'"):
            ros.node(node, settings(folder, tmp_path))


@pytest.mark.parametrize("node", [PlaceMatcher, SubmapMapper])
def test_a_missing_model_is_refused_at_start(ros, tmp_path, node):
    with pytest.raises(ModelError, match="no model"):
        ros.node(node, settings(tmp_path / "nothing", tmp_path))


@pytest.mark.parametrize(("node", "sensor"), [(PlaceMatcher, "camera"), (SubmapMapper, "lidar")])
def test_extrinsics_that_are_no_transform_are_refused_at_start(ros, tiny_model, tmp_path, node, sensor):
    given = settings(tiny_model, tmp_path)
    given[f"frames.{sensor}_extrinsics"] = [0.0] * 7
    with pytest.raises(ConfigError, match=f"{sensor}_extrinsics"):
        ros.node(node, given)


@pytest.mark.parametrize("node", [PlaceMatcher, SubmapMapper])
def test_tf_without_tf2_msgs_is_refused_with_the_alternative(ros, tiny_model, tmp_path, node, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tf2_msgs.msg", None)
    with pytest.raises(ConfigError, match=r"tf2_msgs is not installed.*extrinsics_source: parameters"):
        ros.node(node, settings(tiny_model, tmp_path, frames__extrinsics_source="tf"))


def test_extrinsics_and_poses_come_from_tf(ros, tiny_model, tmp_path):
    tf2 = pytest.importorskip("tf2_msgs.msg", reason="build it with test/build_messages.py")
    given = settings(tiny_model, tmp_path, frames__extrinsics_source="tf", frames__pose_source="tf")
    mapper = ros.node(SubmapMapper, given)
    matcher = ros.node(PlaceMatcher, given)
    robot = Robot(ros)
    moving = robot.node.create_publisher(tf2.TFMessage, "/tf", 100)
    fixed = robot.node.create_publisher(tf2.TFMessage, "/tf_static",
                                        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    robot.connected("points", "image", "camera_info")
    assert ros.spin_until(lambda: moving.get_subscription_count() == 2 and fixed.get_subscription_count() == 2)
    robot.pub["camera_info"].publish(camera_info(0.5))
    robot.pub["points"].publish(cloud(1.0, 2, "/lidar"))
    for t in (0.9, 1.1):
        moving.publish(tree(transform(t, "odom", "base_link", [20.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])))
    assert ros.spin_until(counted(mapper, "no pose"))
    assert "nobody publishes frame 'map'" in mapper.health.verdict()[1]
    fixed.publish(tree(transform(0.0, "map", "odom", [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0])))
    robot.pub["points"].publish(cloud(1.0, 2))
    assert ros.spin_until(counted(mapper, "no transform"))
    assert "'lidar'" in mapper.health.verdict()[1]
    robot.pub["image"].publish(image(1.0, 2))
    assert ros.spin_until(lambda: matcher.map.opened)
    robot.pub["image"].publish(image(1.1, 2))
    assert ros.spin_until(counted(matcher, "no transform"))
    assert "'camera'" in matcher.health.verdict()[1]
    fixed.publish(tree(transform(0.0, "map", "odom", [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
                       transform(0.0, "base_link", "lidar", LIDAR_EXTRINSICS),
                       transform(0.0, "base_link", "camera", CAMERA_EXTRINSICS)))
    robot.pub["points"].publish(cloud(1.0, 2))
    assert ros.spin_until(lambda: mapper.store.count() == 1)
    robot.pub["image"].publish(image(1.2, 2))
    assert ros.spin_until(lambda: robot.matches)
    position = robot.matches[0].pose.pose.position
    assert (position.x, position.y) == (pytest.approx(20.0, abs=0.01), pytest.approx(1.0, abs=0.01))


def test_a_map_that_cannot_be_read_for_the_figures_is_a_warning_and_no_end(ros, tiny_model, tmp_path, monkeypatch):
    mapper, robot = ros.node(SubmapMapper, settings(tiny_model, tmp_path)), Robot(ros)
    name = "submap_mapper: mapping"

    def broken():
        raise StoreError("cannot read the map: disk I/O error")
    monkeypatch.setattr(mapper.store, "view_count", broken)
    assert ros.spin_until(lambda: "disk I/O error" in robot.status.get(name, (0, "", {}))[2].get("map", ""))
    level, message, _ = robot.status[name]
    assert level == 1
    assert "map not readable" in message or "nothing on" in message
    monkeypatch.undo()
    assert ros.spin_until(lambda: robot.status[name][2].get("submaps") == "0")
