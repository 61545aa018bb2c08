# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two robots, each with both nodes, and one PostgreSQL: they map, find their places in each other's submaps, and lose
nothing while the server is away."""

from __future__ import annotations

from collections import Counter

import postgres_server
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("psycopg", reason="the extra [fleet] is not installed")
if postgres_server.programs() is None:
    pytest.skip(postgres_server.MISSING, allow_module_level=True)
from robot import Robot, settings
from synthetic_messages import camera_info, image

from ms2cl_ros.core import sidecar
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.nodes.place_matcher import PlaceMatcher
from ms2cl_ros.nodes.submap_mapper import SubmapMapper
from ms2cl_ros.ros import health

pytestmark = pytest.mark.usefixtures("hurry")
PATIENCE = 60.0


class Rover(Robot):
    """A robot with both nodes in a namespace, working on its own cache of a shared map."""

    def __init__(self, ros, name, url, tiny_model, tmp_path, **more):
        super().__init__(ros, name)
        self.name = name
        # each image stands for itself: these robots leap from place to place
        values = settings(tiny_model, tmp_path, store__database=f"{url}?robot={name}",
                          store__cache=str(tmp_path / f"{name}.db"), trust__motion="none", trust__target_precision=0.5,
                          **more)
        self.mapper = ros.node(SubmapMapper, values, namespace=name)
        self.matcher = ros.node(PlaceMatcher, values, namespace=name)
        self.connected("points", "odometry", "image", "camera_info")

    def map(self, places):
        for place in places:
            done = self.mapper.health.processed
            self.drive(1.0 + place, place)
            assert self.ros.spin_until(lambda: self.mapper.health.processed > done, PATIENCE)  # noqa: B023

    def knows(self, count):
        return self.ros.spin_until(lambda: self.matcher.map.store.count() == count, PATIENCE)

    def finds(self, place, t):
        """Whether an image of the place is matched within half a metre."""
        self.matches.clear()
        self.pub["camera_info"].publish(camera_info(t))
        self.ros.spin_until(lambda: self.matcher._info)
        self.pub["image"].publish(image(t, place))
        assert self.ros.spin_until(lambda: self.matches, PATIENCE)
        return abs(self.matches[0].pose.pose.position.x - 10.0 * place) < 0.5

    def says(self, node, key):
        return self.status.get(f"{self.name}/{node}", (0, "", {}))[2].get(key)


def test_two_robots_map_and_find_each_others_places_while_the_server_comes_and_goes(ros, server, tiny_model, tmp_path):
    url = server.database()
    a, b = (Rover(ros, name, url, tiny_model, tmp_path) for name in ("a", "b"))
    a.map(range(4))
    b.map(range(4, 8))
    assert a.knows(8) and b.knows(8)
    assert [a.finds(place, 20.0 + place) for place in range(4, 8)] == [True] * 4
    assert [b.finds(place, 20.0 + place) for place in range(4)] == [True] * 4

    server.kill()
    a.map(range(8, 11))
    b.map(range(11, 14))
    assert ros.spin_until(lambda: a.says("submap_mapper: mapping", "shared map: state") == "away", PATIENCE)
    assert ros.spin_until(lambda: b.says("place_matcher: matching", "shared map: waiting") == "3", PATIENCE)
    assert [a.finds(place, 40.0 + place) for place in (5, 9)] == [True] * 2
    assert ros.spin_until(lambda: "3 submaps wait to be sent" in a.status["a/submap_mapper: mapping"][1], PATIENCE)
    assert a.status["a/submap_mapper: mapping"][0] == health.WARN

    server.start()
    assert a.knows(14) and b.knows(14)
    assert [a.finds(place, 60.0 + place) for place in range(11, 14)] == [True] * 3
    assert [b.finds(place, 60.0 + place) for place in range(8, 11)] == [True] * 3
    assert ros.spin_until(lambda: b.says("submap_mapper: mapping", "shared map: state") == "in step", PATIENCE)
    with open_map(url, sidecar.load(tiny_model), write=False) as shared:
        assert Counter(round(T[0, 3]) for _, _, T in shared.poses()) == {10 * place: 1 for place in range(14)}
        assert shared.check() == []
        assert sorted(s.submaps for s in shared.sessions()) == [7, 7]


def test_one_wrong_match_does_not_send_for_another_part_of_the_map(ros, server, tiny_model, tmp_path, monkeypatch):
    rover, asked = Rover(ros, "a", server.database(), tiny_model, tmp_path), []
    rover.map(range(4))
    assert rover.knows(4)
    monkeypatch.setattr(rover.matcher.map.store, "look_around", lambda xy: asked.append(xy))
    assert all(rover.finds(place, 20.0 + i) for i, place in enumerate([1, 1, 1, 3, 1, 1, 1, 1, 1, 3]))
    assert ros.spin_until(lambda: len(asked) == 2)
    assert [round(float(x)) for x, _ in asked] == [10, 10]


def test_limits_of_one_robot_do_not_shrink_a_shared_map(ros, server, tiny_model, tmp_path):
    rover = Rover(ros, "a", server.database(), tiny_model, tmp_path, store__max_submaps=2)
    rover.map(range(4))
    assert rover.mapper.store.count() == 4


def test_a_robot_starts_and_works_while_the_server_is_away_and_keeps_the_password_to_itself(ros, tiny_model, tmp_path):
    rover = Rover(ros, "a", "postgresql://robot:secret@127.0.0.1:1/fleet", tiny_model, tmp_path)
    rover.map([0, 1])
    assert rover.knows(2)
    assert rover.finds(1, 20.0)
    assert ros.spin_until(lambda: rover.says("place_matcher: matching", "shared map: state") == "away", PATIENCE)
    assert not any("secret" in str(s) for s in rover.status.values())
