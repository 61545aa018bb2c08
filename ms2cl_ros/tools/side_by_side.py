# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The query image beside the range image of the submap that it was matched with, on cells of the same size."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import camera_view, yaw
from ms2cl_ros.core.loop_closure import LoopClosure
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.projection import CameraView
from ms2cl_ros.core.types import CameraImage, CameraModel, Match, RangeImage
from ms2cl_ros.tools.scene import STATES

# Range in colours as everywhere (viridis): near is yellow, far is dark, nothing is black. Metres at both ends.
NEAR, FAR = 2.0, 60.0
STOPS = np.array([[253, 231, 37], [94, 201, 98], [33, 145, 140], [59, 82, 139], [68, 1, 84]], float)
WIDTH, FRAME, GAP = 640, 5, 8
# Shown where nothing was matched, or the submap's range image cannot be read.
BLANK = (40, 40, 40)


class SideBySide:
    """Draws the pictures; what depends on camera and mounting only is kept from one to the next."""

    def __init__(self, encoder: Encoder) -> None:
        self._spec = encoder.sidecar.camera
        self._known: tuple[tuple, CameraView, float] | None = None

    def draw(self, image: CameraImage, camera: CameraModel, T_base_camera: np.ndarray, match: Match | None,
             closure: LoopClosure | None, store: Store | None) -> np.ndarray:
        """(H, W, 3) uint8, red first: the image to the left, the ranges to the right, framed in the state's colour.

        Raises StoreError if the submap's range image is damaged.
        """
        view, heading = self._view(camera, T_base_camera)
        left = _scaled(view(image.rgb)[0] if view.grid is not None else image.rgb)
        right = np.full_like(left, BLANK)
        if match is not None and closure is not None and store is not None:
            azimuth = yaw(closure.T_submap_base) + heading
            step = abs(store.panorama(closure.submap_id).grid.azimuth_step_deg)
            columns = view.grid.columns if view.grid is not None else round(_width_deg(camera) / step)
            ranges = window(store.panorama(closure.submap_id), azimuth, columns)
            right = _scaled(coloured(ranges), left.shape[0])
        colour = STATES.get(match.state if match else "LOST", STATES["LOST"])
        return _joined(left, right, np.round(np.array(colour[:3]) * 255).astype(np.uint8))

    def _view(self, camera: CameraModel, T_base_camera: np.ndarray) -> tuple[CameraView, float]:
        key = (camera.key(), T_base_camera.tobytes())
        if self._known is None or self._known[0] != key:
            T_view_camera, heading = camera_view(T_base_camera)
            self._known = key, CameraView(camera, T_view_camera, self._spec), heading
        return self._known[1], self._known[2]


def window(panorama: RangeImage, azimuth: float, columns: int) -> np.ndarray:
    """(rows, columns) float32 of a whole turn, centred at an azimuth (radians, positive to the left)."""
    centre = (180.0 - np.degrees(azimuth)) / panorama.grid.azimuth_step_deg
    first = round(centre - columns / 2)
    return panorama.ranges[:, np.arange(first, first + columns) % panorama.ranges.shape[1]]


def coloured(ranges: np.ndarray) -> np.ndarray:
    """(rows, columns, 3) uint8 of metres, by their logarithm; 0 is black."""
    share = np.log(np.clip(ranges, NEAR, FAR) / NEAR) / np.log(FAR / NEAR)
    at = np.linspace(0.0, 1.0, len(STOPS))
    out = np.stack([np.interp(share, at, STOPS[:, i]) for i in range(3)], axis=-1)
    out[ranges <= 0] = 0.0
    return out.round().astype(np.uint8)


def _width_deg(camera: CameraModel) -> float:
    return float(np.degrees(2 * np.arctan2(camera.width / 2, camera.K[0, 0])))


def _scaled(picture: np.ndarray, height: int | None = None) -> np.ndarray:
    """Of `WIDTH`, and of a height that fits or is given; cells stay cells."""
    import cv2
    rows, columns = picture.shape[:2]
    size = WIDTH, height or max(1, round(WIDTH * rows / columns))
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_NEAREST))


def _joined(left: np.ndarray, right: np.ndarray, colour: np.ndarray) -> np.ndarray:
    height = left.shape[0] + 2 * FRAME
    out = np.zeros((height, 2 * WIDTH + 4 * FRAME + GAP, 3), np.uint8)
    for picture, x in ((left, 0), (right, WIDTH + 2 * FRAME + GAP)):
        out[:, x:x + WIDTH + 2 * FRAME] = colour
        out[FRAME:-FRAME, x + FRAME:x + FRAME + WIDTH] = picture
    return out
