# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ground's height: gentle waves, or the heights that a drive has measured, spread smoothly over the land."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse
from scipy.interpolate import RectBivariateSpline
from scipy.sparse.linalg import spsolve

CELL = 15.0
MARGIN = 220.0
# How much a bend of the ground counts against a metre of misfit: large enough to iron out the drift between two passes.
STIFFNESS = 40.0


class Terrain(Protocol):
    """Height and slope anywhere, metres above the map's zero."""

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Metres above the map's zero, of any shape."""

    def gradient(self, x: float, y: float) -> np.ndarray:
        """(2,) slope in x and y."""


@dataclass(frozen=True)
class RollingTerrain:
    """Gentle hills: a sum of long waves. `waves`: (k, 4) amplitude, two wave numbers, phase."""

    waves: np.ndarray

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Metres above the map's zero."""
        return sum((a * np.sin(kx * x + ky * y + p) for a, kx, ky, p in self.waves), np.zeros(np.shape(x)))

    def gradient(self, x: float, y: float) -> np.ndarray:
        """(2,) slope in x and y."""
        a, kx, ky, p = self.waves.T
        c = a * np.cos(kx * x + ky * y + p)
        return np.array([(c * kx).sum(), (c * ky).sum()])


def rolling_terrain(rng: np.random.Generator, slope: float = 0.007) -> RollingTerrain:
    """Three waves of 90 to 220 m, each at most `slope` steep."""
    wavelength, direction, phase = rng.uniform(90, 220, 3), rng.uniform(0, 2 * np.pi, 3), rng.uniform(0, 2 * np.pi, 3)
    k = 2 * np.pi / wavelength
    return RollingTerrain(np.stack([slope / k, k * np.cos(direction), k * np.sin(direction), phase], 1))


@dataclass(frozen=True)
class MeasuredTerrain:
    """A smooth surface through measured heights."""

    surface: RectBivariateSpline

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Metres above the map's zero."""
        return self.surface.ev(x, y)

    def gradient(self, x: float, y: float) -> np.ndarray:
        """(2,) slope in x and y."""
        return np.array([self.surface.ev(x, y, dx=1), self.surface.ev(x, y, dy=1)])


def measured_terrain(xyz: np.ndarray) -> MeasuredTerrain:
    """The stiffest surface near (n, 3) driven points, metres; it goes on evenly beyond them.

    Where two passes measured different heights of one place, it runs between them.
    """
    low = xyz[:, :2].min(0) - MARGIN
    shape = tuple(np.ceil((np.ptp(xyz[:, :2], axis=0) + 2 * MARGIN) / CELL).astype(int) + 1)
    cells = (xyz[:, :2] - low) / CELL
    corner, part = np.floor(cells).astype(int), cells % 1
    rows = np.arange(len(xyz))
    measured = sparse.csr_matrix((len(xyz), shape[0] * shape[1]))
    for i in (0, 1):
        for j in (0, 1):
            weight = np.abs(1 - i - part[:, 0]) * np.abs(1 - j - part[:, 1])
            index = (corner[:, 0] + i) * shape[1] + corner[:, 1] + j
            measured = measured + sparse.csr_matrix((weight, (rows, index)), measured.shape)
    bend = [sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], (n - 2, n)) for n in shape]
    across = sparse.vstack([sparse.kron(bend[0], sparse.eye(shape[1])), sparse.kron(sparse.eye(shape[0]), bend[1])])
    # a trace of levelling keeps the far corners from running off
    normal = measured.T @ measured + STIFFNESS * across.T @ across + 1e-4 * sparse.eye(shape[0] * shape[1])
    level = xyz[:, 2].mean()
    heights = spsolve(normal.tocsc(), measured.T @ (xyz[:, 2] - level)).reshape(shape) + level
    return MeasuredTerrain(RectBivariateSpline(*(low[k] + CELL * np.arange(shape[k]) for k in (0, 1)), heights))
