# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rays against triangles: the tracer that camera and LiDAR share (Embree), with holes and glass from the textures."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.training.city.soup import Soup, merge
from ms2cl_ros.training.city.textures import GLASS, Textures

RECASTS = 4
# A shadow's edge asks for less than a beam's end: two leaves are passed, the third counts.
SHADOW_RECASTS = 2
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


@dataclass(frozen=True)
class Surface:
    """What n triangles are made of. `normal`: (n, 3) float32 unit; `texels`: (n,) float32 texels per metre of the
    texture at full size; `texture` (n,) int32, `tint` (n, 3) float32, `material` (n,) uint8 as in `Soup`."""

    normal: np.ndarray
    texels: np.ndarray
    texture: np.ndarray
    tint: np.ndarray
    material: np.ndarray


class Scene:
    """Triangles ready to be traced. Raises DataError, naming what to install, where embreex is missing."""

    def __init__(self, soup: Soup, textures: Textures) -> None:
        self.textures = textures
        self._parts = [_Part(soup, textures, _porous(textures))]

    def with_movers(self, soup: Soup) -> Scene:
        """This scene with some triangles more, which are traced apart: costs what they cost, not what the scene does.

        Their numbers follow those of the scene. They use the scene's textures.
        """
        scene = object.__new__(Scene)
        scene.textures = self.textures
        scene._parts = self._parts + ([_Part(soup, self.textures, self._parts[0].porous_textures)] if len(soup) else [])
        return scene

    @property
    def soup(self) -> Soup:
        """All triangles, in the order of their numbers."""
        return self._parts[0].soup if len(self._parts) == 1 else merge([part.soup for part in self._parts])

    def surface(self, triangle: np.ndarray) -> Surface:
        """What the triangles (n,) are made of."""
        return Surface(*(self._take(f.name, triangle) for f in fields(Surface)))

    def cast(self, origins: np.ndarray, directions: np.ndarray, recasts: int = RECASTS) -> Hits:
        """First opaque hit of each ray; holes are passed, at most `recasts` of them, then whatever comes next counts.

        `origins`, `directions`: (n, 3) map frame, metres, unit length.
        """
        distance, triangle, uv, alpha = self._march(origins, directions, recasts)
        met = np.flatnonzero(triangle >= 0)
        corner, (u, v) = self._take("uv", triangle[met]), uv[met].T[..., None]
        uv[met] = corner[:, 0] * (1 - u - v) + corner[:, 1] * u + corner[:, 2] * v
        return Hits(distance, triangle, uv, alpha < _SOLID)

    def blocked(self, origins: np.ndarray, directions: np.ndarray, recasts: int = SHADOW_RECASTS) -> np.ndarray:
        """(n,) bool: whether anything opaque lies on the ray; for shadows, cheaper than `cast`."""
        return self._march(origins, directions, recasts)[1] >= 0

    def _march(self, origins: np.ndarray, directions: np.ndarray, recasts: int) -> tuple[np.ndarray, ...]:
        """`distance`, `triangle`, barycentric `u, v` (n, 2) and `alpha` (n,) uint8 of what stops each ray."""
        n = len(origins)
        distance, triangle = np.full(n, np.inf, np.float32), np.full(n, -1)
        barycentric, alpha = np.zeros((n, 2), np.float32), np.full(n, 255, np.uint8)
        start, toward = np.ascontiguousarray(origins, np.float32), np.ascontiguousarray(directions, np.float32)
        ray, travelled = np.arange(n), np.zeros(n, np.float32)
        for test in range(recasts + 1):
            found, u, v, far = self._nearest(start, toward)
            opaque = self._alpha(found, u, v)
            stop = np.flatnonzero((found >= 0) & ((opaque >= _OPAQUE) | (test == recasts)))
            k = ray[stop]
            distance[k], triangle[k], alpha[k] = travelled[stop] + far[stop], found[stop], opaque[stop]
            barycentric[k, 0], barycentric[k, 1] = u[stop], v[stop]
            on = np.flatnonzero((found >= 0) & (opaque < _OPAQUE))
            if not len(on) or test == recasts:
                break
            step = far[on] + np.float32(_STEP)
            ray, travelled, toward = ray[on], travelled[on] + step, toward[on]
            start = start[on] + toward * step[:, None]
        return distance, triangle, barycentric, alpha

    def _nearest(self, start: np.ndarray, toward: np.ndarray) -> tuple[np.ndarray, ...]:
        """Triangle (n,) int64, -1 for none, with u, v and distance (n,), whichever part of the scene is nearer."""
        first = self._parts[0].embree.run(start, toward, output=1)
        triangle, u, v, far = first["primID"].astype(np.int64), first["u"], first["v"], first["tfar"]
        offset = len(self._parts[0].soup)
        for part in self._parts[1:]:
            more = part.embree.run(start, toward, output=1)
            k = np.flatnonzero((more["primID"] >= 0) & ((triangle < 0) | (more["tfar"] < far)))
            triangle[k], u[k], v[k], far[k] = more["primID"][k] + offset, more["u"][k], more["v"][k], more["tfar"][k]
            offset += len(part.soup)
        return triangle, u, v, far

    def _alpha(self, triangle: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(n,) uint8; the texture is read only where it is not solid throughout."""
        alpha = np.full(len(triangle), 255, np.uint8)
        met = np.flatnonzero(triangle >= 0)
        k = met[self._take("porous", triangle[met])]
        corner, u, v = self._take("uv", triangle[k]), u[k, None], v[k, None]
        uv = corner[:, 0] * (1 - u - v) + corner[:, 1] * u + corner[:, 2] * v
        alpha[k] = self.textures.alpha(self._take("texture", triangle[k]), uv)
        return alpha

    def _take(self, name: str, triangle: np.ndarray) -> np.ndarray:
        """One property of the triangles (n,), wherever they lie."""
        offset = len(self._parts[0].soup)
        if len(self._parts) == 1:
            return self._parts[0].table[name][triangle]
        out = self._parts[0].table[name][np.minimum(triangle, offset - 1)]
        for part in self._parts[1:]:
            k = np.flatnonzero((triangle >= offset) & (triangle < offset + len(part.soup)))
            out[k] = part.table[name][triangle[k] - offset]
            offset += len(part.soup)
        return out


class _Part:
    """Triangles that Embree knows as one mesh, with what is asked of them, by name, in `table`."""

    def __init__(self, soup: Soup, textures: Textures, porous_textures: np.ndarray) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as e:
            raise DataError(
                f"tracing the street needs embreex ({e}); install it with: pip install 'ms2cl_ros[city]'"
            ) from e
        self.soup, self.porous_textures = soup, porous_textures
        self.embree = EmbreeScene()
        TriangleMesh(self.embree, np.ascontiguousarray(soup.corners))
        a, b = soup.corners[:, 1] - soup.corners[:, 0], soup.corners[:, 2] - soup.corners[:, 0]
        normal = np.cross(a, b)
        double = np.linalg.norm(normal, axis=1)
        p, q = soup.uv[:, 1] - soup.uv[:, 0], soup.uv[:, 2] - soup.uv[:, 0]
        area = (textures.width[:, 0] * textures.height[:, 0])[soup.texture]
        texels = np.abs(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]) * area
        self.table = {
            "uv": soup.uv,
            "texture": np.ascontiguousarray(soup.texture),
            "tint": np.ascontiguousarray(soup.tint),
            "material": soup.material,
            "normal": (normal / np.maximum(double, 1e-9)[:, None]).astype(np.float32),
            "texels": np.sqrt(texels / np.maximum(double, 1e-9)).astype(np.float32),
            "porous": porous_textures[soup.texture],
        }


def _porous(textures: Textures) -> np.ndarray:
    """(textures,) bool: which have a hole or a pane anywhere."""
    alpha = np.ascontiguousarray(textures.texels[:, 3])
    return np.minimum.reduceat(alpha, textures.offset.ravel()).reshape(textures.offset.shape)[:, 0] < _SOLID


def directions(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """(..., 3) unit vectors, x forward, y left, z up, from angles in radians."""
    level = np.cos(elevation)
    return np.stack(np.broadcast_arrays(level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)), -1)


def rotate(T_target_source: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(n, 3) vectors of the source frame in the target frame. One thread, so that no byte depends on
    how many there are."""
    return np.einsum("nj,ij->ni", vectors, T_target_source[:3, :3])
