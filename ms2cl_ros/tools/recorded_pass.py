# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A pass with poses, picture by picture and scan by scan, embedded for evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ms2cl_ros.core.config import SensorsConfig
from ms2cl_ros.core.errors import DataError, TransformError
from ms2cl_ros.core.geometry import apply, camera_view, inverse, lidar_view
from ms2cl_ros.core.projection import CameraView, coarse, render_ranges
from ms2cl_ros.core.sidecar import CameraInput
from ms2cl_ros.core.types import AngularGrid, CameraModel, RangeImage
from ms2cl_ros.tools.embedding import Embedder
from ms2cl_ros.tools.evaluate_drive import Asked, Mapped
from ms2cl_ros.tools.kitti import T_BASE_LIDAR, Drive
from ms2cl_ros.tools.routes import Route, base_route, camera_route

LIMITS = SensorsConfig()


class Look(Protocol):
    """What was seen at one moment; training's sources of pairs give the same."""

    @property
    def index(self) -> int:
        """The recording's own number of it."""
    @property
    def stamp_ns(self) -> int:
        """When."""
    @property
    def rgb(self) -> np.ndarray | None:
        """(H, W, 3) uint8, red first; None without a picture."""
    @property
    def camera(self) -> CameraModel | None:
        """Its intrinsics."""
    @property
    def T_base_camera(self) -> np.ndarray:
        """Optical frame in the base, 4 x 4."""
    @property
    def points(self) -> np.ndarray | None:
        """(N, 3) float32 metres, LiDAR frame; None without a scan."""
    @property
    def T_base_lidar(self) -> np.ndarray:
        """4 x 4."""
    @property
    def T_map_base(self) -> np.ndarray | None:
        """4 x 4, or None where unknown."""


@dataclass(frozen=True)
class KittiLook:
    """A `Look` at KITTI's layout."""

    index: int
    stamp_ns: int
    rgb: np.ndarray | None
    camera: CameraModel | None
    T_base_camera: np.ndarray
    points: np.ndarray | None
    T_base_lidar: np.ndarray
    T_map_base: np.ndarray | None


def kitti_looks(drive: Drive, pictures: bool, scans: bool, only: set[int] | None = None) -> Iterator[KittiLook]:
    """The frames of a KITTI drive that have all that is asked for; `only`: of these indices."""
    poses = drive.pose_buffer()
    for frame in drive.frames():
        if (only is not None and frame.index not in only) or (pictures and not frame.image) or (
                scans and not frame.scan):
            continue
        stamp = (frame.image if pictures and frame.image else frame.scan or frame.image).stamp_ns  # type: ignore[union-attr]
        try:
            T_map_base = poses.at(stamp).T_map_base
        except TransformError:
            T_map_base = None
        rgb = frame.image.rgb() if pictures and frame.image else None
        camera = None if rgb is None else drive.calibration.camera_model(rgb.shape[1], rgb.shape[0])
        points = frame.scan.points()[:, :3] if scans and frame.scan else None
        yield KittiLook(frame.index, stamp, rgb, camera, drive.calibration.T_base_camera, points, T_BASE_LIDAR,
                        T_map_base)


class Cells:
    """Pictures on the model's cells; what depends on the camera alone is done once."""

    def __init__(self, spec: CameraInput) -> None:
        self._spec = spec
        self._views: dict[tuple, CameraView] = {}

    def __call__(self, look: Look) -> tuple[np.ndarray, np.ndarray, float]:
        """`(rgb, valid, heading)` of a look with a picture; `heading` in radians, where the camera looks."""
        assert look.camera is not None and look.rgb is not None
        T_view_camera, heading = camera_view(look.T_base_camera)
        key = (look.camera.key(), look.T_base_camera.tobytes())
        if key not in self._views:
            self._views[key] = CameraView(look.camera, T_view_camera, self._spec)
        return (*self._views[key](look.rgb), heading)


def panorama(look: Look, grid: AngularGrid) -> RangeImage:
    """The scan of a look as a whole turn, around the LiDAR with the base's axes."""
    assert look.points is not None
    points = apply(lidar_view(look.T_base_lidar), look.points)
    return render_ranges(points, grid.panorama(), LIMITS.min_range, LIMITS.max_range)


@dataclass
class Embedded:
    """A pass, embedded: `asked` its pictures, `mapped` its scans, None where there are none. `dropped`: what was left
    out, counted by reason."""

    asked: Asked | None
    mapped: Mapped | None
    dropped: Counter[str] = field(default_factory=Counter)


def embed_pass(encoder: Embedder, looks: Iterable[Look], headings: np.ndarray, beside_camera: bool,
               T_base_route: np.ndarray | None = None, ranges: bool = False,
               progress: Callable[[int], None] | None = None) -> Embedded:
    """`headings`: (n,) radians at which scans are looked at, in the base's frame or, `beside_camera`, from the
    camera's.

    `T_base_route`: a camera whose poses the route is told in; the base's if None. `ranges`: keeps what is needed to
    compare them, 130 kB a picture. Raises DataError if no look has a pose.
    """
    cells, grid, dropped = Cells(encoder.sidecar.camera), encoder.sidecar.lidar.grid, Counter[str]()
    kept: dict[str, list[np.ndarray]] = {key: [] for key in ("images", "scans", "logits", "coarse")}
    poses, about, spec = [], [], encoder.sidecar.range_map if ranges else None
    for done, look in enumerate(looks, 1):
        if progress:
            progress(done)
        if look.T_map_base is None:
            dropped["no pose at its stamp"] += 1
            continue
        heading = camera_view(look.T_base_camera)[1]
        if look.rgb is not None:
            rgb, valid, heading = cells(look)
            image, logits = encoder.embed_image(rgb, valid)
            kept["images"].append(image)
            if spec is not None and logits is not None:
                kept["logits"].append(logits.astype(np.float16))
        if look.points is not None:
            around = headings + heading if beside_camera else headings
            turn = panorama(look, grid)
            kept["scans"].append(encoder.embed_turns([turn], around)[0])
            if spec is not None:
                kept["coarse"].append(coarse(turn, spec, grid.columns))
        poses.append(look.T_map_base)
        about.append((look.index, look.stamp_ns, heading))
    if not poses:
        raise DataError("nothing to evaluate: no picture or scan has a pose" + "".join(
            f"; {n} left out: {why}" for why, n in dropped.items()))
    route, mount = _route(np.stack(poses), about, T_base_route), np.array([a[2] for a in about])
    looked_at = headings + mount[0] if beside_camera else headings
    arrays = {key: np.stack(values) if len(values) == len(poses) else None for key, values in kept.items()}
    asked, mapped = arrays["images"], arrays["scans"]
    return Embedded(None if asked is None else Asked(asked, route, mount, arrays["logits"]),
                    None if mapped is None else Mapped(mapped, route, looked_at, arrays["coarse"]), dropped)


def _route(poses: np.ndarray, about: list[tuple[int, int, float]], T_base_route: np.ndarray | None) -> Route:
    index, stamps = np.array([a[0] for a in about]), np.array([a[1] for a in about], np.int64)
    seconds = (stamps - stamps.min()) / 1e9
    if T_base_route is None:
        return base_route(poses, seconds, index)
    return camera_route(inverse(T_base_route) @ poses @ T_base_route, seconds, index)


def camera_of_poses(drive: Drive) -> np.ndarray:
    """The camera in the base's frame whose poses KITTI's pose files give, 4 x 4."""
    return T_BASE_LIDAR @ drive.calibration.T_lidar_camera0
