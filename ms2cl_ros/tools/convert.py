# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""KITTI to rosbag2, without ROS.

    convert_kitti_raw("2011_09_26/2011_09_26_drive_0009_sync", "drive_0009")

| topic | type | frame | stamp |
|---|---|---|---|
| `/points` | PointCloud2, x y z intensity, 16 bytes a point | `velodyne` | of the scan |
| `/camera/image` or `/camera/image/compressed` | Image (rgb8) or CompressedImage | `camera2` | of the picture |
| `/camera/camera_info` | CameraInfo, rectified | `camera2` | of the picture |
| `/odometry`, `/tf` | Odometry, TFMessage | `map` -> `base_link` | of the pose |
| `/tf_static` | TFMessage, latched | `base_link` -> `velodyne`, `camera2` | of the first message |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.core.geometry import quaternion
from ms2cl_ros.core.types import StampedPose
from ms2cl_ros.tools.bags import BagWriter
from ms2cl_ros.tools.kitti import T_BASE_LIDAR, Drive, SensorFile, read_odometry, read_raw

IMAGE_TOPIC, COMPRESSED_TOPIC, INFO_TOPIC = "/camera/image", "/camera/image/compressed", "/camera/camera_info"
POINTS_TOPIC, ODOMETRY_TOPIC, TF_TOPIC, STATIC_TOPIC = "/points", "/odometry", "/tf", "/tf_static"
MAP, BASE, LIDAR, CAMERA = "map", "base_link", "velodyne", "camera2"
JPEG_QUALITY = 95

