# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where and when the frames of a pass were taken, as the protocols of evaluation ask for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Camera axes (x right, y down, z forward) of base axes (x forward, y left, z up).
CAMERA_BASE = np.array([[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Route:
    """N frames of a pass. `index`: (N,) int, as the data set counts; `position`: (N, 3) metres in camera axes (x right,
    y down, z forward where the pass began, as in KITTI's pose files); `heading`: (N,) radians in the plane of x and z;
    `seconds`: (N,) since the pass began; `travelled`: (N,) metres."""

    index: np.ndarray
    position: np.ndarray
    heading: np.ndarray
    seconds: np.ndarray
    travelled: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def between(self, first: int, last: int) -> Route:
        """The frames whose index is at least `first` and below `last`."""
        kept = (self.index >= first) & (self.index < last)
        return Route(self.index[kept], self.position[kept], self.heading[kept], self.seconds[kept],
                     self.travelled[kept])


def camera_route(poses: np.ndarray, seconds: np.ndarray, index: np.ndarray | None = None) -> Route:
    """Of (N, 4, 4) poses of a camera (x right, y down, z forward) in any map with these axes."""
    position = poses[:, :3, 3]
    steps = np.linalg.norm(np.diff(position, axis=0), axis=1)
    return Route(np.arange(len(poses)) if index is None else np.asarray(index), position,
                 np.arctan2(poses[:, 0, 2], poses[:, 2, 2]), np.asarray(seconds, float), np.r_[0.0, np.cumsum(steps)])


def base_route(poses: np.ndarray, seconds: np.ndarray, index: np.ndarray | None = None) -> Route:
    """Of (N, 4, 4) `T_map_base`."""
    return camera_route(CAMERA_BASE @ poses @ CAMERA_BASE.T, seconds, index)
