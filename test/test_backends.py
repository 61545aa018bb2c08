# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters against receivers that take and refuse as the real back ends do."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("rclpy")
from backend_receivers import LIVE, Amcl, LioSam, RtabmapGraph, SlamToolbox, Told, closure, match, placed

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.geometry import yaw
from ms2cl_ros.core.loop_closure import LiveSession, LoopClosure, seen_from_base
from ms2cl_ros.core.maps.store import Session
from ms2cl_ros.core.messages import to_pose
from ms2cl_ros.core.types import View
from ms2cl_ros.ros.backends.backend import Backoff


def test_amcl_takes_the_pose_of_the_image_with_a_covariance_that_it_does_not_refuse(ros):
    told, amcl = Told(ros, ["initialpose_amcl"]), Amcl(ros)
    told.tell(match(10.0, 5.0, degrees=30.0))
    assert ros.spin_until(lambda: amcl.taken or amcl.refused)
    assert not amcl.refused
    message = amcl.taken[0]
    assert (message.header.frame_id, message.header.stamp.sec) == ("map", 10)
    pose = to_pose(message)
    assert pose.T_map_base[:3, 3] == pytest.approx([5.0, 0.0, 0.0])
    assert yaw(pose.T_map_base) == pytest.approx(np.radians(30.0))
    assert np.array_equal(pose.covariance, np.diag(np.diag(pose.covariance)))
    assert np.diag(pose.covariance)[[0, 1, 5]] == pytest.approx([0.5, 0.5, 0.01])


def test_a_back_end_in_a_namespace_is_told_there(ros):
    told, amcl = Told(ros, ["initialpose_amcl"], namespace="/nav/"), Amcl(ros, namespace="nav")
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: amcl.taken and told.backend.settled)


def test_a_pose_that_amcl_confirms_is_not_sent_again(ros):
    told, amcl = Told(ros, ["initialpose_amcl"]), Amcl(ros)
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: told.backend.settled)
    told.tell(match(10.1, 5.2))
    ros.spin_until(lambda: False, 0.5)
    assert (len(amcl.taken), told.says("state")) == (1, "taken")


def test_amcl_that_is_right_already_is_left_alone(ros):
    told, amcl = Told(ros, ["initialpose_amcl"], retry=0.3), Amcl(ros)
    amcl.scan(9.0, 4.5)
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: told.backend.settled)
    assert not amcl.taken


def test_amcl_that_has_lost_itself_is_seeded_again_after_several_matches(ros):
    told, amcl = Told(ros, ["initialpose_amcl"], disagreements=3), Amcl(ros)
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: told.backend.settled)
    amcl.scan(20.0, 60.0)
    assert ros.spin_until(lambda: told.backend._own.T_map_base[0, 3] == 60.0)
    for i in range(2):
        told.tell(match(20.0 + i, 10.0))
    ros.spin_until(lambda: False, 0.3)
    assert len(amcl.taken) == 1
    told.tell(match(22.0, 10.0))
    assert ros.spin_until(lambda: len(amcl.taken) == 2 and told.backend.settled)
    assert amcl.taken[1].pose.pose.position.x == 10.0
    assert any("has disagreed with the last 3 matches" in text for text in told.warned)


def test_poses_that_amcl_refuses_are_repeated_with_back_off_and_then_given_up_with_the_reasons(ros):
    told, amcl = Told(ros, ["initialpose_amcl"], attempts=3), Amcl(ros, frame="world")
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: told.says("state") == "gave up")
    assert amcl.refused == ["not in the global frame"] * 3
    assert ros.spin_until(lambda: told.warned)
    assert "none of 3 poses sent on /initialpose was confirmed on amcl_pose" in told.warned[0]
    assert "'map'" in told.warned[0]
    amcl.frame = "map"
    told.backends.forget()
    told.tell(match(30.0, 6.0))
    assert ros.spin_until(lambda: told.backend.settled)


