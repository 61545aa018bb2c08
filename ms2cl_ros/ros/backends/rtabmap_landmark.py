# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Submaps as rtabmap's landmarks: seen when they are mapped, seen again when matched; the graph does the rest."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseWithCovariance

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.loop_closure import seen_from_base, submap_frame
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.ros import conversions, qos
from ms2cl_ros.ros.backends.backend import Backend, Offer, Wiring, messages

# how often the map is looked at for submaps that have been added, seconds
PERIOD = 0.5
# a submap's frame is the base's when its scan was taken: metres and radians of doubt, as rtabmap refuses none
AT_ONCE = np.diag([0.05**2] * 3 + [0.01**2] * 3)
LARGEST_ID = 2**31 - 1


class RtabmapLandmark(Backend):
    """Publishes `landmark_detection`: id and frame are the submap's, the pose is the submap's in the base.

    A landmark closes no loop until it has been seen twice, so that submaps are announced while they are mapped, too.
    """

    name = "rtabmap_landmark"

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._types = messages("rtabmap_msgs", "msg", self.name, "install ros-$ROS_DISTRO-rtabmap-msgs")
        topic = wiring.named("landmark_detection")
        self._publisher = wiring.node.create_publisher(self._types.LandmarkDetection, topic, qos.RESULTS)
        self._store: Store | None = None
        self._last_view, self._next = 0, float("-inf")
        self.announced = self.seen_again = 0

    def take(self, offer: Offer) -> None:
        """A promised match is the submap seen again."""
        closure = offer.closure
        if closure is None or self.promised(offer) is None or closure.submap_id > LARGEST_ID:
            return
        self._publish(closure.stamp_ns, closure.submap_id, *seen_from_base(closure))
        self.seen_again += 1

    def tick(self) -> None:
        """Announces the submaps that a mapper has added since the last look."""
        store, now = self.wiring.store(), self.wiring.clock()
        if store is None or now < self._next:
            return
        self._next = now + PERIOD
        try:
            if store is not self._store:  # what was there before is not in sight now
                self._store, self._last_view = store, store.last_view_id()
                return
            self._announce(store)
        except StoreError as e:
            self.wiring.health.warn(self.name, str(e))

    def values(self) -> dict[str, str]:
        """How many submaps were announced, and how many seen again."""
        return {f"{self.name}: submaps announced": str(self.announced),
                f"{self.name}: submaps seen again": str(self.seen_again)}

    def _announce(self, store: Store) -> None:
        for submap_id, _, view in store.views_after(self._last_view):
            self._last_view = view.id or self._last_view
            if not view.rendered and submap_id <= LARGEST_ID:
                self._publish(store.submap(submap_id, views=False).stamp_ns, submap_id, np.eye(4), AT_ONCE)
                self.announced += 1

    def _publish(self, stamp: int, submap_id: int, T_base_submap: np.ndarray, covariance: np.ndarray) -> None:
        pose = PoseWithCovariance(pose=conversions.pose(T_base_submap),
                                  covariance=[float(v) for v in np.ravel(covariance)])
        self._publisher.publish(self._types.LandmarkDetection(
            header=conversions.header(stamp, self.wiring.frames.base), landmark_frame_id=submap_frame(submap_id),
            id=submap_id, size=0.0, pose=pose))
