# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One turn about z and translation that lays many patches of points on others at once: point to plane, robust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ms2cl_ros.core.accumulation import thin
from ms2cl_ros.core.geometry import apply, rotation_z, transform

# Metres within which points are paired, round by round: from what the vote leaves to what surfaces differ by.
ROUNDS = (4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.5, 1.5, 1.0, 1.0, 1.0, 0.6, 0.6, 0.6, 0.6)
VOXEL = 0.4
MOST_SOURCE, MOST_TARGET = 1000, 8000
NORMAL_POINTS = 10
# A neighbourhood flatter than this has a normal: smallest against middle spread.
FLAT = 0.25
ON_SURFACE = 0.5
# The upward part of a normal from which on a surface is ground.
LEVEL = 0.8


@dataclass(frozen=True)
class Patch:
    """Points of one place: `target`, `source`: (N, 3) float64, metres, each in its own map. `place`: (3,) in B's."""

    target: np.ndarray
    source: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class Alignment:
    """`residual`: metres, median distance to the surfaces; `covered`: share of the points on one."""

    T_target_source: np.ndarray
    residual: float
    covered: float


@dataclass(frozen=True)
class _Surface:
    tree: cKDTree
    points: np.ndarray
    normals: np.ndarray
    flat: np.ndarray
    source: np.ndarray


def align(patches: Sequence[Patch], T_target_source: np.ndarray) -> Alignment:
    """Refines a transform that is a few metres off at most; turns about z only."""
    surfaces = [_surface(p) for p in patches if len(p.target) > NORMAL_POINTS and len(p.source)]
    if not surfaces:
        return Alignment(T_target_source, float("inf"), 0.0)
    T = T_target_source
    for reach in ROUNDS:
        T = _step(surfaces, T, reach)
    away = np.concatenate([_distances(s, T) for s in surfaces])
    on = away < ON_SURFACE
    return Alignment(T, float(np.median(away[on])) if on.any() else float("inf"), float(on.mean()) if on.size else 0.0)


def _surface(patch: Patch) -> _Surface:
    points = _some(patch.target, MOST_TARGET)
    tree = cKDTree(points)
    _, near = tree.query(points, min(NORMAL_POINTS, len(points)))
    around = points[near] - points[near].mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))
    flat = values[:, 0] < FLAT * values[:, 1]
    return _Surface(tree, points, vectors[:, :, 0], flat, _some(patch.source, MOST_SOURCE))


def _some(points: np.ndarray, most: int) -> np.ndarray:
    """One point a cube, and of these at most so many, evenly over their order."""
    points = thin(points, VOXEL)
    return points[np.linspace(0, len(points) - 1, min(most, len(points))).astype(int)]


def _step(surfaces: Sequence[_Surface], T: np.ndarray, reach: float) -> np.ndarray:
    """One Gauss-Newton step of (turn, x, y, z) about the middle of the points, with Tukey's weights."""
    p, q, n = (np.concatenate(parts) for parts in zip(*(_pairs(s, T, reach) for s in surfaces)))
    if len(p) < 10:
        return T
    middle = p.mean(axis=0)
    arm = p - middle
    J = np.column_stack([n[:, 1] * arm[:, 0] - n[:, 0] * arm[:, 1], n])
    r = np.einsum("ij,ij->i", n, q - p)
    weight = np.clip(1.0 - (r / reach) ** 2, 0.0, None) ** 2
    # a place without walls across the road says nothing of the way along it: left where it is
    A = J.T @ (weight[:, None] * J) + 1e-3 * len(p) * np.diag([0.0, 1.0, 1.0, 1.0]) + 1e-6 * np.eye(4)
    turn, *shift = np.linalg.solve(A, J.T @ (weight * r))
    return transform(middle + shift) @ rotation_z(turn) @ transform(-middle) @ T


def _pairs(s: _Surface, T: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p = apply(T, s.source)
    away, row = s.tree.query(p, distance_upper_bound=reach)
    kept = np.isfinite(away)
    kept[kept] = s.flat[row[kept]]
    return p[kept], s.points[row[kept]], s.normals[row[kept]]


def _distances(s: _Surface, T: np.ndarray) -> np.ndarray:
    """(M,) metres to the plane of the nearest point, or to that point where it has none or lies far aside.

    Points on level ground are left out: ground fits on any other ground.
    """
    p = apply(T, s.source)
    away, row = s.tree.query(p)
    plane = np.abs(np.einsum("ij,ij->i", s.normals[row], p - s.points[row]))
    on_plane = s.flat[row] & (away < 2 * ON_SURFACE)
    ground = on_plane & (np.abs(s.normals[row, 2]) > LEVEL)
    return np.where(on_plane, plane, away)[~ground]
