# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Puts a foreign mesh into the local frame of soup.py: turned, on its feet, centred or with its front at y = 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ms2cl_ros.training.city.ac3d import Mesh
from ms2cl_ros.training.city.asset_classes import ARM, BACKWARDS, BUILDING, SOLITARY, UPRIGHT, VEHICLE

ROOT = 2.6
_FLAT = 0.15


def extent(mesh: Mesh) -> tuple[float, float, float]:
    """Metres along x, y and above the ground, rounded to millimetres."""
    if not len(mesh.corners):
        return (0.0, 0.0, 0.0)
    low, high = _bounds(mesh.corners)
    x, y, z = high[0] - low[0], high[1] - low[1], high[2]
    return (round(float(x), 3), round(float(y), 3), round(float(z), 3))


def fitted(mesh: Mesh, stance: str, name: str = "") -> Mesh:
    """The mesh in its local frame. Feet stand on z = 0; a foundation of up to ROOT metres stays below the ground."""
    if not len(mesh.corners):
        return mesh
    corners = mesh.corners.astype(float)
    low, high = _bounds(corners)
    if stance != SOLITARY and stance != ARM and high[1] - low[1] > high[0] - low[0]:
        corners = _turned(corners, 1)
    if stance == ARM:
        return replace(mesh, corners=_planted(corners).astype(np.float32))
    if stance == UPRIGHT:
        corners = _turned(corners, 1)
        corners = _turned(corners, 2) if _toes_behind(corners) else corners
    if stance == VEHICLE and (_nose_behind(corners) != (name in BACKWARDS)):
        corners = _turned(corners, 2)
    low, high = _bounds(corners)
    foot = low[2] if stance in (VEHICLE, UPRIGHT) or low[2] > 0 or low[2] < -ROOT else 0.0
    middle = [(low[0] + high[0]) / 2, low[1] if stance == BUILDING else (low[1] + high[1]) / 2, foot]
    mesh = replace(mesh, corners=(corners - middle).astype(np.float32))
    flat = min(high[0] - low[0], high[1] - low[1]) < _FLAT
    return _crossed(mesh) if stance == SOLITARY and flat and high[2] > 2 and len(mesh.corners) <= 4 else mesh


def coarser(mesh: Mesh, cell: float) -> Mesh:
    """The mesh with all vertices of a cube of `cell` metres merged and what collapses left out."""
    points = mesh.corners.reshape(-1, 3)
    _, group = np.unique(np.floor(points / cell).astype(np.int64), axis=0, return_inverse=True)
    group = group.reshape(-1)
    count = np.bincount(group).astype(float)
    mean = np.stack([np.bincount(group, points[:, k]) / count for k in range(3)], 1)
    index = group.reshape(-1, 3)
    kept = (index[:, 0] != index[:, 1]) & (index[:, 1] != index[:, 2]) & (index[:, 2] != index[:, 0])
    _, first = np.unique(np.sort(index[kept], 1), axis=0, return_index=True)
    chosen = np.flatnonzero(kept)[np.sort(first)]
    return replace(
        mesh,
        corners=mean[index[chosen]].astype(np.float32),
        uv=mesh.uv[chosen],
        picture=mesh.picture[chosen],
        material=mesh.material[chosen],
    )


def _bounds(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = corners.reshape(-1, 3)
    return points.min(0), points.max(0)


def _turned(corners: np.ndarray, quarters: int) -> np.ndarray:
    """Turned about z by quarter turns, clockwise from above."""
    turn = np.linalg.matrix_power(np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]), quarters)
    return corners @ turn.T


def _nose_behind(corners: np.ndarray) -> bool:
    """A vehicle's bonnet is low, its cabin further back: whether the higher half leans towards +x."""
    low, high = _bounds(corners)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area, centre = np.linalg.norm(np.cross(a, b), axis=1), corners.mean(1)
    upper = centre[:, 2] > low[2] + 0.72 * (high[2] - low[2])
    if not area[upper].sum():
        return False
    return bool((centre[upper, 0] * area[upper]).sum() / area[upper].sum() > (low[0] + high[0]) / 2)


def _toes_behind(corners: np.ndarray) -> bool:
    """Whether a person's feet reach further towards -x than towards +x of the shins above them."""
    low, high = _bounds(corners)
    points = corners.reshape(-1, 3)
    share = (points[:, 2] - low[2]) / (high[2] - low[2])
    foot, shin = points[share < 0.04, 0], points[(share > 0.1) & (share < 0.3), 0]
    if not len(foot) or not len(shin):
        return False
    return bool(foot.max() - shin.max() < shin.min() - foot.min())


def _planted(corners: np.ndarray) -> np.ndarray:
    """A lamp: its pole at the origin, its arm towards -y."""
    low, high = _bounds(corners)
    points = corners.reshape(-1, 3)
    foot = points[points[:, 2] < max(0.0, low[2]) + 0.25 * (high[2] - max(0.0, low[2]))]
    pole = (foot.min(0) + foot.max(0)) / 2
    corners = corners - [pole[0], pole[1], low[2] if low[2] > 0 or low[2] < -ROOT else 0.0]
    low, high = _bounds(corners)
    reach = np.array([high[0], -low[1], -low[0], high[1]])  # towards +x, -y, -x, +y
    return _turned(corners, (1 - int(reach.argmax())) % 4)


def _crossed(mesh: Mesh) -> Mesh:
    """A single upright plane, and the same once more across it."""
    return replace(
        mesh,
        corners=np.concatenate([mesh.corners, _turned(mesh.corners.astype(float), 1)]).astype(np.float32),
        uv=np.concatenate([mesh.uv] * 2),
        picture=np.concatenate([mesh.picture] * 2),
        material=np.concatenate([mesh.material] * 2),
    )