def test_a_subscriber_that_comes_late_is_waited_for(ros):
    told = Told(ros, ["initialpose_amcl"], attempts=1)
    told.tell(match(10.0, 5.0))
    ros.spin_until(lambda: False, 0.5)
    assert (told.backend.sent, told.says("state")) == (0, "nobody subscribes")
    amcl = Amcl(ros)
    assert ros.spin_until(lambda: amcl.taken)


def test_a_localiser_that_is_started_anew_is_told_again(ros):
    told, amcl = Told(ros, ["initialpose_amcl"]), Amcl(ros)
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: told.backend.settled)
    ros.remove(amcl.node)
    assert ros.spin_until(lambda: not told.backend.settled)
    again = Amcl(ros)
    told.tell(match(40.0, 8.0))
    assert ros.spin_until(lambda: again.taken and told.backend.settled)
    assert again.taken[-1].pose.pose.position.x == 8.0


@pytest.mark.parametrize("state", ["LOST", "TRACKING"])
def test_a_match_that_is_not_promised_is_told_to_nobody(ros, state):
    told, amcl = Told(ros, ["initialpose_amcl", "lio_loop"]), Amcl(ros)
    lio = LioSam(ros, range(100))
    told.tell(match(90.0, 5.0, state=state), closure(90.0, 20.0))
    ros.spin_until(lambda: False, 0.5)
    assert not amcl.taken
    assert not lio.loops


@pytest.mark.parametrize(("name", "own"), [("initialpose_slam_toolbox", "pose"),
                                           ("initialpose_rtabmap", "localization_pose")])
def test_a_pose_for_back_ends_that_ignore_the_stamp_is_carried_forward_by_odometry(ros, name, own):
    told, slam = Told(ros, [name]), SlamToolbox(ros, own, now=10.5)
    told.drive(9.9, 0.0)
    told.drive(10.0, 0.1)
    told.drive(10.5, 2.1)
    told.tell(match(10.0, 5.0, degrees=90.0))
    assert ros.spin_until(lambda: told.backend.settled)
    message = slam.taken[0]
    # 2 m ahead for a base that looks along the map's y
    assert (message.pose.pose.position.x, message.pose.pose.position.y) == (pytest.approx(5.0), pytest.approx(2.0))
    assert message.header.stamp.nanosec == 500_000_000


def test_without_odometry_a_match_of_old_is_not_passed_off_as_the_pose_of_now(ros):
    told, slam = Told(ros, ["initialpose_slam_toolbox"]), SlamToolbox(ros)
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: told.warned)
    assert "cannot be carried forward to now: give the matcher odometry" in told.warned[0]
    assert not slam.taken
    now = told.node.get_clock().now().nanoseconds * 1e-9
    slam.now = now
    told.tell(match(now, 5.0))
    assert ros.spin_until(lambda: slam.taken)


def test_lio_sam_gets_the_two_stamps_of_a_revisit_in_its_own_drive(ros):
    told, lio = Told(ros, ["lio_loop"]), LioSam(ros, range(0, 100, 2))
    assert ros.spin_until(lambda: told.says("not sent") == "-")
    told.tell(match(90.0, 1.0), closure(90.0, 21.0))
    assert ros.spin_until(lambda: lio.loops)
    assert lio.loops == [(45, 10)]
    assert not lio.dropped


@pytest.mark.parametrize(("pair", "live", "reason"), [
    ((90.0, 70.0), LIVE, "the submap is not 30 s old"),
    ((90.0, 20.0), Session(3, "", 0, 5), "the submap is not of the drive that is being mapped"),
    ((90.0, 20.0), None, "the submap is not of the drive that is being mapped"),
])
def test_lio_sam_is_spared_what_it_would_drop_or_mistake(ros, pair, live, reason):
    told, lio = Told(ros, ["lio_loop"]), LioSam(ros, range(100))
    assert ros.spin_until(lambda: told.says("not sent") == "-")
    told.tell(match(90.0, 1.0), closure(*pair), live)
    assert ros.spin_until(lambda: told.says("not sent") == reason)
    ros.spin_until(lambda: False, 0.2)
    assert not lio.loops
    assert not lio.dropped


