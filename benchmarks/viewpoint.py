#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Is a place found from beside, ahead and askew, with the map's own sweeps and with views rendered out of them?

    python benchmarks/viewpoint.py streets --seeds 9001 9002 --cache /tmp/streets     # unseen synthetic streets
    python benchmarks/viewpoint.py drives DATA --folds 12                              # recorded drives, compact layout

`streets`: one pass maps with the LiDAR; another day, with other parked cars and other light, asks with the camera from
where the first one drove, 1.75 and 3.5 m aside, half a submap further on, and turned by 5 degrees. The map is made anew
for every spacing of the lattice of rendered views.

`drives`: every image asks a map from which all scans within `--gap` metres of it are missing. The drive is cut into
stretches of 16 m; in fold k the images of the k-th part of every stretch ask at once, so each image asks once. The
lattice does not know where they are; `own pose` adds a view rendered exactly there. A hit is within 5 m of the truth.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from ms2cl_ros.core.centring import Centre, moved
from ms2cl_ros.core.config import Config, EncoderConfig, SubmapsConfig, TrustConfig, ViewsConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import camera_view, inverse, rotation_z, transform, wrap, yaw
from ms2cl_ros.core.mapper import Mapper
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.projection import CameraView
from ms2cl_ros.core.trust import find_calibration
from ms2cl_ros.core.types import CameraModel, PointCloud, StampedPose
from ms2cl_ros.tools.embedding import pictures_moved, shift_of_map

HIT, STRETCH = 5.0, 16.0
APART = 10_000.0  # metres between the drives of one map
CONDITIONS = {"same lane": (0.0, 0.0, 0.0), "1.75 m aside": (0.0, 1.75, 0.0), "3.5 m aside": (0.0, 3.5, 0.0),
              "half a submap on": (0.5, 0.0, 0.0), "turned 5 deg": (0.0, 0.0, 5.0)}


@dataclasses.dataclass
class Pass:
    """Sweeps and pictures of one street or drive. `asks`: (condition, `T_map_base`, descriptor) of each picture."""

    T_base_lidar: np.ndarray
    poses: np.ndarray
    travelled: np.ndarray
    sweeps: list[np.ndarray]
    asks: list[tuple[str, np.ndarray, np.ndarray]]


