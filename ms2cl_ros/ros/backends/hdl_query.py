# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""hdl_localization's global search, answered by the camera: a drop-in for hdl_global_localization."""

from __future__ import annotations

from typing import Any

import numpy as np

from ms2cl_ros.core.decision import LOST
from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.geometry import inverse
from ms2cl_ros.core.messages import stamp_ns
from ms2cl_ros.core.types import Match
from ms2cl_ros.ros import conversions
from ms2cl_ros.ros.backends.backend import Backend, Offer, Wiring, messages

# without odometry, how far in time cloud and image may lie apart, seconds
FRESH = 0.3


class HdlQuery(Backend):
    """Serves `/hdl_global_localization/query` with the newest promised match at the cloud's stamp, or with nothing.

    The cloud itself is not looked at. `/hdl_global_localization/set_global_map`, without which hdl_localization does
    not start, is served too; the map that it brings is passed over, as ours is another.
    """

    name = "hdl_query"

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        types = messages("hdl_global_localization", "srv", self.name, "build hdl_global_localization for ROS 2")
        node = wiring.node
        node.create_service(types.QueryGlobalLocalization, "/hdl_global_localization/query", self._answer)
        node.create_service(types.SetGlobalMap, "/hdl_global_localization/set_global_map", self._take_map)
        self._match: Match | None = None
        self.answered = self.unanswered = 0

    def take(self, offer: Offer) -> None:
        """Keeps the newest promised match; a lost one ends it."""
        match = self.promised(offer)
        if match is not None or offer.state == LOST:
            self._match = match

    def forget(self) -> None:
        """No answer until the next match."""
        self._match = None

    def values(self) -> dict[str, str]:
        """How many queries got a pose, and how many none."""
        return {f"{self.name}: queries answered": str(self.answered),
                f"{self.name}: queries without an answer": str(self.unanswered)}

    def _take_map(self, _: Any, response: Any) -> Any:
        return response

    def _answer(self, request: Any, response: Any) -> Any:
        stamp = stamp_ns(request.cloud.header.stamp)
        response.header = conversions.header(stamp, self.wiring.frames.map)
        response.globalmap_header = conversions.header(stamp, self.wiring.frames.map)
        try:
            T, match = self._at(stamp)
        except TransformError as e:
            self.unanswered += 1
            self.wiring.health.warn(self.name, f"a query stays without an answer: {e}")
            return response
        response.poses = [conversions.pose(T)]
        response.inlier_fractions = [float(match.probability)]
        response.errors = [float(np.sqrt(np.trace(match.covariance[:2, :2])))]
        self.answered += 1
        return response

    def _at(self, stamp: int) -> tuple[np.ndarray, Match]:
        """The base at a stamp by the newest match; raises TransformError if that is not known."""
        match, motion = self._match, self.wiring.motion
        if match is None:
            raise TransformError("the camera has no promised match now")
        try:
            return match.T_map_base @ inverse(motion.at(match.stamp_ns)) @ motion.at(stamp), match
        except TransformError:
            apart = abs(stamp - match.stamp_ns) * 1e-9
            if apart <= FRESH:
                return match.T_map_base, match
            raise TransformError(f"the last match is {apart:.1f} s from the cloud and no odometry joins them") from None
