# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A map from above: the roads of each session, its submaps, the views rendered around them, and what was seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import apply, yaw
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.projection import directions
from ms2cl_ros.core.types import Submap
from ms2cl_ros.tools.database import Route, routes

PAPER, INK, GREY = "#ffffff", "#222222", "#8a9099"
# Told apart by people who see red and green alike (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
VIEWS = "#b79f00"
MARGIN = 25.0
# Points are drawn from this many submaps at most, those above the road only.
BACKDROP_SUBMAPS, ABOVE_ROAD, BACKDROP_REACH = 250, 0.4, 40.0
PIXELS = 1400


def draw(database: str | Path, output: Path) -> None:
    """Writes a PNG (or what the name ends in); raises StoreError if the map is empty or the file cannot be written."""
    with open_map(database, None, write=False) as store:
        drives = routes(store)
        if not drives:
            raise StoreError(f"{store.name} has no submaps: there is nothing to draw")
        views = np.array([v.T_map_base[:2, 3] for _, _, v in store.views_after(0) if v.rendered]).reshape(-1, 2)
        points = _points(store, drives)
        title = f"{Path(store.name).name}   {store.made_with().name}, {store.megabytes():.1f} MB"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _figure(output, title, drives, views, points)
    except (OSError, ValueError) as e:
        raise StoreError(f"cannot write the picture {output}: {e}") from e


def _points(store: Store, drives: list[Route]) -> np.ndarray:
    """(N, 2) metres: what stands beside the road, seen from some of the submaps."""
    keys = [key for route in drives for key in route.keys]
    chosen = np.unique(np.linspace(0, len(keys) - 1, min(len(keys), BACKDROP_SUBMAPS)).astype(int))
    return np.concatenate([_standing(store.submap(keys[i], views=False)) for i in chosen])


def _standing(submap: Submap) -> np.ndarray:
    lidar = submap.T_base_lidar[:3, 3]
    if submap.points is not None:
        points = submap.points.astype(float)
    else:
        ranges = submap.panorama.ranges
        points = (directions(submap.panorama.grid) * ranges[..., None])[ranges > 0] + lidar
    kept = (points[:, 2] > ABOVE_ROAD) & (np.linalg.norm(points[:, :2] - lidar[:2], axis=1) < BACKDROP_REACH)
    return apply(submap.T_map_base, points[kept])[:, :2]


def _figure(output: Path, title: str, drives: list[Route], views: np.ndarray, points: np.ndarray) -> None:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    xy = np.concatenate([r.poses[:, :2, 3] for r in drives])
    low, high = xy.min(axis=0) - MARGIN, xy.max(axis=0) + MARGIN
    wide, tall = high - low
    scale = 11.0 / max(wide, tall)
    figure, axes = plt.subplots(figsize=(max(wide * scale, 6.0), max(tall * scale, 2.0) + 0.9), facecolor=PAPER,
                                constrained_layout=True)
    axes.set_aspect("equal")
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.axis("off")
    _backdrop(axes, points, low, high)
    if len(views):
        axes.scatter(*views.T, s=_size(len(views), 5.0), color=VIEWS, alpha=0.55, linewidths=0, zorder=2,
                     label=f"{len(views)} rendered views")
    for i, route in enumerate(drives):
        _route(axes, route, COLOURS[i % len(COLOURS)])
    _scale_bar(axes, low, high)
    figure.suptitle(title, fontsize=12, color=INK)
    figure.legend(loc="outside lower center", ncols=min(3, len(drives) + bool(len(views))), frameon=False, fontsize=9)
    figure.savefig(output, dpi=130)
    plt.close(figure)


def _size(count: int, largest: float) -> float:
    """Marker area that leaves marks of a large map apart."""
    return float(np.clip(largest * np.sqrt(1500 / max(count, 1)), 0.8, largest))


def _backdrop(axes: Any, points: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    cell = max(high - low) / PIXELS
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], [np.arange(a, b + cell, cell) for a, b in zip(low, high)])
    dark = np.log1p(counts.T) / np.log1p(max(float(np.quantile(counts[counts > 0], 0.98)), 1.0) if counts.any() else 1)
    width, height = counts.shape[0] * cell, counts.shape[1] * cell
    axes.imshow(np.clip(dark, 0, 1), origin="lower", extent=(low[0], low[0] + width, low[1], low[1] + height),
                cmap="Greys", vmin=0.0, vmax=1.7, interpolation="nearest", zorder=0)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])


def _route(axes: Any, route: Route, colour: str) -> None:
    """A line along the submaps, a ring where it begins, an arrow half way."""
    for piece in route.pieces():
        axes.plot(*piece.T, color=colour, linewidth=1.6, alpha=0.9, solid_capstyle="round", zorder=3)
    xy = route.poses[:, :2, 3]
    label = f"session {route.id}{f' ({route.name})' if route.name else ''}: {len(xy)} submaps, {route.metres():.0f} m"
    axes.scatter(*xy.T, s=_size(len(xy), 16.0), color=colour, edgecolors=PAPER, linewidths=0.4, zorder=4, label=label)
    middle = len(xy) // 2
    turn = yaw(route.poses[middle])
    axes.annotate("", xy[middle] + 0.1 * np.array([np.cos(turn), np.sin(turn)]), xy[middle], zorder=5,
                  arrowprops={"arrowstyle": "-|>", "color": colour, "mutation_scale": 22})
    axes.scatter(*xy[0], s=60, marker="o", facecolors=PAPER, edgecolors=colour, linewidths=1.8, zorder=5)


def _scale_bar(axes: Any, low: np.ndarray, high: np.ndarray) -> None:
    target = (high[0] - low[0]) / 5
    power = 10 ** np.floor(np.log10(target))
    length = max(m * power for m in (1, 2, 5) if m * power <= target)
    x, y = low[0] + 0.03 * (high[0] - low[0]), low[1] + 0.03 * (high[1] - low[1])
    axes.plot([x, x + length], [y, y], color=INK, linewidth=3, solid_capstyle="butt", zorder=6)
    axes.annotate(f"{length:g} m", (x + length / 2, y), (0, 5), textcoords="offset points", ha="center", fontsize=9,
                  color=INK, zorder=6, bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 1.5})
