# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bag or a folder of scans becomes a map, a bag is localised in a map: the nodes' work without ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ms2cl_ros.core.accumulation import Motion as KnownMotion
from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import DataError, SensorError, TransformError
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.frames import PoseBuffer, TransformBuffer
from ms2cl_ros.core.mapper import Mapper
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.messages import stamp_ns, to_camera_image, to_camera_model, to_point_cloud, to_pose, to_transforms
from ms2cl_ros.core.retention import keep_within
from ms2cl_ros.core.types import Match, PointCloud, StampedPose
from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, POINTS, POSES, TRANSFORMS, BagReader, open_bag
from ms2cl_ros.tools.scan_files import READERS
from ms2cl_ros.tools.scan_folder import open_folder

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Topics:
    """Topics of a bag by name; empty picks the only one of its type."""

    points: str = ""
    image: str = ""
    camera_info: str = ""
    poses: str = ""


@dataclass
class Outcome:
    """What a run did. `removed`: submaps that went to make room; `dropped`: messages left out, by reason."""

    seen: int = 0
    submaps: int = 0
    removed: int = 0
    matches: list[Match] = field(default_factory=list)
    unmatched: list[int] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


class Motion:
    """Every pose and transform of a bag, to be asked at any stamp."""

    def __init__(self, bag: BagReader, config: Config, poses: str = "") -> None:
        self._frames = config.frames
        self.transforms = TransformBuffer(horizon=None)
        self.poses = PoseBuffer(config.frames.pose_gap)
        tf = [t.name for t in bag.topics.values() if t.msgtype in TRANSFORMS]
        for topic, _, message in bag.messages(tf):
            for parent, child, stamp, T in to_transforms(message):
                self.transforms.set(parent, child, stamp, T, static=topic.endswith("tf_static"))
        if config.frames.pose_source != "tf" and (poses or any(t.msgtype in POSES for t in bag.topics.values())):
            for _, _, message in bag.messages([bag.pick(POSES, poses or None)]):
                self.poses.add(to_pose(message))

    def base(self, stamp_ns: int) -> StampedPose:
        """The base's pose in the map at a stamp; raises TransformError."""
        if self._frames.pose_source != "tf":
            return self.poses.at(stamp_ns)
        return StampedPose(stamp_ns, self.transforms.lookup(self._frames.map, self._frames.base, stamp_ns))

    def odometry(self, stamp_ns: int) -> StampedPose | None:
        """The same as odometry, of which only what lies between two images is used; None where there is none."""
        try:
            return self.base(stamp_ns)
        except TransformError:
            return None


def _each(bag: BagReader, topic: str, progress: Progress | None) -> Iterator[Any]:
    total = bag.topics[topic].count
    for i, (_, _, message) in enumerate(bag.messages([topic])):
        yield message
        if progress:
            progress(i + 1, total)


class Scan(Protocol):
    """A scan that is decoded only if the mapper wants it."""

    def pose(self) -> StampedPose:
        """The base's pose in the map; raises TransformError."""

    def sweep(self) -> tuple[PointCloud, np.ndarray]:
        """The points and `T_base_lidar`; raises SensorError or TransformError."""


@dataclass(frozen=True)
class BagScan:
    """A PointCloud2 of a bag."""

    message: Any
    motion: Motion
    config: Config

    def pose(self) -> StampedPose:
        """The base's pose in the map at the cloud's stamp."""
        return self.motion.base(stamp_ns(self.message.header.stamp))

    def sweep(self) -> tuple[PointCloud, np.ndarray]:
        """The points within the limits, and where the LiDAR sits."""
        limits = self.config.sensors
        cloud = to_point_cloud(self.message, limits.min_range, limits.max_range)
        return cloud, sensor_in_base(self.config.frames, "lidar", self.motion.transforms, cloud.frame_id,
                                     cloud.stamp_ns)


