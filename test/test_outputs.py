# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What place_matcher says beside the pose, and what it can be asked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy")
from conftest import ROOT
from geometry_msgs.msg import PoseArray, TransformStamped
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot import Robot, settings
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from synthetic_messages import camera_info, image
from visualization_msgs.msg import Marker, MarkerArray

from ms2cl_ros.core.messages import to_pose
from ms2cl_ros.core.pointcloud2 import decode
from ms2cl_ros.nodes.place_matcher import PlaceMatcher
from ms2cl_ros.nodes.submap_mapper import SubmapMapper

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# each image stands for itself, so that one of them is enough for a match
ALONE = {"trust__motion": "none", "trust__target_precision": 0.5}


@pytest.fixture
def drive(ros, tiny_model, tmp_path):
    """A map of five places, 10 m apart."""
    node = ros.node(SubmapMapper, settings(tiny_model, tmp_path))
    robot = Robot(ros)
    robot.connected("points", "odometry")
    for place in range(5):
        robot.drive(1.0 + place, place)
        assert ros.spin_until(lambda n=place + 1: node.store.count() == n)
    ros.remove(node)
    return robot


@pytest.fixture
def city(ros, drive, tiny_model, tmp_path):
    """A matcher in that map, with its camera's calibration."""
    drive.matcher = ros.node(PlaceMatcher, settings(tiny_model, tmp_path, **ALONE))
    drive.connected("image", "camera_info")
    drive.pub["camera_info"].publish(camera_info(9.0))
    assert ros.spin_until(lambda: drive.matcher._info)
    return drive


def ear(ros, city, kind, name, qos=10):
    heard = []
    city.node.create_subscription(kind, f"place_matcher/{name}", heard.append, qos)
    assert ros.spin_until(lambda: city.node.count_publishers(f"/place_matcher/{name}"))
    ros.spin_until(lambda: False, 0.1)
    return heard


def test_scores_come_with_the_candidates_row_by_row(ros, city):
    poses, scores = ear(ros, city, PoseArray, "candidates"), ear(ros, city, PointCloud2, "candidate_scores")
    city.pub["image"].publish(image(10.0, 3))
    assert ros.spin_until(lambda: poses and scores)
    cloud = scores[0]
    assert cloud.header == poses[0].header
    rows = decode(cloud.data, cloud.fields, cloud.width, cloud.height, cloud.point_step, cloud.row_step, False)
    assert list(rows) == ["x", "y", "z", "score", "range_score", "evidence", "heading", "submap"]
    assert rows["x"] == pytest.approx([p.position.x for p in poses[0].poses])
    assert rows["submap"][0] == 4.0
    assert np.all(np.diff(rows["evidence"]) <= 0)
    assert rows["score"][0] > 0.9


def test_a_loop_closure_is_the_base_in_its_submaps_frame_and_the_frame_has_a_stamp_and_a_place(ros, city):
    closures = ear(ros, city, Odometry, "loop_closure")
    places = ear(ros, city, TransformStamped, "submap_frame")
    city.pub["image"].publish(image(10.0, 2))
    assert ros.spin_until(lambda: closures and places)
    closure, place = closures[0], places[0]
    assert (closure.header.frame_id, closure.child_frame_id, closure.header.stamp.sec) == ("submap_3", "base_link", 10)
    relative = to_pose(closure)
    assert relative.T_map_base[:3, 3] == pytest.approx(np.zeros(3), abs=0.01)
    assert np.all(np.linalg.eigvalsh(relative.covariance) > 0)
    assert (place.child_frame_id, place.header.frame_id) == ("submap_3", "map")
    assert place.transform.translation.x == pytest.approx(20.0)
    # the stamp is that of the scan, by which a back end knows its own node
    assert place.header.stamp.sec == 3


def test_the_state_is_told_once_and_kept_for_late_listeners(ros, city):
    states = ear(ros, city, String, "state", LATCHED)
    for t in (10, 11):
        city.pub["image"].publish(image(t, 2))
        assert ros.spin_until(lambda t=t: city.candidates and city.candidates[-1].header.stamp.sec == t)
    assert ros.spin_until(lambda: states)
    ros.spin_until(lambda: False, 0.1)
    assert [m.data for m in states] == ["MATCHED"]
    late = ear(ros, city, String, "state", LATCHED)
    assert ros.spin_until(lambda: late and late[0].data == "MATCHED")


def test_markers_show_route_belief_and_the_line_to_the_matched_submap(ros, city):
    heard = ear(ros, city, MarkerArray, "markers")
    for t, place in ((10.0, 1), (11.0, 2)):
        city.pub["image"].publish(image(t, place))
        assert ros.spin_until(lambda t=t: heard and heard[-1].markers[0].header.stamp.sec == t)
    markers = heard[-1].markers
    assert markers[0].action == Marker.DELETEALL
    assert {m.ns for m in markers[1:]} == {"route", "belief", "candidates", "match", "base", "state"}
    assert {m.header.frame_id for m in markers} == {"map"}
    route = next(m for m in markers if m.ns == "route")
    assert [(round(p.x), round(p.y)) for p in route.points] == [(10, 0), (20, 0)]
    line = next(m for m in markers if m.ns == "match")
    assert round(line.points[1].x) == 20
    assert next(m for m in markers if m.ns == "state").text.startswith("MATCHED ")
    assert len({(m.ns, m.id) for m in markers[1:]}) == len(markers) - 1