# Frame indices to take: all, `even`, `odd`, a slice, (start, stop, step), or a test of the index.
Selection = None | str | slice | tuple | Callable[[int], bool]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote. `counts`: messages by topic. `seconds`: from the first to the last message.

    `missing`: frames of the drive that lack an `image` or a `scan`. `notes`: what a person should know.
    """

    bag: Path
    counts: dict[str, int]
    seconds: float
    missing: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """How to write a bag, and what of the drive.

    `storage`: `mcap` or `sqlite3`. `compressed`: None for raw images, `jpeg` (quality 95), or `png` (KITTI's own
    bytes). `frames` chooses frames by index, `scan_frames` and `image_frames` narrow that for one sensor.
    """

    storage: str = "mcap"
    compressed: str | None = None
    frames: Selection = None
    scan_frames: Selection = None
    image_frames: Selection = None

    def __post_init__(self) -> None:
        if self.compressed not in (None, "jpeg", "png"):
            raise ConfigError(f"compressed is {self.compressed!r}; expected None, 'jpeg' or 'png'")


def convert_kitti_raw(drive: Path | str, out: Path | str, options: Options = Options(),
                      poses: Path | str | None = None, poses_of: str | None = None,
                      progress: Progress | None = None) -> Conversion:
    """Writes a raw drive as a new rosbag2 at `out`, with the topics of the table above.

    `poses`, `poses_of`: a pose file instead of oxts, see `kitti.read_raw`. `progress(done, total)` is called after
    each message. Raises DataError if a file of the drive is missing or damaged or if `out` exists, and ConfigError
    for a selection that makes no sense; nothing is left behind then.
    """
    return _write(_Chosen(read_raw(drive, poses, poses_of), options), Path(out), options, progress)


def convert_kitti_odometry(sequence: Path | str, out: Path | str, options: Options = Options(),
                           poses: Path | str | None = None, poses_of: str | None = None,
                           progress: Progress | None = None) -> Conversion:
    """Writes an odometry sequence as a new rosbag2 at `out`; arguments and errors as for `convert_kitti_raw`.

    Poses come from `dataset/poses/NN.txt` where there is one; without any, the bag has no `/odometry` and no `/tf`.
    """
    return _write(_Chosen(read_odometry(sequence, poses, poses_of), options), Path(out), options, progress)


class _Chosen:
    """What of a drive goes into the bag; poses reach one beyond the sensors at both ends."""

    def __init__(self, drive: Drive, options: Options) -> None:
        self.drive = drive
        self.images = _chosen(drive.images, options.frames, options.image_frames)
        self.scans = _chosen(drive.scans, options.frames, options.scan_frames)
        stamps = [f.stamp_ns for f in (*self.images, *self.scans)]
        if not stamps:
            there = sorted({*drive.images, *drive.scans})
            raise DataError(f"{drive.name}: no frame is chosen; its pictures and scans have indices from {there[0]} "
                            f"to {there[-1]}")
        self.poses = _around(drive.poses, min(stamps), max(stamps))


def _write(chosen: _Chosen, out: Path, options: Options, progress: Progress | None) -> Conversion:
    drive = chosen.drive
    with BagWriter(out, options.storage) as bag:
        events = sorted([*_pose_events(bag, chosen.poses), *_scan_events(bag, chosen.scans),
                         *_image_events(bag, chosen.images, drive, options.compressed)], key=lambda e: e.stamp_ns)
        first = events[0].stamp_ns
        bag.add_topic(STATIC_TOPIC, "tf2_msgs/msg/TFMessage", latched=True)
        bag.write(STATIC_TOPIC, first, _tf(bag, first, (BASE, LIDAR, T_BASE_LIDAR),
                                           (BASE, CAMERA, drive.calibration.T_base_camera)))
        for i, event in enumerate(events):
            bag.write(event.topic, event.stamp_ns, event.build())
            if progress:
                progress(i + 1, len(events))
    return Conversion(out, bag.counts, (events[-1].stamp_ns - first) / 1e9, drive.missing, drive.notes)


class _Event(NamedTuple):
    """A message to be: built only when its turn comes, so that a drive need not fit into memory."""

    stamp_ns: int
    topic: str
    build: Callable[[], Any]


def _chosen(files: dict[int, SensorFile], *selections: Selection) -> list[SensorFile]:
    tests = [_test(s) for s in selections if s is not None]
    return [f for i, f in sorted(files.items()) if all(test(i) for test in tests)]


def _test(selection: str | slice | tuple | Callable[[int], bool]) -> Callable[[int], bool]:
    if callable(selection):
        return selection
    if isinstance(selection, str):
        if selection not in ("even", "odd"):
            raise ConfigError(f"frames are {selection!r}; expected 'even', 'odd', a slice, or (start, stop, step)")
        selection = slice(selection == "odd", None, 2)
    cut = slice(*selection) if isinstance(selection, tuple) else selection
    start, step = cut.start or 0, 1 if cut.step is None else cut.step
    if start < 0 or step < 1 or (cut.stop is not None and cut.stop < 0):
        raise ConfigError(f"frames {cut.start}:{cut.stop}:{cut.step}: expected indices from 0 on and a step from 1 on")
    return lambda i: i >= start and (cut.stop is None or i < cut.stop) and (i - start) % step == 0


def _around(poses: tuple[StampedPose, ...], first_ns: int, last_ns: int) -> list[StampedPose]:
    stamps = np.array([p.stamp_ns for p in poses], np.int64)
    begin = max(int(np.searchsorted(stamps, first_ns, "right")) - 1, 0)
    return list(poses[begin:int(np.searchsorted(stamps, last_ns, "left")) + 1])


def _pose_events(bag: BagWriter, poses: list[StampedPose]) -> Iterator[_Event]:
    if poses:
        bag.add_topic(ODOMETRY_TOPIC, "nav_msgs/msg/Odometry")
        bag.add_topic(TF_TOPIC, "tf2_msgs/msg/TFMessage")
    for pose in poses:
        yield _Event(pose.stamp_ns, TF_TOPIC, partial(_tf, bag, pose.stamp_ns, (MAP, BASE, pose.T_map_base)))
        yield _Event(pose.stamp_ns, ODOMETRY_TOPIC, partial(_odometry, bag, pose))


def _scan_events(bag: BagWriter, scans: list[SensorFile]) -> Iterator[_Event]:
    if scans:
        bag.add_topic(POINTS_TOPIC, "sensor_msgs/msg/PointCloud2")
    for scan in scans:
        yield _Event(scan.stamp_ns, POINTS_TOPIC, partial(_cloud, bag, scan))


def _image_events(bag: BagWriter, images: list[SensorFile], drive: Drive, compressed: str | None) -> Iterator[_Event]:
    if not images:
        return
    height, width = images[0].rgb().shape[:2]
    topic, kind = (COMPRESSED_TOPIC, "CompressedImage") if compressed else (IMAGE_TOPIC, "Image")
    bag.add_topic(INFO_TOPIC, "sensor_msgs/msg/CameraInfo")
    bag.add_topic(topic, f"sensor_msgs/msg/{kind}")
    for image in images:
        yield _Event(image.stamp_ns, INFO_TOPIC,
                     partial(_camera_info, bag, image.stamp_ns, drive.calibration.K, width, height))
        yield _Event(image.stamp_ns, topic, partial(_image, bag, image, width, height, compressed))


def _header(bag: BagWriter, stamp_ns: int, frame_id: str) -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = bag.message("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return bag.message("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def _xyz(bag: BagWriter, kind: str, values: np.ndarray) -> Any:
    return bag.message(f"geometry_msgs/msg/{kind}", **dict(zip("xyzw", map(float, values), strict=False)))


def _tf(bag: BagWriter, stamp_ns: int, *transforms: tuple[str, str, np.ndarray]) -> Any:
    return bag.message("tf2_msgs/msg/TFMessage", transforms=[
        bag.message("geometry_msgs/msg/TransformStamped", header=_header(bag, stamp_ns, parent), child_frame_id=child,
                    transform=bag.message("geometry_msgs/msg/Transform", translation=_xyz(bag, "Vector3", T[:3, 3]),
                                          rotation=_xyz(bag, "Quaternion", quaternion(T))))
        for parent, child, T in transforms])


def _odometry(bag: BagWriter, pose: StampedPose) -> Any:
    covariance = np.zeros(36) if pose.covariance is None else pose.covariance.ravel()
    here = bag.message("geometry_msgs/msg/Pose", position=_xyz(bag, "Point", pose.T_map_base[:3, 3]),
                       orientation=_xyz(bag, "Quaternion", quaternion(pose.T_map_base)))
    still = bag.message("geometry_msgs/msg/Twist", linear=_xyz(bag, "Vector3", np.zeros(3)),
                        angular=_xyz(bag, "Vector3", np.zeros(3)))
    # a negative first variance says "not estimated", as in sensor_msgs/Imu: zeros would claim the car stood still
    unknown = np.array([-1.0] + [0.0] * 35)
    return bag.message("nav_msgs/msg/Odometry", header=_header(bag, pose.stamp_ns, MAP), child_frame_id=BASE,
                       pose=bag.message("geometry_msgs/msg/PoseWithCovariance", pose=here, covariance=covariance),
                       twist=bag.message("geometry_msgs/msg/TwistWithCovariance", twist=still, covariance=unknown))


def _cloud(bag: BagWriter, scan: SensorFile) -> Any:
    points = scan.points()
    fields = [bag.message("sensor_msgs/msg/PointField", name=name, offset=4 * i, datatype=7, count=1)  # 7: FLOAT32
              for i, name in enumerate(("x", "y", "z", "intensity"))]
    return bag.message("sensor_msgs/msg/PointCloud2", header=_header(bag, scan.stamp_ns, LIDAR), height=1,
                       width=len(points), fields=fields, is_bigendian=False, point_step=16, row_step=16 * len(points),
                       data=points.view(np.uint8).ravel(), is_dense=bool(np.isfinite(points).all()))


def _camera_info(bag: BagWriter, stamp_ns: int, K: np.ndarray, width: int, height: int) -> Any:
    everything = bag.message("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0,
                             do_rectify=False)
    return bag.message("sensor_msgs/msg/CameraInfo", header=_header(bag, stamp_ns, CAMERA), height=height, width=width,
                       distortion_model="plumb_bob", d=np.zeros(5), k=K.ravel(), r=np.eye(3).ravel(),
                       p=np.column_stack([K, np.zeros(3)]).ravel(), binning_x=0, binning_y=0, roi=everything)


def _image(bag: BagWriter, image: SensorFile, width: int, height: int, compressed: str | None) -> Any:
    rgb = image.rgb()
    if rgb.shape != (height, width, 3):
        raise DataError(f"{image.path} is {rgb.shape[1]} x {rgb.shape[0]}, the first picture {width} x {height}: "
                        "pictures of one drive have one size, unpack it again")
    header = _header(bag, image.stamp_ns, CAMERA)
    if compressed:
        return bag.message("sensor_msgs/msg/CompressedImage", header=header, format=compressed,
                           data=_encoded(image, rgb, compressed))
    return bag.message("sensor_msgs/msg/Image", header=header, height=height, width=width, encoding="rgb8",
                       is_bigendian=0, step=3 * width, data=rgb.ravel())


def _encoded(image: SensorFile, rgb: np.ndarray, kind: str) -> np.ndarray:
    """The file's own bytes where they are of that kind already, so that nothing is lost; else encoded."""
    import cv2
    if image.path.suffix in ((".png",) if kind == "png" else (".jpg", ".jpeg")):
        return np.frombuffer(image.path.read_bytes(), np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if kind == "jpeg" else []
    return cv2.imencode(".jpg" if kind == "jpeg" else ".png", rgb[..., ::-1], quality)[1].ravel()
