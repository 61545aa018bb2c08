# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""KITTI converted and read back; bags that are not there, not bags, or damaged."""

import cv2
import numpy as np
import pytest
import yaml
from kitti_folders import (
    IMAGE_NS,
    OXTS_NS,
    SCAN_NS,
    SPEED,
    START_NS,
    STEP_NS,
    odometry_sequence,
    points,
    raw_drive,
    rgb,
)

from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.core.messages import to_camera_image, to_camera_model, to_point_cloud, to_pose, to_transforms
from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, POINTS, POSES, TRANSFORMS, BagWriter, open_bag
from ms2cl_ros.tools.convert import Options, convert_kitti_odometry, convert_kitti_raw
from ms2cl_ros.tools.kitti import read_raw


@pytest.fixture(params=["mcap", "sqlite3"])
def bag_path(request, tmp_path):
    convert_kitti_raw(raw_drive(tmp_path), tmp_path / "bag", Options(storage=request.param))
    return tmp_path / "bag"


def of(bag, topic):
    return [message for _, _, message in bag.messages([topic])]


def offsets(bag, topic):
    """Stamps of a topic, nanoseconds after the drive began."""
    return [stamp - START_NS for _, stamp, _ in bag.messages([topic])]


def test_a_converted_drive_has_every_message_under_its_type(bag_path):
    with open_bag(bag_path) as bag:
        assert {t.name: (t.msgtype, t.count) for t in bag.topics.values()} == {
            "/points": ("sensor_msgs/msg/PointCloud2", 4), "/camera/image": ("sensor_msgs/msg/Image", 4),
            "/camera/camera_info": ("sensor_msgs/msg/CameraInfo", 4),
            "/odometry": ("nav_msgs/msg/Odometry", 5),  # four of oxts, one carried on to the first scan
            "/tf": ("tf2_msgs/msg/TFMessage", 5), "/tf_static": ("tf2_msgs/msg/TFMessage", 1)}
        assert (bag.start_ns, bag.end_ns) == (START_NS + SCAN_NS, START_NS + OXTS_NS + 3 * STEP_NS)


def test_messages_come_by_time_and_carry_it_in_their_headers(bag_path):
    with open_bag(bag_path) as bag:
        stamps = [stamp for _, stamp, _ in bag.messages()]
        assert stamps == sorted(stamps) and len(stamps) == bag.count == 23
        for _, stamp, message in bag.messages(["/points", "/camera/image", "/camera/camera_info", "/odometry"]):
            assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamp
        assert offsets(bag, "/camera/image") == [IMAGE_NS + k * STEP_NS for k in range(4)]


def test_pictures_and_points_come_back_bit_for_bit(bag_path):
    with open_bag(bag_path) as bag:
        for k, message in enumerate(of(bag, "/camera/image")):
            image = to_camera_image(message)
            np.testing.assert_array_equal(image.rgb, rgb(k))
            assert image.frame_id == "camera2"
        for k, message in enumerate(of(bag, "/points")):
            cloud = to_point_cloud(message, 0.0, 1000.0)
            np.testing.assert_array_equal(np.column_stack([cloud.xyz, cloud.intensity]), points(k))
            assert cloud.frame_id == "velodyne" and cloud.times is None


def test_the_camera_info_is_the_rectified_camera(bag_path):
    with open_bag(bag_path) as bag:
        camera = to_camera_model(of(bag, "/camera/camera_info")[0])
    np.testing.assert_allclose(camera.K, [[20, 0, 20], [0, 20, 10], [0, 0, 1]])
    assert (camera.width, camera.height, camera.frame_id) == (40, 20, "camera2")
    assert not any(camera.distortion)


def test_static_transforms_are_those_of_the_calibration_and_latched(bag_path):
    with open_bag(bag_path) as bag:
        found = {(parent, child): T for parent, child, _, T in to_transforms(of(bag, "/tf_static")[0])}
        qos, = bag.topics["/tf_static"].qos
        assert (qos.durability.name, qos.reliability.name) == ("TRANSIENT_LOCAL", "RELIABLE")
        assert bag.topics["/points"].qos[0].durability.name == "VOLATILE"
    calibration = read_raw(bag_path.parent / "2011_09_26" / "2011_09_26_drive_0099_sync").calibration
    assert set(found) == {("base_link", "velodyne"), ("base_link", "camera2")}
    np.testing.assert_allclose(found["base_link", "velodyne"][:3, 3], [0, 0, 1.73])
    np.testing.assert_allclose(found["base_link", "camera2"], calibration.T_base_camera, atol=1e-12)


