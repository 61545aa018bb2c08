# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reads KITTI as it is downloaded: raw drives (synced and rectified) and odometry sequences.

    drive = read_raw("2011_09_26/2011_09_26_drive_0009_sync")
    for frame in drive.frames():
        points = frame.scan.points()        # (N, 4), frame `velodyne`

Frames: `velodyne` (x forward, y left, z up); `camera2`, the optical frame of the rectified colour camera;
`base_link`, on the ground below the LiDAR, with its axes. `map` is the `base_link` of the drive's first pose.
What belongs together is joined by the index in the file names: velodyne scans are missing here and there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.frames import PoseBuffer
from ms2cl_ros.core.geometry import inverse, transform
from ms2cl_ros.core.types import CameraModel, StampedPose
from ms2cl_ros.tools.trajectories import extended, read_poses

LIDAR_HEIGHT = 1.73  # metres above the road, from KITTI's sensor set-up
T_BASE_LIDAR = transform((0.0, 0.0, LIDAR_HEIGHT))
EARTH_RADIUS = 6378137.0
# Odometry sequences count from 0 s, but a ROS stamp of 0 means "no time": they begin at 1 s instead.
SEQUENCE_START_NS = 1_000_000_000
CARRIED_ON_NS = 100_000_000
# Standard deviations the OXTS RT3003's makers give, radians: roll, pitch, heading. Positions carry their own.
RT3003_ANGLES = np.deg2rad([0.03, 0.03, 0.1])

RAW_SENSORS = {"image_02": (".png", ".jpg"), "velodyne_points": (".bin",)}
RAW_PAGE = "https://www.cvlibs.net/datasets/kitti/raw_data.php"
ODOMETRY_PAGE = "https://www.cvlibs.net/datasets/kitti/eval_odometry.php"
_DRIVE_ZIP = f'the "synced+rectified data" of the drive from {RAW_PAGE}'
_CALIBRATION_ZIP = f'the "calibration" zip of the day from {RAW_PAGE}, unpacked so that it lies beside the drive'


@dataclass(frozen=True)
class Calibration:
    """`K`: (3, 3) of the rectified colour image. Transforms are 4 x 4 float64, metres.

    `T_lidar_camera`: optical frame of rectified camera 2, its centre included.
    `T_lidar_camera0`: the same of the rectified left grey camera, whose poses the benchmark gives.
    `T_imu_lidar`: None for odometry sequences, which have no IMU.
    """

    K: np.ndarray
    T_lidar_camera: np.ndarray
    T_lidar_camera0: np.ndarray
    T_imu_lidar: np.ndarray | None = None

    @property
    def T_base_camera(self) -> np.ndarray:
        """Optical frame of rectified camera 2 in `base_link`."""
        return T_BASE_LIDAR @ self.T_lidar_camera

    def camera_model(self, width: int, height: int) -> CameraModel:
        """The rectified camera as a model without distortion; width and height in pixels."""
        return CameraModel(width, height, self.K, frame_id="camera2")


