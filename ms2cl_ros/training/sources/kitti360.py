# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""KITTI-360 as it is downloaded: the left perspective camera, rectified, and the Velodyne's raw scans.

    KITTI-360/calibration/{perspective.txt, calib_cam_to_velo.txt, calib_cam_to_pose.txt}
    KITTI-360/data_2d_raw/2013_05_28_drive_0000_sync/image_00/{timestamps.txt, data_rect/0000000000.png}
    KITTI-360/data_3d_raw/2013_05_28_drive_0000_sync/velodyne_points/{timestamps.txt, data/0000000000.bin}
    KITTI-360/data_poses/2013_05_28_drive_0000_sync/poses.txt

There are poses for some frames only: each line of poses.txt begins with the frame's index, by which it is joined.
The scans are not corrected for the motion while the sensor turned; that is done here. The base is on the ground
below the LiDAR, with its axes, as with KITTI.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ms2cl_ros.core.accumulation import straighten
from ms2cl_ros.core.errors import DataError, TransformError
from ms2cl_ros.core.frames import PoseBuffer
from ms2cl_ros.core.geometry import inverse
from ms2cl_ros.core.types import CameraModel, PointCloud, StampedPose
from ms2cl_ros.tools.kitti import T_BASE_LIDAR, SensorFile
from ms2cl_ros.training.sources.contract import Recorded, Source

PAGE = "https://www.cvlibs.net/datasets/kitti-360/download.php"
IMAGES, SCANS, POSES, CALIBRATION = "data_2d_raw", "data_3d_raw", "data_poses", "calibration"
# The LiDAR turns clockwise, ten times a second, and is at azimuth 0 when the picture is taken.
TURN_SECONDS = 0.1
# Between frames of known pose; where the gap is longer, the car stood.
POSE_GAP = 0.25


class Kitti360Source(Source):
    """One sequence, such as 2013_05_28_drive_0000_sync: the frames that have a picture, a scan and a pose."""

    def __init__(self, root: Path, sequence: str) -> None:
        """Raises DataError naming the file that is missing or wrong, and the download it comes with."""
        super().__init__(sequence)
        cut = f"the calibrations from {PAGE}"
        self._K, self._T_lidar_camera, T_pose_lidar = _calibration(root / CALIBRATION, cut)
        pictures = _files(root / IMAGES / sequence / "image_00/data_rect", ".png",
                          f"the perspective images (image_00) from {PAGE}")
        velodyne = root / SCANS / sequence / "velodyne_points"
        scans = _files(velodyne / "data", ".bin", f"the raw Velodyne scans from {PAGE}")
        stamps = _stamps(velodyne / "timestamps.txt", max(scans), f"the raw Velodyne scans from {PAGE}")
        T_world_pose = _poses(root / POSES / sequence / "poses.txt")
        self._poses = {i: T @ T_pose_lidar @ inverse(T_BASE_LIDAR) for i, T in T_world_pose.items()}
        self._stamps = stamps
        self._frames = {i: (pictures[i], scans[i]) for i in sorted(set(pictures) & set(scans) & set(self._poses))}
        every = set(pictures) | set(scans)
        for what, there in (("picture", pictures), ("scan", scans), ("pose", self._poses)):
            if gone := len(every - set(there)):
                self.dropped[f"no {what} of this index"] = gone
        if not self._frames:
            raise DataError(f"{root}: no index of {sequence} has a picture, a scan and a pose ({len(pictures)} "
                            f"pictures, {len(scans)} scans, {len(self._poses)} poses): take them from {PAGE}")

    def __len__(self) -> int:
        return len(self._frames)

    def frames(self) -> Iterator[Recorded]:
        """Every frame that has all three; raises DataError naming a damaged file."""
        motion = PoseBuffer(POSE_GAP)
        for i, T in self._poses.items():
            if i < len(self._stamps):
                motion.add(StampedPose(self._stamps[i], T))
        T_base_camera = T_BASE_LIDAR @ self._T_lidar_camera
        for i, (picture, scan) in self._frames.items():
            stamp = self._stamps[i]
            rgb = SensorFile(i, stamp, picture).rgb()
            points = self._straight(SensorFile(i, stamp, scan).points()[:, :3], stamp, motion)
            yield Recorded(i, stamp, rgb, CameraModel(rgb.shape[1], rgb.shape[0], self._K), T_base_camera, points,
                           T_BASE_LIDAR, self._poses[i])

    def _straight(self, points: np.ndarray, stamp: int, motion: PoseBuffer) -> np.ndarray:
        times = -np.arctan2(points[:, 1], points[:, 0]).astype(float) / (2 * np.pi) * TURN_SECONDS
        try:
            return straighten(PointCloud(points, stamp, "velodyne", times=times), T_BASE_LIDAR, motion.at)
        except TransformError:
            # Poses are given where the car moves: a frame without a neighbour was taken standing.
            return points


