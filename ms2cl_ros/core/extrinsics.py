# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a sensor sits on the robot: from TF, or from two parameters."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.core.config import FramesConfig
from ms2cl_ros.core.errors import ConfigError, TransformError
from ms2cl_ros.core.frames import TransformBuffer
from ms2cl_ros.core.geometry import transform


def sensor_in_base(frames: FramesConfig, sensor: str, transforms: TransformBuffer, frame_id: str,
                   stamp_ns: int) -> np.ndarray:
    """`T_base_sensor` of the `lidar` or the `camera` (its optical frame) whose messages carry `frame_id`.

    Raises TransformError naming what is missing; never takes a missing transform for the identity.
    """
    if frames.extrinsics_source == "parameters":
        values = {"lidar": frames.lidar_extrinsics, "camera": frames.camera_extrinsics}[sensor]
        try:
            return transform(values[:3], values[3:])
        except TransformError as e:
            raise ConfigError(f"frames.{sensor}_extrinsics: {e}") from e
    if not frame_id:
        raise TransformError(f"the {sensor}'s messages carry no frame_id, so TF cannot be asked: set frame_id, or "
                             f"frames.extrinsics_source: parameters and frames.{sensor}_extrinsics")
    return transforms.lookup(frames.base, frame_id, stamp_ns)
