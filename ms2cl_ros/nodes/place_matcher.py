# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera images in, the base's pose in a LiDAR map out.

Subscribes `image` (Image), the same with `/compressed` (CompressedImage), `camera_info` (CameraInfo) and, to join one
image to the next, `odometry` (Odometry, in any frame). Publishes `~/match_pose` (PoseWithCovarianceStamped), only if it
may be relied on, `~/candidates` (PoseArray, best first) of every image, and /diagnostics. The map is `store.database`,
a file or a shared map's URL, which mappers may be extending meanwhile.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ms2cl_ros.core.decision import MATCHED
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import Ms2clError, SensorError, StoreError, TransformError
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.frames import SECOND, TransformBuffer, plain
from ms2cl_ros.core.maps.database import is_url, open_map
from ms2cl_ros.core.maps.soundness import REMEDY
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.messages import stamp_ns, to_camera_image, to_camera_model, to_pose
from ms2cl_ros.core.types import CameraModel, Match, StampedPose
from ms2cl_ros.ros import conversions, parameters, qos
from ms2cl_ros.ros.diagnostics import Diagnostics, shared_map
from ms2cl_ros.ros.health import Health, Stream
from ms2cl_ros.ros.odometry import Motion
from ms2cl_ros.ros.run import ClosingNode, run
from ms2cl_ros.ros.tf import TransformListener
from ms2cl_ros.ros.worker import Worker

STAGES = ("sensors", "submaps", "encoder", "store", "retrieval", "frames", "trust")
REPLACED, DUPLICATE = "a newer image came first", "the same image raw and compressed"
# an image waits so many seconds for odometry up to its stamp, if there has been any in the second before
ODOMETRY_WAIT = 0.1
# the robot is taken to be amid its last so many matches: one that is wrong must not send for another part of the map
BELIEF = 9
DROP_REASONS = ((SensorError, "bad image"), (TransformError, "no transform"), (StoreError, "map not readable"))


@dataclass(frozen=True)
class Shot:
    """An image as it arrived, monotonic seconds."""

    message: Image | CompressedImage
    arrival: float