def sequences(root: Path) -> list[str]:
    """The sequences whose scans lie below a KITTI-360 folder."""
    return sorted(p.name for p in (root / SCANS).glob("*_sync") if p.is_dir())


def _calibration(folder: Path, source: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`K` (3, 3) of the rectified camera, `T_lidar_camera` of its optical frame, and `T_pose_lidar` (4 x 4)."""
    camera = _entries(folder / "perspective.txt", {"P_rect_00": (3, 4), "R_rect_00": (3, 3)}, source)
    T_pose_camera = np.eye(4)
    T_pose_camera[:3] = _entries(folder / "calib_cam_to_pose.txt", {"image_00": (3, 4)}, source)["image_00"]
    T_lidar_camera = np.eye(4)
    T_lidar_camera[:3] = _entries(folder / "calib_cam_to_velo.txt", {"": (3, 4)}, source)[""]
    rectified = np.eye(4)
    rectified[:3, :3] = camera["R_rect_00"]
    return camera["P_rect_00"][:, :3], T_lidar_camera @ inverse(rectified), T_pose_camera @ inverse(T_lidar_camera)


def _entries(path: Path, shapes: dict[str, tuple[int, int]], source: str) -> dict[str, np.ndarray]:
    """The matrices of a calibration file by their names; "" stands for a file of one matrix without a name."""
    found = {}
    for line in _lines(path, source):
        name, colon, values = line.partition(":")
        if not colon:
            name, values = "", line
        if name in shapes:
            try:
                found[name] = np.array(values.split(), float).reshape(shapes[name])
            except ValueError as e:
                raise DataError(f"{path}: '{line[:60]}' should be {shapes[name][0]} x {shapes[name][1]} numbers: take "
                                f"{source} again") from e
    if gone := [name or "a matrix" for name in shapes if name not in found]:
        raise DataError(f"{path} lacks {', '.join(gone)}: take {source} again")
    return found


def _lines(path: Path, source: str) -> list[str]:
    if not path.is_file():
        raise DataError(f"{path} is not there; it comes with {source}")
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def _files(folder: Path, suffix: str, source: str) -> dict[int, Path]:
    paths = {int(p.stem): p for p in folder.glob("*" + suffix) if p.stem.isdigit()} if folder.is_dir() else {}
    if not paths:
        what = "holds no files like" if folder.is_dir() else "is not there, with files like"
        raise DataError(f"{folder} {what} 0000000000{suffix}; they come with {source}")
    return paths


def _stamps(path: Path, last: int, source: str) -> list[int]:
    """Nanoseconds of each index, from lines like 2013-05-28 08:46:02.904133120."""
    lines = _lines(path, source)
    if last >= len(lines):
        raise DataError(f"{path} has {len(lines)} lines, but there is a scan {last}: take {source} again")
    try:
        return [int(np.datetime64(line.replace(" ", "T"), "ns").astype(np.int64)) for line in lines]
    except ValueError as e:
        raise DataError(f"{path}: expected times like 2013-05-28 08:46:02.904133120: {e}") from e


def _poses(path: Path) -> dict[int, np.ndarray]:
    """`T_world_pose` (4 x 4) by the index in the first column."""
    source = f"the vehicle poses from {PAGE}"
    poses = {}
    for number, line in enumerate(_lines(path, source), 1):
        try:
            values = np.array(line.split(), float)
            T = np.vstack([values[1:].reshape(3, 4), [0, 0, 0, 1]])
        except ValueError as e:
            raise DataError(f"{path}, line {number}: expected the frame's index and 12 numbers: take {source} "
                            "again") from e
        poses[int(values[0])] = T
    return dict(sorted(poses.items()))
