# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every recording is read as: frames of one picture and the scan that belongs to it, in order of time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.types import CameraModel


@dataclass(frozen=True)
class Recorded:
    """A picture and its scan. `index`: the recording's own number of it; `stamp_ns`: of the picture, 0 if unknown.

    `rgb`: (H, W, 3) uint8, red first. `points`: (N, 3) float32, metres, LiDAR frame, as seen from where the LiDAR was
    when the picture was taken. `T_base_camera` (optical frame), `T_base_lidar`: 4 x 4 float64.
    `T_map_base`: where the base was then, or None where nothing is known of it.
    """

    index: int
    stamp_ns: int
    rgb: np.ndarray
    camera: CameraModel
    T_base_camera: np.ndarray
    points: np.ndarray
    T_base_lidar: np.ndarray
    T_map_base: np.ndarray | None


class Source(ABC):
    """A recording, opened and checked, nothing decoded yet.

    `name`: tells it from other recordings. `dropped`: what cannot be used, counted by reason; complete once its
    frames have been read. `notes`: what a person should know.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dropped: Counter[str] = Counter()
        self.notes: list[str] = []

    @abstractmethod
    def __len__(self) -> int:
        """How many frames there are at most."""

    @abstractmethod
    def frames(self) -> Iterator[Recorded]:
        """Every frame, in order; raises DataError naming the file that is damaged."""
