# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small drives in the compact layout, generated, and an embedder that knows which is which by construction."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml

from ms2cl_ros.core.calibration import Calibration, Confidence, Evidence, RangeLikelihood
from ms2cl_ros.core.sidecar import CameraInput, Embedding, LidarInput, RangeMap, Sidecar
from ms2cl_ros.core.types import AngularGrid, RangeImage

CAMERA_GRID, LIDAR_GRID = AngularGrid(8, 20, 8.0, 2.0, 3.6), AngularGrid(8, 20, 4.0, 2.0, 3.6)
RANGE_MAP = RangeMap(4, 10, 8, 2.0, 90.0)
SIZE = 64
# the optical frame exactly: x right = -y, y down = -z, z forward = x
T_CAM_LIDAR = [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]


def packed(azimuth: np.ndarray, elevation: np.ndarray, ranges: np.ndarray) -> bytes:
    """A sweep as it is stored: hundredths of a degree from -180, fiftieths of a degree, centimetres."""
    planes = []
    for values in (azimuth, elevation, ranges):
        steps = np.diff(values, prepend=0).astype(np.int16).view(np.uint16)
        planes += [(steps & 255).astype(np.uint8), (steps >> 8).astype(np.uint8)]
    return lzma.compress(np.concatenate([*planes, np.zeros(len(ranges), np.uint8)]).tobytes())


def write_drive(folder: Path, places: Sequence[int], step: float | None = 2.0) -> Path:
    """A drive straight ahead, `step` metres a frame (None: no poses). At a place k, all ranges are 3 + k metres and
    every pixel is 10 + 3 k bright."""
    for sub in ("image", "scan"):
        (folder / sub).mkdir(parents=True)
    lines = ["index,stamp_ns,x,y,z,qx,qy,qz,qw"]
    for i, place in enumerate(places):
        cv2.imwrite(str(folder / f"image/{i:06d}.webp"), np.full((60, 80, 3), 10 + 3 * place, np.uint8),
                    [cv2.IMWRITE_WEBP_QUALITY, 101])
        azimuth, elevation = (a.ravel() for a in np.meshgrid(np.arange(0, 36000, 100), np.arange(-500, 150, 50)))
        (folder / f"scan/{i:06d}.xz").write_bytes(packed(azimuth, elevation, np.full(azimuth.size, 300 + 100 * place)))
        pose = ",,,,,," if step is None else f"{step * i},0,0,0,0,0,1"
        lines.append(f"{i:06d},{10 ** 9 + i * 10 ** 8},{pose}")
    (folder / "frames.csv").write_text("\n".join(lines) + "\n")
    (folder / "drive.yaml").write_text(yaml.safe_dump({
        "camera": {"K": [[50.0, 0.0, 39.5], [0.0, 50.0, 29.5], [0.0, 0.0, 1.0]]}, "T_cam_lidar": T_CAM_LIDAR}))
    return folder


def even_calibration() -> Calibration:
    """Every row counts; the prior is flat; a cosine is worth 2 nats."""
    shape = RANGE_MAP.bins + 1, RANGE_MAP.rows
    return Calibration(Evidence(0.0, 1.0), Evidence(-1.0, 2.0, 1.0), Confidence(0.0),
                       RangeLikelihood(np.full((2, RANGE_MAP.rows), 0.2), np.full(shape, 1 / shape[0])))


class PlaceEmbedder:
    """Knows the place from the brightness of a picture and the range of a scan; `confused`: places whose pictures it
    takes for another. Its range map is certain of the range at the place it takes the picture for."""

    headings = 1

    def __init__(self, confused: dict[int, int] | None = None) -> None:
        self._confused = confused or {}
        self.sidecar = Sidecar(
            "places", CameraInput("", "", "angular_grid", CAMERA_GRID, (8, 20), ("red",), (0.0,), (1.0,)),
            LidarInput("", "", LIDAR_GRID, (8, 20), ("range",), (0.0,), (1.0,), 1.5, 120.0),
            Embedding(SIZE, 1, "cosine", 10.0), {}, RANGE_MAP)

    def embed_turns(self, panoramas: Sequence[RangeImage], headings: np.ndarray) -> np.ndarray:
        places = [round(float(np.median(p.ranges[p.ranges > 0]))) - 3 for p in panoramas]
        return np.stack([np.tile(_like(place), (len(headings), 1)) for place in places])

    def embed_image(self, rgb: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        place = round((float(np.median(rgb[valid])) - 10) / 3)
        logits = np.zeros((RANGE_MAP.bins + 1, RANGE_MAP.rows, RANGE_MAP.columns), np.float32)
        bin_ = int(np.log((3 + place) / RANGE_MAP.near) / np.log(RANGE_MAP.far / RANGE_MAP.near) * RANGE_MAP.bins)
        logits[bin_] = 8.0
        return _like(self._confused.get(place, place)), logits


def _like(place: int) -> np.ndarray:
    """(SIZE,) unit length: neighbouring places are alike."""
    out = np.exp(-0.5 * (np.arange(SIZE) - place - 5.0) ** 2).astype(np.float32)
    return out / np.linalg.norm(out)