def test_stamps_that_lio_sam_has_no_keyframes_for_are_not_told(ros):
    told, lio = Told(ros, ["lio_loop"]), LioSam(ros, range(50, 100))
    assert ros.spin_until(lambda: told.says("not sent") == "-" and lio.path.get_subscription_count())
    lio.show()
    assert ros.spin_until(lambda: told.backend._span)
    told.tell(match(90.0, 1.0), closure(90.0, 20.0))
    assert ros.spin_until(lambda: told.says("not sent") == "its path does not reach to the image or to the submap")
    told.tell(match(99.0, 1.0), closure(99.0, 55.0))
    assert ros.spin_until(lambda: lio.loops == [(49, 5)])


def test_lio_sam_gets_one_pair_a_second(ros):
    told, lio = Told(ros, ["lio_loop"]), LioSam(ros, range(100))
    assert ros.spin_until(lambda: told.says("not sent") == "-")
    for i in range(10):
        told.tell(match(90.0 + i * 0.1, 1.0), closure(90.0 + i * 0.1, 20.0))
    assert ros.spin_until(lambda: lio.loops)
    ros.spin_until(lambda: False, 0.3)
    assert len(lio.loops) == 1


@pytest.fixture
def heard(ros):
    """Transforms on /tf."""
    tf2 = pytest.importorskip("tf2_msgs.msg", reason="build it with test/build_messages.py")
    transforms = []
    ros.node("listener").create_subscription(tf2.TFMessage, "/tf", lambda m: transforms.extend(m.transforms), 100)
    return transforms


def test_map_to_odom_puts_the_odometrys_pose_at_the_match(ros, heard):
    told = Told(ros, [], publish_tf=True)
    told.tell(match(10.0, 5.0, z=0.0, degrees=90.0))
    told.drive(9.5, 3.0)
    told.drive(10.5, 5.0, degrees=20.0)
    assert ros.spin_until(lambda: heard)
    t = heard[0]
    assert (t.header.frame_id, t.child_frame_id) == ("map", "odom")
    assert t.header.stamp.sec == 10
    assert t.header.stamp.nanosec == 800_000_000
    # at 10.0 s the odometry is half way: (4, 100), turned by 10 degrees
    v, q = t.transform.translation, t.transform.rotation
    from ms2cl_ros.core.geometry import transform
    T_map_odom = transform([v.x, v.y, v.z], [q.x, q.y, q.z, q.w])
    assert np.allclose(T_map_odom @ placed(4.0, 100.0, 0.0, 10.0), placed(5.0, 0.0, 0.0, 90.0), atol=1e-9)


def test_map_to_odom_goes_on_with_the_odometry_and_is_silent_when_lost(ros, heard):
    told = Told(ros, [], publish_tf=True)
    told.drive(9.9, 3.0)
    told.drive(10.0, 3.0)
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: heard)
    told.drive(11.0, 4.0)
    told.tell(match(11.0, 50.0, state="TRACKING"))
    assert ros.spin_until(lambda: heard[-1].header.stamp.sec == 11)
    assert heard[-1].transform.translation.x == pytest.approx(2.0)
    told.sees_nothing(12.0, "LOST")
    assert ros.spin_until(lambda: told.says("state") == "no match")
    heard.clear()
    told.drive(12.0, 5.0)
    ros.spin_until(lambda: False, 0.4)
    assert not heard


def test_map_to_odom_ends_when_no_image_comes_any_more(ros, heard):
    told = Told(ros, [], publish_tf=True)
    told.drive(9.9, 3.0)
    told.drive(10.0, 3.0)
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: heard)
    told.drive(19.0, 3.0)
    assert ros.spin_until(lambda: heard[-1].header.stamp.sec == 19)
    told.drive(20.5, 3.0)
    assert ros.spin_until(lambda: told.says("state") == "no match")
    assert "no image for 10 s: map -> odom is not published any more" in told.warned[0]


