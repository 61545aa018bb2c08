# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The angular grid: a scan becomes a range image, a picture the same cells, and both the tensors of the encoder.

Training, map and query all come through here, so that no gap between them can open elsewhere.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from ms2cl_ros.core.cameras import check, project
from ms2cl_ros.core.errors import ModelError, SensorError
from ms2cl_ros.core.sidecar import CameraInput, LidarInput, RangeMap
from ms2cl_ros.core.types import AngularGrid, CameraModel, RangeImage

# cv2.phase errs by 0.0096 degrees at most; nearer than this to a border the angle is computed again, exactly.
PHASE_ERROR_DEG = 0.011
BINS = 72_000
UNSURE = -1
# In cells: decimal steps such as 0.4 leave a point on a border this little before it.
ON_BORDER = 1e-9
# A bilinear sample stands for about this many pixels across.
PIXELS_PER_SAMPLE = 1.5
# Cells wider than this many pixels are sampled from a picture shrunk beforehand.
PIXELS_PER_CELL = 6.0
MAX_SAMPLES = 8
COLOURS = ("red", "green", "blue")
# Kernels of `close_gaps`, in cells; wider gaps stay.
CLOSING_SIZES = (3, 5, 7, 9, 13, 17)


def render_ranges(points_view: np.ndarray, grid: AngularGrid, min_range: float, max_range: float) -> RangeImage:
    """The nearest return in each cell of `grid`.

    `points_view`: (N, 3), metres, view frame (x forward, y left, z up, origin where the ranges are measured from).
    Points outside the grid, nearer than `min_range`, farther than `max_range` or not finite are dropped, never moved.
    A point on the border of two cells belongs to the right one, or the lower one.
    """
    nothing = RangeImage(np.zeros((grid.rows, grid.columns), np.float32), grid)
    if len(points_view) == 0:
        return nothing
    # One column more than asked for takes what falls beside the grid: cheaper than picking it out.
    width = grid.columns + 1
    x, y, z = np.ascontiguousarray(np.asarray(points_view, np.float32).T)
    # not cv2.magnitude: its last bit depends on where the array lies in memory, and so would cells at a border
    squared = x * x + y * y
    level = np.sqrt(squared)
    ranges = np.sqrt(squared + z * z)
    row = _cells(z, level, grid.elevation_top_deg, grid.elevation_step_deg, grid.rows)
    kept = (ranges >= min_range) & (ranges <= max_range) & (row < grid.rows)
    if not kept.any():
        return nothing
    column = _cells(y[kept], x[kept], grid.azimuth_left_deg, grid.azimuth_step_deg, grid.columns)
    nearest = np.full(grid.rows * width, np.inf, np.float32)
    _keep_nearest(nearest, row[kept].astype(np.intp) * width + column, ranges[kept])
    nearest[np.isinf(nearest)] = 0.0
    return RangeImage(nearest.reshape(grid.rows, width)[:, :-1].copy(), grid)


def _keep_nearest(nearest: np.ndarray, cell: np.ndarray, ranges: np.ndarray) -> None:
    """Lowers `nearest[cell]` to the least of its ranges: np.minimum.at, which takes 9 ms before numpy 1.25."""
    while cell.size:
        # Of several in one cell any may be written; those that are nearer than what was written come again.
        nearest[cell] = ranges
        again = np.flatnonzero(ranges < nearest.take(cell))
        cell, ranges = cell[again], ranges[again]


def _cells(rise: np.ndarray, run: np.ndarray, first_deg: float, step_deg: float, count: int) -> np.ndarray:
    """(N,) int32: how many whole steps the angle atan2(rise, run) lies below `first_deg`; `count` if outside."""
    angle = cv2.phase(run, rise, angleInDegrees=True).ravel()
    angle *= np.float32(BINS / 360.0)
    with np.errstate(invalid="ignore"):
        cells = _table(first_deg, step_deg, count).take(angle.astype(np.int32), mode="clip")
    unsure = np.flatnonzero(cells == UNSURE)
    exact = np.degrees(np.arctan2(rise[unsure].astype(np.float64), run[unsure].astype(np.float64)))
    cells[unsure] = _steps_below(exact, first_deg, step_deg, count)
    return cells


def _steps_below(angle_deg: np.ndarray, first_deg: float, step_deg: float, count: int) -> np.ndarray:
    """The same of angles in float64, going round the turn."""
    below = first_deg - angle_deg
    below -= 360.0 * np.floor(below * (1.0 / 360.0))
    # An angle a rounding error above the first belongs to it, not to the end of the turn.
    below[below >= 360.0 - ON_BORDER * step_deg] = 0.0
    return np.fmin(below / step_deg + ON_BORDER, count).astype(np.int32)


