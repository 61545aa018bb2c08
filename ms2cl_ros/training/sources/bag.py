# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bag: pictures, their CameraInfo, clouds, the extrinsics (TF or parameters), and odometry where there is some."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ms2cl_ros.core.accumulation import straighten
from ms2cl_ros.core.config import Config
from ms2cl_ros.core.errors import DataError, SensorError, TransformError
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.geometry import apply, inverse
from ms2cl_ros.core.messages import stamp_ns, to_camera_image, to_camera_model, to_point_cloud
from ms2cl_ros.core.types import CameraModel
from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, POINTS, BagReader, open_bag
from ms2cl_ros.tools.offline import Motion, Topics
from ms2cl_ros.training.sources.contract import Recorded, Source

# A picture and a scan farther apart than this, seconds, do not show the same moment.
APART = 0.06
DEFAULTS = Config()


class BagSource(Source):
    """Scans of a bag, each with the picture nearest in time, if that is no nearer to another scan."""

    def __init__(self, path: Path, config: Config = DEFAULTS, topics: Topics = Topics()) -> None:
        """Raises DataError if the bag lacks a topic, or no scan has a picture within 0.06 s."""
        super().__init__(path.resolve().stem)
        self._path, self._config, self._topics = path, config, topics
        with open_bag(path) as bag:
            self._images = bag.pick(IMAGES, topics.image or None)
            self._points = bag.pick(POINTS, topics.points or None)
            info = next(bag.messages([bag.pick(CAMERA_INFOS, topics.camera_info or None)]))[2]
            self._camera = to_camera_model(info, config.sensors.image_rectified)
            self._motion = Motion(bag, config, topics.poses)
            stamps: dict[str, list[int]] = {self._images: [], self._points: []}
            for topic, _, message in bag.messages(stamps):
                stamps[topic].append(stamp_ns(message.header.stamp))
        self._posed = config.frames.pose_source == "tf" or len(self._motion.poses) > 0
        if not self._posed:
            self.notes.append(f"{path} has no odometry: how far apart frames are is guessed from their stamps")
        self._picture_of = nearest_pictures(stamps[self._points], stamps[self._images])
        if alone := len(stamps[self._points]) - len(self._picture_of):
            self.dropped[f"no picture of its own within {APART:g} s of the scan"] = alone
        if not self._picture_of:
            raise DataError(f"{path}: none of the {len(stamps[self._points])} scans on {self._points} has a picture on "
                            f"{self._images} within {APART:g} s of its header's stamp: are the two clocks one?")

    def __len__(self) -> int:
        return len(self._picture_of)

    def frames(self) -> Iterator[Recorded]:
        """Every pair; what cannot be used is counted under its error's class, and the last reason is noted.

        Raises DataError if the bag is damaged.
        """
        last = ""
        held: dict[str, dict[int, Any]] = {self._images: {}, self._points: {}}
        wanted = {self._points: set(self._picture_of), self._images: set(self._picture_of.values())}
        scan_of = {picture: scan for scan, picture in self._picture_of.items()}
        with open_bag(self._path) as bag:
            for number, (topic, stamp, message) in enumerate(_stamped(bag, wanted)):
                held[topic][stamp] = message
                scan = stamp if topic == self._points else scan_of[stamp]
                picture = self._picture_of[scan]
                if scan not in held[self._points] or picture not in held[self._images]:
                    continue
                try:
                    yield self._frame(number, held[self._images].pop(picture), held[self._points].pop(scan))
                except (SensorError, TransformError) as e:
                    self.dropped[type(e).__name__] += 1
                    last = str(e)
        if last:
            self.notes.append(f"the last frame left out of {self._path}: {last}")

    def _frame(self, number: int, image_message: Any, points_message: Any) -> Recorded:
        limits, frames = self._config.sensors, self._config.frames
        image = to_camera_image(image_message)
        cloud = to_point_cloud(points_message, limits.min_range, limits.max_range)
        camera: CameraModel = self._camera
        T_base_camera = sensor_in_base(frames, "camera", self._motion.transforms, image.frame_id or camera.frame_id,
                                       image.stamp_ns)
        T_base_lidar = sensor_in_base(frames, "lidar", self._motion.transforms, cloud.frame_id, cloud.stamp_ns)
        if not self._posed:
            return Recorded(number, image.stamp_ns, image.rgb, camera, T_base_camera, cloud.xyz, T_base_lidar, None)
        points = straighten(cloud, T_base_lidar, self._motion.base)
        T_map_base = self._motion.base(image.stamp_ns).T_map_base
        T = inverse(T_map_base @ T_base_lidar) @ self._motion.base(cloud.stamp_ns).T_map_base @ T_base_lidar
        return Recorded(number, image.stamp_ns, image.rgb, camera, T_base_camera, apply(T, points), T_base_lidar,
                        T_map_base)


def nearest_pictures(scans: list[int], pictures: list[int], apart: float = APART) -> dict[int, int]:
    """For each scan's stamp (ns) that of the picture nearest in time, at most `apart` seconds away; a picture that
    would serve two scans goes to the nearer one."""
    order = sorted(set(pictures))
    taken: dict[int, int] = {}
    for scan in sorted(set(scans)):
        i = bisect_left(order, scan)
        near = min(order[max(0, i - 1):i + 1], key=lambda p: abs(p - scan), default=None)
        if near is None or abs(near - scan) > apart * 1e9:
            continue
        if near not in taken or abs(taken[near] - near) > abs(scan - near):
            taken[near] = scan
    return {scan: picture for picture, scan in sorted(taken.items())}


def _stamped(bag: BagReader, wanted: dict[str, set[int]]) -> Iterator[tuple[str, int, Any]]:
    """Messages whose header's stamp is wanted, each stamp once."""
    left = {topic: set(stamps) for topic, stamps in wanted.items()}
    for topic, _, message in bag.messages(wanted):
        stamp = stamp_ns(message.header.stamp)
        if stamp in left[topic]:
            left[topic].remove(stamp)
            yield topic, stamp, message