def test_odometry_and_tf_tell_the_same_poses(bag_path):
    with open_bag(bag_path) as bag:
        odometry = [to_pose(m) for m in of(bag, "/odometry")]
        tf = [to_transforms(m)[0] for m in of(bag, "/tf")]
        twist = of(bag, "/odometry")[0].twist.covariance
    for pose, (parent, child, stamp, T) in zip(odometry, tf, strict=True):
        assert (parent, child, stamp) == ("map", "base_link", pose.stamp_ns)
        np.testing.assert_allclose(pose.T_map_base, T, atol=1e-12)
    np.testing.assert_allclose([p.T_map_base[0, 3] for p in odometry[1:]], np.arange(4) * SPEED * 0.1, atol=1e-5)
    np.testing.assert_allclose(np.diag(odometry[0].covariance)[:3], 0.05**2)
    assert twist[0] == -1  # not estimated


def test_rclpy_reads_the_same_from_the_bytes(bag_path):
    pytest.importorskip("rclpy")
    from rclpy.serialization import deserialize_message, serialize_message
    from sensor_msgs.msg import PointCloud2
    with open_bag(bag_path) as bag:
        for k, record in enumerate(bag.records(["/points"])):
            message = deserialize_message(bytes(record.raw), PointCloud2)
            assert bytes(message.data) == points(k).tobytes()
            assert [(f.name, f.offset) for f in message.fields] == [("x", 0), ("y", 4), ("z", 8), ("intensity", 12)]
            assert (message.width, message.point_step, message.header.frame_id) == (50, 16, "velodyne")
            # not compared byte by byte: rclpy leaves whatever was in memory in the gaps that CDR aligns with
            assert len(serialize_message(message)) == len(record.raw)


def test_metadata_is_of_version_9_and_names_the_storage(bag_path):
    information = yaml.safe_load((bag_path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["version"] == 9
    suffix = {"mcap": ".mcap", "sqlite3": ".db3"}[information["storage_identifier"]]
    assert [p.suffix for p in bag_path.iterdir() if p.name != "metadata.yaml"] == [suffix]


@pytest.mark.parametrize("kind, tolerance", [("png", 0), ("jpeg", 60)])
def test_compressed_pictures_have_their_own_topic(tmp_path, kind, tolerance):
    # pictures of noise are the worst that can be asked of JPEG; smooth ones stay within a few grey values
    drive = raw_drive(tmp_path)
    convert_kitti_raw(drive, tmp_path / "bag", Options(compressed=kind))
    with open_bag(tmp_path / "bag") as bag:
        assert bag.pick(IMAGES) == "/camera/image/compressed"
        messages = of(bag, "/camera/image/compressed")
    for k, message in enumerate(messages):
        assert message.format == kind
        difference = np.abs(to_camera_image(message).rgb.astype(int) - rgb(k))
        assert np.median(difference) <= tolerance
    if kind == "png":
        assert messages[0].data.tobytes() == (drive / "image_02/data/0000000000.png").read_bytes()


def test_an_odometry_sequence_converts_too(tmp_path):
    summary = convert_kitti_odometry(odometry_sequence(tmp_path), tmp_path / "bag")
    assert summary.counts == {"/points": 4, "/camera/image": 4, "/camera/camera_info": 4, "/odometry": 4, "/tf": 4,
                              "/tf_static": 1}
    with open_bag(tmp_path / "bag") as bag:
        np.testing.assert_allclose(to_pose(of(bag, "/odometry")[3]).T_map_base[:3, 3], [3, 0, 0], atol=1e-9)
        assert to_pose(of(bag, "/odometry")[0]).covariance is None


def test_a_sequence_without_poses_makes_a_bag_without_odometry_and_says_so(tmp_path):
    summary = convert_kitti_odometry(odometry_sequence(tmp_path, with_poses=False), tmp_path / "bag")
    assert "/odometry" not in summary.counts and "/tf" not in summary.counts
    assert "no poses" in summary.notes[0]


def test_even_scans_and_odd_pictures_go_into_one_bag(tmp_path):
    convert_kitti_raw(raw_drive(tmp_path, frames=6), tmp_path / "bag", Options(scan_frames="even", image_frames="odd"))
    with open_bag(tmp_path / "bag") as bag:
        assert offsets(bag, "/points") == [SCAN_NS + k * STEP_NS for k in (0, 2, 4)]
        assert offsets(bag, "/camera/image") == [IMAGE_NS + k * STEP_NS for k in (1, 3, 5)]


@pytest.mark.parametrize("frames, kept", [
    (slice(1, 5, 2), [1, 3]), ((2, None, None), [2, 3, 4, 5]), (lambda i: i == 4, [4]), ("odd", [1, 3, 5])])
def test_frames_are_chosen_by_index(tmp_path, frames, kept):
    convert_kitti_raw(raw_drive(tmp_path, frames=6), tmp_path / "bag", Options(frames=frames))
    with open_bag(tmp_path / "bag") as bag:
        assert offsets(bag, "/points") == [SCAN_NS + k * STEP_NS for k in kept]
        poses = offsets(bag, "/odometry")
        # nothing is left without a pose on either side, and the origin stays that of the whole drive
        assert poses[0] <= SCAN_NS + kept[0] * STEP_NS and poses[-1] >= IMAGE_NS + kept[-1] * STEP_NS
        first = to_pose(of(bag, "/odometry")[0])
        expected = SPEED * (first.stamp_ns - START_NS - OXTS_NS) / 1e9
        assert first.T_map_base[0, 3] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("frames", ["third", slice(-3, None), (0, None, 0)])
def test_a_selection_that_makes_no_sense_is_refused(tmp_path, frames):
    with pytest.raises(ConfigError, match="frames"):
        convert_kitti_raw(raw_drive(tmp_path), tmp_path / "bag", Options(frames=frames))


def test_a_selection_of_nothing_is_refused_with_what_there_is(tmp_path):
    with pytest.raises(DataError, match="from 0 to 3"):
        convert_kitti_raw(raw_drive(tmp_path), tmp_path / "bag", Options(frames=slice(4, None)))


def test_a_missing_scan_is_counted_in_the_summary(tmp_path):
    summary = convert_kitti_raw(raw_drive(tmp_path, without_scans=(2,)), tmp_path / "bag")
    assert summary.missing == {"scan": 1}
    assert (summary.counts["/points"], summary.counts["/camera/image"]) == (3, 4)


def test_progress_is_told_to_the_end(tmp_path):
    seen = []
    convert_kitti_raw(raw_drive(tmp_path), tmp_path / "bag", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k + 1, 22) for k in range(22)]


def test_an_existing_folder_is_not_overwritten(tmp_path):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "precious").write_text("x")
    with pytest.raises(DataError, match="exists already"):
        convert_kitti_raw(raw_drive(tmp_path), tmp_path / "bag")
    assert (tmp_path / "bag" / "precious").read_text() == "x"


