# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The encoder contract: `model.yaml` beside two ONNX models.

    format: 1
    name: ms2cl_city
    camera:  {file, sha256, projection, grid, size, channels, mean, std}
    lidar:   {file, sha256, grid, size, channels, mean, std, near, far}
    embedding: {size, columns, metric, logit_scale}
    range_map: {rows, columns, bins, near, far}          # or null: the camera model has one output
    training: {data, licence}
    calibration: {...}                                    # optional: what scores are worth (`core.calibration`)

`camera.onnx`: input `image` (N, C, H, W), outputs `embedding` (N, D) and, with a range map, `range_logits`
(N, bins + 1, rows, columns; the last bin is "nothing came back"). `lidar.onnx`: input `range_image`
(N, C, H, W), output `embedding` (N, D) or, where `lidar.around`, `strip` (N, numbers, columns). All float32; H, W are
`size`.
"""

from __future__ import annotations

import hashlib
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ms2cl_ros.core.errors import ModelError
from ms2cl_ros.core.types import AngularGrid

FORMAT = 1
SIDECAR = "model.yaml"
PROJECTIONS = ("angular_grid", "whole_image")
CAMERA_CHANNELS = ("red", "green", "blue", "valid")
LIDAR_CHANNELS = ("log_range", "range", "valid")


@dataclass(frozen=True)
class CameraInput:
    """What the camera model eats.

    `projection`: `angular_grid` resamples the picture onto `grid`; `whole_image` resizes all of it to `size`.
    Colour channels are (value / 255 - mean) / std, 0 where the camera does not see; `valid` is 1 where it does.
    """

    file: str
    sha256: str
    projection: str
    grid: AngularGrid | None
    size: tuple[int, int]
    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class LidarInput:
    """What the LiDAR model eats: one heading's window of `grid`, resized to `size` if that differs.

    `log_range`: (ln clip(r, near, far) - mean) / std; `range`: (r / far - mean) / std; both 0 where nothing
    returned and where r > far. `valid`: 1 where something did. `mean`, `std`: one number a channel.
    `around`: the model eats the whole turn of that grid instead and gives a strip, some numbers for each of its
    azimuth columns; a heading's embedding is a window of `embedding.columns` of them, of unit length.
    """

    file: str
    sha256: str
    grid: AngularGrid
    size: tuple[int, int]
    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    near: float
    far: float
    around: bool = False


@dataclass(frozen=True)
class Embedding:
    """`size` numbers, unit length, compared by `metric`. `columns` > 1: azimuth columns in order, left to right.

    `logit_scale`: the factor on cosine similarity under which softmax was trained (1 / temperature).
    """

    size: int
    columns: int
    metric: str
    logit_scale: float


@dataclass(frozen=True)
class RangeMap:
    """The camera model's second output: per cell a distribution over `bins` log-spaced ranges and "nothing"."""

    rows: int
    columns: int
    bins: int
    near: float
    far: float


@dataclass(frozen=True)
class Sidecar:
    """The contract of one exported model."""

    name: str
    camera: CameraInput
    lidar: LidarInput
    embedding: Embedding
    training: dict[str, Any]
    range_map: RangeMap | None = None
    evaluation: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def fingerprint(self) -> str:
        """Hex digest of both models and of all that changes an embedding; kept in every map."""
        tree = asdict(self)
        parts = [tree["camera"], tree["lidar"], tree["embedding"]]
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _build(cls: type, tree: Any, where: str) -> Any:
    """A dataclass from a mapping with its keys, and no others; lists become tuples, grids become AngularGrid."""
    if not isinstance(tree, dict):
        raise ModelError(f"{where}: expected a mapping, got {tree!r}")
    names = {f.name for f in fields(cls)}
    wanted = {f.name for f in fields(cls) if f.default is MISSING}
    if not wanted <= set(tree) <= names:
        raise ModelError(f"{where}: missing {sorted(wanted - set(tree))}, unknown {sorted(set(tree) - names)}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in tree.items()}
    if isinstance(values.get("grid"), dict):
        values["grid"] = _build(AngularGrid, values["grid"], where + ".grid")
    return cls(**values)


def load(folder: Path) -> Sidecar:
    """Reads and checks `folder/model.yaml` and the digests of the files it names; raises ModelError with the reason."""
    import yaml
    path = folder / SIDECAR
    try:
        tree = yaml.safe_load(path.read_text())
    except OSError as e:
        raise ModelError(f"no model at {folder}: cannot read {path} ({e.strerror})") from e
    except yaml.YAMLError as e:
        raise ModelError(f"{path} is not YAML: {e}") from e
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        found = tree.get("format") if isinstance(tree, dict) else None
        raise ModelError(f"{path} has format {found!r}; this version reads format {FORMAT}: export the model again")
    missing = {"name", "camera", "lidar", "embedding", "training"} - set(tree)
    if missing:
        raise ModelError(f"{path} lacks {', '.join(sorted(missing))}")
    ranges = tree.get("range_map")
    model = Sidecar(
        name=str(tree["name"]), folder=folder, training=dict(tree["training"]),
        camera=_build(CameraInput, tree["camera"], f"{path}: camera"),
        lidar=_build(LidarInput, tree["lidar"], f"{path}: lidar"),
        embedding=_build(Embedding, tree["embedding"], f"{path}: embedding"),
        range_map=_build(RangeMap, ranges, f"{path}: range_map") if ranges else None,
        evaluation=dict(tree.get("evaluation") or {}), calibration=dict(tree.get("calibration") or {}))
    _check(model)
    return model


def _check(model: Sidecar) -> None:
    for part in (model.camera, model.lidar):
        path = model.folder / part.file
        if not path.is_file():
            raise ModelError(f"{model.folder / SIDECAR} names {part.file}, which is not there")
        if sha256(path) != part.sha256:
            raise ModelError(f"{path} is not the file its sidecar describes (SHA-256 differs): export it again")
        if not len(part.channels) == len(part.mean) == len(part.std):
            raise ModelError(f"{model.folder / SIDECAR}: {part.file} wants one mean and one std per channel")
    if model.camera.projection not in PROJECTIONS:
        raise ModelError(f"camera.projection is {model.camera.projection!r}; known: {', '.join(PROJECTIONS)}")
    if (model.camera.grid is None) != (model.camera.projection == "whole_image"):
        raise ModelError("camera.grid goes with projection angular_grid, and only with it")
    for name, known in ((model.camera.channels, CAMERA_CHANNELS), (model.lidar.channels, LIDAR_CHANNELS)):
        if not set(name) <= set(known):
            raise ModelError(f"unknown channels {sorted(set(name) - set(known))}; known: {', '.join(known)}")
    if model.embedding.metric != "cosine":
        raise ModelError(f"embedding.metric is {model.embedding.metric!r}; known: cosine")


def save(model: Sidecar, folder: Path) -> None:
    """Writes `model.yaml`; digests are taken from the files as they lie in `folder`."""
    import yaml
    tree: dict[str, Any] = {"format": FORMAT, **asdict(model)}
    tree.pop("folder")
    for part in ("camera", "lidar"):
        tree[part]["sha256"] = sha256(folder / tree[part]["file"])
    (folder / SIDECAR).write_text(yaml.safe_dump(_plain(tree), sort_keys=False, width=110))


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value
