# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small recordings, generated: KITTI-360's layout, the compact layout, and a street of poles to be driven along."""

import lzma
from collections.abc import Iterator
from pathlib import Path

import cv2
import kitti_folders
import numpy as np

from ms2cl_ros.core.geometry import inverse
from ms2cl_ros.core.types import CameraModel
from ms2cl_ros.tools.compact import AZIMUTH_STEP, ELEVATION_STEP, RANGE_STEP
from ms2cl_ros.training.sources.contract import Recorded, Source

SEQUENCE = "2013_05_28_drive_0000_sync"
# Optical axes (z forward, x right, y down) in a frame with x forward, y left, z up.
OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
WIDTH, HEIGHT, FOCAL = 120, 24, 60.0
# Metres: (x, y) of poles in the street of poles.
POLES = np.array([[x, side * (6 + x % 3)] for x in range(-30, 61, 5) for side in (-1, 1)], float)


def kitti360(root: Path, pictures=range(4), scans=range(4), poses=range(4), speed: float = 10.0) -> Path:
    """Writes a sequence whose car drives along the world's x axis; its frames are the indices given."""
    calibration, sequence = root / "calibration", root / "data_2d_raw" / SEQUENCE
    velodyne, trajectory = root / "data_3d_raw" / SEQUENCE / "velodyne_points", root / "data_poses" / SEQUENCE
    for folder in (calibration, sequence / "image_00/data_rect", velodyne / "data", trajectory):
        folder.mkdir(parents=True)
    (calibration / "perspective.txt").write_text(
        "calib_time: 2013\nS_rect_00: 40 20\nR_rect_00: 1 0 0 0 1 0 0 0 1\nP_rect_00: 20 0 20 0 0 20 10 0 0 0 1 0\n")
    # the camera 0.8 m ahead of the LiDAR and 0.2 m below it
    (calibration / "calib_cam_to_velo.txt").write_text("0 0 1 0.8 -1 0 0 0 0 -1 0 -0.2")
    # the vehicle's frame has x forward, y right, z down; the camera 1.5 m ahead of it, 0.6 m above
    (calibration / "calib_cam_to_pose.txt").write_text("image_00: 0 0 1 1.5 1 0 0 0 0 1 0 -0.6\n")
    for k in pictures:
        assert cv2.imwrite(str(sequence / f"image_00/data_rect/{k:010d}.png"), kitti_folders.rgb(k)[..., ::-1])
    for k in scans:
        kitti_folders.points(k).tofile(velodyne / f"data/{k:010d}.bin")
    (velodyne / "timestamps.txt").write_text("".join(f"2013-05-28 08:46:02.{k}00000000\n" for k in range(5)))
    (trajectory / "poses.txt").write_text("".join(f"{k} 1 0 0 {k * 0.1 * speed} 0 -1 0 0 0 0 -1 0\n" for k in poses))
    return root


def compact_drive(root: Path, name: str = "drive", frames: int = 3, odometry: bool = False) -> Path:
    """Writes a drive in the compact layout that goes 1 m a frame along x, by its odometry 2 m."""
    folder = root / name
    (folder / "image").mkdir(parents=True)
    (folder / "scan").mkdir()
    T_camera_lidar = np.eye(4)
    T_camera_lidar[:3, :3] = OPTICAL.T
    K = [[20.0, 0.0, 20.0], [0.0, 20.0, 10.0], [0.0, 0.0, 1.0]]
    (folder / "drive.yaml").write_text(f"camera: {{K: {K}}}\nT_cam_lidar: {T_camera_lidar.tolist()}\n")
    for k in range(frames):
        assert cv2.imwrite(str(folder / f"image/{k:010d}.webp"), kitti_folders.rgb(k)[..., ::-1])
        (folder / f"scan/{k:010d}.xz").write_bytes(_packed(kitti_folders.points(k)[:, :3]))
    for file, step in (("frames.csv", 1.0), *((("poses_lidar.csv", 2.0),) if odometry else ())):
        (folder / file).write_text("index,stamp_ns,x,y,z,qx,qy,qz,qw\n" + "".join(
            f"{k:010d},{k * 100_000_000},{k * step},0,0,0,0,0,1\n" for k in range(frames)))
    return folder


def _packed(points: np.ndarray) -> bytes:
    ranges = np.linalg.norm(points, axis=1)
    whole = (np.round((np.arctan2(points[:, 1], points[:, 0]) + np.pi) / AZIMUTH_STEP),
             np.round(np.arcsin(points[:, 2] / ranges) / ELEVATION_STEP), np.round(ranges / RANGE_STEP))
    planes = []
    for values in whole:
        steps = np.diff(values.astype(np.int64), prepend=0).astype(np.uint16)
        planes += [steps & 255, steps >> 8]
    return lzma.compress(np.concatenate([*planes, np.zeros(len(points))]).astype(np.uint8).tobytes())


class StreetOfPoles(Source):
    """A drive along x past POLES, 1 m a frame; the camera looks `heading` radians to the left of ahead."""

    def __init__(self, frames: int = 30, posed: bool = True, heading: float = 0.0, name: str = "poles") -> None:
        super().__init__(name)
        self._frames, self._posed = frames, posed
        c, s = np.cos(heading), np.sin(heading)
        self._T_base_camera = np.eye(4)
        self._T_base_camera[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ OPTICAL
        self._T_base_lidar = np.eye(4)
        self._T_base_lidar[:3, 3] = 0.5, 0.0, 1.8

    def __len__(self) -> int:
        return self._frames

    def frames(self) -> Iterator[Recorded]:
        camera = CameraModel(WIDTH, HEIGHT, np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]))
        for k in range(self._frames):
            T = np.eye(4)
            T[0, 3] = k
            rgb = np.full((HEIGHT, WIDTH, 3), (k, 100, 200), np.uint8)
            yield Recorded(k, k * 500_000_000, rgb, camera, self._T_base_camera, self._scan(T), self._T_base_lidar,
                           T if self._posed else None)

    def _scan(self, T_map_base: np.ndarray) -> np.ndarray:
        angle, height = np.meshgrid(np.linspace(0, 2 * np.pi, 16), np.linspace(0, 3, 20))
        ring = np.stack([0.15 * np.cos(angle), 0.15 * np.sin(angle), height], -1).reshape(-1, 3)
        world = np.concatenate([ring + np.array([x, y, 0.0]) for x, y in POLES])
        T = inverse(T_map_base @ self._T_base_lidar)
        return (world @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
