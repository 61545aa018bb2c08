# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What tests ask of a soup of triangles."""

from __future__ import annotations

import dataclasses

import numpy as np

from ms2cl_ros.training.city.soup import Soup


def size(soup: Soup) -> np.ndarray:
    points = soup.corners.reshape(-1, 3)
    return points.max(0) - points.min(0)


def lowest(soup: Soup) -> float:
    return float(soup.corners[..., 2].min())


def soup_bytes(soup: Soup) -> bytes:
    return b"".join(np.ascontiguousarray(getattr(soup, f.name)).tobytes() for f in dataclasses.fields(soup))
