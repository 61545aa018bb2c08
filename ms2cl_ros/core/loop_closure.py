# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A match as a constraint between two poses of a pose graph: a submap and the base that came by again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.geometry import distance, inverse
from ms2cl_ros.core.maps.store import Session, Store
from ms2cl_ros.core.types import Match

# A candidate within so many metres of the match speaks for it.
SAME_PLACE = 5.0


@dataclass(frozen=True)
class LoopClosure:
    """The base at `stamp_ns` seen from a submap, whose frame is the base's when the submap's scan was taken.

    `T_submap_base`, `T_map_submap`: 4 x 4 float64. `covariance`: (6, 6) of `T_submap_base`, ROS order, along the
    submap's axes. `session`: the drive that made the submap; `submap_stamp_ns`: when.
    """

    stamp_ns: int
    submap_id: int
    submap_stamp_ns: int
    session: int
    T_map_submap: np.ndarray
    T_submap_base: np.ndarray
    covariance: np.ndarray


def submap_frame(submap_id: int) -> str:
    """How a submap's frame is called in messages: `submap_17`."""
    return f"submap_{submap_id}"


def loop_closure(match: Match, store: Store) -> LoopClosure | None:
    """The match, seen from the submap of its candidate nearest to the matched pose.

    None if all candidates lie elsewhere: then the match stands by the images before, and this one closes no loop. The
    relative pose does not change when a pose graph moves the submap. Raises StoreError if the submap cannot be read.
    """
    partner = min(match.candidates, key=lambda c: distance(c.T_map_base, match.T_map_base))
    if distance(partner.T_map_base, match.T_map_base) > SAME_PLACE:
        return None
    submap = store.submap(partner.submap_id, views=False)
    return LoopClosure(match.stamp_ns, partner.submap_id, submap.stamp_ns, submap.session, submap.T_map_base,
                       inverse(submap.T_map_base) @ match.T_map_base,
                       turned(match.covariance, submap.T_map_base[:3, :3].T))


class LiveSession:
    """Which session of a map is being mapped right now: the newest one, if it has grown since this began.

    Stamps alone cannot tell: yesterday's drive is the newest session too, until today's has its first submap.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._before = self._newest()

    def _newest(self) -> Session | None:
        return max(self._store.sessions(), key=lambda s: s.id, default=None)

    def at(self, stamp_ns: int) -> Session | None:
        """The session that an image of this stamp belongs to, or None. Raises StoreError."""
        newest, before = self._newest(), self._before
        if newest is None or stamp_ns < newest.first_stamp_ns:
            return None
        grown = before is None or newest.id != before.id or newest.submaps > before.submaps
        return newest if grown else None


def turned(covariance: np.ndarray, R_target_source: np.ndarray) -> np.ndarray:
    """A (6, 6) covariance along the axes of a frame, along those of another; `R_target_source`: (3, 3)."""
    R = np.kron(np.eye(2), R_target_source)
    C = R @ covariance @ R.T
    return (C + C.T) / 2


def seen_from_base(closure: LoopClosure) -> tuple[np.ndarray, np.ndarray]:
    """`T_base_submap` (4 x 4) and its (6, 6) covariance along the base's axes.

    A doubt about the base's heading moves a submap that lies aside of it.
    """
    T = inverse(closure.T_submap_base)
    C = turned(closure.covariance, T[:3, :3])
    lever = T[:3, 3]
    J = np.eye(6)
    J[:3, 3:] = [[0.0, lever[2], -lever[1]], [-lever[2], 0.0, lever[0]], [lever[1], -lever[0], 0.0]]
    C = J @ C @ J.T
    return T, (C + C.T) / 2
