# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`initialpose` for AMCL, slam_toolbox and rtabmap: told once, told again until their own pose agrees."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from geometry_msgs.msg import PoseWithCovariance, PoseWithCovarianceStamped

from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.geometry import rotation_z, transform, yaw
from ms2cl_ros.core.messages import stamp_ns, to_pose
from ms2cl_ros.core.types import Match, StampedPose
from ms2cl_ros.ros import conversions, qos
from ms2cl_ros.ros.backends.backend import Backend, Backoff, Offer, Policy, Wiring

# AMCL refuses messages with any entry above 1e9 or below 0
SMALLEST, LARGEST = 1e-6, 1e8
# without odometry, a match that is to stand for now may be so old, seconds
FRESH = 0.3
SIGMAS, PATIENCE = 3.0, 10.0


class InitialPose(Backend):
    """Seeds a localiser, and seeds it again when its own pose has disagreed with several matches in a row.

    A localiser that is right is left alone: a new initial pose scatters its particles.
    """

    own_pose: str

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        node, settings = wiring.node, wiring.settings
        self._publisher = node.create_publisher(PoseWithCovarianceStamped, wiring.named("initialpose"), qos.RESULTS)
        # latched by AMCL, volatile elsewhere: a volatile subscription hears both, a latched one only the former
        durable = qos.MAP if self.own_pose == "amcl_pose" else qos.RESULTS
        node.create_subscription(PoseWithCovarianceStamped, wiring.named(self.own_pose), self._heard, durable)
        self._backoff = Backoff(settings.retry, settings.attempts)
        self._own: StampedPose | None = None
        self._match: Match | None = None
        self._since: float | None = None
        self._connected: float | None = None
        self._sent_stamp: int | None = None
        self._disagreed = 0
        self.settled = False
        self.sent = 0

    @property
    def topic(self) -> str:
        """The topic as it is called after remapping."""
        return str(self._publisher.topic_name)

    def take(self, offer: Offer) -> None:
        """Keeps the newest promised match; doubts a settled back end that disagrees with it."""
        match = self.promised(offer)
        if match is None:
            return
        self._match = match
        self._since = self._since or self.wiring.clock()
        if not self.settled or self._own is None:
            return
        self._disagreed = 0 if self._agrees() else self._disagreed + 1
        if self._disagreed >= self.wiring.settings.disagreements:
            self.wiring.health.warn(self.name, f"its pose on {self.own_pose} has disagreed with the last "
                                               f"{self._disagreed} matches; it is given an initial pose")
            self._begin()

    def tick(self) -> None:
        """Sends what is due, and looks whether it was taken."""
        now = self.wiring.clock()
        if self._publisher.get_subscription_count() == 0:
            self._alone(now)
            return
        self._connected = self._connected or now
        if self.settled or self._match is None:
            return
        if self._is_taken():
            self.settled, self._disagreed = True, 0
            return
        if self._backoff.failed(now):
            self.wiring.health.warn(self.name, self.failure())
            return
        # a localiser that runs already says so on its latched topic: give that a moment
        if now - self._connected >= min(self.wiring.settings.retry, 1.0) and self._backoff.due(now):
            self._send(now)

    def forget(self) -> None:
        """What was matched before does not count; the next match is told anew."""
        self._match = None
        self._begin()

    def values(self) -> dict[str, str]:
        """Whether it has taken our pose, and how often it was sent."""
        state = "taken" if self.settled else "gave up" if self._backoff.failed(self.wiring.clock()) else \
            "no match yet" if self._match is None else "nobody subscribes" if self._connected is None else "asking"
        return {f"{self.name}: state": state, f"{self.name}: initial poses sent": str(self.sent)}

    def failure(self) -> str:
        """Why it may be that none was taken."""
        frames = self.wiring.frames
        return (f"none of {self._backoff.count} poses sent on {self.topic} was confirmed on {self.own_pose}: check "
                f"that it is active, that its map frame is '{frames.map}', that the pose lies in its map and that it "
                "gets scans; ~/relocalize tries again")

    def _begin(self) -> None:
        self.settled, self._disagreed, self._sent_stamp = False, 0, None
        self._backoff.begin()

    def _alone(self, now: float) -> None:
        """Nobody listens: a back end that went away knows nothing when it comes back."""
        if self._connected is not None:
            self._connected, self._own = None, None
            self._begin()
        if self._since is not None and now - self._since > PATIENCE:
            self.wiring.health.warn(self.name, f"nobody subscribes {self.topic}, so no initial pose can be given: "
                                               "check that it runs, and the topic's name")

    def _heard(self, message: PoseWithCovarianceStamped) -> None:
        try:
            self._own = to_pose(message)
        except TransformError as e:
            self.wiring.health.drop(f"{self.name}: bad pose", f"on {self.own_pose}: {e}")

    def _is_taken(self) -> bool:
        """Its pose is ours, and, once we have sent one, no older than what was sent."""
        fresh = self._sent_stamp is None or (self._own is not None and self._own.stamp_ns >= self._sent_stamp)
        return fresh and self._agrees()

    def _agrees(self) -> bool:
        """Its newest pose lies where we say that the base was at that moment."""
        if self._own is None or self._match is None:
            return False
        expected = self._match.T_map_base
        # where odometry does not tell, nothing has moved: AMCL is silent while the base stands
        with suppress(TransformError):
            expected = expected @ self.wiring.motion.between(self._match.stamp_ns, self._own.stamp_ns)
        off = float(np.linalg.norm((self._own.T_map_base - expected)[:2, 3]))
        spread = float(np.sqrt(np.linalg.eigvalsh(self._match.covariance[:2, :2])[-1]))
        turned = abs((yaw(self._own.T_map_base) - yaw(expected) + np.pi) % (2 * np.pi) - np.pi)
        return off <= max(self.wiring.settings.tolerance, SIGMAS * spread) and turned <= np.deg2rad(30.0)

    def _send(self, now: float) -> None:
        message = self._message()
        if message is None:
            return
        self._sent_stamp = stamp_ns(message.header.stamp)
        self._publisher.publish(message)
        self._backoff.note(now)
        self.sent += 1

    def _message(self) -> PoseWithCovarianceStamped | None:
        """What the policy makes of the newest match, None if it is too old to stand for now."""
        assert self._match is not None
        T, stamp = self._match.T_map_base, self._match.stamp_ns
        if self.policy.stamp == "now":
            try:
                T, stamp = self.wiring.motion.carried(T, stamp)
            except TransformError as e:
                if self.wiring.node.get_clock().now().nanoseconds - stamp > FRESH * 1e9:
                    self.wiring.health.warn(self.name, f"{e}: give the matcher odometry")
                    return None
        if self.policy.planar:
            T = transform([T[0, 3], T[1, 3], 0.0]) @ rotation_z(yaw(T))
        pose = PoseWithCovariance(pose=conversions.pose(T), covariance=self._covariance())
        return PoseWithCovarianceStamped(header=conversions.header(stamp, self.wiring.frames.map), pose=pose)

    def _covariance(self) -> list[float]:
        assert self._match is not None
        C = self._match.covariance
        if self.policy.covariance != "full":
            C = np.diag(np.clip(np.diag(C), SMALLEST, LARGEST))
        return [float(v) for v in C.ravel()]


class Amcl(InitialPose):
    """nav2's AMCL: adds odometry since the stamp; reads x, y, yaw; wants every covariance entry within [0, 1e9]."""

    name, own_pose = "initialpose_amcl", "amcl_pose"
    policy = Policy(stamp="image", planar=True, covariance="diagonal")


class SlamToolbox(InitialPose):
    """slam_toolbox in localisation mode: takes x, y and yaw for now; ignores frame, stamp and covariance."""

    name, own_pose = "initialpose_slam_toolbox", "pose"
    policy = Policy(stamp="now", planar=True, covariance="unread")


class Rtabmap(InitialPose):
    """rtabmap in localisation mode: takes the pose for now; ignores the covariance."""

    name, own_pose = "initialpose_rtabmap", "localization_pose"
    policy = Policy(stamp="now", covariance="unread")
