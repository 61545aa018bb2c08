# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera images in, the base's pose in a LiDAR map out.

Subscribes `image` (Image), the same with `/compressed` (CompressedImage), `camera_info` (CameraInfo) and, to join one
image to the next, `odometry` (Odometry, in any frame). The map is `store.database`, a file or a shared map's URL, which
mappers may be extending meanwhile. What it publishes under `~/` is listed in `ros/outputs.py`; `~/match_pose` and
`~/loop_closure` only if they may be relied on. Serves `~/relocalize` (Trigger) and `~/set_enabled` (SetBool); tells
the back ends in `backends.names`. A managed node, see `ros/lifecycle.py`.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ms2cl_ros.core.config import Config, EncoderConfig
from ms2cl_ros.core.decision import LOST, MATCHED
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import Ms2clError, SensorError, StoreError, TransformError
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.frames import TransformBuffer
from ms2cl_ros.core.matcher import no_odometry
from ms2cl_ros.core.messages import stamp_ns, to_camera_image, to_camera_model
from ms2cl_ros.core.types import CameraModel, Match
from ms2cl_ros.ros import qos
from ms2cl_ros.ros.backends.backend import Offer, Wiring
from ms2cl_ros.ros.backends.registry import Backends
from ms2cl_ros.ros.health import Health, Stream
from ms2cl_ros.ros.lifecycle import INACTIVE, ClosingNode
from ms2cl_ros.ros.map_source import MapSource, OpenMap
from ms2cl_ros.ros.matcher_services import MatcherServices
from ms2cl_ros.ros.odometry import Motion, OdometryTopic
from ms2cl_ros.ros.outputs import BeliefFigures, Look, Outputs
from ms2cl_ros.ros.run import run
from ms2cl_ros.ros.tf import TransformListener
from ms2cl_ros.ros.worker import Worker

STAGES = ("sensors", "submaps", "encoder", "store", "retrieval", "frames", "trust", "backends")
REPLACED, DUPLICATE = "a newer image came first", "the same image raw and compressed"
DISABLED, ANEW = "disabled by ~/set_enabled", "a new search was asked for meanwhile"
DROP_REASONS = ((SensorError, "bad image"), (TransformError, "no transform"), (StoreError, "map not readable"))


@dataclass(frozen=True)
class Shot:
    """An image as it arrived, monotonic seconds."""

    message: Image | CompressedImage
    arrival: float


class PlaceMatcher(ClosingNode):
    """Wires the matcher: callbacks keep the newest image, one worker thread decodes, embeds and searches."""

    def __init__(self, load: Callable[[EncoderConfig], Encoder] = Encoder.load, **node_arguments: Any) -> None:
        super().__init__("place_matcher", STAGES, "matching", **node_arguments)
        self._load_encoder = load
        self.start()

    def configure(self) -> None:
        """Loads the model, opens the map and listens; raises ConfigError, ModelError or StoreError."""
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
        self._encoder = self._load_encoder(self.config.encoder)
        self.map = MapSource(self, self.config, self._encoder, self.health)
        self.held.callback(self.map.close)
        self._connect(images)

    def _connect(self, images: Stream) -> None:
        """Publishers, subscriptions, timers and the worker."""
        frames = self.config.frames
        self._outputs = Outputs(self, self._encoder, frames.map, frames.base, self.health)
        self._figures = BeliefFigures()
        self._backends = Backends(Wiring(self, frames, self.config.backends, self._motion, self.health,
                                         lambda: self.map.store))
        self._requests = MatcherServices(self, self._forget, lambda: self.health.verdict(self.count_publishers)[1],
                                         lambda: self.active)
        self._worker = Worker(self._locate, self._failed, 1, "matcher")
        self.held.callback(self._worker.stop)
        # as image_transport does: remapping the image remaps its compressed form
        for kind, topic in ((Image, "image"), (CompressedImage, images.topic + "/compressed")):
            self.create_subscription(kind, topic, lambda m: self._image_came(images, m), qos.IMAGES,
                                     qos_overriding_options=qos.overridable())
        self.create_subscription(CameraInfo, "camera_info", self._info_came, qos.CAMERA_INFO)
        if self.config.trust.motion == "odometry" or self._backends.running:
            self._odometry = OdometryTopic(self, frames, self.health, self._motion, self.config.trust.odometry_wait)

    def tune(self, config: Config) -> None:
        """For a live parameter: the map and what searches in it follow."""
        self.map.tune(config)

    def activated(self) -> None:
        """Back ends are told again."""
        self._backends.resting = False

    def deactivated(self) -> None:
        """Nobody waits for an answer any more, the last word is LOST, and what comes after is a new search."""
        self._requests.dismiss()
        self._forget()
        self._backends.resting = True

    def figures(self) -> dict[str, str]:
        """The map, the belief and the back ends."""
        trust = self.map.opened.matcher.trust if self.map.opened else None
        odometry = self._odometry.values() if self._odometry else {}
        return {**self.map.values(), **self._figures.values(trust), **odometry, **self._backends.values()}

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
        if not self.active or not self._requests.enabled:
            self.health.skip(DISABLED if self.active else INACTIVE)
            return
        if self._worker.put(Shot(message, time.monotonic())) is not None:
            self.health.skip(REPLACED, working=False)

    def _locate(self, shot: Shot) -> None:
        """In the worker thread: one image becomes a pose, or is counted with the reason why not."""
        opened, info = self.map.opened, self._info
        if opened is None:
            self.health.drop("no map", f"there is no map at {self.map.name} yet")
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
            opened.matcher.reset()
            self._outputs.forget()
            self._searched = search
        odometry = self._odometry.awaited if self._odometry else no_odometry
        match = opened.matcher.locate(image, camera, T_base_camera, odometry)
        self.map.mention_damage()
        if search != self._search:
            self.health.skip(ANEW)
            return
        self._tell(Look(image, camera, T_base_camera), match, opened, shot)

    def _tell(self, look: Look, match: Match | None, opened: OpenMap, shot: Shot) -> None:
        """Everybody who wants to know, first those who drive by it."""
        telling, trust, closure, live = bool(self._backends.running), opened.matcher.trust, None, None
        if match is not None:
            closure = self._outputs.match(match, opened.store, telling)
        if closure is not None and telling:
            live = self.map.live_session(closure.stamp_ns)
        if self.active:  # what nobody hears must not count as told
            self._outputs.state(trust.state)
        self._backends.offer(Offer(look.image.stamp_ns, trust.state, match, closure, live))
        if match is None:
            self.map.no_match()
        elif trust.state != MATCHED:
            self.health.skip(f"not sure enough to be told ({trust.state})")
        else:
            self.health.done(time.monotonic() - shot.arrival)
            self.map.look_around(match)
        self._figures.note(trust, match)
        self._requests.note(match, trust.state)
        self._outputs.show(look, match, closure, trust, opened.store)

    def _forget(self) -> None:
        """The next image looks in the whole map, and back ends are told anew."""
        self._search += 1
        self._backends.forget()
        self._outputs.state(LOST)

    def _camera_model(self, info: CameraInfo) -> CameraModel:
        if self._camera is None or self._camera[0] is not info:
            self._camera = info, to_camera_model(info, self.config.sensors.image_rectified)
        return self._camera[1]

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

    def finish(self) -> str:
        """Finishes the image at hand; says what was done."""
        self._worker.stop()
        return f"{self.health.processed} images matched"


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run("place_matcher", [PlaceMatcher], args)


if __name__ == "__main__":
    sys.exit(main())
