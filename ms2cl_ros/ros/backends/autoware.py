# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Autoware's `/localization/initialize`: asked until it answers that it has succeeded."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovariance, PoseWithCovarianceStamped

from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.types import Match
from ms2cl_ros.ros import conversions
from ms2cl_ros.ros.backends.backend import Backend, Backoff, Offer, Policy, Wiring, messages

# The service moved with Autoware's releases; the newest home first.
PACKAGES = ("autoware_internal_localization_msgs", "tier4_localization_msgs")
# NDT searches as widely as the covariance says. We stand on the map's ground, so height and tilt are not that unknown.
WIDEST = np.array([25.0, 25.0, 1.0, 0.05**2, 0.05**2, 0.25])
# no answer for so many seconds is none: NDT's search takes a few
ANSWER = 30.0


class Autoware(Backend):
    """Asks with method AUTO, so that NDT refines the pose. Refused while the vehicle moves; then it is asked again."""

    name = "autoware"
    policy = Policy(stamp="now", covariance="diagonal")

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._service = service(self.name)
        self._client = wiring.node.create_client(self._service, "/localization/initialize")
        self._backoff = Backoff(wiring.settings.retry, wiring.settings.attempts)
        self._match: Match | None = None
        self._asked: float | None = None
        self._answer = "not asked yet"
        self.settled = False

    def take(self, offer: Offer) -> None:
        """Keeps the newest promised match."""
        self._match = self.promised(offer) or self._match

    def tick(self) -> None:
        """Asks when it is time to."""
        now = self.wiring.clock()
        if not self._client.service_is_ready():
            self._begin("nobody serves /localization/initialize")
            return
        if self._asked is not None and now - self._asked > ANSWER:
            self._asked, self._answer = None, f"no answer within {ANSWER:.0f} s"
        if self.settled or self._match is None or self._asked is not None:
            return
        if self._backoff.failed(now):
            self.wiring.health.warn(self.name, f"asked {self._backoff.count} times, the last answer was: "
                                               f"{self._answer}; ~/relocalize tries again")
        elif self._backoff.due(now):
            self._backoff.note(now)
            self._asked = now
            self._client.call_async(self._request(self._match)).add_done_callback(self._answered)

    def forget(self) -> None:
        """Asked again with the next match."""
        self._match = None
        self._begin("not asked yet")

    def values(self) -> dict[str, str]:
        """Whether it was initialised, and what it answered last."""
        return {f"{self.name}: state": "initialised" if self.settled else self._answer,
                f"{self.name}: times asked": str(self._backoff.count)}

    def _begin(self, answer: str) -> None:
        self.settled, self._asked, self._answer = False, None, answer
        self._backoff.begin()

    def _request(self, match: Match) -> Any:
        T, stamp = match.T_map_base, match.stamp_ns
        # it refuses unless the vehicle stands, and then the pose of the image is the pose of now
        with suppress(TransformError):
            T, stamp = self.wiring.motion.carried(T, stamp)
        covariance = np.diag(np.minimum(np.diag(match.covariance), WIDEST))
        pose = PoseWithCovariance(pose=conversions.pose(T), covariance=[float(v) for v in covariance.ravel()])
        stamped = PoseWithCovarianceStamped(header=conversions.header(stamp, self.wiring.frames.map), pose=pose)
        return self._service.Request(pose_with_covariance=[stamped], method=self._service.Request.AUTO)

    def _answered(self, future: Any) -> None:
        if self._asked is None:
            return  # an answer to a question that was given up
        self._asked = None
        status = future.result().status
        self.settled = bool(status.success)
        self._answer = "" if status.success else f"{status.message or 'refused'} (code {status.code})"


def service(name: str) -> Any:
    """The service's class from whichever package has it; raises ConfigError where none is installed."""
    remedy = f"install it with your Autoware (or {PACKAGES[1]} of an older one)"
    for package in PACKAGES:
        if importlib.util.find_spec(package) is not None:
            found = messages(package, "srv", name, remedy).InitializeLocalization
            if hasattr(found.Request, "AUTO"):
                return found
    return messages(PACKAGES[0], "srv", name, remedy).InitializeLocalization
