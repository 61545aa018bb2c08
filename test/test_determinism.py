# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The same scan gives the same range image, bit for bit, wherever it lies in memory."""

import numpy as np

from ms2cl_ros.core.projection import render_ranges
from ms2cl_ros.core.types import AngularGrid

GRID = AngularGrid(48, 160, 5.2, 0.4, 0.45).panorama()


def test_a_range_image_does_not_depend_on_where_its_points_lie_in_memory():
    # beams of 2.0 degrees lie on a border of cells, where the last bit of a sum decides
    elevation = np.radians(np.repeat(np.linspace(2.0, -8.4, 27), 1029))
    azimuth = np.tile(np.linspace(-np.pi, np.pi, 1029, endpoint=False), 27)
    distance = np.random.default_rng(3).uniform(2.0, 60.0, azimuth.size) * 1.0003
    xyz = distance * [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    points = np.ascontiguousarray(xyz.T, np.float32)
    random, images, kept = np.random.default_rng(4), set(), []
    for _ in range(40):
        kept.append(np.empty(int(random.integers(1, 4000)), np.float32))  # moves what is allocated next
        images.add(render_ranges(points.copy(), GRID, 1.5, 120.0).ranges.tobytes())
    assert len(images) == 1
