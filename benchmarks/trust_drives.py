# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drives that ask and the maps that they ask: what is costly, kept in a folder. Used by `trust.py`."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core import centring
from ms2cl_ros.core.config import Config, TrustConfig, flatten, from_mapping
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.geometry import camera_view, inverse
from ms2cl_ros.core.index import Entry, Index
from ms2cl_ros.core.mapper import Mapper
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.matcher import seen_cells
from ms2cl_ros.core.messages import to_camera_image, to_camera_model
from ms2cl_ros.core.projection import CameraView
from ms2cl_ros.core.retrieval import Searchable, base_pose, candidates
from ms2cl_ros.core.trust import find_calibration
from ms2cl_ros.core.types import Candidate, PointCloud, StampedPose
from ms2cl_ros.core.verification import Verifier
from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, open_bag
from ms2cl_ros.tools.compact import CompactDrive
from ms2cl_ros.tools.embedding import centred, similarities
from ms2cl_ros.tools.offline import Motion, map_bag
from ms2cl_ros.tools.rebuilding import building


@dataclass(frozen=True)
class Pictures:
    """N images of a drive, embedded, and last a black one, which belongs to no stamp.

    `stamps_ns` (N,) int64; `poses` (N, 4, 4) true `T_map_base`; `queries` (N + 1, D); `logits` (N + 1, bins + 1, rows,
    columns) float16 or None; `heading`: radians, where the camera looks in the base; `seen`: as `matcher.seen_cells`.
    """

    stamps_ns: np.ndarray
    poses: np.ndarray
    queries: np.ndarray
    logits: np.ndarray | None
    heading: float
    T_base_camera: np.ndarray
    seen: np.ndarray | None


@dataclass(frozen=True)
class Place:
    """A drive and its map. `kind`: "synthetic" or "real"; `map`: the file; `submaps`: (M, 4, 4) in order of time."""

    name: str
    kind: str
    pictures: Pictures
    map: Path
    submaps: np.ndarray


@dataclass(frozen=True)
class Asked:
    """Candidates of each image (the black one last), best first: by descriptor alone, and compared with ranges."""

    alone: tuple[tuple[Candidate, ...], ...]
    verified: tuple[tuple[Candidate, ...], ...] | None


class Together:
    """Several indexes as one map: of each the submaps that are `kept` (all: None), moved by a transform."""

    def __init__(self, parts: Sequence[tuple[Searchable, np.ndarray, frozenset[int] | None]]) -> None:
        self._parts = parts

    def search(self, query: np.ndarray, k: int) -> list[tuple[float, Entry]]:
        """As `Index.search`."""
        found = []
        for index, T, kept in self._parts:
            for score, entry in index.search(query, k if kept is None else 4 * k):
                if kept is None or entry.submap_id in kept:
                    view = dataclasses.replace(entry.view, T_map_base=T @ entry.view.T_map_base)
                    found.append((score, dataclasses.replace(entry, view=view)))
        return sorted(found, key=lambda f: -f[0])[:k]


class Cache:
    """What has been computed is read again; a file is there whole or not at all."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder, self._model = folder, model
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str, *key: Any, suffix: str = ".pkl") -> Path:
        """Where it is kept for this model and whatever else it depends on."""
        digest = hashlib.sha256(repr((self._model, *key)).encode()).hexdigest()[:12]
        return self.folder / f"{name.replace('/', '_').replace(':', '_')}_{digest}{suffix}"

    def get(self, make: Callable[[], Any], name: str, *key: Any) -> Any:
        """Read, or made and kept."""
        path = self.path(name, *key)
        if path.exists():
            return pickle.loads(path.read_bytes())
        out = make()
        part = path.with_suffix(".part")
        part.write_bytes(pickle.dumps(out))
        part.rename(path)
        return out


# demo folders --------------------------------------------------------------------------------------------------------


def bags_of(folder: Path) -> tuple[Path, Path]:
    """The bags that map and that ask; raises DataError if they are not there."""
    for names in (("map_bag", "query_bag"), ("m", "q")):
        if all((folder / n).is_dir() for n in names):
            return folder / names[0], folder / names[1]
    raise DataError(f"{folder} has no map_bag and query_bag: name a folder that `ms2cl demo --out` has written")


def config_of(folder: Path, config: Config) -> Config:
    """The settings with the frames and extrinsics that the demo's own parameter file names."""
    import yaml
    path = folder / "parameters.yaml"
    if not path.exists():
        return config
    values = flatten(yaml.safe_load(path.read_text())["/**"]["ros__parameters"])
    return from_mapping({k: v for k, v in values.items() if k.startswith("frames.")}, config)


