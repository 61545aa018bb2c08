# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bag's images localised in a map, and said of each what both nodes would say: for a viewer, without a ROS graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Path as PathMessage

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.decision import LOST, MATCHED
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import SensorError, TransformError
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.messages import stamp_ns, to_camera_image, to_camera_model
from ms2cl_ros.core.types import Match
from ms2cl_ros.ros import conversions
from ms2cl_ros.ros.diagnostics import diagnostic_array
from ms2cl_ros.ros.foxglove_channels import Channels
from ms2cl_ros.ros.health import Health, Stream
from ms2cl_ros.ros.outputs import BeliefFigures, Look, Outputs
from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, BagReader, open_bag
from ms2cl_ros.tools.offline import Motion, Progress, Topics

MATCHER, SUBMAPS, DIAGNOSTICS = "place_matcher", "/submap_mapper/submaps", "/diagnostics"


class Show:
    """A matcher with the node's outputs. `log` is told what goes wrong, at most every ten seconds for each reason."""

    def __init__(self, channels: Channels, config: Config, log: Callable[[str], None]) -> None:
        self.channels, self._config, self._log = channels, config, log
        self.encoder = Encoder.load(config.encoder)
        self.health = Health("images matched", (), log)
        frames = config.frames
        self._outputs = Outputs(channels, self.encoder, frames.map, frames.base, self.health)
        self._submaps = channels.create_publisher(PathMessage, SUBMAPS)
        self._diagnostics = channels.create_publisher(DiagnosticArray, DIAGNOSTICS)

    def run(self, bag: BagReader, store: Store, topics: Topics, pace: Callable[[int], None],
            progress: Progress | None = None) -> None:
        """Every image once; `pace(stamp)` is called before each. Raises DataError if the bag lacks what is needed."""
        self._matcher, self._store = Matcher(self._config, self.encoder, store), store
        self._motion, self._figures = Motion(bag, self._config, topics.poses), BeliefFigures()
        self._outputs.forget()
        info = next(iter(bag.messages([bag.pick(CAMERA_INFOS, topics.camera_info or None)])))[2]
        self._camera = to_camera_model(info, self._config.sensors.image_rectified)
        topic = bag.pick(IMAGES, topics.image or None)
        stream = Stream(topic)
        self.health.streams = (stream,)
        for i, (_, _, message) in enumerate(bag.messages([topic])):
            stamp = stamp_ns(message.header.stamp)
            pace(stamp)
            self.channels.stamp_ns = stamp
            self.health.note(stream, stamp)
            if not i:
                self._submaps.publish(conversions.submap_path(store.poses(), self._config.frames.map))
                self._outputs.state(LOST)
            try:
                self._image(message)
            except (SensorError, TransformError) as e:
                self.health.drop(type(e).__name__, str(e))
            self._report(stamp)
            if progress:
                progress(i + 1, bag.topics[topic].count)

    def _image(self, message: Any) -> None:
        """What the node's worker does."""
        began = time.monotonic()
        image = to_camera_image(message)
        frame = image.frame_id or self._camera.frame_id
        T: np.ndarray = sensor_in_base(self._config.frames, "camera", self._motion.transforms, frame, image.stamp_ns)
        match = self._matcher.locate(image, self._camera, T, self._motion.odometry)
        trust = self._matcher.trust
        closure = self._outputs.match(match, self._store, False) if match is not None else None
        self._outputs.state(trust.state)
        self._count(match, time.monotonic() - began)
        self._figures.note(trust, match)
        self._outputs.show(Look(image, self._camera, T), match, closure, trust, self._store)

    def _count(self, match: Match | None, seconds: float) -> None:
        if match is None:
            self.health.skip("no candidate reached retrieval.min_score")
        elif match.state != MATCHED:
            self.health.skip(f"not sure enough to be told ({match.state})")
        else:
            self.health.done(seconds)

    def _report(self, stamp: int) -> None:
        level, message = self.health.verdict()
        values = {**self._figures.values(self._matcher.trust), "submaps": str(self._store.count()),
                  "map": self._store.name, **self.health.values()}
        sec, nanosec = divmod(stamp, 1_000_000_000)
        self._diagnostics.publish(diagnostic_array(f"{MATCHER}: matching", level, message, values,
                                                   Time(sec=sec, nanosec=nanosec)))


class Pace:
    """Holds images back until their time has come, at `rate` times the bag's own pace; viewers are served meanwhile."""

    def __init__(self, channels: Channels, rate: float) -> None:
        self._channels, self._rate = channels, rate
        self._begin: tuple[int, float] | None = None

    def __call__(self, stamp: int) -> None:
        """Returns when an image of this stamp is due."""
        if self._begin is None:
            self._begin = stamp, time.monotonic()
        first, began = self._begin
        self._channels.serve_until(began + (stamp - first) / 1e9 / self._rate)


def write(path: Path, bag_path: Path, database: str, config: Config, topics: Topics, log: Callable[[str], None],
          progress: Progress | None = None) -> Health:
    """All that both nodes would say of a bag, as an MCAP file; returns the counts. Raises DataError as `Show.run`."""
    show = Show(Channels(MATCHER), config, log)
    with open_bag(bag_path) as bag, open_map(database, show.encoder.sidecar, write=False) as store, \
            show.channels.written(path):
        show.run(bag, store, topics, lambda stamp: None, progress)
    return show.health


def serve(address: tuple[str, int], bag_path: Path, database: str, config: Config, topics: Topics,
          log: Callable[[str], None], ready: Callable[[Any], None], rate: float = 1.0, loop: bool = False) -> None:
    """The same over a WebSocket, once somebody looks, until KeyboardInterrupt; `ready` is given the server.

    Raises ConfigError if the address is taken.
    """
    show = Show(Channels(MATCHER), config, log)
    with open_bag(bag_path) as bag, open_map(database, show.encoder.sidecar, write=False) as store, \
            show.channels.served(*address) as server:
        ready(server)
        show.channels.wait_for_viewer()
        show.run(bag, store, topics, Pace(show.channels, rate))
        while True:
            if loop:
                server.clear_session()  # the stamps begin anew, and so do the viewers
                show.run(bag, store, topics, Pace(show.channels, rate))
            else:
                show.channels.serve_until(time.monotonic() + 1.0)
