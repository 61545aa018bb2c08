# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a query's descriptor to candidate base poses, and to how far the best one may be off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ms2cl_ros.core.geometry import inverse, rotation_z, transform, wrap, yaw
from ms2cl_ros.core.index import Entry
from ms2cl_ros.core.types import Candidate
from ms2cl_ros.core.verification import Verified, stack

# What one frame cannot see: the base is taken to stand on the map's ground, its height and tilt are not measured.
UNKNOWN_METRES, UNKNOWN_RADIANS = 10.0, np.pi
# Views nearer to a better one than this, in place and in direction, are the same answer again; a map with rendered
# views has about so many of them at a place.
APART_METRES, APART_RADIANS, NEIGHBOURS = 3.0, np.deg2rad(20.0), 4
# Stored ranges (K, rows, turn) and headings (K,) -> how well they fit the picture.
Verify = Callable[[np.ndarray, np.ndarray], Verified]
# A view answers for its surroundings: the models are trained to forgive about 2 m along, 0.5 m aside, 2 degrees.
VIEW_METRES, VIEW_RADIANS = 1.2, np.deg2rad(2.0)


def base_pose(entry: Entry, heading: float, T_base_camera: np.ndarray, seen_at: float | None = None) -> np.ndarray:
    """`T_map_base` of the robot whose camera, looking along `heading` in its base, stands where the view does.

    `seen_at`: the azimuth in the view's base at which the camera looks, if it is known better than `entry.heading`.
    Sensor heights are left out: the base is put on the ground of the view.
    """
    to_lidar = transform([*entry.T_base_lidar[:2, 3], 0.0])
    to_camera = transform([*T_base_camera[:2, 3], 0.0])
    turn = rotation_z((entry.heading if seen_at is None else seen_at) - heading)
    return entry.view.T_map_base @ to_lidar @ turn @ inverse(to_camera)


class Searchable(Protocol):
    """What finds views by their descriptors, an `Index` above all."""

    def search(self, query: np.ndarray, k: int) -> list[tuple[float, Entry]]:
        """The best heading of each of the `k` best views for a (D,) unit descriptor: (cosine, entry), best first."""


def candidates(index: Searchable, query: np.ndarray, heading: float, T_base_camera: np.ndarray, k: int,
               verify: Verify | None = None) -> tuple[Candidate, ...]:
    """The best views for a (D,) descriptor, at most `k`, each of another place or direction, best first.

    Each has the base pose that it stands for. With `verify`, those whose view keeps ranges get a range score, and
    their heading is the refined one.
    """
    found = distinct(index.search(query, NEIGHBOURS * k), k)
    ranges, headings = np.full(len(found), np.nan), np.array([entry.heading for _, entry in found])
    which, stored = stack([entry.view.coarse for _, entry in found])
    if verify is not None and len(which):
        verified = verify(stored, headings[which])
        ranges[which], headings[which] = verified.scores, verified.headings
    out = []
    for (score, entry), seen_at, fit in zip(found, headings, ranges, strict=True):
        step = 2 * np.pi / len(entry.view.headings)
        pose = base_pose(entry, heading, T_base_camera, seen_at)
        out.append(Candidate(entry.submap_id, entry.view.id or 0, float(seen_at), step, score, pose,
                             None if np.isnan(fit) else float(fit)))
    return tuple(out)


def distinct(found: Sequence[tuple[float, Entry]], k: int) -> list[tuple[float, Entry]]:
    """The first `k` of what was found, best first, that lie apart from all better ones in place or in direction."""
    if not found:
        return []
    poses = np.stack([entry.view.T_map_base for _, entry in found])
    places = poses[:, :2, 3]
    looks = np.arctan2(poses[:, 1, 0], poses[:, 0, 0]) + [entry.heading for _, entry in found]
    left, chosen = np.ones(len(found), bool), list[int]()
    while left.any() and len(chosen) < k:
        best = int(left.argmax())
        chosen.append(best)
        turned = np.abs((looks - looks[best] + np.pi) % (2 * np.pi) - np.pi)
        left &= (np.linalg.norm(places - places[best], axis=1) >= APART_METRES) | (turned >= APART_RADIANS)
    return [found[i] for i in chosen]


def covariance(found: tuple[Candidate, ...], logit_scale: float) -> np.ndarray:
    """(6, 6) of the best candidate's pose, ROS order, map frame.

    The spread of the candidates about the best, weighted by the softmax that the model was trained under, plus
    what one view stands for. Height, roll and pitch are unknown and say so. It takes the place to be in the map.
    """
    best = found[0].T_map_base
    scores = np.array([c.score for c in found])
    weights = np.exp(logit_scale * (scores - scores.max()))
    weights /= weights.sum()
    offsets = np.array([[*(c.T_map_base[:2, 3] - best[:2, 3]), wrap(yaw(c.T_map_base) - yaw(best))] for c in found])
    spread = (weights[:, None] * offsets).T @ offsets
    floor = np.diag([VIEW_METRES**2, VIEW_METRES**2, found[0].heading_step**2 / 12 + VIEW_RADIANS**2])
    C = np.diag([0.0, 0.0, UNKNOWN_METRES**2, UNKNOWN_RADIANS**2, UNKNOWN_RADIANS**2, 0.0])
    seen = np.ix_([0, 1, 5], [0, 1, 5])
    C[seen] = (spread + spread.T) / 2 + floor
    return C