@dataclasses.dataclass
class Answers:
    """A map's views and what they cost. `descriptors`: (n, headings, D)."""

    poses: np.ndarray
    rendered: np.ndarray
    descriptors: np.ndarray
    headings: np.ndarray
    submaps: int
    seconds: tuple[float, float]
    megabytes: tuple[float, float]

    def score(self, asks: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """Of (q, D) queries, the pose of the best of the `allowed` views, turned to its best heading."""
        scores = np.einsum("qd,vhd->qvh", asks, self.descriptors)
        scores[:, ~allowed] = -np.inf
        best = scores.reshape(len(asks), -1).argmax(1)
        view, heading = np.divmod(best, len(self.headings))
        return np.stack([self.poses[v] @ rotation_z(self.headings[h])
                         for v, h in zip(view, heading, strict=True)])


def centre_of(encoder: Encoder) -> Centre | None:
    """Where the model has its descriptors, if it is calibrated."""
    known = find_calibration(TrustConfig(), encoder.sidecar)
    return known.centre if known else None


def as_on_a_robot(passes: list[Pass], encoder: Encoder) -> list[Pass]:
    """With the pictures' descriptors moved as a matcher does, by a camera that begins anew for each condition."""
    out = []
    for one in passes:
        names, poses, looks = zip(*one.asks, strict=True)
        found = pictures_moved(np.stack(looks), np.array(names), centre_of(encoder))
        out.append(dataclasses.replace(one, asks=list(zip(names, poses, found, strict=True))))
    return out


def apart(k: int, T: np.ndarray) -> np.ndarray:
    """The poses of the k-th drive where no other drive is."""
    out = T.copy()
    out[..., 1, 3] += APART * k
    return out


def mapped(passes: list[Pass], used: list[np.ndarray], config: Config, encoder: Encoder,
           extra: list[np.ndarray] | None = None) -> tuple[Answers, list[np.ndarray | None]]:
    """A map of the `used` sweeps of each pass, its views, and the descriptors rendered at `extra` poses."""
    with tempfile.TemporaryDirectory() as folder, open_map(Path(folder) / "map.db", encoder.sidecar, True) as store:
        clock, submaps, descriptors = time.process_time, 0, []
        spent = [0.0, 0.0]
        sizes = [0.0, 0.0]
        for k, one in enumerate(passes):
            mapper, begin = Mapper(config, encoder, store), clock()
            mapper.begin_session(str(k))
            for i in np.flatnonzero(used[k]):
                T = apart(k, one.poses[i])
                if mapper.wants(T):
                    mapper.add_scan(PointCloud(one.sweeps[i], int(i), "lidar"), StampedPose(int(i), T),
                                    one.T_base_lidar)
            spent[0] += clock() - begin
        sizes[0], submaps, begin = store.megabytes(), store.count(), clock()
        mapper.render_ripe(None, final=True)
        spent[1], sizes[1] = clock() - begin, store.megabytes() - sizes[0]
        for T in extra or []:
            view = mapper.view_at(T, passes[round(float(T[1, 3]) / APART)].T_base_lidar)
            descriptors.append(None if view is None else view.descriptors)
        views = [view for _, _, view in store.views_after(0)]
    looks, centre = np.stack([v.descriptors for v in views]), centre_of(encoder)
    if centre:
        shift = shift_of_map(looks, views[0].headings, centre)
        looks, descriptors = moved(looks, shift), [None if d is None else moved(d, shift) for d in descriptors]
    return Answers(np.stack([v.T_map_base for v in views]), np.array([v.rendered for v in views]), looks,
                   views[0].headings, submaps, (spent[0], spent[1]), (sizes[0], sizes[1])), descriptors


def told(name: str, found: np.ndarray, true: np.ndarray, poses: np.ndarray) -> None:
    """Prints recall and the errors of what was found, with the chance of a random view of the map."""
    error = np.linalg.norm(found[:, :2, 3] - true[:, :2, 3], axis=1)
    turn = np.degrees([abs(wrap(yaw(a) - yaw(b))) for a, b in zip(found, true, strict=True)])
    hit = error < HIT
    chance = np.mean(np.linalg.norm(poses[None, :, :2, 3] - true[:, None, :2, 3], axis=2) < HIT)
    at = f"{np.median(error[hit]):.2f} m {np.median(turn[hit]):.1f} deg" if hit.any() else "nothing"
    print(f"  {name:38s} n {len(true):4d}  R@1 within 5 m {hit.mean():.3f}  2 m {(error < 2).mean():.3f}  "
          f"right drive {(error < APART / 2).mean():.3f}  median of hits {at}  chance {chance:.3f}", flush=True)


# synthetic streets ---------------------------------------------------------------------------------------------------


def street(seed: int, args: argparse.Namespace, encoder: Encoder) -> Pass:
    """A mapping pass with a sweep a metre, and pictures of another day in every condition; kept in `args.cache`."""
    import pickle

    from ms2cl_ros.training.city.camera import camera_spec, picture
    from ms2cl_ros.training.city.city import build_city
    from ms2cl_ros.training.city.lidar import lidar_spec, sweep
    from ms2cl_ros.training.city.light import daylight
    from ms2cl_ros.training.city.passes import DrivePass, drive_poses
    from ms2cl_ros.training.city.recipe import Day, Recipe
    name = f"street_{seed}_{args.length:g}_{args.submaps:g}_{encoder.sidecar.fingerprint[:12]}.pkl"
    kept = args.cache / name if args.cache else None
    if kept and kept.exists():
        return pickle.loads(kept.read_bytes())
    city = build_city(Recipe(seed=seed, length=args.length))
    lidar, camera = lidar_spec(64, 0.35), camera_spec(0.5)
    look = CameraView(camera.model, camera_view(camera.T_base_camera())[0], encoder.sidecar.camera)
    travelled, poses = drive_poses(city, DrivePass(), 1.0)
    rng = np.random.default_rng([seed, 1])
    sweeps = [sweep(city.scene(Day(0)), lidar, T, rng)[:, :3] for T in poses]
    light, asks = daylight(np.random.default_rng([seed, 7])), []
    for name, (on, aside, turn) in CONDITIONS.items():
        again = DrivePass(lateral_offset=aside, start=on * args.submaps, day=Day(1), light=1)
        for T in drive_poses(city, again, 5.0)[1] @ rotation_z(np.radians(turn)):
            rgb = picture(city.scene(Day(1)), camera, light, T, rng)
            asks.append((name, T, encoder.embed_image(*look(rgb))[0]))
    out = Pass(lidar.T_base_lidar(), poses, travelled, sweeps, asks)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(out))
    return out


