# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Lines to drive along: made ones (a block, a figure of eight, there and back) and those of pose files.

Street coordinates are `s`, metres along a line, and `d`, metres to its left. A block is driven counter-clockwise, so
its inside is on the left.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.tools.trajectories import read_trajectory

SPACING = 0.25
CORNER_RADIUS = 16.0
BEND_RADIUS = 60.0
SHORTEST, LONGEST = 240.0, 2000.0
DATA_FOLDER = "MS2CL_DATA"


@dataclass(frozen=True)
class Route:
    """A line; of a closed one the last point is the first. `xy`: (n, 2) and `s`: (n,) metres; `heading`: (n,) radians,
    unwrapped."""

    xy: np.ndarray
    heading: np.ndarray
    s: np.ndarray
    tree: cKDTree
    closed: bool = True

    @property
    def length(self) -> float:
        """Metres from end to end, or round."""
        return float(self.s[-1])

    def at(self, s: np.ndarray | float, d: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y (metres) and heading (radians) at `s` along and `d` to the left; `s` wraps round a closed line, and an
        open one goes straight on beyond its ends."""
        laps, rest = np.divmod(np.asarray(s, float), self.length)
        beyond = np.zeros_like(rest)
        if not self.closed:
            rest, laps = np.clip(s, 0.0, self.length), 0.0 * laps
            beyond = s - rest
        heading = np.interp(rest, self.s, self.heading) + laps * 2 * np.pi
        x, y = (np.interp(rest, self.s, self.xy[:, k]) for k in (0, 1))
        c, n = np.cos(heading), np.sin(heading)
        return x + beyond * c - d * n, y + beyond * n + d * c, heading

    def distance(self, xy: np.ndarray) -> np.ndarray:
        """Metres from each of (..., 2) points to the line."""
        return self.tree.query(xy)[0]

    def nearest(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(s, d) of each of (n, 2) points near the line."""
        index = self.tree.query(xy)[1]
        offset = xy - self.xy[index]
        h = self.heading[index]
        return self.s[index], offset[:, 1] * np.cos(h) - offset[:, 0] * np.sin(h)


def line(xy: np.ndarray, closed: bool = False) -> Route:
    """A Route from (n, 2) points, metres, resampled evenly; of a closed one the first is repeated at the end."""
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])
    even = np.linspace(0, s[-1], max(2, int(s[-1] / SPACING) + 1))
    xy = np.stack([np.interp(even, s, xy[:, k]) for k in (0, 1)], 1)
    if closed:
        step = np.roll(xy[:-1], -1, 0) - np.roll(xy[:-1], 1, 0)
        heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        turns = np.round((heading[-1] - heading[0]) / (2 * np.pi))
        return Route(xy, np.append(heading, heading[0] + 2 * np.pi * turns), even, cKDTree(xy[:-1]))
    step = np.gradient(xy, axis=0)
    return Route(xy, np.unwrap(np.arctan2(step[:, 1], step[:, 0])), even, cKDTree(xy), False)


def beside(route: Route, d: float) -> Route:
    """The line `d` metres to the left of another."""
    x, y, _ = route.at(route.s, d)
    return line(np.stack([x, y], 1), route.closed)


def rounded_block(rng: np.random.Generator, length: float, lane: float = 0.0) -> Route:
    """A closed block with bent sides, about `length` metres round for who drives `lane` metres to the right of the
    middle; raises ConfigError for lengths that make no block."""
    _check(length, "a block", SHORTEST)
    aspect = rng.uniform(1.15, 1.6)
    box = np.array([[-aspect, -1], [aspect, -1], [aspect, 1], [-aspect, 1]]) * (1 + rng.normal(0, 0.05, (4, 2)))
    push, along = rng.normal(0, 0.045, 4).clip(-0.07, 0.1), rng.uniform(0.35, 0.65, 4)
    polygon, radius = [], []
    for i in range(4):
        a, b = box[i], box[(i + 1) % 4]
        outward = np.array([b[1] - a[1], a[0] - b[0]])
        polygon += [a, a + along[i] * (b - a) + push[i] * outward]
        radius += [CORNER_RADIUS + rng.uniform(0, 3), BEND_RADIUS]
    return _scaled(np.array(polygon), radius, length - 2 * np.pi * lane)


def figure_of_eight(rng: np.random.Generator, length: float) -> Route:
    """A closed eight of about `length` metres whose two halves cross at the origin; raises ConfigError if too short."""
    _check(length, "a figure of eight", 320.0)
    wide, high = rng.uniform(0.95, 1.15, 2)
    polygon = np.array([[-wide, -high], [wide, high], [1.12 * wide, rng.uniform(-0.2, 0.2)], [wide, -high],
                        [-wide, high], [-1.12 * wide, rng.uniform(-0.2, 0.2)]])
    polygon += np.where(np.abs(polygon[:, 1:]) < 0.5, rng.normal(0, 0.03, (6, 1)), 0.0)
    corner = list(CORNER_RADIUS + rng.uniform(0, 2, 4))
    return _scaled(polygon, [corner[0], corner[1], BEND_RADIUS, corner[2], corner[3], BEND_RADIUS], length)


