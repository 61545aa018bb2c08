# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages to dataclasses: by attribute, with what is missing, broken or of another clock."""

from types import SimpleNamespace as Message

import cv2
import numpy as np
import pytest

from ms2cl_ros.core.errors import SensorError, TransformError
from ms2cl_ros.core.messages import (
    stamp_ns,
    to_camera_image,
    to_camera_model,
    to_point_cloud,
    to_pose,
    to_transforms,
)

SECONDS = 1_700_000_000
HEADER = Message(stamp=Message(sec=SECONDS, nanosec=250_000_000), frame_id="sensor")
STAMP = SECONDS * 1_000_000_000 + 250_000_000
DATATYPES = {"int8": 1, "uint8": 2, "int16": 3, "uint16": 4, "int32": 5, "uint32": 6, "float32": 7, "float64": 8}


def cloud(xyz, height=1, **columns):
    """A PointCloud2 with the columns given behind x, y, z."""
    arrays = {**dict(zip("xyz", np.asarray(xyz, np.float32).T, strict=True)), **columns}
    points = np.zeros(len(xyz), [(name, a.dtype) for name, a in arrays.items()])
    for name, a in arrays.items():
        points[name] = a
    layout = points.dtype.fields
    fields = [Message(name=n, offset=o, datatype=DATATYPES[d.name], count=1) for n, (d, o) in layout.items()]
    step, width = points.dtype.itemsize, len(xyz) // height
    return Message(header=HEADER, height=height, width=width, fields=fields, is_bigendian=False, point_step=step,
                   row_step=step * width, data=points.tobytes(), is_dense=False)


XYZ = np.array([[3.0, 4.0, 0.0], [10.0, 0.0, 0.0], [0.0, 20.0, 1.0], [5.0, 5.0, 5.0]])


def test_a_stamp_keeps_its_nanoseconds():
    assert stamp_ns(Message(sec=np.int32(SECONDS), nanosec=np.uint32(1))) == SECONDS * 10**9 + 1


def test_a_cloud_keeps_its_points_stamp_and_frame():
    got = to_point_cloud(cloud(XYZ, height=2), 1.0, 100.0)
    np.testing.assert_array_equal(got.xyz, XYZ.astype(np.float32))
    assert (got.stamp_ns, got.frame_id, got.xyz.dtype) == (STAMP, "sensor", np.float32)
    assert got.intensity is None and got.times is None


def test_points_that_are_not_finite_or_out_of_range_are_dropped_with_their_columns():
    bad = [[np.nan, 1, 1], [np.inf, 0, 0], [0.1, 0, 0], [0, 0, 0], [0, 101, 0], [1e30, 0, 0]]
    xyz = np.concatenate([bad[:3], XYZ, bad[3:]])
    message = cloud(xyz, intensity=np.arange(10, dtype=np.float32), t=np.arange(10, dtype=np.uint32))
    got = to_point_cloud(message, 1.0, 100.0)
    np.testing.assert_array_equal(got.xyz, XYZ.astype(np.float32))
    np.testing.assert_array_equal(got.intensity, [3, 4, 5, 6])
    np.testing.assert_allclose(got.times, np.array([3, 4, 5, 6]) * 1e-9)


def test_the_limits_of_range_belong_to_it():
    assert len(to_point_cloud(cloud([[3.0, 4.0, 0.0]]), 5.0, 5.0).xyz) == 1


@pytest.mark.parametrize("xyz", [np.zeros((0, 3)), np.full((3, 3), np.nan)])
def test_a_cloud_without_returns_is_an_empty_cloud(xyz):
    got = to_point_cloud(cloud(xyz, time=np.zeros(len(xyz), np.float32)), 1.0, 100.0)
    assert got.xyz.shape == (0, 3) and got.times is None


@pytest.mark.parametrize(("name", "dtype"), [("intensity", np.float32), ("reflectivity", np.uint16), ("i", np.uint8)])
def test_intensity_is_found_under_the_names_drivers_give_it(name, dtype):
    got = to_point_cloud(cloud(XYZ, **{name: np.array([1, 2, 3, 4], dtype)}), 1.0, 100.0)
    np.testing.assert_array_equal(got.intensity, [1, 2, 3, 4])
    assert got.intensity.dtype == np.float32


OFFSETS = np.array([0.0, 0.025, 0.05, 0.1])
ABSOLUTE = SECONDS + 0.25 + OFFSETS


@pytest.mark.parametrize(("name", "values"), [
    ("t", (OFFSETS * 1e9).astype(np.uint32)), ("offset_time", (OFFSETS * 1e9).astype(np.uint32)),
    ("time_stamp", (OFFSETS * 1e9).astype(np.uint32)), ("time", OFFSETS.astype(np.float32)),
    ("time", (OFFSETS - 0.1).astype(np.float32) + np.float32(0.1)), ("timestamp", ABSOLUTE),
    ("timestamp", ABSOLUTE * 1e9), ("timestamp", ABSOLUTE * 1e6), ("timestamp", OFFSETS)])
