# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The nodes as managed nodes: walked through by their services, with traffic on all the while."""

from __future__ import annotations

import json
import threading

import pytest

pytest.importorskip("rclpy")
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from robot import Robot, settings
from std_msgs.msg import String
from std_srvs.srv import Trigger
from synthetic_messages import camera_info, image

from ms2cl_ros.core.config import EncoderConfig
from ms2cl_ros.nodes.both import shared_encoders
from ms2cl_ros.nodes.place_matcher import PlaceMatcher
from ms2cl_ros.nodes.submap_mapper import SubmapMapper

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
UNCONFIGURED = State.PRIMARY_STATE_UNCONFIGURED
INACTIVE, ACTIVE = State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE
STATUS = {"submap_mapper": "submap_mapper: mapping", "place_matcher": "place_matcher: matching"}


class Manager(Robot):
    """A robot's drivers and its lifecycle manager."""

    def ask(self, kind, name, **fields):
        client = self.node.create_client(kind, name)
        assert self.ros.spin_until(client.service_is_ready), name
        answer = client.call_async(kind.Request(**fields))
        assert self.ros.spin_until(answer.done), name
        self.node.destroy_client(client)
        return answer.result()

    def change(self, node, transition):
        return self.ask(ChangeState, f"{node}/change_state", transition=Transition(id=transition)).success

    def state(self, node):
        return self.ask(GetState, f"{node}/get_state").current_state.id

    def set(self, node, name, value):
        wanted = [Parameter(name, value=value).to_parameter_msg()]
        return self.ask(SetParameters, f"{node}/set_parameters", parameters=wanted).results[0]

    def says(self, node, text, level):
        return self.ros.spin_until(lambda: self.status.get(STATUS[node], (9, ""))[0] == level
                                   and text in self.status[STATUS[node]][1])


@pytest.fixture
def manager(ros):
    return Manager(ros)


def waiting(make, ros, tiny_model, tmp_path, **more):
    return ros.node(make, settings(tiny_model, tmp_path, autostart=False, **more))


def test_a_mapper_walks_through_its_life_and_maps_only_while_active(manager, ros, tiny_model, tmp_path):
    mapper = waiting(SubmapMapper, ros, tiny_model, tmp_path)
    assert manager.state("submap_mapper") == UNCONFIGURED
    assert manager.says("submap_mapper", "unconfigured: `ros2 lifecycle set /submap_mapper configure`", 1)
    assert not (tmp_path / "map.db").exists()
    assert manager.change("submap_mapper", CONFIGURE)
    assert manager.state("submap_mapper") == INACTIVE
    manager.connected("points", "odometry")
    manager.drive(1.0, 0)
    assert ros.spin_until(lambda: mapper.health.skipped["the node is not active"])
    assert manager.says("submap_mapper", "not active", 1)
    assert manager.path is None
    assert manager.change("submap_mapper", ACTIVATE)
    assert manager.state("submap_mapper") == ACTIVE
    assert ros.spin_until(lambda: manager.path is not None and not manager.path.poses)
    manager.drive(2.0, 1)
    assert ros.spin_until(lambda: manager.path.poses)
    assert mapper.store.count() == 1
    assert manager.change("submap_mapper", DEACTIVATE)
    manager.drive(3.0, 2)
    ros.spin_until(lambda: mapper.health.skipped["the node is not active"] > 2)
    assert mapper.store.count() == 1
    assert manager.change("submap_mapper", CLEANUP)
    assert manager.state("submap_mapper") == UNCONFIGURED
    assert ros.spin_until(lambda: not manager.pub["points"].get_subscription_count())
    # the map is free for others
    assert ros.node(SubmapMapper, settings(tiny_model, tmp_path), namespace="other").store.count() == 1