def test_map_to_odom_of_an_odometry_that_begins_anew_waits_for_a_match(ros, heard):
    told = Told(ros, [], publish_tf=True)
    told.drive(9.9, 3.0)
    told.drive(10.0, 3.0)
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: heard)
    told.drive(1.0, 0.0)
    assert ros.spin_until(lambda: told.says("state") == "no match")


def test_an_unknown_adapter_is_refused_with_those_there_are(ros):
    with pytest.raises(ConfigError, match=r"'amlc'; there are: initialpose_amcl, .*autoware"):
        Told(ros, ["amlc"])


def test_an_adapter_named_twice_is_refused(ros):
    with pytest.raises(ConfigError, match="has one twice"):
        Told(ros, ["lio_loop", "lio_loop"])


def test_by_default_nobody_is_told(ros):
    node = ros.node("x")
    before = {t for t, _ in node.get_topic_names_and_types()}
    with pytest.raises(IndexError):
        Told(ros, [])
    after = {t for t, _ in node.get_topic_names_and_types()}
    assert after == before


def test_waits_double_up_to_half_a_minute():
    backoff, now, waits = Backoff(1.0, 8), 0.0, []
    while not backoff.exhausted:
        assert backoff.due(now)
        backoff.note(now)
        begun = now
        while not backoff.due(now) and not backoff.failed(now):
            now += 0.5
        waits.append(now - begun)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_rtabmap_gets_a_user_closure_between_the_nodes_around_image_and_submap(ros):
    pytest.importorskip("rtabmap_msgs", reason="build it with test/build_messages.py")
    told, graph = Told(ros, ["rtabmap_link"]), RtabmapGraph(ros, until=61)
    assert ros.spin_until(lambda: told.backend._client.service_is_ready() and graph.publisher.get_subscription_count())
    # at 50.2 s the base stands where the submap of 10.4 s was made, 1 m further ahead
    told.tell(match(50.2, 11.4), closure(50.2, 10.4, T_submap_base=placed(1.0)))
    graph.show()
    assert ros.spin_until(lambda: graph.links)
    link = graph.links[0]
    assert (link.from_id, link.to_id, link.type) == (150, 110, 4)
    # node 150 is 0.2 m behind the image, node 110 is 0.4 m behind the submap: 0.2 - 1.0 - 0.4
    assert link.transform.translation.x == pytest.approx(-1.2)
    assert np.reshape(link.information, (6, 6)) == pytest.approx(np.linalg.inv(
        seen_from_base(closure(50.2, 10.4, T_submap_base=placed(1.0)))[1]))
    graph.show()
    assert ros.spin_until(lambda: told.says("links taken") == "1")


def test_a_link_that_rtabmap_refuses_without_a_word_is_reported(ros, monkeypatch):
    pytest.importorskip("rtabmap_msgs", reason="build it with test/build_messages.py")
    monkeypatch.setattr("ms2cl_ros.ros.backends.rtabmap_link.CONFIRMATION", 0.3)
    told, graph = Told(ros, ["rtabmap_link"]), RtabmapGraph(ros, until=61, refuses=True)
    assert ros.spin_until(lambda: told.backend._client.service_is_ready() and graph.publisher.get_subscription_count())
    told.tell(match(50.2, 11.4), closure(50.2, 10.4))
    graph.show()
    assert ros.spin_until(lambda: graph.links)
    graph.show()
    assert ros.spin_until(lambda: told.says("links refused") == "1")
    assert "did not appear in the graph" in told.warned[0]


def test_a_link_to_another_drives_submap_is_not_asked_for(ros):
    pytest.importorskip("rtabmap_msgs", reason="build it with test/build_messages.py")
    told = Told(ros, ["rtabmap_link"])
    told.tell(match(50.2, 11.4), closure(50.2, 10.4, session=1))
    assert ros.spin_until(lambda: told.says("not sent") == "the submap is not of the drive that is being mapped")


