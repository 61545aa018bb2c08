# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rays against triangles: the tracer that camera and LiDAR share (Embree), with holes and glass from the textures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.training.city.soup import Soup
from ms2cl_ros.training.city.textures import GLASS, Textures

RECASTS = 4
_STEP = 0.01
_OPAQUE, _SOLID = 128, (GLASS + 255) // 2


@dataclass(frozen=True)
class Hits:
    """What n rays met. `distance`: (n,) float32, inf for nothing; `triangle`: (n,) int64, -1 for nothing;
    `uv`: (n, 2) float32 in its texture; `glass`: (n,) bool."""

    distance: np.ndarray
    triangle: np.ndarray
    uv: np.ndarray
    glass: np.ndarray

    @property
    def met(self) -> np.ndarray:
        """(n,) bool: the ray met something."""
        return self.triangle >= 0


class Scene:
    """Triangles ready to be traced. Raises DataError, naming what to install, where embreex is missing."""

    def __init__(self, soup: Soup, textures: Textures) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as e:
            raise DataError(
                f"tracing the street needs embreex ({e}); install it with: pip install 'ms2cl_ros[city]'"
            ) from e
        self.soup, self.textures = soup, textures
        self._embree = EmbreeScene()
        TriangleMesh(self._embree, np.ascontiguousarray(soup.corners))
        a, b = soup.corners[:, 1] - soup.corners[:, 0], soup.corners[:, 2] - soup.corners[:, 0]
        normal = np.cross(a, b)
        double = np.linalg.norm(normal, axis=1)
        self.normal = normal / np.maximum(double, 1e-9)[:, None]
        p, q = soup.uv[:, 1] - soup.uv[:, 0], soup.uv[:, 2] - soup.uv[:, 0]
        texels = (
            np.abs(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]) * (textures.width[:, 0] * textures.height[:, 0])[soup.texture]
        )
        self.texels_per_metre = np.sqrt(texels / np.maximum(double, 1e-9)).astype(np.float32)

    def cast(self, origins: np.ndarray, directions: np.ndarray, recasts: int = RECASTS) -> Hits:
        """First opaque hit of each ray; holes are passed, at most `recasts` of them, then whatever comes next counts.

        `origins`, `directions`: (n, 3) map frame, metres, unit length.
        """
        n = len(origins)
        hits = Hits(np.full(n, np.inf, np.float32), np.full(n, -1), np.zeros((n, 2), np.float32), np.zeros(n, bool))
        active, travelled = np.arange(n), np.zeros(n, np.float32)
        start, directions = np.array(origins, np.float32), np.ascontiguousarray(directions, np.float32)
        for test in range(recasts + 1):
            found = self._embree.run(
                np.ascontiguousarray(start[active]), np.ascontiguousarray(directions[active]), output=1
            )
            some = found["primID"] >= 0
            active, triangle = active[some], found["primID"][some].astype(np.int64)
            u, v, far = found["u"][some, None], found["v"][some, None], found["tfar"][some]
            corner = self.soup.uv[triangle]
            uv = corner[:, 0] * (1 - u - v) + corner[:, 1] * u + corner[:, 2] * v
            alpha = self.textures.alpha(self.soup.texture[triangle], uv)
            stop = (alpha >= _OPAQUE) | (test == recasts)
            k = active[stop]
            hits.distance[k], hits.triangle[k] = travelled[k] + far[stop], triangle[stop]
            hits.uv[k], hits.glass[k] = uv[stop], alpha[stop] < _SOLID
            active, onward = active[~stop], far[~stop] + _STEP
            if not len(active):
                break
            travelled[active] += onward
            start[active] += directions[active] * onward[:, None]
        return hits


def directions(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """(..., 3) unit vectors, x forward, y left, z up, from angles in radians."""
    level = np.cos(elevation)
    return np.stack(np.broadcast_arrays(level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)), -1)


def rotate(T_target_source: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(n, 3) vectors of the source frame in the target frame. One thread, so that no byte depends on
    how many there are."""
    return np.einsum("nj,ij->ni", vectors, T_target_source[:3, :3])
