# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Settings as ROS parameters: all described, all bounded, nothing unknown taken in silence."""

from __future__ import annotations

import pytest

from ms2cl_ros.core.config import Config, settings
from ms2cl_ros.core.errors import ConfigError

pytest.importorskip("rclpy")
from rclpy.parameter import Parameter

from ms2cl_ros.ros import parameters

STAGES = tuple(sorted({name.split(".")[0] for name in settings()}))


@pytest.mark.parametrize("name", settings())
def test_every_setting_is_declared_with_its_description_and_range(ros, name):
    node = ros.node("declared")
    parameters.declare(node, STAGES)
    d, s = node.describe_parameter(name), settings()[name]
    assert d.description == s.description
    assert ("unconfigured" in d.additional_constraints) == (name not in parameters.LIVE)
    assert s.choices == () or all(choice in d.additional_constraints for choice in s.choices)
    if s.low is not None:
        ranges = d.floating_point_range or d.integer_range
        assert (ranges[0].from_value, ranges[0].to_value) == (s.low, s.high)


def test_without_overrides_the_config_is_the_default_one(ros):
    assert parameters.declare(ros.node("plain"), STAGES) == Config()


def test_overrides_arrive_in_the_config(ros):
    given = {"submaps.distance": 2.5, "frames.pose_source": "tf", "encoder.providers": ["A", "B"],
             "frames.lidar_extrinsics": [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0]}
    config = parameters.declare(ros.node("given", given), STAGES)
    assert (config.submaps.distance, config.frames.pose_source) == (2.5, "tf")
    assert config.encoder.providers == ["A", "B"]
    assert config.frames.lidar_extrinsics == [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(("given", "said"), [
    ({"submaps.distanse": 2.0}, r"unknown setting 'submaps.distanse'; there are: submaps.distance"),
    ({"speed": 2.0}, r"unknown setting 'speed'.*submaps\.\*"),
    ({"submaps.distance": -1.0}, "submaps.distance must lie between"),
    ({"submaps.headings": 0}, "submaps.headings must lie between"),
    ({"frames.pose_source": "gps"}, "frames.pose_source is one of odometry, pose, tf"),
    ({"submaps.distance": 5}, r"submaps.distance is a decimal number, got the integer 5: write 5\.0"),
    ({"frames.camera_extrinsics": [0, 0, 1, 0, 0, 0, 1]}, r"write \[0\.0, 0\.0, 1\.0"),
    ({"frames.camera_extrinsics": [0.0, 1.0]}, "wants a list like"),
    ({"submaps.headings": "many"}, "wants a int"),
])
def test_a_wrong_override_is_refused_with_the_remedy(ros, given, said):
    with pytest.raises(ConfigError, match=said):
        parameters.declare(ros.node("wrong", given), STAGES)


def test_settings_of_the_other_node_in_a_shared_file_are_fine(ros):
    node = ros.node("shared", {"retrieval.candidates": 5, "qos_overrides./points.subscription.depth": 2})
    assert parameters.declare(node, ("submaps",)) == Config()
    assert not node.has_parameter("retrieval.candidates")


def test_a_live_setting_changes_and_says_so(ros):
    node, seen = ros.node("live"), []
    parameters.declare(node, STAGES)
    parameters.on_change(node, seen.append)
    assert node.set_parameters([Parameter("frames.pose_wait", value=2.0)])[0].successful
    assert seen[0].frames.pose_wait == 2.0


def test_every_setting_can_be_set_while_the_node_is_unconfigured(ros):
    node, configured = ros.node("idle"), False
    parameters.declare(node, STAGES, lambda: configured)
    assert node.set_parameters([Parameter("submaps.distance", value=3.0)])[0].successful
    assert not node.set_parameters([Parameter("frames.pose_source", value="gps")])[0].successful
    configured = True
    assert not node.set_parameters([Parameter("submaps.distance", value=4.0)])[0].successful
    assert parameters.read_config(node).submaps.distance == 3.0


@pytest.mark.parametrize(("name", "value", "said"), [
    ("frames.pose_wait", 99.0, "range"), ("frames.pose_wait", 2, "ype"),
    ("submaps.distance", 3.0, "only while the node is unconfigured: deactivate"),
])
def test_a_change_outside_of_range_type_or_permission_is_refused(ros, name, value, said):
    node = ros.node("strict")
    config = parameters.declare(node, STAGES)
    result = node.set_parameters([Parameter(name, value=value)])[0]
    assert not result.successful
    assert said in result.reason
    assert parameters.read_config(node) == config
