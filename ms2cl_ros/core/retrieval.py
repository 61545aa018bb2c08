# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a query's descriptor to candidate base poses, and to how far the best one may be off."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.core.geometry import inverse, rotation_z, transform, wrap, yaw
from ms2cl_ros.core.index import Entry, Index
from ms2cl_ros.core.types import Candidate

# What one frame cannot see: the base is taken to stand on the map's ground, its height and tilt are not measured.
UNKNOWN_METRES, UNKNOWN_RADIANS = 10.0, np.pi
# A view answers for its surroundings: the models are trained to forgive about 2 m along, 0.5 m aside, 2 degrees.
VIEW_METRES, VIEW_RADIANS = 1.2, np.deg2rad(2.0)


def base_pose(entry: Entry, heading: float, T_base_camera: np.ndarray) -> np.ndarray:
    """`T_map_base` of the robot whose camera, looking along `heading` in its base, stands where the view does.

    Sensor heights are left out: the base is put on the ground of the view.
    """
    to_lidar = transform([*entry.T_base_lidar[:2, 3], 0.0])
    to_camera = transform([*T_base_camera[:2, 3], 0.0])
    turn = rotation_z(entry.heading - heading)
    return entry.view.T_map_base @ to_lidar @ turn @ inverse(to_camera)


def candidates(index: Index, query: np.ndarray, heading: float, T_base_camera: np.ndarray,
               k: int) -> tuple[Candidate, ...]:
    """The `k` best views for a (D,) descriptor, best first, each with the base pose it stands for."""
    found = []
    for score, entry in index.search(query, k):
        step = 2 * np.pi / len(entry.view.headings)
        pose = base_pose(entry, heading, T_base_camera)
        found.append(Candidate(entry.submap_id, entry.view.id or 0, entry.heading, step, score, pose))
    return tuple(found)


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