class PlaceMatcher(ClosingNode):
    """Wires the matcher: callbacks keep the newest image, one worker thread decodes, embeds and searches."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("place_matcher", **node_arguments)
        self.config = parameters.declare(self, STAGES)
        images = Stream(self.resolve_topic_name("image"))
        self._info_topic = self.resolve_topic_name("camera_info")
        self.health = Health("images matched", (images,), self.get_logger().warning)
        self._transforms = TransformBuffer(gap=self.config.frames.pose_gap)
        if self.config.frames.extrinsics_source == "tf":
            TransformListener(self, self._transforms, self.health)
        else:
            sensor_in_base(self.config.frames, "camera", self._transforms, "", 0)
        self._motion = Motion(self.config.frames.pose_gap)
        self._info: CameraInfo | None = None
        self._camera: tuple[CameraInfo, CameraModel] | None = None
        self._last: tuple[int, type] | None = None
        self._encoder = Encoder.load(self.config.encoder)
        self._store: Store | None = None
        self._matcher: Matcher | None = None
        self._places: deque[np.ndarray] = deque(maxlen=BELIEF)
        self._open_first()
        self._connect(images)

    def _connect(self, images: Stream) -> None:
        """Publishers, subscriptions, timers and the worker."""
        self._poses = self.create_publisher(PoseWithCovarianceStamped, "~/match_pose", qos.RESULTS)
        self._candidates = self.create_publisher(PoseArray, "~/candidates", qos.RESULTS)
        self._worker = Worker(self._locate, self._failed, 1, "matcher")
        # as image_transport does: remapping the image remaps its compressed form
        for kind, topic in ((Image, "image"), (CompressedImage, images.topic + "/compressed")):
            self.create_subscription(kind, topic, lambda m: self._image_came(images, m), qos.IMAGES,
                                     qos_overriding_options=qos.overridable())
        self.create_subscription(CameraInfo, "camera_info", self._info_came, qos.CAMERA_INFO)
        if self.config.trust.motion == "odometry":
            self.create_subscription(Odometry, "odometry", self._odometry_came, qos.POSES,
                                     qos_overriding_options=qos.overridable())
        self.create_timer(0.25, self._look_for_map, clock=Clock(clock_type=ClockType.STEADY_TIME))
        Diagnostics(self, "matching", self.health, self._own_values)

    @property
    def _path(self) -> Path | None:
        """The map's file; None for a map on a server."""
        database = self.config.store.database
        return None if is_url(database) else Path(database).expanduser()

    @property
    def _name(self) -> str:
        """The map as messages call it, never with a password."""
        return self._store.name if self._store is not None else str(self._path or "the shared map")

    def _open_first(self) -> None:
        """Opens the map if there is one; raises StoreError if it does not suit."""
        try:
            self._open()
        except StoreError:
            # a mapper that starts beside us may just be making the file
            time.sleep(0.5)
            self._open()

    def _open(self) -> None:
        path = self._path
        if path is not None and (not path.is_file() or not path.stat().st_size):
            self.health.fault("")
            self.health.wait(f"waiting for a map at {path}: submap_mapper or `ms2cl map` makes it")
            return
        settings = self.config.store
        store = open_map(settings.database, self._encoder.sidecar, write=False, cache=settings.cache)
        try:
            matcher = Matcher(self.config, self._encoder, store)
            self._inode = path.stat().st_ino if path is not None else 0
        except BaseException:
            store.close()
            raise
        self._store, self._matcher = store, matcher
        self.health.wait("")
        self.health.fault("")
        self.get_logger().info(f"matching in {store.name} ({store.count()} submaps) with {self._encoder.sidecar.name}")

    def _look_for_map(self) -> None:
        """Now and then: opens a map that has appeared, and opens anew one whose file was replaced."""
        path = self._path
        try:
            if path is not None and self._matcher is not None and path.is_file() and path.stat().st_ino != self._inode:
                self.health.warn("map replaced", f"{path} is another file now; it is opened anew")
                self._matcher = self._store = None
            if self._matcher is None:
                self._open()
        except (StoreError, OSError) as e:
            self.health.fault(str(e))

    def _own_values(self) -> dict[str, str]:
        if self._store is None:
            return {"submaps": "no map", "map": self._name}
        try:
            submaps = str(self._store.count())
        except StoreError:
            submaps = "unknown"
        return {"submaps": submaps, "map": self._name, **shared_map(self._store, self.health)}

    def _info_came(self, message: CameraInfo) -> None:
        self._info = message

    def _odometry_came(self, message: Odometry) -> None:
        child, base = plain(message.child_frame_id), plain(self.config.frames.base)
        try:
            if child and child != base:
                raise TransformError(f"the odometry is of '{child}', the base is '{base}': set frames.base to "
                                     f"'{child}', or remap `odometry` to the base's own")
            self._motion.add(to_pose(message), plain(message.header.frame_id))
        except TransformError as e:
            self.health.warn("bad odometry", str(e))

    def _odometry(self, stamp: int) -> StampedPose | None:
        """The base by odometry at a stamp, for which it waits a moment; None where there is none."""
        end = time.monotonic() + ODOMETRY_WAIT
        while (newest := self._motion.newest_ns) is not None and stamp - SECOND < newest < stamp:
            if time.monotonic() > end:
                return None
            time.sleep(0.005)
        try:
            return self._motion.pose(stamp)
        except TransformError:
            return None

    def _image_came(self, stream: Stream, message: Image | CompressedImage) -> None:
        stamp = stamp_ns(message.header.stamp)
        before, self._last = self._last, (stamp, type(message))
        if before and before[0] == stamp and before[1] is not type(message):
            self.health.skip(DUPLICATE, working=False)
            return
        if self.health.note(stream, stamp):
            self._transforms.clear()
        if self._worker.put(Shot(message, time.monotonic())) is not None:
            self.health.skip(REPLACED, working=False)

    def _locate(self, shot: Shot) -> None:
        """In the worker thread: one image becomes a pose, or is counted with the reason why not."""
        matcher, info = self._matcher, self._info
        if matcher is None:
            self.health.drop("no map", f"there is no map at {self._name} yet")
            return
        if info is None:
            self.health.drop("no camera_info", f"nothing has come on {self._info_topic}; images cannot be used without")
            return
        image = to_camera_image(shot.message)
        camera = self._camera_model(info)
        frame = image.frame_id or camera.frame_id
        T_base_camera = sensor_in_base(self.config.frames, "camera", self._transforms, frame, image.stamp_ns)
        match = matcher.locate(image, camera, T_base_camera, self._odometry(image.stamp_ns))
        self._mention_damage()
        if match is None:
            self._no_match()
            return
        self._candidates.publish(conversions.candidate_poses(match, self.config.frames.map))
        if match.state != MATCHED:
            self.health.skip(f"not sure enough to be told ({match.state})")
            return
        self._poses.publish(conversions.match_pose(match, self.config.frames.map))
        self.health.done(time.monotonic() - shot.arrival)
        self._look_around(match)

    def _look_around(self, match: Match) -> None:
        """Tells the map where the robot is, which needs a part of a shared map only."""
        self._places.append(match.T_map_base[:2, 3])
        if self._store is not None and len(self._places) == BELIEF:
            self._store.look_around(np.median(self._places, axis=0))

    def _mention_damage(self) -> None:
        damage = self._store.damage() if self._store is not None else []
        if damage:
            self.health.warn("damaged map", f"{len(damage)} records of {self._name} are left out ({damage[0]}): "
                                            f"{REMEDY}")

    def _camera_model(self, info: CameraInfo) -> CameraModel:
        if self._camera is None or self._camera[0] is not info:
            self._camera = info, to_camera_model(info, self.config.sensors.image_rectified)
        return self._camera[1]

    def _no_match(self) -> None:
        if self._store is not None and self._store.count():
            self.health.skip("no candidate reached retrieval.min_score")
        else:
            self.health.drop("empty map", f"{self._name} has no submap yet")

    def _failed(self, error: Exception, shot: Shot) -> None:
        for kind, reason in DROP_REASONS:
            if isinstance(error, kind):
                self.health.drop(reason, str(error))
                return
        if isinstance(error, Ms2clError):
            self.health.drop(type(error).__name__, str(error))
            return
        self.get_logger().error("please report this: " + "".join(traceback.format_exception(error)))
        self.health.drop("internal error", repr(error))

    def close(self) -> str:
        """Finishes the image at hand and closes the map; says what was done."""
        self._worker.stop()
        if self._store is not None:
            self._store.close()
        return f"{self.health.processed} images matched"


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run("place_matcher", PlaceMatcher, args)


if __name__ == "__main__":
    sys.exit(main())