def there_and_back(rng: np.random.Generator, length: float, lane: float) -> np.ndarray:
    """(n, 2) driven line of about `length` metres: out along a winding street in its right-hand lane, `lane` metres
    from the middle, round in a turning place, and back beside it. Raises ConfigError if too short."""
    _check(length, "there and back", 160.0)
    t = np.arange(0.0, (length - 49.0) / 2, 0.5)
    wave, phase = rng.uniform(90, 180, 2), rng.uniform(0, 2 * np.pi, 2)
    heading = sum(rng.uniform(0.12, 0.25) * np.sin(2 * np.pi * t / w + p) for w, p in zip(wave, phase, strict=True))
    middle = line(np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * 0.5, axis=0))
    out, back = (np.stack(middle.at(middle.s[::way], -way * lane)[:2], 1) for way in (1, -1))
    a, end = np.linspace(-np.pi / 2, np.pi / 2, 40), middle.length
    radius = 6.5
    swing = np.linspace(0, 1, 24)[1:-1]
    ease = lane + (radius - lane) * (3 * swing**2 - 2 * swing**3)
    loop_s = np.concatenate([end + 14 * swing, end + 14 + radius * np.cos(a), end + 14 * swing[::-1]])
    loop_d = np.concatenate([-ease, radius * np.sin(a), ease[::-1]])
    return np.concatenate([out, np.stack(middle.at(loop_s, loop_d)[:2], 1), back])


def given_line(route: str, start: float, length: float, folder: Path | str | None = None) -> np.ndarray:
    """(n, 3) metres, x forward of the first pose, y left, z up: `length` metres of a pose file from `start` on.

    `route`: "kitti:NN", NN.txt being looked for in `folder` (default: the environment's MS2CL_DATA) or its
    kitti_odometry_poses, or a file: KITTI's poses are a camera's (x right, y down, z forward), TUM's a base's.
    Raises ConfigError where no such file is, or it has no metre beyond `start`; DataError for what is no pose file.
    """
    poses, stamped = read_trajectory(_pose_file(route, folder))
    xyz = np.array([p.T_map_base[:3, 3] for p in poses])
    xyz = xyz if stamped else xyz @ np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float)
    # a car that stands still gives hundreds of poses in a heap, with noisy headings
    keep, last = [0], xyz[0]
    for i, p in enumerate(xyz):
        if np.linalg.norm(p[:2] - last[:2]) > 0.5:
            keep.append(i)
            last = p
    xyz = xyz[keep]
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(xyz[:, :2], axis=0), axis=1))])
    if s[-1] - start < 20:
        raise ConfigError(f"{route} is {s[-1]:.0f} m long; from {start:g} m on, less than 20 m are left")
    even = np.arange(0.0, s[-1], SPACING)
    xyz = np.stack([np.interp(even, s, xyz[:, k]) for k in range(3)], 1)
    pad = int(6 / SPACING)
    # turned about its ends, so that smoothing does not shorten it
    padded = np.pad(xyz, ((pad, pad), (0, 0)), mode="reflect", reflect_type="odd")
    smooth = gaussian_filter1d(padded, 1.5 / SPACING, axis=0)[pad:-pad]
    return smooth[(even >= start) & (even < start + length)]


def _pose_file(route: str, folder: Path | str | None) -> Path:
    if not route.startswith("kitti:"):
        if not Path(route).is_file():
            raise ConfigError(f"no route {route!r} is known: not block, eight, there_and_back or kitti:NN, nor a file")
        return Path(route)
    folder = folder or os.environ.get(DATA_FOLDER)
    if not folder:
        raise ConfigError(f"{route} needs KITTI's odometry poses: name their folder, or set {DATA_FOLDER}")
    name = route.split(":", 1)[1] + ".txt"
    for path in (Path(folder) / name, Path(folder) / "kitti_odometry_poses" / name):
        if path.is_file():
            return path
    raise ConfigError(f"{route}: no {name} in {folder} nor in its kitti_odometry_poses")


def _check(length: float, what: str, shortest: float) -> None:
    if not shortest <= length <= LONGEST:
        raise ConfigError(f"a street of {length:g} m was asked for; {what} needs {shortest:g} to {LONGEST:g} m round")


def _scaled(polygon: np.ndarray, radius: list[float], length: float) -> Route:
    """The closed polygon with rounded corners, `length` metres round."""
    size = length / np.linalg.norm(polygon - np.roll(polygon, 1, 0), axis=1).sum()
    for _ in range(6):
        xy = _rounded(polygon * size, radius)
        size *= length / np.linalg.norm(np.diff(xy, axis=0), axis=1).sum()
    return line(xy, True)


def _rounded(polygon: np.ndarray, radius: list[float]) -> np.ndarray:
    """The closed polygon with its corners replaced by arcs; (n, 2), first point repeated at the end."""
    parts = []
    for i, r in enumerate(radius):
        before, here, after = polygon[i - 1], polygon[i], polygon[(i + 1) % len(polygon)]
        u, v = (here - before) / np.linalg.norm(here - before), (after - here) / np.linalg.norm(after - here)
        turn = np.arctan2(u[0] * v[1] - u[1] * v[0], u @ v)
        room = 0.49 * min(np.linalg.norm(here - before), np.linalg.norm(after - here))
        r = min(r, room / max(np.tan(abs(turn) / 2), 1e-6))
        start = here - u * r * np.tan(abs(turn) / 2)
        centre = start + r * np.sign(turn) * np.array([-u[1], u[0]])
        a = np.linspace(0, turn, max(2, int(abs(turn) * r / SPACING)))
        c, s, arm = np.cos(a), np.sin(a), start - centre
        parts.append(centre + np.stack([c * arm[0] - s * arm[1], s * arm[0] + c * arm[1]], 1))
    xy = np.concatenate(parts)
    return np.concatenate([xy, xy[:1]])
