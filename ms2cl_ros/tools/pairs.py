# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded pairs of image and scan, embedded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.centring import Centre
from ms2cl_ros.core.projection import coarse
from ms2cl_ros.tools.compact import CompactDrive, Frame, drive_folders
from ms2cl_ros.tools.embedding import Embedder, centred

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pairs:
    """N embedded pairs. `images`: (N, D); `scans`: (N, n, D), one for each heading looked at; `drive`: (N,) index into
    `names`; `poses`: (N, 4, 4) `T_map_lidar` in the drive's own map; `posed`: (N,) bool; `travelled`: (N,) metres;
    `headings`: (N, n) radians in the LiDAR's frame, where scans are looked at; `frame`: (N,) which of the drive's.
    `logits`: (N, bins + 1, rows, columns) float16 and `coarse`: (N, rows, turn) uint8, or None without a range map."""

    names: tuple[str, ...]
    images: np.ndarray
    scans: np.ndarray
    drive: np.ndarray
    poses: np.ndarray
    posed: np.ndarray
    travelled: np.ndarray
    headings: np.ndarray
    frame: np.ndarray
    logits: np.ndarray | None = None
    coarse: np.ndarray | None = None

    def best_headings(self, image: int) -> np.ndarray:
        """(N,) radians: at which heading each scan looks most like an image."""
        best = (self.scans @ self.images[image]).argmax(1)
        return np.take_along_axis(self.headings, best[:, None], 1)[:, 0]

    def as_on_a_robot(self, centre: Centre | None) -> Pairs:
        """With the descriptors that matcher and index would hold against each other, each drive with a camera that
        begins anew; all scans are one map."""
        images, scans = centred(self.images, self.drive, self.scans, self.headings[0], centre)
        return replace(self, images=images, scans=scans)

    def apart(self) -> np.ndarray:
        """(N, N) metres between scans of one drive; infinite between drives, and where poses are unknown."""
        position = self.poses[:, :3, 3]
        metres = np.linalg.norm(position[:, None] - position[None], axis=2)
        metres[~self.same_drive() | ~self.posed[:, None]] = np.inf
        np.fill_diagonal(metres, 0.0)
        return metres

    def same_drive(self) -> np.ndarray:
        """(N, N) bool."""
        return self.drive[:, None] == self.drive[None]

    def single(self) -> np.ndarray:
        """(N,) bool: pairs of drives that have no other."""
        return np.bincount(self.drive, minlength=len(self.names))[self.drive] == 1


def open_drives(folders: Sequence[Path], encoder: Embedder) -> list[CompactDrive]:
    """The drives at or below some folders on the encoder's grids; raises DataError."""
    model = encoder.sidecar
    return [CompactDrive(folder, model.camera, model.lidar.grid) for folder in drive_folders(*folders)]


def embed_pairs(encoder: Embedder, drives: Sequence[CompactDrive], headings: np.ndarray | None = None,
                progress: Progress | None = None) -> Pairs:
    """All pairs of some drives. `headings`: (n,) radians in the LiDAR's frame, at which scans are looked at; that of
    the camera alone if None. Raises DataError naming the file that cannot be read."""
    total, done, parts = sum(map(len, drives)), 0, []
    for number, drive in enumerate(drives):
        rows: dict[str, list[Any]] = {"images": [], "scans": [], "headings": [], "logits": [], "coarse": []}
        around = np.array([drive.heading]) if headings is None else headings
        for frame in drive:
            for key, value in _embed(encoder, frame, around).items():
                rows[key].append(value)
            done += 1
            if progress:
                progress(done, total)
        parts.append((number, drive, rows))
    return _assembled(parts, tuple(d.name for d in drives))


def _embed(encoder: Embedder, frame: Frame, headings: np.ndarray) -> dict[str, np.ndarray]:
    model = encoder.sidecar
    image, logits = encoder.embed_image(frame.rgb, frame.valid)
    out = {"images": image, "scans": encoder.embed_turns([frame.panorama], headings)[0], "headings": headings}
    if logits is not None and model.range_map is not None:
        out["logits"] = logits.astype(np.float16)
        out["coarse"] = coarse(frame.panorama, model.range_map, model.lidar.grid.columns)
    return out


def _assembled(parts: list[tuple[int, CompactDrive, dict[str, list]]], names: tuple[str, ...]) -> Pairs:
    whole: dict[str, list] = {f.name: [] for f in fields(Pairs) if f.name != "names"}
    for number, drive, rows in parts:
        steps = np.linalg.norm(np.diff(drive.poses[:, :3, 3], axis=0), axis=1)
        rows = {**rows, "drive": [number] * len(drive), "poses": list(drive.poses), "posed": [drive.posed] * len(drive),
                "travelled": list(np.r_[0.0, np.cumsum(steps)]), "frame": list(range(len(drive)))}
        for key, values in rows.items():
            whole[key] += values
    stacked: dict[str, Any] = {key: np.stack(values) if values else None for key, values in whole.items()}
    return Pairs(names, **stacked)