@lru_cache(maxsize=32)
def _table(first_deg: float, step_deg: float, count: int) -> np.ndarray:
    """(BINS,) int32: the cell of each small part of the turn, or UNSURE where a border may lie within it."""
    angle, part = np.arange(BINS) * (360.0 / BINS), 360.0 / BINS
    low = _steps_below(angle - PHASE_ERROR_DEG, first_deg, step_deg, count)
    high = _steps_below(angle + part + PHASE_ERROR_DEG, first_deg, step_deg, count)
    sure = (low == high) & (step_deg > part + 2 * PHASE_ERROR_DEG)
    return np.where(sure, low, UNSURE).astype(np.int32)


def locate(points_view: np.ndarray, grid: AngularGrid) -> tuple[np.ndarray, np.ndarray]:
    """Where points of the view frame lie on a whole turn: `(range, cell)`.

    `range`: (N,) float32 metres; `cell`: (N,) index into the flattened image, -1 above or below the grid.
    """
    x, y, z = np.ascontiguousarray(np.asarray(points_view, np.float32).T)
    squared = x * x + y * y
    row = _cells(z, np.sqrt(squared), grid.elevation_top_deg, grid.elevation_step_deg, grid.rows)
    column = _cells(y, x, grid.azimuth_left_deg, grid.azimuth_step_deg, grid.columns)
    inside = (row < grid.rows) & (column < grid.columns)
    return np.sqrt(squared + z * z), np.where(inside, row.astype(np.intp) * grid.columns + column, -1)


def nearest_around(panorama: RangeImage) -> np.ndarray:
    """(rows, columns) float32: the nearest return in each cell and the eight about it; 0 where the cell has none."""
    r = np.where(panorama.ranges > 0, panorama.ranges, np.float32(np.inf))
    r = cv2.erode(cv2.copyMakeBorder(r, 0, 0, 1, 1, cv2.BORDER_WRAP), np.ones((3, 3), np.uint8))[:, 1:-1]
    return np.where(panorama.ranges > 0, r, np.float32(0.0))


def close_gaps(panorama: RangeImage, metres: float) -> RangeImage:
    """The range image with gaps of up to `metres` across in near surfaces closed, in rows and in columns.

    What shone through such a gap is hidden, and an empty one is filled, with a range between those around it. This is
    a grey closing of nearness, its kernel as many cells wide as `metres` are at each distance; outlines stay.
    """
    nearness = np.divide(1.0, panorama.ranges, out=np.zeros_like(panorama.ranges), where=panorama.ranges > 0)
    step = math.radians(panorama.grid.azimuth_step_deg)
    closed = nearness
    for smaller, size in zip((1, *CLOSING_SIZES), CLOSING_SIZES):
        # where the kernel before is too small for the gap
        near = np.where(nearness >= step * smaller / metres, nearness, np.float32(0.0))
        if not near.any():
            break
        padded = cv2.copyMakeBorder(near, 0, 0, size, size, cv2.BORDER_WRAP)
        padded = cv2.copyMakeBorder(padded, size, size, 0, 0, cv2.BORDER_REPLICATE)
        kernel = np.ones((size, size), np.uint8)
        closed = np.maximum(closed, cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[size:-size, size:-size])
    ranges = np.divide(1.0, closed, out=np.zeros_like(closed), where=closed > 0)
    return RangeImage(np.where(closed == nearness, panorama.ranges, ranges), panorama.grid)