def test_point_times_of_every_driver_become_seconds_after_the_stamp(name, values):
    got = to_point_cloud(cloud(XYZ, **{name: values}), 1.0, 100.0)
    np.testing.assert_allclose(got.times, OFFSETS, atol=1e-6)


def test_point_times_of_another_clock_are_not_taken_for_times():
    got = to_point_cloud(cloud(XYZ, timestamp=500.0 + OFFSETS), 1.0, 100.0)
    assert got.times is None and len(got.xyz) == 4


def test_a_broken_cloud_is_refused():
    message = cloud(XYZ)
    message.data = message.data[:-1]
    with pytest.raises(SensorError, match="47 bytes"):
        to_point_cloud(message, 1.0, 100.0)


def test_raw_and_compressed_images_are_told_apart_by_their_fields():
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    raw = Message(header=HEADER, height=4, width=6, encoding="rgb8", is_bigendian=0, step=18, data=rgb.tobytes())
    png = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()
    for message in (raw, Message(header=HEADER, format="rgb8; png compressed bgr8", data=png)):
        image = to_camera_image(message)
        np.testing.assert_array_equal(image.rgb, rgb)
        assert (image.stamp_ns, image.frame_id) == (STAMP, "sensor")


def camera_info(**changes):
    roi = Message(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    values = {"header": HEADER, "width": 1280, "height": 720, "distortion_model": "plumb_bob",
              "d": [-0.1, 0.02, 0.0, 0.0, 0.0], "k": [700.0, 0, 640, 0, 710.0, 360, 0, 0, 1], "r": np.eye(3).ravel(),
              "p": [650.0, 0, 630, -30, 0, 660, 350, 0, 0, 0, 1, 0], "binning_x": 0, "binning_y": 0, "roi": roi}
    return Message(**{**values, **changes})


def test_camera_info_becomes_a_camera_model():
    model = to_camera_model(camera_info())
    np.testing.assert_array_equal(model.K, [[700, 0, 640], [0, 710, 360], [0, 0, 1]])
    assert (model.width, model.height, model.model, model.frame_id) == (1280, 720, "plumb_bob", "sensor")
    assert model.distortion == (-0.1, 0.02, 0.0, 0.0, 0.0)
    hash(model.key())


def test_matrices_of_ros_1_bags_are_read_too():
    message = camera_info()
    for name in "dkrp":
        setattr(message, name.upper(), np.array(getattr(message, name)))
        delattr(message, name)
    np.testing.assert_array_equal(to_camera_model(message).K, to_camera_model(camera_info()).K)


def test_a_rectified_picture_takes_p_and_no_distortion():
    model = to_camera_model(camera_info(distortion_model="unheard_of"), rectified=True)
    np.testing.assert_array_equal(model.K, [[650, 0, 630], [0, 660, 350], [0, 0, 1]])
    assert (model.distortion, model.model) == ((), "plumb_bob")


@pytest.mark.parametrize("d", [[], [0.0] * 5, np.zeros(8)])
def test_no_or_zero_coefficients_mean_no_distortion(d):
    assert to_camera_model(camera_info(d=d)).distortion == ()


@pytest.mark.parametrize(("name", "d", "model"), [
    ("", [], "plumb_bob"), ("none", [0.0], "plumb_bob"), ("fisheye", [0.1, 0, 0, 0], "equidistant"),
    ("equidistant", [], "equidistant"), ("rational_polynomial", [0.1] * 8, "rational_polynomial")])
def test_names_of_models_that_drivers_use(name, d, model):
    assert to_camera_model(camera_info(distortion_model=name, d=d)).model == model


def test_region_and_binning_shift_and_scale_the_intrinsics():
    roi = Message(x_offset=100, y_offset=40, width=800, height=600, do_rectify=False)
    model = to_camera_model(camera_info(roi=roi, binning_x=2, binning_y=4))
    np.testing.assert_allclose(model.K, [[350, 0, 270], [0, 177.5, 80], [0, 0, 1]])
    assert (model.width, model.height) == (400, 150)


@pytest.mark.parametrize(("changes", "rectified", "reason"), [
    ({"k": [0.0] * 9}, False, "uncalibrated"), ({"p": [0.0] * 12}, True, "uncalibrated"),
    ({"distortion_model": "mei"}, False, "unknown distortion model 'mei'"),
    ({"distortion_model": ""}, False, "unknown distortion model ''"),
    ({"d": [0.1, 0.2, 0.3]}, False, "3 distortion coefficients"), ({"width": 0}, False, "0 x 720")])
def test_camera_info_that_cannot_be_used_is_refused_with_the_reason(changes, rectified, reason):
    with pytest.raises(SensorError, match=reason):
        to_camera_model(camera_info(**changes), rectified)


def pose(x=1.0, y=2.0, z=3.0, q=(0.0, 0.0, 0.6, 0.8)):
    return Message(position=Message(x=x, y=y, z=z), orientation=Message(**dict(zip("xyzw", q, strict=True))))


T = np.array([[0.28, -0.96, 0, 1], [0.96, 0.28, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])


def test_a_pose_is_read_from_all_three_kinds_of_message():
    covariance = np.diag([1.0, 2, 3, 4, 5, 6]).ravel()
    with_covariance = Message(pose=pose(), covariance=covariance)
    plain = to_pose(Message(header=HEADER, pose=pose()))
    odometry = to_pose(Message(header=HEADER, child_frame_id="base", pose=with_covariance, twist=None))
    for got in (plain, odometry):
        np.testing.assert_allclose(got.T_map_base, T, atol=1e-12)
        assert got.stamp_ns == STAMP
    assert plain.covariance is None
    np.testing.assert_array_equal(odometry.covariance, covariance.reshape(6, 6))


@pytest.mark.parametrize("covariance", [np.zeros(36), np.full(36, np.nan), -np.eye(6).ravel()])
def test_a_covariance_that_says_nothing_is_unknown_and_never_zero(covariance):
    assert to_pose(Message(header=HEADER, pose=Message(pose=pose(), covariance=covariance))).covariance is None


@pytest.mark.parametrize("bad", [pose(q=(0.0, 0.0, 0.0, 0.0)), pose(q=(0.0, 0.0, 1.0, 1.0)), pose(x=np.nan)])
def test_a_pose_that_is_no_rigid_transform_is_refused(bad):
    with pytest.raises(TransformError, match="not a rigid transform"):
        to_pose(Message(header=HEADER, pose=bad))


def tf(q=(0.0, 0.0, 0.6, 0.8), parent="/map"):
    transform = Message(translation=Message(x=1.0, y=2.0, z=3.0), rotation=Message(**dict(zip("xyzw", q, strict=True))))
    header = Message(stamp=HEADER.stamp, frame_id=parent)
    return Message(header=header, child_frame_id="base_link", transform=transform)


def test_transforms_name_parent_child_and_stamp():
    [(parent, child, stamp, matrix)] = to_transforms(Message(transforms=[tf()]))
    assert (parent, child, stamp) == ("map", "base_link", STAMP)
    np.testing.assert_allclose(matrix, T, atol=1e-12)
    assert to_transforms(Message(transforms=[])) == []


def test_a_broken_transform_is_refused_by_name():
    with pytest.raises(TransformError, match="map -> base_link: not a rigid transform"):
        to_transforms(Message(transforms=[tf(q=(0.0, 0.0, 0.0, 0.0))]))


def test_messages_of_rosbags_are_read_as_they_come():
    rosbags = pytest.importorskip("rosbags.typesys")
    types = rosbags.get_typestore(rosbags.Stores.ROS2_HUMBLE).types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](SECONDS, 250_000_000), "sensor")
    fake = cloud(XYZ, intensity=np.arange(4, dtype=np.float32))
    fields = [types["sensor_msgs/msg/PointField"](f.name, f.offset, f.datatype, f.count) for f in fake.fields]
    data = np.frombuffer(fake.data, np.uint8)
    message = types["sensor_msgs/msg/PointCloud2"](header, 1, 4, fields, False, 16, 64, data, True)
    np.testing.assert_array_equal(to_point_cloud(message, 1.0, 100.0).xyz, XYZ.astype(np.float32))
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    d, k, p = (np.array(getattr(camera_info(), n), np.float64) for n in "dkp")
    info = types["sensor_msgs/msg/CameraInfo"](header, 720, 1280, "plumb_bob", d, k, np.eye(3).ravel(), p, 0, 0, roi)
    assert to_camera_model(info).key() == to_camera_model(camera_info()).key()


def test_messages_of_rclpy_are_read_as_they_come():
    sensor_msgs = pytest.importorskip("sensor_msgs.msg")
    import array
    message = sensor_msgs.Image(height=2, width=2, encoding="mono8", step=2, data=array.array("B", [1, 2, 3, 4]))
    message.header.stamp.sec, message.header.frame_id = 5, "cam"
    image = to_camera_image(message)
    assert image.rgb[..., 0].tolist() == [[1, 2], [3, 4]]
    assert (image.stamp_ns, image.frame_id) == (5 * 10**9, "cam")
    info = sensor_msgs.CameraInfo(width=1280, height=720, distortion_model="plumb_bob")
    with pytest.raises(SensorError, match="uncalibrated"):
        to_camera_model(info)