@dataclass(frozen=True)
class SensorFile:
    """One picture or scan on disk. `index`: the number in its name. `stamp_ns`: the sensor's own time."""

    index: int
    stamp_ns: int
    path: Path

    def points(self) -> np.ndarray:
        """(N, 4) float32 x y z (metres, frame `velodyne`) and reflectance 0..1; raises DataError if cut short."""
        data = self.path.read_bytes()
        if not data or len(data) % 16:
            raise DataError(f"{self.path} has {len(data)} bytes, expected a multiple of 16 (x y z reflectance, "
                            "float32): the file is damaged, unpack it again")
        return np.frombuffer(data, "<f4").reshape(-1, 4)

    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8, red first; raises DataError if the file is no picture."""
        import cv2
        # decoded from memory: cv2.imread cannot say why it failed, and prints instead
        data = np.frombuffer(self.path.read_bytes(), np.uint8)
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if bgr is None:
            raise DataError(f"{self.path} ({data.size} bytes) is not a picture: the file is damaged, unpack it again")
        return bgr[..., ::-1].copy()


@dataclass(frozen=True)
class Frame:
    """What the sensors saw under one index; None where a file is missing."""

    index: int
    image: SensorFile | None
    scan: SensorFile | None


@dataclass(frozen=True)
class Drive:
    """A drive or sequence, nothing decoded yet.

    `poses`: `T_map_base` at their own stamps, rising; empty if there are none. The sensors of one KITTI frame fire
    some 15 ms apart, so the motion is carried on to the first and the last picture or scan, 0.1 s at most.
    `missing`: frames without an `image` or a `scan`, counted. `notes`: what a person should know.
    """

    name: str
    calibration: Calibration
    images: dict[int, SensorFile]
    scans: dict[int, SensorFile]
    poses: tuple[StampedPose, ...]
    missing: dict[str, int]
    notes: tuple[str, ...] = ()

    def frames(self) -> Iterator[Frame]:
        """Frames by index, in order; an index is there if any file of it is."""
        for i in sorted({*self.images, *self.scans}):
            yield Frame(i, self.images.get(i), self.scans.get(i))

    def pose_buffer(self, gap: float = 0.5) -> PoseBuffer:
        """The poses, to be asked at any stamp; `gap` seconds at most between two that are interpolated."""
        buffer = PoseBuffer(gap)
        for pose in self.poses:
            buffer.add(pose)
        return buffer


def read_raw(drive: Path | str, poses: Path | str | None = None, poses_of: str | None = None) -> Drive:
    """Reads a raw drive, `DATE/DATE_drive_NNNN_sync`, with the `calib_*.txt` of the day beside it.

    Poses come from the drive's oxts, or from the file `poses` (see `trajectories.read_poses`; `poses_of` is the
    frame it describes). A drive may lack the folder of one sensor, and a note says so: a map needs no images.
    Raises DataError naming the file that was looked for and the download it comes with.
    """
    folder = Path(drive).resolve()
    there = [s for s in RAW_SENSORS if (folder / s).is_dir()]
    if not there:
        what = f"neither {' nor '.join(RAW_SENSORS)} in it" if folder.is_dir() else "no such folder"
        raise DataError(f"{folder}: there is {what}; it comes with {_DRIVE_ZIP}")
    calibration = read_raw_calibration(folder.parent)
    files = {s: _raw_files(folder / s, RAW_SENSORS[s]) if s in there else {} for s in RAW_SENSORS}
    if poses is not None:
        stamps = {i: f.stamp_ns for i, f in files[there[0]].items()}
        trajectory = read_poses(Path(poses), stamps, _T_base(calibration), poses_of)
    else:
        trajectory = _oxts_poses(_raw_files(folder / "oxts", (".txt",)), calibration)
    notes = tuple(f"{folder.name} has no {s}" for s in RAW_SENSORS if s not in there)
    return _drive(folder.name, calibration, *files.values(), trajectory, notes)


def read_odometry(sequence: Path | str, poses: Path | str | None = None, poses_of: str | None = None) -> Drive:
    """Reads an odometry sequence, `dataset/sequences/NN`, its stamps beginning at 1 s.

    Poses come from `dataset/poses/NN.txt` where it exists (00 to 10), or from the file `poses`. Without either the
    drive has no poses and a note says so. Raises DataError naming what was looked for.
    """
    source = f"the colour, velodyne and calibration zips from {ODOMETRY_PAGE}"
    folder = _folder(Path(sequence), "image_2", source)
    calibration = read_sequence_calibration(folder / "calib.txt")
    times = _lines(folder / "times.txt", source)
    stamps = [SEQUENCE_START_NS + round(float(t) * 1e9) for t in times if t]
    images = _stamped(folder / "image_2", (".png", ".jpg"), stamps, source)
    scans = _stamped(folder / "velodyne", (".bin",), stamps, source)
    path = Path(poses) if poses is not None else folder.parent.parent / "poses" / f"{folder.name}.txt"
    if poses is None and not path.is_file():
        note = f"no poses: {path} is not there (KITTI gives them for 00 to 10), and no pose file was named"
        return _drive(folder.name, calibration, images, scans, [], (note,))
    trajectory = read_poses(path, dict(enumerate(stamps)), _T_base(calibration), poses_of, SEQUENCE_START_NS)
    return _drive(folder.name, calibration, images, scans, trajectory)


def read_raw_calibration(folder: Path) -> Calibration:
    """The three `calib_*.txt` of a day of raw data; raises DataError if one is missing or lacks an entry."""
    cameras, lidar, imu = (_calibration_file(folder / f"calib_{n}.txt", keys, _CALIBRATION_ZIP) for n, keys in (
        ("cam_to_cam", {"P_rect_02": 12, "R_rect_00": 9}), ("velo_to_cam", {"R": 9, "T": 3}),
        ("imu_to_velo", {"R": 9, "T": 3})))
    rectify = np.eye(4)
    rectify[:3, :3] = cameras["R_rect_00"].reshape(3, 3)
    return _calibration(cameras["P_rect_02"], rectify @ _rigid(lidar), inverse(_rigid(imu)))


def read_sequence_calibration(path: Path) -> Calibration:
    """The `calib.txt` of an odometry sequence; raises DataError if it is missing or lacks an entry."""
    source = f"the calibration zip from {ODOMETRY_PAGE} (the one in the colour zip has no Tr)"
    entries = _calibration_file(path, {"P2": 12, "Tr": 12}, source)
    return _calibration(entries["P2"], np.vstack([entries["Tr"].reshape(3, 4), [0, 0, 0, 1]]))


def _calibration(P: np.ndarray, T_camera0_lidar: np.ndarray, T_imu_lidar: np.ndarray | None = None) -> Calibration:
    """From the projection of camera 2: P = K [I | t], where t moves camera 0's points into camera 2."""
    K, column = P.reshape(3, 4)[:, :3], P.reshape(3, 4)[:, 3]
    T_camera_camera0 = transform(np.linalg.solve(K, column).tolist())
    return Calibration(K, inverse(T_camera_camera0 @ T_camera0_lidar), inverse(T_camera0_lidar), T_imu_lidar)