class Growing:
    """A map to which submaps are added."""

    def __init__(self):
        self.stamps = {1: 1_000_000_000}

    def last_view_id(self):
        return 10 * max(self.stamps)

    def views_after(self, last):
        for key in self.stamps:
            for view in (View(np.eye(4), np.zeros(1), np.zeros((1, 2)), id=10 * key - 1),
                         View(np.eye(4), np.zeros(1), np.zeros((1, 2)), rendered=True, id=10 * key)):
                if view.id > last:
                    yield key, np.eye(4), view

    def submap(self, key, views=True):
        return SimpleNamespace(stamp_ns=self.stamps[key])


def test_rtabmap_sees_a_submap_as_a_landmark_when_it_is_mapped_and_again_when_it_is_matched(ros, monkeypatch):
    types = pytest.importorskip("rtabmap_msgs.msg", reason="build it with test/build_messages.py")
    monkeypatch.setattr("ms2cl_ros.ros.backends.rtabmap_landmark.PERIOD", 0.05)
    store, seen = Growing(), []
    told = Told(ros, ["rtabmap_landmark"], store)
    ros.node("rtabmap").create_subscription(types.LandmarkDetection, "landmark_detection", seen.append, 10)
    assert ros.spin_until(lambda: told.backend._store and told.backend._publisher.get_subscription_count())
    store.stamps[2] = 5_000_000_000
    assert ros.spin_until(lambda: seen)
    told.tell(match(90.0, 1.0), closure(90.0, 5.0, submap_id=2, T_submap_base=placed(1.0, 0.5, 0.0, 90.0)))
    assert ros.spin_until(lambda: len(seen) == 2)
    for detection, stamp in zip(seen, (5, 90)):
        assert (detection.id, detection.landmark_frame_id) == (2, "submap_2")
        assert (detection.header.frame_id, detection.header.stamp.sec) == ("base_link", stamp)
    assert seen[0].pose.pose.position.x == 0.0
    # the base stands at (1, 0.5) of the submap and looks along its y
    p = seen[1].pose.pose.position
    assert (p.x, p.y) == (pytest.approx(-0.5), pytest.approx(1.0))
    assert np.all(np.linalg.eigvalsh(np.reshape(seen[1].pose.covariance, (6, 6))) > 0)


def test_the_covariance_of_a_reversed_closure_is_that_of_its_samples():
    rng, C = np.random.default_rng(4), np.diag([0.3, 0.1, 0.2, 0.001, 0.002, 0.003])
    one = LoopClosure(0, 1, 0, 1, np.eye(4), placed(3.0, -2.0, 0.5, 40.0), C)
    T, reversed_ = seen_from_base(one)
    noise = rng.multivariate_normal(np.zeros(6), C, 20000)
    moved = np.tile(one.T_submap_base, (len(noise), 1, 1))
    moved[:, :3, :3] = Rotation.from_rotvec(noise[:, 3:]).as_matrix() @ moved[:, :3, :3]
    moved[:, :3, 3] += noise[:, :3]
    back = np.linalg.inv(moved)
    turns = Rotation.from_matrix(back[:, :3, :3] @ T[:3, :3].T).as_rotvec()
    offsets = np.concatenate([back[:, :3, 3] - T[:3, 3], turns], axis=1)
    assert np.cov(offsets.T) == pytest.approx(reversed_, abs=0.012)


def asked(ros, kind, name, request):
    client = ros.node("client").create_client(kind, name)
    assert ros.spin_until(client.service_is_ready)
    answer = client.call_async(request)
    assert ros.spin_until(answer.done)
    return answer.result()


