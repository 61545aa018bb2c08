# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LiDAR scans and poses in, a map of embedded submaps out.

Subscribes `points` (PointCloud2) and, by `frames.pose_source`, `odometry` (Odometry), `pose` (PoseStamped) or TF.
Publishes `~/submaps` (nav_msgs/Path, latched) and /diagnostics. The map is `store.database`. Takes corrections on
`~/update_poses` (nav_msgs/Path); serves `~/save` and `~/new_session` (std_srvs/Trigger). A managed node, see
`ros/lifecycle.py`.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nav_msgs.msg import Path
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import PointCloud2

from ms2cl_ros.core.accumulation import Motion
from ms2cl_ros.core.config import Config, EncoderConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import Ms2clError, SensorError, StoreError, TransformError
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.frames import TransformBuffer
from ms2cl_ros.core.mapper import Mapper
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.messages import TIMES, stamp_ns, to_point_cloud
from ms2cl_ros.core.retention import keep_within
from ms2cl_ros.core.types import StampedPose, Submap
from ms2cl_ros.ros import conversions, qos
from ms2cl_ros.ros.diagnostics import shared_map
from ms2cl_ros.ros.health import JUMP_NS, WAITING, Health, Stream
from ms2cl_ros.ros.lifecycle import INACTIVE, ClosingNode
from ms2cl_ros.ros.map_services import MapServices
from ms2cl_ros.ros.poses import SWEEP_NS, PoseTopic, PoseTransforms
from ms2cl_ros.ros.run import run
from ms2cl_ros.ros.tf import TransformListener
from ms2cl_ros.ros.worker import Worker

STAGES = ("sensors", "submaps", "views", "encoder", "store", "frames")
WAITING_ROOM, QUEUE = 32, 4
PATH_PERIOD = 0.5
TOO_NEAR = "not far enough from the last submap"
MERGED = "kept for the submaps around it"
NO_POSE, NO_TRANSFORM, JUMPED = "no pose", "no transform", "clock jumped back"


@dataclass(frozen=True)
class Scan:
    """A cloud as it arrived (monotonic seconds), then with what is known about where it was taken."""

    message: PointCloud2
    stamp: int
    arrival: float
    pose: StampedPose | None = None
    T_base_lidar: np.ndarray | None = None
    motion: Motion | None = None


