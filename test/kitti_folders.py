# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small folders in KITTI's layout, generated: a car that drives east at 10 m/s past made-up points."""

from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, POINTS, SPEED = 40, 20, 50, 10.0
START_NS = 1_317_042_504_900_000_000  # 2011-09-26 13:08:24.9 UTC
STEP_NS = 100_000_000
# when the sensors of one frame fire after its beginning, nanoseconds
SCAN_NS, IMAGE_NS, OXTS_NS = 7_314_930, 17_930_880, 19_505_176
EARTH_RADIUS = 6378137.0

P_RECT_02 = "20 0 20 2 0 20 10 0.2 0 0 1 0.003"
# the optical frame exactly: x right = -y, y down = -z, z forward = x; the camera 0.27 m ahead, 0.08 m below
VELO_TO_CAM = "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 -0.08 -0.27"


def rgb(index: int) -> np.ndarray:
    """The picture of a frame, (20, 40, 3) uint8."""
    return np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def points(index: int) -> np.ndarray:
    """The scan of a frame, (50, 4) float32."""
    generator = np.random.default_rng(1000 + index)
    return generator.uniform([5, -20, -2, 0], [40, 20, 3, 1], (POINTS, 4)).astype(np.float32)


def raw_drive(root: Path, frames: int = 4, without_scans: tuple[int, ...] = ()) -> Path:
    """Writes a raw drive under `root` and returns its folder."""
    drive = root / "2011_09_26" / "2011_09_26_drive_0099_sync"
    for i, sensor in enumerate(("image_02", "velodyne_points", "oxts")):
        (drive / sensor / "data").mkdir(parents=True)
        offset = (IMAGE_NS, SCAN_NS, OXTS_NS)[i]
        (drive / sensor / "timestamps.txt").write_text("".join(_time(START_NS + k * STEP_NS + offset) + "\n"
                                                               for k in range(frames)))
    for k in range(frames):
        _picture(drive / f"image_02/data/{k:010d}.png", k)
        (drive / f"oxts/data/{k:010d}.txt").write_text(oxts(k * SPEED * STEP_NS / 1e9) + "\n")
        if k not in without_scans:
            points(k).tofile(drive / f"velodyne_points/data/{k:010d}.bin")
    (drive.parent / "calib_cam_to_cam.txt").write_text(
        f"calib_time: 09-Jan-2012 13:57:47\nR_rect_00: 1 0 0 0 1 0 0 0 1\nP_rect_02: {P_RECT_02}\n")
    (drive.parent / "calib_velo_to_cam.txt").write_text(f"calib_time: 15-Mar-2012 11:37:16\n{VELO_TO_CAM}\n")
    # the LiDAR 0.8 m ahead of the IMU, 0.3 m to its right, 0.8 m above it
    (drive.parent / "calib_imu_to_velo.txt").write_text("R: 1 0 0 0 1 0 0 0 1\nT: -0.8 0.3 -0.8\n")
    return drive


def oxts(metres: float, latitude: float = 49.0) -> str:
    """A line of oxts, so many metres east of 8.4 degrees, heading east, level."""
    longitude = 8.4 + np.rad2deg(metres / (EARTH_RADIUS * np.cos(np.deg2rad(latitude))))
    row = [latitude, longitude, 114.5, 0.0, 0.0, 0.0] + [0.0] * 17 + [0.05, 0.02, 4, 8, 4, 4, 0]
    return " ".join(f"{v:.14g}" for v in row)


def odometry_sequence(root: Path, frames: int = 4, with_poses: bool = True) -> Path:
    """Writes an odometry sequence 07 under `root`, its car going straight ahead, and returns its folder."""
    sequence = root / "dataset" / "sequences" / "07"
    (sequence / "image_2").mkdir(parents=True)
    (sequence / "velodyne").mkdir()
    for k in range(frames):
        _picture(sequence / f"image_2/{k:06d}.png", k)
        points(k).tofile(sequence / f"velodyne/{k:06d}.bin")
    (sequence / "times.txt").write_text("".join(f"{k * 0.1:.6e}\n" for k in range(frames)))
    (sequence / "calib.txt").write_text(f"P0: 20 0 20 0 0 20 10 0 0 0 1 0\nP2: {P_RECT_02}\n"
                                        "Tr: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27\n")
    if with_poses:
        (root / "dataset" / "poses").mkdir()
        (root / "dataset" / "poses" / "07.txt").write_text(
            "".join(f"1 0 0 0 0 1 0 0 0 0 1 {k * SPEED * 0.1}\n" for k in range(frames)))
    return sequence


def _time(stamp_ns: int) -> str:
    when = np.datetime64(stamp_ns, "ns")
    return str(when).replace("T", " ")


def _picture(path: Path, index: int) -> None:
    assert cv2.imwrite(str(path), rgb(index)[..., ::-1])
