# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Maps of a small made-up town, mapped with the tiny model: everything about them is known."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import apply, inverse, rotation_z, transform
from ms2cl_ros.core.mapper import Mapper
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.types import PointCloud, StampedPose, View

T_BASE_LIDAR = transform([0.3, 0.0, 1.7])
STEP = 2.0
OFFSET = transform([30.0, -12.0, 1.5]) @ rotation_z(np.deg2rad(25.0))


def config_of(model: Path, **stages) -> Config:
    """The defaults with the tiny model and fewer headings; `stages`: keyword arguments of a stage, by its name."""
    config = replace(Config(), encoder=replace(Config().encoder, model=str(model)),
                     submaps=replace(Config().submaps, headings=8, distance=0.95 * STEP))
    for stage, values in stages.items():
        config = replace(config, **{stage: replace(getattr(config, stage), **values)})
    return config


def town(seed: int = 3, houses: int = 45) -> np.ndarray:
    """(N, 3) metres: boxes of all sizes on level ground along an L-shaped road, which stays free."""
    rng = np.random.default_rng(seed)
    road = np.array([T[:2, 3] for T in route()])
    walls = []
    while len(walls) < houses:
        middle, half = rng.uniform([-25, -25], [70, 70]), rng.uniform(1.0, 5.0, 2)
        if np.min(np.linalg.norm(road - middle, axis=1)) < 4.0 + np.hypot(*half):
            continue
        walls.append(_box(middle, half, rng.uniform(1.0, 9.0), rng.uniform(0, np.pi)))
    ground = np.stack(np.meshgrid(np.arange(-30, 75, 1.0), np.arange(-30, 75, 1.0)), -1).reshape(-1, 2)
    return np.concatenate([*walls, np.column_stack([ground, np.zeros(len(ground))])])


def _box(middle: np.ndarray, half: np.ndarray, height: float, turn: float) -> np.ndarray:
    u, z = np.meshgrid(np.arange(-1, 1, 0.4 / half.max()), np.arange(0, height, 0.4))
    u, z = u.ravel(), z.ravel()
    sides = [np.column_stack([u * half[0], np.full_like(u, s * half[1]), z]) for s in (-1, 1)]
    sides += [np.column_stack([np.full_like(u, s * half[0]), u * half[1], z]) for s in (-1, 1)]
    return apply(transform([*middle, 0.0]) @ rotation_z(turn), np.concatenate(sides))


def route(step: float = STEP, aside: float = 0.0) -> list[np.ndarray]:
    """Base poses every `step` metres: 40 m east, then 30 m north, `aside` metres to the left."""
    east = [transform([x, 0, 0]) for x in np.arange(0, 40, step)]
    north = [transform([40, y, 0]) @ rotation_z(np.pi / 2) for y in np.arange(2, 32, step)]
    return [T @ transform([0, aside, 0]) for T in east + north]


def scan(points: np.ndarray, T_world_base: np.ndarray, stamp_ns: int) -> PointCloud:
    """The town's points within 35 m, seen from the LiDAR."""
    xyz = apply(inverse(T_world_base @ T_BASE_LIDAR), points)
    return PointCloud(xyz[np.linalg.norm(xyz, axis=1) < 35.0].astype(np.float32), stamp_ns, "lidar")


def make_map(path: Path, config: Config, poses: list[np.ndarray], T_map_world: np.ndarray | None = None,
             session: str = "", start_s: int = 1000, points: np.ndarray | None = None) -> Path:
    """Maps the town from those poses into the frame that `T_map_world` leads to; an existing map is extended."""
    T_map_world = np.eye(4) if T_map_world is None else T_map_world
    points, encoder = town() if points is None else points, Encoder.load(config.encoder)
    with open_map(path, encoder.sidecar, write=True) as store:
        store.begin_session(session)
        mapper = Mapper(config, encoder, store)
        for i, T in enumerate(poses):
            stamp = (start_s + i) * 10**9
            assert mapper.add_scan(scan(points, T, stamp), StampedPose(stamp, T_map_world @ T, np.eye(6) * 0.01),
                                   T_BASE_LIDAR) is not None
    return path


def add_rendered_view(path: Path, config: Config, submap_id: int = 2, aside: float = 1.75) -> None:
    """Adds a view metres to the left of a submap, with the descriptors of its own."""
    with open_map(path, Encoder.load(config.encoder).sidecar, write=True) as store:
        view = store.submap(submap_id).views[0]
        store.add_views(submap_id, [View(view.T_map_base @ transform([0, aside, 0]), view.headings, view.descriptors,
                                         rendered=True)])


def damage(path: Path, submap_id: int) -> None:
    """Flips a bit of a submap's range image."""
    db = sqlite3.connect(path)
    blob = bytearray(db.execute("SELECT panorama FROM scans WHERE submap = ?", (submap_id,)).fetchone()[0])
    blob[20] ^= 4
    db.execute("UPDATE scans SET panorama = ? WHERE submap = ?", (bytes(blob), submap_id))
    db.commit()
    db.close()