def streets(args: argparse.Namespace) -> None:
    """Recall by condition, for the sweeps alone and for lattices of views of every spacing."""
    encoder = Encoder.load(EncoderConfig(model=args.model))
    passes = as_on_a_robot([street(seed, args, encoder) for seed in args.seeds], encoder)
    asks = [(c, apart(k, T), e) for k, p in enumerate(passes) for c, T, e in p.asks]
    hundreds = sum(float(p.travelled[-1]) for p in passes) / 100.0
    for spacing in (0.0, *args.spacings):
        config = Config(submaps=SubmapsConfig(headings=args.headings, distance=args.submaps),
                        views=ViewsConfig(spacing=spacing))
        answers, _ = mapped(passes, [np.ones(len(p.poses), bool) for p in passes], config, encoder)
        lattice = f"lattice of {spacing:g} m" if spacing else "sweeps alone"
        rendered = int(answers.rendered.sum())
        print(f"{lattice}: {answers.submaps} submaps every {args.submaps:g} m, {rendered} rendered views, "
              f"{args.headings} headings; CPU and room per 100 m: submaps {answers.seconds[0] / hundreds:.1f} s "
              f"{answers.megabytes[0] / hundreds:.2f} MB, views {answers.seconds[1] / hundreds:.1f} s "
              f"{answers.megabytes[1] / hundreds:.2f} MB; a view {answers.seconds[1] / max(1, rendered) * 1e3:.0f} ms")
        for name in CONDITIONS:
            mine = [a for a in asks if a[0] == name]
            true, queries = np.stack([a[1] for a in mine]), np.stack([a[2] for a in mine])
            told(name, answers.score(queries, np.ones(len(answers.poses), bool)), true, answers.poses)


# recorded drives -----------------------------------------------------------------------------------------------------


def recorded(folder: Path, encoder: Encoder) -> Pass:
    """A drive in the compact layout; the base is its LiDAR. Poses of LiDAR odometry where there are some."""
    import cv2
    import yaml

    from ms2cl_ros.tools.compact import read_scan
    about = yaml.safe_load((folder / "drive.yaml").read_text())
    T_base_camera = inverse(np.array(about["T_cam_lidar"], float))
    odometry = folder / "poses_lidar.csv"
    with open(odometry if odometry.exists() else folder / "frames.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    poses = np.stack([transform([float(r[k]) for k in ("x", "y", "z")], [float(r[k]) for k in ("qx", "qy", "qz", "qw")])
                      if r["x"] else np.eye(4) for r in rows])
    asks = []
    for row, T in zip(rows, poses, strict=True):
        picture = cv2.imread(str(folder / f"image/{row['index']}.webp"))
        camera = CameraModel(picture.shape[1], picture.shape[0], np.array(about["camera"]["K"], float))
        look = CameraView(camera, camera_view(T_base_camera)[0], encoder.sidecar.camera)
        asks.append((folder.name, T, encoder.embed_image(*look(picture[..., ::-1]))[0]))
    travelled = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1))]
    return Pass(np.eye(4), poses, travelled, [read_scan(folder / f"scan/{r['index']}.xz") for r in rows], asks)


