# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a pose graph is fed with: frames of drives, odometry, and closures found by a camera."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from pose_graph import Closure
from scipy.spatial import cKDTree

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.geometry import apply, distance, inverse, rotation_z
from ms2cl_ros.core.loop_closure import LoopClosure, loop_closure, turned
from ms2cl_ros.core.mapper import Mapper
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.types import CameraImage, Match, PointCloud, StampedPose, Submap
from ms2cl_ros.tools.kitti import T_BASE_LIDAR, Calibration, SensorFile, read_raw

# Only what is older counts as another visit; LIO-SAM and its kin have the same rule.
APART_NS = 30 * 10**9
# The camera measures x, y and heading. A car that comes by a place again stands on the same road, so this much is known
# of its height (metres), roll and pitch: an assumption of this example, not of the matcher, which says "unknown".
ROAD = np.array([0.1, np.deg2rad(1.0), np.deg2rad(1.0)])
# Metres between closures.
FRESH_METRES = 5.0
MAX_RANGE = 100.0
# A registered closure: points agree within so many metres and at least this share of them does. On the drive of seed 2
# at least 0.91 did where the camera was right, at most 0.65 where registration began at another place.
REFINED_METRES, REFINED_SHARE = 0.5, 0.75
# How well it is known: about twice its errors on that drive (0.02 m, tilt 0.14 and heading 0.02 degrees), since those
# of neighbouring closures hang together.
REFINED = np.array([0.05, 0.05, 0.05, *np.deg2rad([0.3, 0.3, 0.1])])

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Frame:
    """What was recorded at one place. `truth`: `T_world_base`, for the evaluation and for simulated wheels only."""

    stamp_ns: int
    image: SensorFile
    scan: SensorFile | None
    truth: np.ndarray

    def points(self) -> np.ndarray:
        """(N, 3) float32, metres, LiDAR frame; raises DataError where only a camera was along."""
        if self.scan is None:
            raise DataError(f"the frame of stamp {self.stamp_ns} has no scan: the drive's LiDAR files are missing")
        return self.scan.points()[:, :3]


def read(drives: Sequence[Path]) -> tuple[list[Frame], Calibration]:
    """The frames of one recording or of several that follow each other, KITTI raw with `poses_base.txt`."""
    frames: list[Frame] = []
    for folder in drives:
        drive = read_raw(folder, poses=folder / "poses_base.txt")
        poses = drive.pose_buffer()
        frames += [Frame(f.image.stamp_ns, f.image, f.scan, poses.at(f.image.stamp_ns).T_map_base)
                   for f in drive.frames() if f.image is not None]
    return frames, drive.calibration


def icp_odometry(frames: Sequence[Frame], progress: Progress | None = None) -> np.ndarray:
    """(n, 4, 4) `T_odom_base` by KISS-ICP with its defaults; odom is the first base. The sweeps are not distorted."""
    from kiss_icp.config.parser import load_config
    from kiss_icp.kiss_icp import KissICP
    config = load_config(None)
    config.data.deskew, config.data.max_range = False, MAX_RANGE
    config.registration.max_num_threads = 1  # its sums then come out the same every time
    kiss, out = KissICP(config), []
    for k, frame in enumerate(frames):
        kiss.register_frame(frame.points().astype(float), np.array([]))
        out.append(T_BASE_LIDAR @ kiss.last_pose @ inverse(T_BASE_LIDAR))
        if progress:
            progress(k + 1, len(frames))
    return np.array(out)


def wheel_odometry(frames: Sequence[Frame], seed: int, scale: float = 1.02, turn_deg: float = 0.05,
                   noise_deg: float = 0.2) -> np.ndarray:
    """(n, 4, 4) `T_odom_base` as wheels would give it, SIMULATED from the truth: level, 2 % too long, heading drifting
    by `turn_deg` a metre and `noise_deg` at random a step."""
    rng, out = np.random.default_rng(seed), [np.eye(4)]
    for a, b in pairwise(frames):
        step = inverse(a.truth) @ b.truth
        metres = float(np.linalg.norm(step[:3, 3]))
        turn = np.arctan2(step[1, 0], step[0, 0]) + np.deg2rad(turn_deg * metres + noise_deg * rng.normal())
        moved = rotation_z(turn)
        moved[:2, 3] = scale * step[:2, 3]
        out.append(out[-1] @ moved)
    return np.array(out)


class Recogniser:
    """A camera's matches in a map. Only those that the matcher promises count, and one every `FRESH_METRES`: matches
    from the same few metres share their errors, which a pose graph would take for independent."""

    def __init__(self, config: Config, encoder: Encoder, store: Store, calibration: Calibration) -> None:
        self._calibration, self._matcher = calibration, Matcher(config, encoder, store)
        self._last: np.ndarray | None = None

    def match(self, frame: Frame, T_odom_base: np.ndarray) -> Match | None:
        """Where the map says that a frame's image was taken, or None."""
        rgb = frame.image.rgb()
        camera = self._calibration.camera_model(rgb.shape[1], rgb.shape[0])
        image = CameraImage(rgb, frame.stamp_ns, camera.frame_id)
        found = self._matcher.locate(image, camera, self._calibration.T_base_camera,
                                     lambda stamp_ns: StampedPose(stamp_ns, T_odom_base))
        if found is None or found.state != "MATCHED":
            return None
        if self._last is not None and distance(self._last, T_odom_base) < FRESH_METRES:
            return None
        self._last = T_odom_base
        return found