def test_the_picture_shows_the_image_beside_the_ranges_of_the_same_direction(ros, city):
    heard = ear(ros, city, Image, "comparison")
    city.pub["image"].publish(image(10.0, 2))
    assert ros.spin_until(lambda: heard)
    message = heard[0]
    assert message.encoding == "rgb8"
    rgb = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    left, right = rgb[8:-8, 10:640].astype(float), rgb[8:-8, 663:1293].astype(float)
    # the picture's grey is range / 40 m; on the right near is yellow with much green, far is dark
    assert np.corrcoef(left[..., 0].mean(0), right[..., 1].mean(0))[0, 1] < -0.9
    assert np.corrcoef(left[:, ::-1, 0].mean(0), right[..., 1].mean(0))[0, 1] > -0.5


def test_nothing_is_drawn_while_nobody_listens(ros, city, monkeypatch):
    def refuse(*_):
        raise AssertionError("drawn for nobody")
    monkeypatch.setattr("ms2cl_ros.ros.outputs.marker_array", refuse)
    monkeypatch.setattr("ms2cl_ros.ros.outputs.loop_closure", refuse)
    monkeypatch.setattr("ms2cl_ros.tools.side_by_side.SideBySide.draw", refuse)
    city.pub["image"].publish(image(10.0, 2))
    assert ros.spin_until(lambda: city.matches)
    assert not city.matcher.health.dropped


def asked(ros, city, kind, name, request, meanwhile=lambda: None):
    client = city.node.create_client(kind, f"place_matcher/{name}")
    assert ros.spin_until(client.service_is_ready)
    answer = client.call_async(request)

    def done():
        meanwhile()
        return answer.done()
    assert ros.spin_until(done)
    return answer.result()


def test_relocalize_searches_anew_and_answers_with_pose_reliability_and_candidates(ros, city):
    t = iter(np.arange(20.0, 60.0, 0.1))
    answer = asked(ros, city, Trigger, "relocalize", Trigger.Request(),
                   lambda: city.pub["image"].publish(image(next(t), 3)))
    assert answer.success
    told = json.loads(answer.message)
    assert told["state"] == "MATCHED"
    assert 0.5 < told["reliability"] <= 1.0
    assert told["pose"]["x"] == pytest.approx(30.0, abs=0.01)
    assert told["candidates"][0]["submap"] == 4
    assert len(told["candidates"]) == 5


def test_relocalize_without_images_says_why_after_a_while(ros, city, monkeypatch):
    monkeypatch.setattr("ms2cl_ros.ros.matcher_services.PATIENCE", 0.3)
    answer = asked(ros, city, Trigger, "relocalize", Trigger.Request())
    assert not answer.success
    told = json.loads(answer.message)
    assert (told["state"], told["images"], told["reliability"]) == ("LOST", 0, 0.0)
    assert told["why"]


def test_a_matcher_that_is_disabled_passes_images_over_and_says_so(ros, city):
    assert asked(ros, city, SetBool, "set_enabled", SetBool.Request(data=False)).success
    city.pub["image"].publish(image(10.0, 2))
    assert ros.spin_until(lambda: city.matcher.health.skipped["disabled by ~/set_enabled"])
    assert not asked(ros, city, Trigger, "relocalize", Trigger.Request()).success
    assert not city.candidates
    assert asked(ros, city, SetBool, "set_enabled", SetBool.Request(data=True)).success
    city.pub["image"].publish(image(11.0, 2))
    assert ros.spin_until(lambda: city.matches)


def test_diagnostics_tell_state_probability_and_entropy(ros, city):
    city.pub["image"].publish(image(10.0, 2))
    assert ros.spin_until(lambda: city.matches)
    name = "place_matcher: matching"
    assert ros.spin_until(lambda: city.status.get(name, (0, "", {}))[2].get("state") == "MATCHED")
    values = city.status[name][2]
    assert 0.5 <= float(values["probability of the best place"]) <= 1.0
    assert 0.0 <= float(values["belief: entropy, bits"]) < 8.0
    assert values["share of the last 100 images matched"] == "1.00"


def named(tree):
    """Every string of a configuration, keys too, that looks like a topic of ours."""
    if isinstance(tree, dict):
        return {n for pair in tree.items() for part in pair for n in named(part)}
    if isinstance(tree, list):
        return {n for part in tree for n in named(part)}
    ours = isinstance(tree, str) and tree.startswith(("/place_matcher/", "/submap_mapper/"))
    return {tree.split(".")[0]} if ours else set()


@pytest.mark.parametrize("file", ["ms2cl.rviz", "ms2cl.foxglove.json"])
def test_the_viewers_configurations_name_topics_that_are_there(ros, city, tiny_model, tmp_path, file):
    ros.node(SubmapMapper, settings(tiny_model, tmp_path))
    shown = named(yaml.safe_load((ROOT / "rviz" / file).read_text()))
    assert len(shown) >= 5
    assert ros.spin_until(lambda: all(city.node.count_publishers(topic) for topic in shown))


def test_back_ends_are_told_by_the_node(ros, drive, tiny_model, tmp_path):
    from backend_receivers import Amcl
    amcl = Amcl(ros)
    matcher = ros.node(PlaceMatcher, settings(tiny_model, tmp_path, **ALONE, backends__names=["initialpose_amcl"],
                                              backends__retry=0.1))
    drive.connected("image", "camera_info")
    drive.pub["camera_info"].publish(camera_info(9.0))
    assert ros.spin_until(lambda: matcher._info)
    drive.pub["image"].publish(image(10.0, 3))
    assert ros.spin_until(lambda: amcl.taken)
    assert amcl.taken[0].pose.pose.position.x == pytest.approx(30.0, abs=0.01)
    name = "place_matcher: matching"
    assert ros.spin_until(lambda: drive.status.get(name, (0, "", {}))[2].get("initialpose_amcl: state") == "taken")