def test_nothing_is_left_of_a_conversion_that_failed(tmp_path):
    drive = raw_drive(tmp_path)
    (drive / "velodyne_points/data/0000000003.bin").write_bytes(b"123")
    with pytest.raises(DataError, match=r"0000000003.bin has 3 bytes"):
        convert_kitti_raw(drive, tmp_path / "bag")
    assert not (tmp_path / "bag").exists()


def test_a_picture_of_another_size_is_refused(tmp_path):
    drive = raw_drive(tmp_path)
    cv2.imwrite(str(drive / "image_02/data/0000000002.png"), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DataError, match="is 30 x 20, the first picture 40 x 20"):
        convert_kitti_raw(drive, tmp_path / "bag")


def test_an_unknown_storage_or_compression_is_refused(tmp_path):
    drive = raw_drive(tmp_path)
    with pytest.raises(DataError, match="mcap, sqlite3"):
        convert_kitti_raw(drive, tmp_path / "bag", Options(storage="rosbag1"))
    with pytest.raises(ConfigError, match="'jpeg' or 'png'"):
        convert_kitti_raw(drive, tmp_path / "bag", Options(compressed="webp"))


def test_topics_are_found_by_type_or_by_name(bag_path):
    with open_bag(bag_path) as bag:
        assert bag.pick(POINTS) == "/points"
        assert bag.pick(CAMERA_INFOS, "camera/camera_info") == "/camera/camera_info"
        assert bag.pick(POSES) == "/odometry"


def test_a_wanted_topic_that_is_absent_is_answered_with_those_there(bag_path):
    there = r"it has: .*/points \(sensor_msgs/msg/PointCloud2, 4\)"
    with open_bag(bag_path) as bag:
        with pytest.raises(DataError, match=f"no topic /velodyne_points; {there}"):
            bag.pick(POINTS, "/velodyne_points")
        with pytest.raises(DataError, match="no topic /nothing"):
            list(bag.messages(["/nothing"]))
        with pytest.raises(DataError, match=r"/points is a sensor_msgs/msg/PointCloud2, expected Image or"):
            bag.pick(IMAGES, "/points")


