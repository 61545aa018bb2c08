# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A hundred malformed messages of each kind, drawn from seeds: each is counted, and matches go on in between."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

pytest.importorskip("rclpy")
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from robot import Robot, settings
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointField
from synthetic_messages import camera_info, cloud, compressed, image, odometry, transform, tree

from ms2cl_ros.nodes.place_matcher import PlaceMatcher
from ms2cl_ros.nodes.submap_mapper import SubmapMapper

COUNT, SHARE = 100, 20
NONSENSE = (float("nan"), float("inf"), -float("inf"), 1e308)
HUGE = (0, 1, 7, 2**31, 2**32 - 1)


class Town(Robot):
    """Three places mapped, both nodes alive; `still_works` asks for a match."""

    def __init__(self, ros, tiny_model, tmp_path):
        super().__init__(ros)
        values = settings(tiny_model, tmp_path, trust__motion="none", trust__target_precision=0.5)
        self.mapper, self.matcher = ros.node(SubmapMapper, values), ros.node(PlaceMatcher, values)
        self.connected("points", "odometry", "image", "image/compressed", "camera_info")
        for place in range(3):
            self.drive(1.0 + place, place)
            assert ros.spin_until(lambda n=place + 1: self.mapper.store.count() == n)
        self.time = 10.0

    def later(self):
        self.time += 0.5
        return self.time

    def inform(self, message):
        self.pub["camera_info"].publish(message)
        assert self.ros.spin_until(lambda: self.matcher._info is not None and self.matcher._info == message)

    def still_works(self):
        before, place = len(self.matches), int(self.time * 2) % 3
        self.inform(camera_info(self.later()))
        self.pub["image"].publish(image(self.time, place))
        assert self.ros.spin_until(lambda: len(self.matches) > before), self.matcher.health.verdict()
        assert self.matches[-1].pose.pose.position.x == pytest.approx(10.0 * place, abs=0.01)

    def endure(self, send, counted):
        """Sends COUNT of a kind and waits until each is counted; matches in between."""
        for i in range(COUNT):
            before = counted()
            send(np.random.default_rng(i))
            assert self.ros.spin_until(lambda: counted() > before), i  # noqa: B023
            if i % SHARE == SHARE - 1:
                self.still_works()
        assert not self.mapper.health.dropped["internal error"]
        assert not self.matcher.health.dropped["internal error"]


@pytest.fixture
def town(ros, tiny_model, tmp_path):
    return Town(ros, tiny_model, tmp_path)


def drops(node):
    return lambda: sum(node.health.dropped.values())