def drives(args: argparse.Namespace) -> None:
    """Recall with every scan within `args.gap` metres of the image left out."""
    from ms2cl_ros.tools.compact import drive_folders
    encoder = Encoder.load(EncoderConfig(model=args.model))
    passes = as_on_a_robot([recorded(folder, encoder) for folder in drive_folders(args.data)], encoder)
    config = Config(submaps=SubmapsConfig(headings=args.headings, distance=args.submaps),
                    views=ViewsConfig(spacing=args.spacing, lateral_reach=args.lateral))
    found: dict[str, list[np.ndarray]] = {"sweeps alone": [], "views alone": [], "sweeps and views": [], "own pose": []}
    true: list[np.ndarray] = []
    for fold in range(0, 12, 12 // args.folds):
        asking = [(np.floor(p.travelled % STRETCH / STRETCH * 12) == fold) & (len(p.poses) > 1) for p in passes]
        used = [np.ones(1, bool) if not a.any() else np.linalg.norm(
            p.poses[:, None, :3, 3] - p.poses[a][None, :, :3, 3], axis=2).min(1) >= args.gap
            for p, a in zip(passes, asking, strict=True)]
        T = np.stack([apart(k, p.poses[i]) for k, p in enumerate(passes) for i in np.flatnonzero(asking[k])])
        queries = np.stack([p.asks[i][2] for k, p in enumerate(passes) for i in np.flatnonzero(asking[k])])
        answers, own = mapped(passes, used, config, encoder, list(T))
        true.append(T)
        every = np.ones(len(answers.poses), bool)
        for name, allowed in (("sweeps alone", ~answers.rendered), ("views alone", answers.rendered),
                              ("sweeps and views", every)):
            found[name].append(answers.score(queries, allowed))
        known = [(A, d) for A, d in zip(T, own, strict=True) if d is not None]
        exact = dataclasses.replace(
            answers, poses=np.concatenate([answers.poses[answers.rendered], [A for A, _ in known]]),
            descriptors=np.concatenate([answers.descriptors[answers.rendered], [d for _, d in known]]))
        found["own pose"].append(exact.score(queries, np.ones(len(exact.poses), bool)))
    print(f"scans within {args.gap:g} m left out, submaps every {args.submaps:g} m, views every {args.spacing:g} m, "
          f"{args.headings} headings; of the last fold {answers.submaps} submaps, {answers.rendered.sum()} views")
    whole = np.concatenate(true)
    for name, parts in found.items():
        told(name, np.concatenate(parts), whole, answers.poses)
        for k in np.unique(np.round(whole[:, 1, 3] / APART)):
            there = np.round(whole[:, 1, 3] / APART) == k
            told(f"  {passes[int(k)].asks[0][0]}", np.concatenate(parts)[there], whole[there], answers.poses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ms2cl_city")
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("streets")
    one.add_argument("--seeds", type=int, nargs="+", default=[9001, 9002])
    one.add_argument("--length", type=float, default=320.0, help="metres round each block")
    one.add_argument("--cache", type=Path, help="keeps what is ray-cast")
    one.add_argument("--spacings", type=float, nargs="+", default=[4.0, 2.0, 1.0, 0.5], help="views.spacing")
    one.set_defaults(run=streets)
    two = kinds.add_parser("drives")
    two.add_argument("data", type=Path)
    two.add_argument("--gap", type=float, default=4.0)
    two.add_argument("--lateral", type=float, default=3.5, help="views.lateral_reach")
    two.add_argument("--spacing", type=float, default=2.0, help="views.spacing")
    two.add_argument("--folds", type=int, default=12, choices=(1, 2, 3, 4, 6, 12))
    two.set_defaults(run=drives)
    for kind in (one, two):
        kind.add_argument("--headings", type=int, default=1)
        kind.add_argument("--submaps", type=float, default=2.0 if kind is two else 5.0, help="submaps.distance")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