def own_past(frames: Sequence[Frame], odometry: np.ndarray, calibration: Calibration, config: Config, database: Path,
             refine: bool = True, progress: Progress | None = None) -> list[Closure]:
    """Form 1: the map grows out of scans and odometry while driving, and the camera looks for older places in it.

    Scans enter the map `APART_NS` late, so that everything in it is another visit. `refine`: closures are `refined` and
    dropped where points do not agree; else the camera's pose and covariance stay. The map stays at `database`, in the
    odometry's frame.
    """
    encoder, waiting = Encoder.load(config.encoder), deque(enumerate(frames))
    index, closures = {f.stamp_ns: k for k, f in enumerate(frames)}, []
    with open_map(database, encoder.sidecar, write=True) as store:
        mapper, eyes = Mapper(config, encoder, store), Recogniser(config, encoder, store, calibration)
        for k, frame in enumerate(frames):
            while waiting[0][1].stamp_ns <= frame.stamp_ns - APART_NS:
                _map(mapper, *waiting.popleft(), odometry)
            match = eyes.match(frame, odometry[k])
            if match is not None:
                closures += _closed(loop_closure(match, store), k, index, store, frame if refine else None)
            if progress:
                progress(k + 1, len(frames))
        while waiting:
            _map(mapper, *waiting.popleft(), odometry)
        mapper.flush()
        mapper.render_ripe(None, final=True)
    return closures


def _closed(seen: LoopClosure | None, k: int, index: dict[int, int], store: Store,
            frame: Frame | None) -> list[Closure]:
    """What a match becomes: nothing where it stands by the images before it alone; `frame`: to refine it with."""
    if seen is None:
        return []
    closure = _between(seen.T_submap_base, seen.covariance, k, index[seen.submap_stamp_ns])
    return [closure] if frame is None else refined(closure, store.submap(seen.submap_id, views=False), frame)


def in_map(frames: Sequence[Frame], odometry: np.ndarray, calibration: Calibration, config: Config, database: Path,
           progress: Progress | None = None) -> list[Closure]:
    """Form 2: a camera alone, in a map that another drive has left behind."""
    encoder, closures = Encoder.load(config.encoder), []
    with open_map(database, encoder.sidecar, write=False) as store:
        eyes = Recogniser(config, encoder, store, calibration)
        for k, frame in enumerate(frames):
            match = eyes.match(frame, odometry[k])
            if match is not None:
                closures.append(_between(match.T_map_base, match.covariance, k, None))
            if progress:
                progress(k + 1, len(frames))
    return closures


def _map(mapper: Mapper, k: int, frame: Frame, odometry: np.ndarray) -> None:
    cloud = PointCloud(frame.points(), frame.stamp_ns, "velodyne")
    mapper.add_scan(cloud, StampedPose(frame.stamp_ns, odometry[k]), T_BASE_LIDAR)
    mapper.render_ripe()


def _between(T_partner_base: np.ndarray, covariance: np.ndarray, k: int, partner: int | None) -> Closure:
    """`covariance`: (6, 6), ROS order, along the partner's axes."""
    C = turned(covariance, T_partner_base[:3, :3].T)
    C[2:5, :] = C[:, 2:5] = 0.0
    C[[2, 3, 4], [2, 3, 4]] = ROAD**2
    return Closure(k, partner, T_partner_base, C)


def refined(closure: Closure, submap: Submap, frame: Frame) -> list[Closure]:
    """The closure after registering the frame's scan with the submap's points; none if they do not agree."""
    from kiss_icp.config.parser import load_config
    from kiss_icp.mapping import get_voxel_hash_map
    from kiss_icp.registration import get_registration
    if submap.points is None:
        raise DataError("a submap keeps no points to refine a closure with; set submaps.voxel above 0")
    config = load_config(None)
    config.registration.max_num_threads = 1
    around, scan = get_voxel_hash_map(config), apply(T_BASE_LIDAR, frame.points()[::4].astype(float))
    around.add_points(submap.points.astype(float))
    T = get_registration(config).align_points_to_map(scan, around, closure.T_partner_base, 3.0, 1.0)
    near = cKDTree(submap.points).query(apply(T, scan), distance_upper_bound=REFINED_METRES)[0]
    agree = np.isfinite(near).mean() >= REFINED_SHARE
    return [Closure(closure.index, closure.partner, T, np.diag(REFINED**2))] if agree else []