def coarse(panorama: RangeImage, spec: RangeMap, columns: int) -> np.ndarray:
    """(rows, columns of the turn) uint8: the bin of the nearest return in each cell of the camera model's range map.

    `columns`: those of the model's LiDAR grid, which `spec.columns` divide. Bins are spaced by the logarithm of range
    from `spec.near` to `spec.far`, ranges beyond them go to the outermost; `spec.bins` means that nothing came back.
    Raises ModelError if the two grids do not divide evenly.
    """
    if panorama.grid.rows % spec.rows or columns % spec.columns or panorama.grid.columns % (columns // spec.columns):
        raise ModelError(f"a range map of {spec.rows} x {spec.columns} cells does not divide a LiDAR grid of "
                         f"{panorama.grid.rows} x {columns} ({panorama.grid.columns} a turn): export it with one that "
                         "does")
    down, across = panorama.grid.rows // spec.rows, columns // spec.columns
    blocks = panorama.ranges.reshape(spec.rows, down, -1, across)
    nearest = np.where(blocks > 0, blocks, np.float32(np.inf)).min((1, 3))
    share = np.log(np.clip(nearest, spec.near, spec.far) / spec.near) / math.log(spec.far / spec.near)
    bins = np.minimum((share * spec.bins).astype(np.uint8), spec.bins - 1)
    return np.where(np.isinf(nearest), spec.bins, bins).astype(np.uint8)


def cut(panorama: RangeImage, heading_rad: float, columns: int) -> RangeImage:
    """The window of `columns` columns centred on `heading_rad` (azimuth in the view frame), across the seam if need be.

    The heading is rounded to the nearest one whose window begins at a column's border; 0 is exact if `columns` is
    even. Raises SensorError unless `panorama` is a whole turn of at least that many columns.
    """
    grid = panorama.grid
    if grid.columns != grid.turn_columns or not 0 < columns <= grid.columns:
        raise SensorError(f"cannot cut {columns} columns out of {grid.columns}: a panorama has the whole turn of "
                          f"{grid.turn_columns}; render it on grid.panorama()")
    first = first_column(grid, heading_rad, columns)
    window = AngularGrid(grid.rows, columns, grid.elevation_top_deg, grid.elevation_step_deg, grid.azimuth_step_deg)
    return RangeImage(np.take(panorama.ranges, range(first, first + columns), axis=1, mode="wrap"), window)


def first_column(panorama: AngularGrid, heading_rad: float, columns: int) -> int:
    """Where a window of `columns` columns centred on a heading begins in a whole turn; it may lie before column 0."""
    middle = (panorama.azimuth_left_deg - math.degrees(heading_rad)) / panorama.azimuth_step_deg
    return math.floor(middle - columns / 2 + 0.5)


def _nearest(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, rows, columns) to (N, *size): the cell under the middle of each new one; no ranges are mixed."""
    if array.shape[1:3] == tuple(size):
        return array
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int)
                     for new, old in zip(size, array.shape[1:3], strict=True))
    return array[:, rows[:, None], columns]


def lidar_tensor(ranges: np.ndarray, spec: LidarInput) -> np.ndarray:
    """(N, C, H, W) float32, what the LiDAR model eats, from (N, rows, columns) ranges in metres, 0 = no return.

    `log_range` and `range` are normalised as `LidarInput` says; `valid` is 1 where a range up to `spec.far` is known.
    """
    ranges = _nearest(np.asarray(ranges, np.float32), spec.size)
    valid = (ranges > 0) & (ranges <= spec.far)
    out = np.empty((len(ranges), len(spec.channels), *spec.size), np.float32)
    for i, (channel, mean, std) in enumerate(zip(spec.channels, spec.mean, spec.std, strict=True)):
        if channel == "valid":
            out[:, i] = valid
            continue
        value = np.log(np.clip(ranges, spec.near, spec.far)) if channel == "log_range" else ranges / spec.far
        out[:, i] = np.where(valid, (value - np.float32(mean)) / np.float32(std), np.float32(0.0))
    return out


def camera_tensor(rgb: np.ndarray, valid: np.ndarray, spec: CameraInput) -> np.ndarray:
    """(N, C, H, W) float32, what the camera model eats.

    `rgb`: (N, rows, columns, 3) uint8, `valid`: (N, rows, columns) bool, both as `CameraView` returns them.
    """
    if rgb.shape[1:3] != tuple(spec.size):
        size = (spec.size[1], spec.size[0])
        rgb = np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR) for picture in rgb])
        valid = _nearest(valid, spec.size)
    out = np.empty((len(rgb), len(spec.channels), *spec.size), np.float32)
    for i, (channel, mean, std) in enumerate(zip(spec.channels, spec.mean, spec.std, strict=True)):
        if channel == "valid":
            out[:, i] = valid
            continue
        colour = rgb[..., COLOURS.index(channel)].astype(np.float32) / np.float32(255.0)
        out[:, i] = np.where(valid, (colour - np.float32(mean)) / np.float32(std), np.float32(0.0))
    return out


def directions(grid: AngularGrid, samples: tuple[int, int] = (1, 1)) -> np.ndarray:
    """(rows * m, columns * n, 3) float64 unit vectors in the view frame: the middles of m x n parts of each cell."""
    m, n = samples
    elevation = np.radians(grid.elevation_top_deg - (np.arange(grid.rows * m) + 0.5) / m * grid.elevation_step_deg)
    azimuth = np.radians(grid.azimuth_left_deg - (np.arange(grid.columns * n) + 0.5) / n * grid.azimuth_step_deg)
    out = np.empty((elevation.size, azimuth.size, 3))
    out[..., 0] = np.cos(elevation)[:, None] * np.cos(azimuth)
    out[..., 1] = np.cos(elevation)[:, None] * np.sin(azimuth)
    out[..., 2] = np.sin(elevation)[:, None]
    return out


class CameraView:
    """Resamples pictures of one camera for the camera model; all that depends on the geometry is done once.

    `T_view_camera`: the optical frame in the view frame; only its rotation counts, so no depth is assumed.
    Raises SensorError if the camera is uncalibrated or sees no cell of the grid.
    """

    def __init__(self, camera: CameraModel, T_view_camera: np.ndarray, spec: CameraInput) -> None:
        check(camera)
        self.camera, self.spec = camera, spec
        self.grid = spec.grid if spec.projection == "angular_grid" else None
        if self.grid is None:
            self.valid = np.ones(tuple(spec.size), bool)
            return
        self._R = T_view_camera[:3, :3]
        pixels = self._pixels_per_cell(self.grid)
        self._shrink = max(1, int(pixels.min() / PIXELS_PER_CELL))
        m, n = (min(MAX_SAMPLES, math.ceil(p / self._shrink / PIXELS_PER_SAMPLE)) for p in pixels)
        uv, visible = self._look(directions(self.grid, (m, n)))
        seen = visible.reshape(self.grid.rows, m, self.grid.columns, n).mean(axis=(1, 3))
        self.valid = seen >= 0.5
        self.valid.setflags(write=False)
        self._small = max(1, camera.width // self._shrink), max(1, camera.height // self._shrink)
        # Samples that miss the picture take the nearest pixel of its edge; fixed point holds 16 bits, hence the clip.
        scale = np.array(self._small) / (camera.width, camera.height)
        uv = np.clip(np.nan_to_num((uv + 0.5) * scale - 0.5, nan=0.0), 0.0, np.array(self._small) - 1.0)
        uv = uv.astype(np.float32).reshape(*visible.shape, 2)
        self._maps = cv2.convertMaps(uv[..., 0], uv[..., 1], cv2.CV_16SC2)

    def _look(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., 2) pixels and (...) visible of (..., 3) directions in the view frame."""
        uv, visible = project(self.camera, rays.reshape(-1, 3) @ self._R)
        return uv.reshape(*rays.shape[:-1], 2), visible.reshape(rays.shape[:-1])

    def _pixels_per_cell(self, grid: AngularGrid) -> np.ndarray:
        """(2,) how many pixels lie between neighbouring cells, down and across, where the camera sees them largest."""
        uv, visible = self._look(directions(grid))
        if not visible.any():
            raise SensorError("the camera sees no cell of the model's grid (elevations "
                              f"{grid.elevation_top_deg - grid.rows * grid.elevation_step_deg:g} to "
                              f"{grid.elevation_top_deg:g} degrees): check its extrinsics and CameraInfo")
        out = np.ones(2)
        for axis in (0, 1):
            length = np.linalg.norm(np.diff(uv, axis=axis), axis=2)
            both = np.logical_and(*((visible[1:], visible[:-1]) if axis == 0 else (visible[:, 1:], visible[:, :-1])))
            out[axis] = max(1.0, length[both].max(initial=1.0))
        return out

    def __call__(self, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`(rgb, valid)`: (rows, columns, 3) uint8 and (rows, columns) bool, from (H, W, 3) uint8.

        Of an angular grid, cells that are less than half in the picture are 0 and not valid. Of a whole image, rows
        and columns are `spec.size`, and all are valid. Raises SensorError if H x W is not the camera model's.
        """
        if rgb.shape[:2] != (self.camera.height, self.camera.width):
            raise SensorError(f"the picture is {rgb.shape[1]} x {rgb.shape[0]}, but its CameraInfo describes "
                              f"{self.camera.width} x {self.camera.height}: pair each image with its own CameraInfo")
        if self.grid is None:
            height, width = self.spec.size
            return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), self.valid
        if self._shrink > 1:
            rgb = cv2.resize(rgb, self._small, interpolation=cv2.INTER_AREA)
        fine = cv2.remap(rgb, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cells = cv2.resize(fine, (self.grid.columns, self.grid.rows), interpolation=cv2.INTER_AREA)
        cells[~self.valid] = 0
        return cells, self.valid