class SubmapMapper(ClosingNode):
    """Wires the mapper: callbacks find each cloud's pose, one worker thread decodes, embeds and stores."""

    def __init__(self, load: Callable[[EncoderConfig], Encoder] = Encoder.load, **node_arguments: Any) -> None:
        super().__init__("submap_mapper", STAGES, "mapping", **node_arguments)
        self._load_encoder = load
        self.start()

    def configure(self) -> None:
        """Loads the model, opens the map and listens; raises ConfigError, ModelError or StoreError."""
        clouds = Stream(self.resolve_topic_name("points"))
        source = self.config.frames.pose_source
        streams = (clouds,) if source == "tf" else (clouds, Stream(self.resolve_topic_name(source)))
        self.health = Health("submaps stored", streams, self.get_logger().warning)
        self._waiting: deque[Scan] = deque()
        self._mapping, self._path_lock = threading.Lock(), threading.Lock()
        self._listen(streams[-1])
        self._load()
        self._connect(clouds)

    def _listen(self, poses: Stream) -> None:
        """Where poses and extrinsics come from; raises ConfigError."""
        frames = self.config.frames
        self._transforms = TransformBuffer(gap=frames.pose_gap)
        if "tf" in (frames.pose_source, frames.extrinsics_source):
            TransformListener(self, self._transforms, self.health)
        if frames.extrinsics_source == "parameters":
            sensor_in_base(frames, "lidar", self._transforms, "", 0)
        if frames.pose_source == "tf":
            self._poses: PoseTopic | PoseTransforms = PoseTransforms(frames, self._transforms)
        else:
            self._poses = PoseTopic(self, frames, self.health, poses, self._pose_came)

    def _load(self) -> None:
        """The model and the map; raises ModelError or StoreError."""
        encoder = self._load_encoder(self.config.encoder)
        self.store = open_map(self.config.store.database, encoder.sidecar, write=True, cache=self.config.store.cache)
        self.held.callback(self.store.close)
        self._mapper = Mapper(self.config, encoder, self.store)
        self._read_path()
        self.get_logger().info(f"mapping into {self.store.name} ({self._count} submaps) with {encoder.sidecar.name}")
        limits = self.config.store
        if self.store.shared and (limits.max_submaps or limits.max_megabytes):
            self.get_logger().warning(f"store.max_submaps and store.max_megabytes do nothing here: {self.store.name} "
                                      "is shared; `ms2cl database prune` makes room in it for all")

    def _connect(self, clouds: Stream) -> None:
        """Publishers, the subscription, timers and the worker."""
        self._submaps = self.create_publisher(Path, "~/submaps", qos.MAP)
        self._worker = Worker(self._map, self._failed, QUEUE, "mapper", self._render)
        self.held.callback(self._worker.stop)
        MapServices(self, self.store, self.config, self.health, self._begin_session, self._read_path)
        self.create_subscription(PointCloud2, "points", lambda m: self._cloud_came(clouds, m), qos.CLOUDS,
                                 qos_overriding_options=qos.overridable())
        self.create_timer(0.05, self._settle, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.create_timer(PATH_PERIOD, self._publish_path, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def activated(self) -> None:
        """The map so far is shown to those who could not hear it before."""
        self._path_changed = True
        self._publish_path()

    def deactivated(self) -> None:
        """Clouds that wait for their poses are given up."""
        self.health.skip(INACTIVE)
        self._waiting.clear()

    def figures(self) -> dict[str, str]:
        """The map, and how far its views lag behind."""
        waiting = len(self.store.unrendered()) if self.config.views.spacing else 0
        return {"submaps": str(self._count), "views": str(self.store.view_count()), WAITING: str(waiting),
                "map": self.store.name, **shared_map(self.store, self.health)}

    def tune(self, config: Config) -> None:
        """For a live parameter."""
        if isinstance(self._poses, PoseTopic):
            self._poses.buffer.gap = config.frames.pose_gap

    def _cloud_came(self, stream: Stream, message: PointCloud2) -> None:
        stamp = stamp_ns(message.header.stamp)
        if self.health.note(stream, stamp):
            self._poses.forget_after(stamp)
            self._drop_after(stamp)
        if not self.active:
            self.health.skip(INACTIVE)
            return
        if len(self._waiting) >= WAITING_ROOM:
            self._waiting.popleft()
            self.health.drop(NO_POSE, f"more than {WAITING_ROOM} clouds wait for their poses")
        self._waiting.append(Scan(message, stamp, time.monotonic()))
        self._settle()

    def _pose_came(self, jumped_to: int | None) -> None:
        if jumped_to is not None:
            self._drop_after(jumped_to)
        self._settle()

    def _drop_after(self, stamp: int) -> None:
        """Clouds of a time that a clock set back has not reached would wait for poses in vain."""
        kept = deque(scan for scan in self._waiting if scan.stamp <= stamp + JUMP_NS)
        if len(kept) < len(self._waiting):
            self.health.drop(JUMPED, "clouds of the time before are left out", len(self._waiting) - len(kept))
        self._waiting = kept

    def _settle(self) -> None:
        """Hands clouds whose pose is known to the worker, drops those whose pose will not come, keeps the others."""
        still: deque[Scan] = deque()
        for scan in self._waiting:
            if not self._try(scan):
                still.append(scan)
        self._waiting = still

    def _try(self, scan: Scan) -> bool:
        """Whether the scan needs to wait no longer."""
        late = time.monotonic() - scan.arrival >= self.config.frames.pose_wait
        try:
            pose = self._poses.at(scan.stamp)
        except TransformError as e:
            if late or self._poses.is_final(scan.stamp):
                self.health.drop(NO_POSE, str(e))
                return True
            return False
        if not self._mapper.wants(pose.T_map_base):
            self.health.skip(TOO_NEAR)
            return True
        try:
            T = sensor_in_base(self.config.frames, "lidar", self._transforms, scan.message.header.frame_id, scan.stamp)
        except TransformError as e:
            if late:
                self.health.drop(NO_TRANSFORM, str(e))
            return late
        motion = None
        if any(f.name in TIMES for f in scan.message.fields):
            if not late and not self._poses.reach(scan.stamp + SWEEP_NS):
                return False
            motion = self._poses.motion(scan.stamp)
        displaced = self._worker.put(Scan(scan.message, scan.stamp, scan.arrival, pose, T, motion))
        if displaced is not None:
            self.health.drop("too slow", "clouds come faster than they can be mapped: raise submaps.distance")
        return True

    def _map(self, scan: Scan) -> None:
        """In the worker thread: one scan becomes a submap, or the gate closes because its neighbour just did."""
        assert scan.pose is not None and scan.T_base_lidar is not None
        if not self._mapper.wants(scan.pose.T_map_base):
            self.health.skip(TOO_NEAR)
            return
        cloud = to_point_cloud(scan.message, self.config.sensors.min_range, self.config.sensors.max_range)
        with self._mapping:
            submap = self._mapper.add_scan(cloud, scan.pose, scan.T_base_lidar, scan.motion)
        if submap is None:
            self.health.skip(MERGED)
            return
        self._stored(submap)
        self.health.fault("")
        self.health.done(time.monotonic() - scan.arrival)

    def _stored(self, submap: Submap) -> None:
        """Puts a new submap on the path, and makes room for it where the map is bounded."""
        if keep_within(self.store, self.config):
            self._read_path()
            return
        pose = conversions.submap_pose(submap.stamp_ns, submap.T_map_base, self.config.frames.map)
        with self._path_lock:
            self._path.poses.append(pose)
            self._path.header = pose.header
            self._count, self._path_changed = self._count + 1, True

    def _read_path(self) -> None:
        """The path as the map has it now."""
        path = conversions.submap_path(self.store.poses(), self.config.frames.map)
        with self._path_lock:
            self._path = path
            self._count, self._path_changed = len(path.poses), True

    def _publish_path(self) -> None:
        """Not with every submap, as the path grows with the map."""
        with self._path_lock:
            if self._path_changed and self.active:
                self._submaps.publish(self._path)
                self._path_changed = False

    def _render(self) -> bool:
        """In the worker thread, while no cloud waits: the views around one submap that lies behind."""
        if not self.active:
            return False
        with self._mapping:
            return self._mapper.render_ripe() > 0

    def _begin_session(self) -> None:
        """For `~/new_session`: between two scans of the worker."""
        with self._mapping:
            for submap in self._mapper.begin_session():
                self._stored(submap)

    def _failed(self, error: Exception, scan: Scan) -> None:
        if isinstance(error, StoreError):
            self.health.drop("not stored", str(error))
            self.health.fault(str(error))
        elif isinstance(error, SensorError):
            self.health.drop("bad cloud", f"{error} (topic {self.health.streams[0].topic})")
        elif isinstance(error, Ms2clError):
            self.health.drop(type(error).__name__, str(error))
        else:
            self.get_logger().error("please report this: " + "".join(traceback.format_exception(error)))
            self.health.drop("internal error", repr(error))

    def finish(self) -> str:
        """Finishes the submap at hand; says what there is now."""
        left, lost = len(self._worker.stop()) + len(self._waiting), ""
        try:
            self._count += len(self._mapper.flush())
        except Ms2clError as e:
            lost = f"; the last submaps are not stored: {e}"
        return f"{self._count} submaps in {self.store.name}; {left} clouds were still waiting{lost}"


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run("submap_mapper", [SubmapMapper], args)


if __name__ == "__main__":
    sys.exit(main())