def map_scans(scans: Iterable[Scan], source: Path | str, database: Path | str, config: Config,
              session: str = "", known: KnownMotion | None = None) -> Outcome:
    """Adds every scan that the gate lets through to the map at `database`, as one session, and renders its views.

    `known`: the base's pose at any stamp, to correct clouds that carry times for the motion during their sweep.
    Scans that cannot be used are counted under their error's class. Raises DataError if none could be stored.
    """
    out, last = Outcome(), ""
    encoder = Encoder.load(config.encoder)
    with open_map(database, encoder.sidecar, write=True) as store:
        store.begin_session(session)
        mapper = Mapper(config, encoder, store)
        for scan in scans:
            out.seen += 1
            try:
                pose = scan.pose()
                if not mapper.wants(pose.T_map_base):
                    continue
                cloud, T_base_lidar = scan.sweep()
                out.submaps += mapper.add_scan(cloud, pose, T_base_lidar, known) is not None
                mapper.render_ripe()
                out.removed += keep_within(store, config)
            except (SensorError, TransformError) as e:
                last = str(e)
                out.dropped[type(e).__name__] += 1
        out.submaps += len(mapper.flush())
        mapper.render_ripe(None, final=True)
        out.removed += keep_within(store, config)
    if not out.submaps:
        raise DataError(f"no scan of {source} became a submap ({out.seen} read; {last or 'there are none'})")
    return out


def map_bag(path: Path | str, database: Path | str, config: Config, topics: Topics = Topics(),
            progress: Progress | None = None) -> Outcome:
    """The scans of a bag become a session of the map at `database`, as `map_scans` does it.

    Raises DataError if the bag has no scans, or none that could be stored.
    """
    with open_bag(path) as bag:
        topic, motion = bag.pick(POINTS, topics.points or None), Motion(bag, config, topics.poses)
        scans = (BagScan(message, motion, config) for message in _each(bag, topic, progress))
        return map_scans(scans, path, database, config, Path(path).stem, motion.base)


def map_folder(folder: Path | str, poses: Path | str, database: Path | str, config: Config, poses_of: str = "lidar",
               progress: Progress | None = None) -> tuple[Outcome, str]:
    """The scans of a folder become a session of the map at `database`; also says how their poses were found.

    Raises DataError as `scan_folder.open_folder` does, or if no scan could be stored.
    """
    found = open_folder(Path(folder), Path(poses), config, poses_of)
    out = map_scans(_counted(found.scans, progress), folder, database, config, Path(folder).name)
    if found.unposed:
        out.seen += found.unposed
        out.dropped["no pose at their stamp"] += found.unposed
    return out, found.how


def is_scan_folder(path: Path) -> bool:
    """Whether a folder holds scans rather than a bag."""
    return path.is_dir() and not (path / "metadata.yaml").exists() and any(
        p.suffix.lower() in READERS for p in path.iterdir())


def _counted(scans: Sequence[Scan], progress: Progress | None) -> Iterator[Scan]:
    for i, scan in enumerate(scans):
        yield scan
        if progress:
            progress(i + 1, len(scans))


def localize_bag(path: Path | str, database: Path | str, config: Config, topics: Topics = Topics(),
                 progress: Progress | None = None,
                 watch: Callable[[int, Match | None, Matcher], None] | None = None) -> Outcome:
    """A match for every image of a bag, against the map at `database`.

    `watch` is called after each image with its stamp, what came of it, and the matcher as it then is.

    Images that cannot be used are counted under their error's class. Raises DataError if the bag has no images, or
    none that could be used.
    """
    out = Outcome()
    encoder = Encoder.load(config.encoder)
    with open_bag(path) as bag, open_map(database, encoder.sidecar, write=False) as store:
        motion, matcher = Motion(bag, config, topics.poses), Matcher(config, encoder, store)
        info = next(_each(bag, bag.pick(CAMERA_INFOS, topics.camera_info or None), None))
        camera = to_camera_model(info, config.sensors.image_rectified)
        last = ""
        for message in _each(bag, bag.pick(IMAGES, topics.image or None), progress):
            out.seen += 1
            try:
                image = to_camera_image(message)
                frame = image.frame_id or camera.frame_id
                T_base_camera = sensor_in_base(config.frames, "camera", motion.transforms, frame, image.stamp_ns)
                match = matcher.locate(image, camera, T_base_camera, motion.odometry)
            except (SensorError, TransformError) as e:
                last = str(e)
                out.dropped[type(e).__name__] += 1
                continue
            if watch is not None:
                watch(image.stamp_ns, match, matcher)
            if match is None:
                out.unmatched.append(image.stamp_ns)
            else:
                out.matches.append(match)
    if not out.matches and not out.unmatched:
        raise DataError(f"no image of {path} could be used ({out.seen} read; {last or 'the bag is empty'})")
    return out


def truth(path: Path | str, config: Config, topics: Topics = Topics()) -> Motion:
    """The poses that a bag brings along, to hold matches against."""
    with open_bag(path) as bag:
        return Motion(bag, config, topics.poses)
