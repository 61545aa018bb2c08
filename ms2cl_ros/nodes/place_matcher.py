# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera images in, the base's pose in a LiDAR map out.

Subscribes `image` (Image), the same with `/compressed` (CompressedImage), `camera_info` (CameraInfo) and, to join one
image to the next, `odometry` (Odometry, in any frame). The map is `store.database`, a file or a shared map's URL, which
mappers may be extending meanwhile. What it publishes under `~/` is listed in `ros/outputs.py`; `~/match_pose` and
`~/loop_closure` only if they may be relied on. Serves `~/relocalize` (Trigger) and `~/set_enabled` (SetBool); tells
the back ends in `backends.names`.
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
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ms2cl_ros.core.decision import LOST, MATCHED
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import Ms2clError, SensorError, StoreError, TransformError
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.frames import TransformBuffer
from ms2cl_ros.core.loop_closure import LiveSession, LoopClosure
from ms2cl_ros.core.maps.database import is_url, open_map
from ms2cl_ros.core.maps.soundness import REMEDY
from ms2cl_ros.core.maps.store import Session, Store
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.messages import stamp_ns, to_camera_image, to_camera_model
from ms2cl_ros.core.types import CameraModel, Match
from ms2cl_ros.ros import parameters, qos
from ms2cl_ros.ros.backends.backend import Offer, Wiring
from ms2cl_ros.ros.backends.registry import Backends
from ms2cl_ros.ros.diagnostics import Diagnostics, shared_map
from ms2cl_ros.ros.health import Health, Stream
from ms2cl_ros.ros.matcher_services import MatcherServices
from ms2cl_ros.ros.odometry import Motion, OdometryTopic
from ms2cl_ros.ros.outputs import BeliefFigures, Look, Outputs
from ms2cl_ros.ros.run import ClosingNode, run
from ms2cl_ros.ros.tf import TransformListener
from ms2cl_ros.ros.worker import Worker

STAGES = ("sensors", "submaps", "encoder", "store", "retrieval", "frames", "trust", "backends")
REPLACED, DUPLICATE = "a newer image came first", "the same image raw and compressed"
DISABLED, ANEW = "disabled by ~/set_enabled", "a new search was asked for meanwhile"
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
        self._odometry: OdometryTopic | None = None
        self._motion = Motion(self.config.frames.pose_gap)
        # counted up when a new search is asked for: what was begun before is not told
        self._search = self._searched = 0
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
        frames = self.config.frames
        self._outputs = Outputs(self, self._encoder, frames.map, frames.base, self.health)
        self._figures = BeliefFigures()
        self._backends = Backends(Wiring(self, frames, self.config.backends, self._motion, self.health,
                                         lambda: self._store))
        self._requests = MatcherServices(self, self._forget, lambda: self.health.verdict(self.count_publishers)[1])
        self._worker = Worker(self._locate, self._failed, 1, "matcher")
        # as image_transport does: remapping the image remaps its compressed form
        for kind, topic in ((Image, "image"), (CompressedImage, images.topic + "/compressed")):
            self.create_subscription(kind, topic, lambda m: self._image_came(images, m), qos.IMAGES,
                                     qos_overriding_options=qos.overridable())
        self.create_subscription(CameraInfo, "camera_info", self._info_came, qos.CAMERA_INFO)
        if self.config.trust.motion == "odometry" or self._backends.running:
            self._odometry = OdometryTopic(self, frames, self.health, self._motion)
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
        self._store, self._matcher, self._live = store, matcher, LiveSession(store)
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
        told = {**self._figures.values(self._matcher.trust if self._matcher else None), **self._backends.values()}
        if self._store is None:
            return {"submaps": "no map", "map": self._name, **told}
        try:
            submaps = str(self._store.count())
        except StoreError:
            submaps = "unknown"
        return {"submaps": submaps, "map": self._name, **shared_map(self._store, self.health), **told}

    def _info_came(self, message: CameraInfo) -> None:
        self._info = message

    def _image_came(self, stream: Stream, message: Image | CompressedImage) -> None:
        stamp = stamp_ns(message.header.stamp)
        before, self._last = self._last, (stamp, type(message))
        if before and before[0] == stamp and before[1] is not type(message):
            self.health.skip(DUPLICATE, working=False)
            return
        if self.health.note(stream, stamp):
            self._transforms.clear()
        if not self._requests.enabled:
            self.health.skip(DISABLED)
            return
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
        search = self._search
        if search != self._searched:
            matcher.reset()
            self._outputs.forget()
            self._searched = search
        odometry = self._odometry.awaited(image.stamp_ns) if self._odometry else None
        match = matcher.locate(image, camera, T_base_camera, odometry)
        self._mention_damage()
        if search != self._search:
            self.health.skip(ANEW)
            return
        self._tell(Look(image, camera, T_base_camera), match, matcher, shot)

    def _tell(self, look: Look, match: Match | None, matcher: Matcher, shot: Shot) -> None:
        """Everybody who wants to know, first those who drive by it."""
        store, state = self._store, matcher.trust.state
        if store is None:
            return
        closure = self._outputs.match(match, store, bool(self._backends.running)) if match is not None else None
        self._outputs.state(state)
        self._backends.offer(Offer(look.image.stamp_ns, state, match, closure, self._live_session(closure)))
        if match is None:
            self._no_match()
        elif state != MATCHED:
            self.health.skip(f"not sure enough to be told ({state})")
        else:
            self.health.done(time.monotonic() - shot.arrival)
            self._look_around(match)
        self._figures.note(matcher.trust, match)
        self._requests.note(match, state)
        self._outputs.show(look, match, closure, matcher.trust, store)

    def _live_session(self, closure: LoopClosure | None) -> Session | None:
        """The session that is being mapped, asked only where a back end will want to know."""
        if closure is None or not self._backends.running:
            return None
        try:
            return self._live.at(closure.stamp_ns)
        except StoreError as e:
            self.health.warn("map not readable", str(e))
            return None

    def _forget(self) -> None:
        """The next image looks in the whole map, and back ends are told anew."""
        self._search += 1
        self._backends.forget()
        self._outputs.state(LOST)

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