def pictures_of_bag(folder: Path, config: Config, encoder: Encoder) -> Pictures:
    """Every image of the bag that asks."""
    config = config_of(folder, config)
    rows: list[tuple[int, np.ndarray, np.ndarray, np.ndarray | None]] = []
    with open_bag(bags_of(folder)[1]) as bag:
        motion = Motion(bag, config)
        info = next(iter(bag.messages([bag.pick(CAMERA_INFOS, None)])))[2]
        camera, look = to_camera_model(info, config.sensors.image_rectified), None
        for _, _, message in bag.messages([bag.pick(IMAGES, None)]):
            image = to_camera_image(message)
            if look is None:
                T_base_camera = sensor_in_base(config.frames, "camera", motion.transforms,
                                               image.frame_id or camera.frame_id, image.stamp_ns)
                T_view_camera, heading = camera_view(T_base_camera)
                look = CameraView(camera, T_view_camera, encoder.sidecar.camera)
            rgb, valid = look(image.rgb)
            rows.append((image.stamp_ns, motion.base(image.stamp_ns).T_map_base, *encoder.embed_image(rgb, valid)))
    if look is None:
        raise DataError(f"the bag {bags_of(folder)[1]} has no images")
    return _pictures(rows, encoder, rgb, valid, heading, T_base_camera)


def _pictures(rows: list[Any], encoder: Encoder, rgb: np.ndarray, valid: np.ndarray, heading: float,
              T_base_camera: np.ndarray) -> Pictures:
    stamps, poses, queries, logits = zip(*rows, strict=True)
    black = encoder.embed_image(np.zeros_like(rgb), valid)
    kept = None if black[1] is None else np.stack([*logits, black[1]]).astype(np.float16)
    return Pictures(np.array(stamps, np.int64), np.stack(poses), np.stack([*queries, black[0]]), kept, heading,
                    T_base_camera, seen_cells(valid, encoder.sidecar))


def map_of_bag(folder: Path, output: Path, config: Config, encoder: Encoder) -> Path:
    """The demo's own map if this model made it, else a new one at `output`."""
    own = folder / "map.db"
    if own.exists():
        with open_map(own, None, write=False) as store:
            if store.made_with().fingerprint == encoder.sidecar.fingerprint:
                return own
    if not output.exists():
        with building(output) as part:
            map_bag(bags_of(folder)[0], part, config_of(folder, config))
            _settle(part, output, encoder)
    return output


# compact drives: frames 0, 2, 4, ... map, the others ask -----------------------------------------------------------


def pictures_of_drive(folder: Path, encoder: Encoder) -> Pictures:
    """Every other image."""
    drive = CompactDrive(folder, encoder.sidecar.camera, encoder.sidecar.lidar.grid)
    rows = []
    for i in range(1, len(drive), 2):
        rgb, valid = drive.picture(i)
        rows.append((round(drive.seconds[i] * 1e9), drive.poses[i], *encoder.embed_image(rgb, valid)))
    return _pictures(rows, encoder, rgb, valid, drive.heading, _camera_of(folder))


def map_of_drive(folder: Path, output: Path, config: Config, encoder: Encoder) -> Path:
    """A map of the other scans at `output`; the base is the LiDAR."""
    if not output.exists():
        drive = CompactDrive(folder, encoder.sidecar.camera, encoder.sidecar.lidar.grid)
        with building(output) as part:
            with open_map(part, encoder.sidecar, write=True) as store:
                mapper = Mapper(config, encoder, store)
                for i in range(0, len(drive), 2):
                    stamp, T = round(drive.seconds[i] * 1e9), drive.poses[i]
                    mapper.add_scan(PointCloud(drive.frame(i).points, stamp, "lidar"), StampedPose(stamp, T), np.eye(4))
                mapper.render_ripe(None, final=True)
            _settle(part, output, encoder)
    return output


