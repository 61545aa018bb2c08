# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files as KITTI's raw recordings have them ("sync" drives), so that one reader serves both.

Two drives of one street share a map frame, which KITTI's layout cannot say: the devkit puts each drive's first pose
at its origin. So `poses_base.txt` stands beside the sensors' folders, in TUM's format: stamp (seconds, UTC),
x y z (metres), qx qy qz qw of `T_map_base`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ms2cl_ros.core.geometry import inverse, quaternion
from ms2cl_ros.core.types import CameraModel

DATE = "2011_09_26"
START_NS = 1317042000 * 10**9  # 2011-09-26 13:00:00 UTC
EARTH = 6378137.0
LATITUDE, LONGITUDE, ALTITUDE = 49.0, 8.4, 110.0
IMU_IN_LIDAR = (-0.81, 0.32, -0.80)
BASELINE = 0.54
SENSORS = ("image_02", "velodyne_points", "oxts")


def drive_name(number: int) -> str:
    """The folder of a drive, below the folder of its date."""
    return f"{DATE}_drive_{number:04d}_sync"


def write_calibration(folder: Path, camera: CameraModel, T_base_camera: np.ndarray, T_base_lidar: np.ndarray) -> None:
    """The three calibration files of a date. Camera 2 stands where camera 0 does; rectification turns nothing."""
    T = inverse(T_base_camera) @ T_base_lidar
    lines = ["calib_time: 26-Sep-2011 12:00:00", "corner_dist: 9.950000e-02"]
    size, eye = [camera.width, camera.height], np.eye(3).ravel()
    for k in range(4):
        P = np.c_[camera.K, [-camera.K[0, 0] * BASELINE * (k % 2), 0, 0]]
        rows = {
            "S": size,
            "K": camera.K.ravel(),
            "D": np.zeros(5),
            "R": eye,
            "T": [-BASELINE * (k % 2), 0, 0],
            "S_rect": size,
            "R_rect": eye,
            "P_rect": P.ravel(),
        }
        lines += [f"{name}_{k:02d}: {_numbers(values)}" for name, values in rows.items()]
    (folder / "calib_cam_to_cam.txt").write_text("\n".join(lines) + "\n")
    _write_rigid(folder / "calib_velo_to_cam.txt", T[:3, :3], T[:3, 3], "delta_f: 0 0\ndelta_c: 0 0\n")
    _write_rigid(folder / "calib_imu_to_velo.txt", np.eye(3), np.array(IMU_IN_LIDAR))


def _write_rigid(path: Path, R: np.ndarray, t: np.ndarray, more: str = "") -> None:
    path.write_text(f"calib_time: 26-Sep-2011 12:00:00\nR: {_numbers(R.ravel())}\nT: {_numbers(t)}\n{more}")


def _numbers(values: np.ndarray | list) -> str:
    return " ".join(f"{float(v):.12e}" for v in values)


def write_drive(
    folder: Path, stamps_ns: np.ndarray, poses: np.ndarray, T_base_lidar: np.ndarray, sensors: tuple[str, ...]
) -> None:
    """Time stamps, oxts and `poses_base.txt` of a drive; poses (n, 4, 4) are `T_map_base`."""
    for sensor in sensors:
        (folder / sensor / "data").mkdir(parents=True, exist_ok=True)
        (folder / sensor / "timestamps.txt").write_text("".join(_clock(t) + "\n" for t in stamps_ns))
    T_lidar_imu = np.eye(4)
    T_lidar_imu[:3, 3] = IMU_IN_LIDAR
    for i, row in enumerate(oxts(stamps_ns, poses @ T_base_lidar @ T_lidar_imu)):
        (folder / "oxts" / "data" / f"{i:010d}.txt").write_text(row + "\n")
    lines = [
        f"{t // 10**9}.{t % 10**9:09d} " + " ".join(f"{v:.9f}" for v in [*T[:3, 3], *quaternion(T)])
        for t, T in zip(stamps_ns.tolist(), poses, strict=True)
    ]
    (folder / "poses_base.txt").write_text("# stamp x y z qx qy qz qw of T_map_base\n" + "\n".join(lines) + "\n")


def _clock(stamp_ns: int) -> str:
    """2011-09-26 13:00:00.000000000"""
    seconds, rest = divmod(int(stamp_ns), 10**9)
    return f"{np.datetime64(seconds, 's')}".replace("T", " ") + f".{rest:09d}"


def oxts(stamps_ns: np.ndarray, T_map_imu: np.ndarray) -> list[str]:
    """One line of 30 numbers per pose (n, 4, 4): latitude to yaw, velocities, accelerations, rates, accuracy, state."""
    xyz, R = T_map_imu[:, :3, 3], T_map_imu[:, :3, :3]
    latitude, longitude = geographic(xyz[:, 0], xyz[:, 1])
    yaw, pitch, roll = Rotation.from_matrix(R).as_euler("ZYX").T
    t = (stamps_ns - stamps_ns[0]) / 1e9
    v = _rate(xyz, t)
    forward, level = v[:, 0] * np.cos(yaw) + v[:, 1] * np.sin(yaw), -v[:, 0] * np.sin(yaw) + v[:, 1] * np.cos(yaw)
    a = np.einsum("nji,nj->ni", R, _rate(v, t) + np.array([0, 0, 9.81]))
    turning = _rate(np.unwrap(np.stack([roll, pitch, yaw], 1), axis=0), t)
    n = len(t)
    accuracy, state = np.tile([0.02, 0.02], (n, 1)), np.tile([4, 10, 6, 6, 6], (n, 1))
    table = np.c_[
        latitude,
        longitude,
        xyz[:, 2] + ALTITUDE,
        roll,
        pitch,
        yaw,
        v[:, 1],
        v[:, 0],
        forward,
        level,
        v[:, 2],
        a,
        a,
        turning,
        turning,
        accuracy,
    ]
    return [
        " ".join(f"{x:.14g}" for x in row) + " " + " ".join(map(str, s)) for row, s in zip(table, state, strict=True)
    ]


def _rate(values: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Change per second of (n, k) values; zero for a single pose."""
    return np.gradient(values, t, axis=0) if len(t) > 1 else np.zeros_like(values)


def geographic(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude (degrees) of map metres, such that the devkit's Mercator, whose scale comes from the first
    row's latitude, gives the same metres back. The map's origin lies at LATITUDE, LONGITUDE."""
    scale = EARTH * np.cos(np.deg2rad(LATITUDE))
    north = np.log(np.tan(np.pi * (90 + LATITUDE) / 360))
    first = 360 / np.pi * np.arctan(np.exp(north + y[0] / scale)) - 90, LONGITUDE + np.rad2deg(x[0] / scale)
    scale = EARTH * np.cos(np.deg2rad(first[0]))
    north = np.log(np.tan(np.pi * (90 + first[0]) / 360))
    return (360 / np.pi * np.arctan(np.exp(north + (y - y[0]) / scale)) - 90, first[1] + np.rad2deg((x - x[0]) / scale))