def test_a_matcher_can_be_configured_again_and_again_with_nothing_left_behind(manager, ros, tiny_model, tmp_path):
    mapper = ros.node(SubmapMapper, settings(tiny_model, tmp_path))
    manager.connected("points", "odometry")
    manager.drive(1.0, 3)
    assert ros.spin_until(lambda: mapper.store.count() == 1)
    matcher = waiting(PlaceMatcher, ros, tiny_model, tmp_path)
    bare, threads = len(matcher._entities()), threading.active_count()
    states = []
    manager.node.create_subscription(String, "place_matcher/state", lambda m: states.append(m.data), 10)
    for round_ in range(3):
        assert manager.change("place_matcher", CONFIGURE)
        assert manager.change("place_matcher", ACTIVATE)
        manager.connected("image", "camera_info")
        manager.pub["camera_info"].publish(camera_info(9.0))
        assert ros.spin_until(lambda: matcher._info)
        manager.pub["image"].publish(image(10.0 + round_, 3))
        assert ros.spin_until(lambda n=round_: len(manager.matches) == n + 1)
        assert manager.change("place_matcher", DEACTIVATE)
        manager.pub["image"].publish(image(10.5 + round_, 3))
        assert ros.spin_until(lambda: matcher.health.skipped["the node is not active"])
        assert manager.change("place_matcher", CLEANUP)
        assert (len(matcher._entities()), threading.active_count()) == (bare, threads)
    assert len(manager.matches) == 3
    # a latched "MATCHED" must not outlive the matching
    assert ros.spin_until(lambda: states[-1] == "LOST")
    assert states.count("MATCHED") == 3


def test_an_inactive_matcher_answers_relocalize_at_once_with_the_reason(manager, ros, tiny_model, tmp_path):
    waiting(PlaceMatcher, ros, tiny_model, tmp_path)
    assert manager.change("place_matcher", CONFIGURE)
    answer = manager.ask(Trigger, "place_matcher/relocalize")
    assert not answer.success
    assert "not active" in json.loads(answer.message)["why"]


@pytest.mark.parametrize(("node", "make"), [("place_matcher", PlaceMatcher), ("submap_mapper", SubmapMapper)])
def test_what_configuring_refuses_leaves_the_node_unconfigured_with_the_reason_until_it_is_mended(
        manager, ros, tiny_model, tmp_path, node, make):
    made = waiting(make, ros, tiny_model, tmp_path, encoder__model="nothing")
    bare = len(made._entities())
    assert not manager.change(node, CONFIGURE)
    assert manager.state(node) == UNCONFIGURED
    assert manager.says(node, "no model 'nothing'", 2)
    assert len(made._entities()) == bare
    assert manager.set(node, "encoder.model", str(tiny_model)).successful
    assert manager.change(node, CONFIGURE)
    refused = manager.set(node, "encoder.model", "another")
    assert not refused.successful
    assert "only while the node is unconfigured" in refused.reason


def test_a_transition_that_is_not_possible_is_refused_and_the_node_lives_on(manager, ros, tiny_model, tmp_path):
    waiting(SubmapMapper, ros, tiny_model, tmp_path)
    assert not manager.change("submap_mapper", ACTIVATE)
    assert not manager.change("submap_mapper", 77)
    assert manager.state("submap_mapper") == UNCONFIGURED


def test_live_settings_of_the_matcher_hold_from_the_next_image_on(manager, ros, tiny_model, tmp_path):
    mapper = ros.node(SubmapMapper, settings(tiny_model, tmp_path))
    manager.connected("points", "odometry")
    for place in range(3):
        manager.drive(1.0 + place, place)
        assert ros.spin_until(lambda n=place + 1: mapper.store.count() == n)
    matcher = ros.node(PlaceMatcher, settings(tiny_model, tmp_path))
    manager.connected("image", "camera_info")
    manager.pub["camera_info"].publish(camera_info(9.0))
    assert ros.spin_until(lambda: matcher._info)
    manager.pub["image"].publish(image(10.0, 2))
    assert ros.spin_until(lambda: manager.matches and manager.candidates and len(manager.candidates[-1].poses) == 3)
    assert manager.set("place_matcher", "retrieval.candidates", 2).successful
    manager.pub["image"].publish(image(11.0, 2))
    assert ros.spin_until(lambda: len(manager.candidates[-1].poses) == 2)
    assert manager.set("place_matcher", "retrieval.min_score", 1.0).successful
    assert manager.set("place_matcher", "trust.target_precision", 0.9999).successful
    manager.pub["image"].publish(image(12.0, 2))
    assert ros.spin_until(lambda: matcher.health.skipped["no candidate reached retrieval.min_score"])
    assert matcher.map.opened.matcher.trust._threshold() == 0.9999
    assert not manager.set("place_matcher", "retrieval.min_score", 2.0).successful


def test_nodes_in_one_process_share_one_encoder_while_they_want_it_on_the_same_terms(tiny_model):
    load, config = shared_encoders(), EncoderConfig(model=str(tiny_model))
    assert load(config) is load(EncoderConfig(model=str(tiny_model)))
    assert load(EncoderConfig(model=str(tiny_model), threads=2)) is not load(config)