def test_two_topics_of_a_type_have_to_be_told_apart(bag_path):
    with open_bag(bag_path) as bag, pytest.raises(DataError, match="2 TFMessage topics: /tf, /tf_static; name the one"):
        bag.pick(TRANSFORMS)


def test_a_bag_without_the_type_is_answered_with_what_is_there(tmp_path):
    convert_kitti_raw(raw_drive(tmp_path), tmp_path / "bag", Options(scan_frames=lambda i: False))
    with open_bag(tmp_path / "bag") as bag, pytest.raises(DataError, match="no PointCloud2 messages; it has: /camera"):
        bag.pick(POINTS)


def test_an_empty_bag_opens_and_says_so(tmp_path):
    with BagWriter(tmp_path / "bag"):
        pass
    with open_bag(tmp_path / "bag") as bag:
        assert (bag.count, bag.start_ns, bag.end_ns, list(bag.messages())) == (0, 0, 0, [])
        with pytest.raises(DataError, match="it is empty"):
            bag.pick(POINTS)


def test_a_stretch_of_time_can_be_read(bag_path):
    begin, end = START_NS + STEP_NS, START_NS + 3 * STEP_NS
    with open_bag(bag_path) as bag:
        stamps = [stamp for _, stamp, _ in bag.messages(["/points"], begin, end)]
    assert stamps == [START_NS + SCAN_NS + k * STEP_NS for k in (1, 2)]


def test_a_single_storage_file_opens_without_its_folder(bag_path):
    file, = (p for p in bag_path.iterdir() if p.name != "metadata.yaml")
    with open_bag(file) as bag:
        assert bag.topics["/points"].count == 4 and bag.topics["/tf_static"].qos[0].durability.name == "TRANSIENT_LOCAL"


def test_a_ros_1_bag_is_read_the_same_way(tmp_path):
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore
    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer(tmp_path / "old.bag") as writer:
        connection = writer.add_connection("/points", "sensor_msgs/msg/PointCloud2", typestore=store)
        types, xyz = store.types, points(0)
        time = types["builtin_interfaces/msg/Time"](sec=5, nanosec=7)
        header = types["std_msgs/msg/Header"](seq=1, stamp=time, frame_id="lidar")
        fields = [types["sensor_msgs/msg/PointField"](name=n, offset=4 * i, datatype=7, count=1)
                  for i, n in enumerate("xyz")]
        message = types["sensor_msgs/msg/PointCloud2"](
            header=header, height=1, width=len(xyz), fields=fields, is_bigendian=False, point_step=16,
            row_step=16 * len(xyz), data=xyz.view(np.uint8).ravel(), is_dense=True)
        writer.write(connection, 5_000_000_007, store.serialize_ros1(message, connection.msgtype))
    with open_bag(tmp_path / "old.bag") as bag:
        assert bag.is_ros1
        (topic, stamp, message), = bag.messages([bag.pick(POINTS)])
    assert (topic, stamp) == ("/points", 5_000_000_007)
    np.testing.assert_array_equal(to_point_cloud(message, 0.0, 1000.0).xyz, xyz[:, :3])


def test_a_path_that_is_missing_or_no_bag_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "fake.mcap").write_text("hello, I am no mcap file, but I am long enough to be read as one")
    for name, said in (("nowhere", "no such file"), ("folder", "no metadata.yaml"), ("notes.txt", "is not a bag"),
                       ("fake.mcap", "cannot be opened as a bag")):
        with pytest.raises(DataError, match=said):
            open_bag(tmp_path / name)


def test_a_recording_that_was_cut_off_is_refused_with_the_remedy(bag_path):
    (bag_path / "metadata.yaml").unlink()
    with pytest.raises(DataError, match="ros2 bag reindex"):
        open_bag(bag_path)


def test_a_bag_whose_file_was_cut_short_is_refused(bag_path):
    file, = (p for p in bag_path.iterdir() if p.name != "metadata.yaml")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=r"damaged"), open_bag(bag_path) as bag:
        list(bag.messages())


def test_bytes_that_went_bad_inside_are_noticed(tmp_path):
    convert_kitti_raw(raw_drive(tmp_path), tmp_path / "bag")
    file = tmp_path / "bag" / "bag.mcap"
    data = bytearray(file.read_bytes())
    at = data.index(points(2).tobytes())
    data[at - 40:at] = b"\xff" * 40  # lengths and numbers in front of the points
    file.write_bytes(data)
    with pytest.raises(DataError, match="damaged"), open_bag(tmp_path / "bag") as bag:
        list(bag.messages())
