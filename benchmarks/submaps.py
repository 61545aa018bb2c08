#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a sparse LiDAR gains from accumulation, and what motion correction and the thinning of movers add to it.

    python benchmarks/submaps.py --seeds 9001 9002 --beams 16 --cache /tmp/streets

A 16-beam LiDAR maps an unseen synthetic street at 8 m/s amid traffic, each sweep taken in 0.1 s while driving. On
another day the camera asks from the same lane and from 1.75 m aside. One map holds single sweeps, the others submaps
accumulated over `--accumulate` metres before and behind. A hit is within 5 m.
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ms2cl_ros.core import accumulation
from ms2cl_ros.core.config import Config, EncoderConfig, SubmapsConfig, ViewsConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import camera_view
from ms2cl_ros.core.mapper import Mapper
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.projection import CameraView
from ms2cl_ros.core.types import PointCloud, StampedPose

SPEED, HIT, APART, NOBODY = 8.0, 5.0, 10_000.0, 10**6
ASIDE = {"same lane": 0.0, "1.75 m aside": 1.75}


@dataclasses.dataclass
class Drive:
    """A pass of a LiDAR with times, and what the camera sees of the street on another day."""

    T_base_lidar: np.ndarray
    seconds: np.ndarray
    poses: np.ndarray
    sweeps: list[tuple[np.ndarray, np.ndarray]]
    asks: list[tuple[str, np.ndarray, np.ndarray]]

    def motion(self, k: int) -> Callable[[int], StampedPose]:
        """The base's pose in the k-th drive's corner of the map at any stamp."""
        from ms2cl_ros.training.city.motion import along
        moving = along(self.seconds, self.poses)

        def at(stamp_ns: int) -> StampedPose:
            T = moving(np.array([stamp_ns / 1e9]))[0]
            T[1, 3] += APART * k
            return StampedPose(stamp_ns, T)
        return at


def drive(seed: int, args: argparse.Namespace, encoder: Encoder) -> Drive:
    """Ray-casts a drive, or takes it from `args.cache`."""
    from ms2cl_ros.training.city.camera import camera_spec, picture
    from ms2cl_ros.training.city.city import build_city, movers
    from ms2cl_ros.training.city.lidar import lidar_spec, timed_sweep
    from ms2cl_ros.training.city.light import daylight
    from ms2cl_ros.training.city.motion import along
    from ms2cl_ros.training.city.passes import DrivePass, drive_poses
    from ms2cl_ros.training.city.recipe import Day, Recipe
    from ms2cl_ros.training.city.scene import Scene
    from ms2cl_ros.training.city.soup import merge
    kept = args.cache / f"beams_{seed}_{args.beams}_{args.length:g}.pkl" if args.cache else None
    if kept and kept.exists():
        return pickle.loads(kept.read_bytes())
    city, lidar, camera = build_city(Recipe(seed=seed, length=args.length)), lidar_spec(args.beams, 0.35), camera_spec()
    travelled, poses = drive_poses(city, DrivePass(), 1.0)
    seconds, rng, sweeps = travelled / SPEED, np.random.default_rng([seed, 9]), []
    standing = city.scene(Day(0))
    for t, T in zip(seconds, poses, strict=True):
        moving = movers(city, Day(0), float(t), (float(T[0, 3]), float(T[1, 3])))
        scene = Scene(merge([standing.soup, moving]), city.textures) if len(moving.corners) else standing
        swept = timed_sweep(scene, lidar, T, rng, lambda s, t=t: along(seconds, poses)(s + t))
        sweeps.append((swept.points[:, :3], swept.times))
    look = CameraView(camera.model, camera_view(camera.T_base_camera())[0], encoder.sidecar.camera)
    light = daylight(np.random.default_rng([seed, 7]))
    asks = [(name, T, encoder.embed_image(*look(picture(city.scene(Day(1)), camera, light, T, rng)))[0])
            for name, y in ASIDE.items()
            for T in drive_poses(city, DrivePass(lateral_offset=y, day=Day(1), light=1), 5.0)[1]]
    out = Drive(lidar.T_base_lidar(), seconds, poses, sweeps, asks)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(out))
    return out


def mapped(drives: list[Drive], config: Config, encoder: Encoder, correct: bool) -> tuple[np.ndarray, np.ndarray, str]:
    """(n, 2) places and (n, D) descriptors of a map, and what it cost in words."""
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder, open_map(Path(folder) / "map.db", encoder.sidecar, True) as store:
        for k, one in enumerate(drives):
            mapper, motion = Mapper(config, encoder, store), one.motion(k)
            mapper.begin_session(str(k))
            for t, (xyz, times) in zip(one.seconds, one.sweeps, strict=True):
                pose = motion(round(t * 1e9))
                if mapper.wants(pose.T_map_base):
                    cloud = PointCloud(xyz, pose.stamp_ns, "lidar", times=times)
                    mapper.add_scan(cloud, pose, one.T_base_lidar, motion if correct else None)
            mapper.flush()
        views = [v for _, _, v in store.views_after(0)]
        filled = np.mean([(store.panorama(key).ranges > 0).mean() for key, _, _ in store.poses()])
    cost = f"{len(views)} submaps, {(time.process_time() - begin) / len(views) * 1e3:.0f} ms each, {filled:.0%} filled"
    return (np.stack([v.T_map_base[:2, 3] for v in views]), np.stack([v.descriptors[0] for v in views]), cost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[9001, 9002])
    parser.add_argument("--beams", type=int, default=16)
    parser.add_argument("--length", type=float, default=320.0)
    parser.add_argument("--accumulate", type=float, default=6.0)
    parser.add_argument("--model", default="ms2cl_city")
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    encoder = Encoder.load(EncoderConfig(model=args.model))
    drives = [drive(seed, args, encoder) for seed in args.seeds]
    single = Config(submaps=SubmapsConfig(headings=1), views=ViewsConfig(spacing=0.0))
    merged = dataclasses.replace(single, submaps=dataclasses.replace(single.submaps, accumulate=args.accumulate))
    witnesses = accumulation.WITNESSES
    for name, config, correct, thinned in (("single sweeps", single, True, True),
                                           ("accumulated, as they come", merged, False, False),
                                           ("... with motion correction", merged, True, False),
                                           ("... and movers thinned out", merged, True, True)):
        accumulation.WITNESSES = witnesses if thinned else NOBODY
        xy, descriptors, cost = mapped(drives, config, encoder, correct)
        for which in ASIDE:
            asks = [(T[:2, 3] + [0.0, APART * k], e) for k, d in enumerate(drives) for c, T, e in d.asks if c == which]
            true, queries = np.stack([a[0] for a in asks]), np.stack([a[1] for a in asks])
            error = np.linalg.norm(xy[(queries @ descriptors.T).argmax(1)] - true, axis=1)
            chance = np.mean(np.linalg.norm(xy[None] - true[:, None], axis=2) < HIT)
            print(f"{name:28s} {which:14s} n {len(true):4d}  R@1 within 5 m {(error < HIT).mean():.3f}  "
                  f"2 m {(error < 2).mean():.3f}  chance {chance:.3f}  ({cost})", flush=True)


if __name__ == "__main__":
    main()
