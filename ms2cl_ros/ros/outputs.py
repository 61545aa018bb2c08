# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All that place_matcher publishes. What costs much to make is made only while somebody listens."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from ms2cl_ros.core.decision import MATCHED
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.loop_closure import LoopClosure, loop_closure
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.trust import Trust
from ms2cl_ros.core.types import CameraImage, CameraModel, Match
from ms2cl_ros.ros import conversions, qos, results
from ms2cl_ros.ros.health import Health
from ms2cl_ros.ros.markers import marker_array
from ms2cl_ros.tools.scene import Scene
from ms2cl_ros.tools.side_by_side import SideBySide

NOT_READ = "loop closure not read"


@dataclass(frozen=True)
class Look:
    """An image with all that is needed to show what became of it."""

    image: CameraImage
    camera: CameraModel
    T_base_camera: np.ndarray


class Speaker(Protocol):
    """A node, or what stands for one where there is no ROS graph."""

    def create_publisher(self, msg_type: Any, topic: str, qos_profile: Any, /) -> Any:
        """As rclpy's; the publisher has `publish` and `get_subscription_count`."""


class Outputs:
    """Publishers under `~/`. All but `state` are called in the worker's thread."""

    def __init__(self, node: Speaker, encoder: Encoder, map_frame: str, base_frame: str, health: Health) -> None:
        self._map, self._base, self._health = map_frame, base_frame, health
        self._scene, self._pictures = Scene(), SideBySide(encoder)
        self._last_state = ""

        def publisher(kind: Any, name: str, profile: Any = qos.RESULTS) -> Any:
            return node.create_publisher(kind, f"~/{name}", profile)
        self._poses = publisher(PoseWithCovarianceStamped, "match_pose")
        self._candidates = publisher(PoseArray, "candidates")
        self._scores = publisher(PointCloud2, "candidate_scores")
        self._closures = publisher(Odometry, "loop_closure")
        self._submaps = publisher(TransformStamped, "submap_frame")
        self._states = publisher(String, "state", qos.MAP)
        self._markers = publisher(MarkerArray, "markers")
        self._comparison = publisher(Image, "comparison")

    def state(self, state: str) -> None:
        """Publishes the state if it is another than before; late subscribers get the last one."""
        if state != self._last_state:
            self._last_state = state
            self._states.publish(String(data=state))

    def match(self, match: Match, store: Store, closing: bool) -> LoopClosure | None:
        """Publishes pose and loop closure if they are promised, candidates always; returns the closure, if any.

        `closing`: somebody beside the topic wants it.
        """
        promised = match.state == MATCHED
        if promised:
            self._poses.publish(conversions.match_pose(match, self._map))
        self._candidates.publish(conversions.candidate_poses(match, self._map))
        if _heard(self._scores):
            self._scores.publish(results.candidate_scores(match, self._map))
        wanted = closing or any(_heard(p) for p in (self._closures, self._submaps, self._markers, self._comparison))
        closure = self._closure(match, store) if wanted else None
        if closure is not None and promised:
            self._submaps.publish(results.submap_place(closure, self._map))
            self._closures.publish(results.loop_closure(closure, self._base))
        return closure

    def show(self, look: Look, match: Match | None, closure: LoopClosure | None, trust: Trust, store: Store) -> None:
        """Publishes markers and the picture beside its match's range image, to whoever listens."""
        if match is not None:
            self._scene.note(match)
        if match is not None and _heard(self._markers):
            shapes = self._scene.shapes(match, trust.belief.hypotheses, closure)
            self._markers.publish(marker_array(shapes, match.stamp_ns, self._map))
        if _heard(self._comparison):
            try:
                rgb = self._pictures.draw(look.image, look.camera, look.T_base_camera, match, closure, store)
            except StoreError as e:
                self._health.warn("comparison not drawn", str(e))
                return
            self._comparison.publish(results.picture(rgb, look.image.stamp_ns, look.image.frame_id))

    def forget(self) -> None:
        """The route begins anew."""
        self._scene.forget()

    def _closure(self, match: Match, store: Store) -> LoopClosure | None:
        try:
            return loop_closure(match, store)
        except StoreError as e:
            self._health.warn(NOT_READ, str(e))
            return None


class BeliefFigures:
    """The belief in figures that a person understands, and how long ago the last promise was."""

    def __init__(self) -> None:
        self._recent: deque[tuple[str, float]] = deque(maxlen=100)

    def note(self, trust: Trust, match: Match | None) -> None:
        """After each image."""
        self._recent.append((trust.state, match.probability if match is not None else 0.0))

    def values(self, trust: Trust | None) -> dict[str, str]:
        """State, probability, entropy in bits and the share of the last images that were matched."""
        if trust is None or not self._recent:
            return {"state": "nothing yet"}
        state, probability = self._recent[-1]
        matched = sum(s == MATCHED for s, _ in self._recent) / len(self._recent)
        belief = trust.belief
        return {"state": state, "probability of the best place": f"{probability:.4f}",
                "belief: not in the map": f"{belief.outside:.4f}", "belief: entropy, bits": f"{entropy(trust):.2f}",
                "belief: hypotheses": str(len(belief.hypotheses)),
                "share of the last 100 images matched": f"{matched:.2f}"}


def entropy(trust: Trust) -> float:
    """Bits of the belief over its hypotheses, the rest of the map as one, and outside of it."""
    belief = trust.belief
    p = np.array([*belief.hypotheses.weights, belief.elsewhere, belief.outside], float)
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def _heard(publisher: Any) -> bool:
    return bool(publisher.get_subscription_count())