def _rigid(entries: dict[str, np.ndarray]) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = entries["R"].reshape(3, 3), entries["T"]
    return T


def _calibration_file(path: Path, sizes: dict[str, int], source: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for line in _lines(path, source):
        key, _, values = line.partition(":")
        if key in sizes:
            try:
                found[key] = np.array(values.split(), float)
            except ValueError as e:
                raise DataError(f"{path}: {key} should be numbers, got '{values.strip()}': take {source} again") from e
    wrong = [f"{key} ({n} numbers)" for key, n in sizes.items() if key not in found or found[key].size != n]
    if wrong:
        raise DataError(f"{path} lacks {', '.join(wrong)}: take {source}")
    return found


def _T_base(calibration: Calibration) -> dict[str, np.ndarray]:
    return {"camera": T_BASE_LIDAR @ calibration.T_lidar_camera0, "lidar": T_BASE_LIDAR, "base": np.eye(4)}


def _oxts_poses(files: dict[int, SensorFile], calibration: Calibration) -> list[StampedPose]:
    """`T_map_base` of each file: Mercator as in KITTI's development kit, scale and origin from the first file."""
    assert calibration.T_imu_lidar is not None, "only raw drives have oxts"
    T_imu_base = calibration.T_imu_lidar @ inverse(T_BASE_LIDAR)
    rows = [(f.stamp_ns, _oxts(f.path)) for f in files.values()]
    first = rows[0][1]
    scale = np.cos(np.deg2rad(first[0]))
    T_map_world = inverse(_oxts_pose(first, scale) @ T_imu_base)
    return [StampedPose(stamp_ns, T_map_world @ _oxts_pose(row, scale) @ T_imu_base, _oxts_covariance(row))
            for stamp_ns, row in rows]


def _oxts(path: Path) -> np.ndarray:
    try:
        row = np.array(path.read_text().split(), float)
    except ValueError as e:
        raise DataError(f"{path} should hold 30 numbers, but {e}: unpack it again") from e
    if row.size != 30:
        raise DataError(f"{path} holds {row.size} numbers, expected 30 (lat lon alt roll pitch ...): unpack it again")
    return row


def _oxts_pose(row: np.ndarray, scale: float) -> np.ndarray:
    """`T_world_imu` of an oxts row: latitude, longitude, altitude, roll, pitch, yaw (degrees, metres, radians)."""
    east = scale * EARTH_RADIUS * np.deg2rad(row[1])
    north = scale * EARTH_RADIUS * np.log(np.tan(np.deg2rad(90.0 + row[0]) / 2))
    return transform((east, north, row[2]), Rotation.from_euler("xyz", row[3:6]).as_quat())


def _oxts_covariance(row: np.ndarray) -> np.ndarray:
    """(6, 6), ROS order: the position accuracy that the unit reports, at least 1 cm, and its makers' angles."""
    position = max(row[23], 0.01)
    return np.diag(np.square([position, position, position, *RT3003_ANGLES]))


def _drive(name: str, calibration: Calibration, images: dict[int, SensorFile], scans: dict[int, SensorFile],
           poses: list[StampedPose], notes: tuple[str, ...] = ()) -> Drive:
    indices = set(images) | set(scans)
    missing = {kind: len(indices) - len(files) for kind, files in (("image", images), ("scan", scans)) if files}
    stamps = sorted(f.stamp_ns for f in (*images.values(), *scans.values()))
    poses = extended(sorted(poses, key=lambda p: p.stamp_ns), stamps[0], stamps[-1], CARRIED_ON_NS)
    if poses:
        outside = sum(not poses[0].stamp_ns <= s <= poses[-1].stamp_ns for s in stamps)
        notes += (f"{outside} of {len(stamps)} pictures and scans lie outside the poses' times",) if outside else ()
    return Drive(name, calibration, images, scans, tuple(poses), {p: n for p, n in missing.items() if n}, notes)


def _folder(path: Path, inside: str, source: str) -> Path:
    path = path.resolve()
    if not (path / inside).is_dir():
        what = "there is no such folder" if not path.is_dir() else f"it has no {inside}"
        raise DataError(f"{path}: {what}; it comes with {source}")
    return path


def _lines(path: Path, source: str) -> list[str]:
    if not path.is_file():
        raise DataError(f"{path} is not there; it comes with {source}")
    return [line.strip() for line in path.read_text().splitlines()]


def _raw_files(sensor: Path, suffixes: tuple[str, ...]) -> dict[int, SensorFile]:
    stamps = [_stamp_ns(line, sensor) if line else None for line in _lines(sensor / "timestamps.txt", _DRIVE_ZIP)]
    return _stamped(sensor / "data", suffixes, stamps, _DRIVE_ZIP)


def _stamp_ns(line: str, sensor: Path) -> int:
    """`2011-09-26 13:08:24.967930880`, taken as UTC, in whole nanoseconds."""
    seconds, _, fraction = line.partition(".")
    try:
        when = datetime.fromisoformat(seconds).replace(tzinfo=timezone.utc)
        return int(when.timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9])
    except ValueError as e:
        raise DataError(f"{sensor / 'timestamps.txt'}: '{line}' is not a time like "
                        "2011-09-26 13:08:24.967930880") from e


def _stamped(folder: Path, suffixes: tuple[str, ...], stamps: Sequence[int | None],
             source: str) -> dict[int, SensorFile]:
    """The files of a folder by index with their stamps: line i belongs to index i.

    An excerpt may have one line a file instead, whatever the indices. A file whose line is blank has no stamp
    and counts as missing.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not there; it comes with {source}")
    paths = {int(p.stem): p for p in sorted(folder.iterdir()) if p.suffix in suffixes and p.stem.isdigit()}
    if not paths:
        raise DataError(f"{folder} holds no files like 0000000000{suffixes[0]}; they come with {source}")
    if max(paths) < len(stamps):
        found = {i: stamps[i] for i in paths}
    elif len(paths) == len(stamps):
        found = dict(zip(paths, stamps, strict=True))
    else:
        raise DataError(f"{folder}: {len(paths)} files up to index {max(paths)}, but {len(stamps)} time stamps; "
                        f"take {source} again")
    return {i: SensorFile(i, stamp, paths[i]) for i, stamp in found.items() if stamp is not None}