def spoil_cloud(message, rng):
    n = len(message.data)
    kind = rng.integers(8)
    if kind == 0:
        message.data = message.data[:int(rng.integers(n))]
    elif kind == 1:
        message.width += int(rng.choice([1, 1000, 2**31]))  # fewer would be a cloud with much padding
    elif kind == 2:
        message.height = int(rng.choice([h for h in HUGE if h != 1]))
        message.width = message.width if message.height else 0
    elif kind == 3:
        message.point_step = int(rng.choice([0, 1, 3, 2**31]))
    elif kind == 4:
        message.fields[int(rng.integers(3))].offset = int(rng.choice([100, 2**31, 2**32 - 1]))
    elif kind == 5:
        message.fields[int(rng.integers(3))].datatype = int(rng.choice([0, 9, 200]))
    elif kind == 6:
        names = rng.choice(list("abx"), 2)
        message.fields = [PointField(name=str(name), offset=0, datatype=7, count=1) for name in names]
    else:
        message.data = array("B", np.full(n // 4, rng.choice(NONSENSE[:3]), "<f4").tobytes())


def test_malformed_clouds(town):
    def send(rng):
        bad = cloud(town.later(), 0)
        spoil_cloud(bad, rng)
        # the place is another each time, else the cloud would be passed over unread
        town.drive(town.time, 100 + town.time, bad)
    town.endure(send, drops(town.mapper))
    assert town.mapper.store.count() == 3
    town.drive(town.later(), 5)
    assert town.ros.spin_until(lambda: town.mapper.store.count() == 4)


def spoil_image(message, rng):
    kind = rng.integers(6)
    if kind == 0:
        message.data = message.data[:int(rng.integers(len(message.data)))]
    elif kind == 1:
        message.encoding = str(rng.choice(["", "plasma9", "rgb9", "32FC1", "16UC3", "\u00e9", "nv12"]))
    elif kind == 2:
        message.height = int(rng.choice(HUGE))
    elif kind == 3:
        message.width = int(rng.choice(HUGE))
    elif kind == 4:
        message.step = int(rng.choice(HUGE))
    else:
        message.height, message.width = message.width, message.height


def test_malformed_images(town):
    town.inform(camera_info(9.0))

    def send(rng):
        bad = image(town.later(), 1)
        spoil_image(bad, rng)
        town.pub["image"].publish(bad)
    town.endure(send, drops(town.matcher))


def test_malformed_compressed_images(town):
    town.inform(camera_info(9.0))

    def send(rng):
        bad = compressed(town.later(), 1)
        n = len(bad.data)
        bad.data = (bad.data[:int(rng.integers(n // 2))] if rng.random() < 0.5
                    else array("B", rng.integers(0, 256, int(rng.integers(200)), dtype=np.uint8).tobytes()))
        bad.format = str(rng.choice(["", "png", "jpeg", "rgb8; jpeg compressed bgr8", "16UC1; compressedDepth"]))
        town.pub["image/compressed"].publish(bad)
    town.endure(send, drops(town.matcher))


def spoil_info(message, rng):
    kind = rng.integers(6)
    if kind == 0:
        message.k = [0.0] * 9
    elif kind == 1:
        message.k[int(rng.choice([0, 2, 4, 5]))] = float(rng.choice(NONSENSE[:3]))
    elif kind == 2:
        message.distortion_model = str(rng.choice(["spline", "double_sphere", "omni"]))
        message.d = [0.1] * 4
    elif kind == 3:
        message.d = [float(rng.choice(NONSENSE[:3]))] * 5
    elif kind == 4:
        message.width = int(rng.choice([0, 1, 2**31]))
    else:
        message.binning_x = int(rng.choice([1000, 2**31]))


def test_malformed_camera_infos(town):
    def send(rng):
        bad = camera_info(town.later())
        spoil_info(bad, rng)
        town.pub["camera_info"].publish(bad)
        assert town.ros.spin_until(lambda: town.matcher._info is not None
                                   and town.matcher._info.header.stamp == bad.header.stamp)
        town.pub["image"].publish(image(town.time, 1))
    town.endure(send, drops(town.matcher))


def spoil_pose(pose, rng):
    q, p = pose.orientation, pose.position
    if rng.random() < 0.5:
        q.x, q.y, q.z, q.w = (float(v) for v in rng.choice([0.0, 3.0, *NONSENSE], 4))
        q.w = float(rng.choice([0.0, *NONSENSE[:3]])) if np.all(np.isfinite([q.x, q.y, q.z, q.w])) else q.w
        if (q.x, q.y, q.z, q.w) in ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)):
            q.w = float("nan")
    else:
        p.x = float(rng.choice(NONSENSE[:3]))


def test_malformed_odometry(town):
    def send(rng):
        bad = odometry(town.later(), 1)
        if rng.random() < 0.3:
            bad.header.frame_id, bad.child_frame_id = ("odom", "base_link") if rng.random() < 0.5 else ("map", "wheel")
        else:
            spoil_pose(bad.pose.pose, rng)
        town.pub["odometry"].publish(bad)
    town.endure(send, drops(town.mapper))


def test_malformed_corrections(town):
    publisher = town.node.create_publisher(Path, "submap_mapper/update_poses", 10)
    assert town.ros.spin_until(publisher.get_subscription_count)
    before = [T.tolist() for _, _, T in town.mapper.store.poses()]

    def send(rng):
        bad = Path(header=odometry(0.0, 0, "odom" if rng.random() < 0.3 else "map").header)
        for i in range(int(rng.integers(3))):
            pose = PoseStamped(header=odometry(1.0 + i, 0).header)
            spoil_pose(pose.pose, rng)
            bad.poses.append(pose)
        publisher.publish(bad)
    town.endure(send, drops(town.mapper))
    assert [T.tolist() for _, _, T in town.mapper.store.poses()] == before


def test_malformed_transforms(ros, tiny_model, tmp_path):
    tf2 = pytest.importorskip("tf2_msgs.msg", reason="build it with test/build_messages.py")
    town = Town(ros, tiny_model, tmp_path)
    ros.remove(town.matcher)
    town.matcher = ros.node(PlaceMatcher, settings(tiny_model, tmp_path, frames__extrinsics_source="tf",
                                                   trust__motion="none", trust__target_precision=0.5))
    moving = town.node.create_publisher(tf2.TFMessage, "/tf", 100)
    fixed = town.node.create_publisher(tf2.TFMessage, "/tf_static",
                                       QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    town.connected("image", "camera_info")
    assert ros.spin_until(lambda: moving.get_subscription_count() and fixed.get_subscription_count())
    fixed.publish(tree(transform(0.0, "base_link", "camera", [0.0, 0.0, 1.0, -0.5, 0.5, -0.5, 0.5])))

    def send(rng):
        bad = transform(town.later(), "base_link", str(rng.choice(["camera", "lidar", ""])), [0.0] * 7)
        value = float(rng.choice([0.0, 5.0, *NONSENSE]))
        bad.transform.rotation.x = value
        moving.publish(tree(bad))
    town.endure(send, drops(town.matcher))


def test_bytes_that_are_no_message_do_not_reach_the_nodes(town):
    whole = {"points": serialize_message(cloud(20.0, 0)), "image": serialize_message(image(20.0, 0)),
             "odometry": serialize_message(odometry(20.0, 0)), "camera_info": serialize_message(camera_info(20.0))}
    for i in range(COUNT):
        rng = np.random.default_rng(i)
        for name, data in whole.items():
            torn = data[:int(rng.integers(4, min(len(data), 400)))]
            town.pub[name].publish(torn if rng.random() < 0.5 else data[:8] + rng.bytes(int(rng.integers(4, 300))))
        town.ros.spin_until(lambda: False, 0.005)
        if i % SHARE == SHARE - 1:
            town.still_works()
    assert town.mapper.store.count() == 3


def test_on_simulated_time_that_jumps_back_work_goes_on(ros, tiny_model, tmp_path):
    values = settings(tiny_model, tmp_path, use_sim_time=True, trust__motion="none", trust__target_precision=0.5)
    robot = Robot(ros)
    clock = robot.node.create_publisher(Clock, "/clock", 10)
    mapper, matcher = ros.node(SubmapMapper, values), ros.node(PlaceMatcher, values)
    robot.connected("points", "odometry", "image", "camera_info")
    assert ros.spin_until(lambda: clock.get_subscription_count() == 2)
    for n, begin in enumerate((5000.0, 100.0)):
        clock.publish(Clock(clock=odometry(begin, 0).header.stamp))
        assert ros.spin_until(lambda t=int(begin): matcher.get_clock().now().nanoseconds // 10**9 == t)
        robot.drive(begin, n)
        assert ros.spin_until(lambda n=n: mapper.store.count() == n + 1)
        robot.pub["camera_info"].publish(camera_info(begin))
        assert ros.spin_until(lambda: matcher._info)
        robot.pub["image"].publish(image(begin, n))
        assert ros.spin_until(lambda n=n: len(robot.matches) == n + 1)
    assert matcher.health.streams[0].jumps == mapper.health.streams[0].jumps == 1
    # what a person watches does not stand still with the simulated clock
    robot.status.clear()
    assert ros.spin_until(lambda: len(robot.status) == 2)