def test_hdl_localization_finds_both_services_and_gets_the_pose_at_its_clouds_stamp(ros):
    srv = pytest.importorskip("hdl_global_localization.srv", reason="build it with test/build_messages.py")
    told, query = Told(ros, ["hdl_query"]), srv.QueryGlobalLocalization.Request(max_num_candidates=1)
    asked(ros, srv.SetGlobalMap, "/hdl_global_localization/set_global_map", srv.SetGlobalMap.Request())
    query.cloud.header.stamp.sec = 11
    for t, x in ((10.0, 0.0), (10.5, 1.0), (11.0, 2.0)):
        told.drive(t, x)
    name = "/hdl_global_localization/query"
    assert not asked(ros, srv.QueryGlobalLocalization, name, query).poses
    assert "no promised match" in told.warned[0]
    told.tell(match(10.5, 5.0))
    ros.spin_until(lambda: told.backend._match)
    answer = asked(ros, srv.QueryGlobalLocalization, name, query)
    assert answer.poses[0].position.x == pytest.approx(6.0)
    assert answer.header.frame_id == "map"
    assert (len(answer.inlier_fractions), len(answer.errors)) == (1, 1)
    query.cloud.header.stamp.sec = 20
    assert not asked(ros, srv.QueryGlobalLocalization, name, query).poses


def test_autoware_is_asked_again_until_the_vehicle_stands_and_it_succeeds(ros):
    srv = pytest.importorskip("autoware_internal_localization_msgs.srv", reason="build it with test/build_messages.py")
    asked_with = []

    def initialise(request, response):
        asked_with.append(request)
        response.status.success = len(asked_with) == 3
        response.status.code, response.status.message = 1, "The vehicle is not stopped."
        return response
    ros.node("pose_initializer").create_service(srv.InitializeLocalization, "/localization/initialize", initialise)
    told = Told(ros, ["autoware"])
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: len(asked_with) == 1 and told.says("state") == "The vehicle is not stopped. (code 1)")
    assert ros.spin_until(lambda: told.says("state") == "initialised")
    assert len(asked_with) == 3
    request = asked_with[0]
    assert request.method == srv.InitializeLocalization.Request.AUTO
    pose = request.pose_with_covariance[0]
    assert (pose.header.frame_id, pose.pose.pose.position.x) == ("map", 5.0)
    # NDT draws its particles from it: 10 m of height would be no search
    assert np.diag(np.reshape(pose.pose.covariance, (6, 6))) == pytest.approx([0.5, 0.5, 1.0, 0.0025, 0.0025, 0.01])


def test_autoware_that_always_refuses_is_given_up_with_its_last_words(ros):
    srv = pytest.importorskip("autoware_internal_localization_msgs.srv", reason="build it with test/build_messages.py")

    def refuse(_, response):
        response.status.code, response.status.message = 4, "The map does not fit."
        return response
    ros.node("pose_initializer").create_service(srv.InitializeLocalization, "/localization/initialize", refuse)
    told = Told(ros, ["autoware"], attempts=2)
    told.tell(match(10.0, 5.0))
    assert ros.spin_until(lambda: told.warned)
    assert "asked 2 times, the last answer was: The map does not fit. (code 4)" in told.warned[0]


@pytest.mark.parametrize(("name", "package"), [
    ("rtabmap_link", "rtabmap_msgs.msg"), ("rtabmap_landmark", "rtabmap_msgs.msg"),
    ("hdl_query", "hdl_global_localization.srv"), ("autoware", "autoware_internal_localization_msgs.srv"),
])
def test_an_adapter_whose_messages_are_not_installed_is_refused_with_the_remedy(ros, name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"'{name}', which needs {package.split('.')[0]}, .*or take '{name}' out"):
        Told(ros, [name])


def test_a_session_is_live_once_it_grows():
    sessions = [Session(1, "", 10, 5)]
    live = LiveSession(SimpleNamespace(sessions=lambda: list(sessions)))
    assert live.at(100) is None
    sessions.append(Session(2, "", 90, 1))
    assert live.at(100).id == 2
    assert live.at(80) is None