def _camera_of(folder: Path) -> np.ndarray:
    import yaml
    return inverse(np.array(yaml.safe_load((folder / "drive.yaml").read_text())["T_cam_lidar"], float))


def _settle(part: Path, output: Path, encoder: Encoder) -> None:
    with open_map(part, encoder.sidecar, write=False) as store:
        store.save(output)


# asking --------------------------------------------------------------------------------------------------------------


def submaps_of(path: Path) -> np.ndarray:
    """(M, 4, 4), oldest first."""
    with open_map(path, None, write=False) as store:
        return np.stack([T for _, _, T in store.poses()])


def ask(pictures: Pictures, index: Searchable, config: Config, encoder: Encoder) -> Asked:
    """Every image's candidates in order, as a matcher finds them; the black one last."""
    model = encoder.sidecar
    known = find_calibration(config.trust, model)
    ranges = known.ranges if known else None
    verifier = Verifier(model.range_map, ranges) if model.range_map and ranges else None
    moved = centring.Pictures(known.centre.camera) if known and known.centre else None
    alone, verified = [], []
    for i, query in enumerate(pictures.queries):
        query = moved(query) if moved else query
        given = index.search(query, 4 * config.retrieval.candidates)  # as `candidates` asks
        once = _Given(given)
        alone.append(candidates(once, query, pictures.heading, pictures.T_base_camera, config.retrieval.candidates))
        if verifier is not None and pictures.logits is not None:
            logits = pictures.logits[i].astype(np.float32)
            if i < len(pictures.stamps_ns):
                verifier.learn(logits, query)
            verified.append(candidates(
                once, query, pictures.heading, pictures.T_base_camera, config.retrieval.candidates,
                lambda coarse, headings, logits=logits: verifier.score(logits, coarse, headings, seen=pictures.seen)))
    return Asked(tuple(alone), tuple(verified) if verified else None)


@dataclass(frozen=True)
class _Given:
    """What has been found already."""

    found: list[tuple[float, Entry]]

    def search(self, query: np.ndarray, k: int) -> list[tuple[float, Entry]]:
        """The best `k` of it."""
        return self.found[:k]


def along_route(place: Place, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """(N, M) similarity of each image to each submap's own scan at its best heading, and (N, M, 4, 4) `T_map_base` of
    the base that would have taken the image there."""
    with open_map(place.map, encoder.sidecar, write=False) as store:
        own = [(submap, lidar, view) for submap, lidar, view in store.views_after(0) if not view.rendered]
    descriptors = np.stack([view.descriptors for _, _, view in own])
    known, asked = find_calibration(TrustConfig(), encoder.sidecar), place.pictures.queries[:-1]
    asked, descriptors = centred(asked, np.zeros(len(asked), int), descriptors, own[0][2].headings,
                                 known.centre if known else None)
    parts = list(similarities(asked, descriptors))
    best = np.concatenate([headings for _, _, headings in parts])
    around = np.array([[base_pose(Entry(submap, view, float(h), lidar), place.pictures.heading,
                                  place.pictures.T_base_camera) for h in view.headings] for submap, lidar, view in own])
    return np.concatenate([scores for _, scores, _ in parts]), around[np.arange(len(own))[None], best]


def open_index(path: Path, config: Config, encoder: Encoder) -> tuple[Any, Index]:
    """An open map (to be closed) and its index, read."""
    store = open_map(path, encoder.sidecar, write=False)
    known = find_calibration(config.trust, encoder.sidecar)
    index = Index(store, encoder.sidecar.embedding.size, config.index,
                  known.centre.lidar if known and known.centre else None)
    index.refresh()
    index.wait()
    return store, index
