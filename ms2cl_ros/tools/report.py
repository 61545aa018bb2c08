# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a run looks like: a table for the terminal, a picture for the eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.decision import MATCHED
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.geometry import camera_view
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.messages import to_camera_image, to_camera_model
from ms2cl_ros.core.projection import CameraView, cut
from ms2cl_ros.core.types import Match, RangeImage
from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, open_bag
from ms2cl_ros.tools.evaluation import Recall, errors
from ms2cl_ros.tools.offline import Topics, truth

# Errors from here on share the last colour of the picture.
WORST_METRES = 10.0
PAPER, INK, FAINT = "#ffffff", "#222222", "#b9bec6"


def recall_table(rows: Sequence[Recall], which: str = "") -> Any:
    """A rich table of recalls, each beside its chance level and the numbers it was counted on; `which`: queries."""
    from rich.table import Table
    table = Table(title="Recall of camera images in the map" + (f": {which}" if which else ""))
    for name in ("within", "Recall@1", "Recall@5", "chance (R@1)", "queries", "submaps"):
        table.add_column(name, justify="right")
    for radius in sorted({r.radius for r in rows}):
        by_rank = {r.rank: r for r in rows if r.radius == radius}
        one = by_rank[1]
        table.add_row(f"{radius:g} m", f"{one.value:.1%}", f"{by_rank[5].value:.1%}", f"{one.chance:.1%}",
                      f"{one.queries} of {one.asked}", str(one.database))
    return table


def published_line(p: Mapping[str, Any]) -> str:
    """The fields of an `evaluation.Published` in words."""
    if not p["told"]:
        return f"none of {p['asked']} images: never sure enough"
    return (f"{p['told']} of {p['asked']} images, {p['precision']:.1%} of them right (within {p['radius']:g} m and "
            f"{p['degrees']:g} degrees), recall {p['recall']:.1%} of {p['queries']}")


@dataclass(frozen=True)
class Example:
    """One query as the model saw it, beside the view it was matched with. `rgb`: (rows, columns, 3) uint8."""

    rgb: np.ndarray
    best: RangeImage
    metres: float
    score: float


def examples(bag_path: Path | str, config: Config, stamps: Sequence[int], topics: Topics = Topics()) -> list[Example]:
    """The images of a bag with these stamps, matched once more in the map of `config.store`, with nothing learnt from
    those between."""
    encoder, out = Encoder.load(config.encoder), []
    motion = truth(bag_path, config, topics)
    with open_bag(bag_path) as bag, open_map(config.store.database, encoder.sidecar, write=False) as store:
        info = next(iter(bag.messages([bag.pick(CAMERA_INFOS, topics.camera_info or None)])))[2]
        camera, matcher = to_camera_model(info, config.sensors.image_rectified), Matcher(config, encoder, store)
        for record in bag.records([bag.pick(IMAGES, topics.image or None)]):
            if record.stamp_ns not in stamps:
                continue
            image = to_camera_image(bag.decode(record))
            mount = sensor_in_base(config.frames, "camera", motion.transforms, image.frame_id, image.stamp_ns)
            match = matcher.locate(image, camera, mount)
            if match is not None:
                best = match.candidates[0]
                window = cut(store.panorama(best.submap_id), best.heading, encoder.sidecar.lidar.grid.columns)
                metres = errors([match], [motion.base(image.stamp_ns).T_map_base])[0, 0]
                rgb, _ = CameraView(camera, camera_view(mount)[0], encoder.sidecar.camera)(image.rgb)
                out.append(Example(rgb, window, float(metres), best.score))
    return out


def draw(path: Path, title: str, matches: Sequence[Match], truths: Sequence[np.ndarray],
         submaps: Sequence[np.ndarray], examples: Sequence[Example]) -> None:
    """Writes a PNG: the submaps, each match as a line from the truth coloured by its error, and example queries."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    figure = plt.figure(figsize=(14, 7.5), facecolor=PAPER, constrained_layout=True)
    grid = figure.add_gridspec(2 * max(len(examples), 1), 2, width_ratios=[1.25, 1])
    draw_route(figure, figure.add_subplot(grid[:, 0]), matches, truths, submaps)
    for i, e in enumerate(examples):
        _example(figure.add_subplot(grid[2 * i, 1]), figure.add_subplot(grid[2 * i + 1, 1]), e)
    figure.suptitle(title, fontsize=13, color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_route(figure: Any, axes: Any, matches: Sequence[Match], truths: Sequence[np.ndarray],
               submaps: Sequence[np.ndarray], route: np.ndarray | None = None) -> None:
    """Draws the submaps and each published match, a line from the true place to the answer coloured by its error.

    Images whose answer was kept back are rings. `route`: (n, 2) metres, nan where it breaks off; the places of the
    matches if left out.
    """
    from matplotlib.collections import LineCollection
    whole = np.array([T[:2, 3] for T in truths]).reshape(-1, 2)
    silent = np.array([m.state != MATCHED for m in matches], bool)
    truths = [T for T, kept in zip(truths, silent, strict=True) if not kept]
    matches = [m for m in matches if m.state == MATCHED]
    true = np.array([T[:2, 3] for T in truths]).reshape(-1, 2)
    found = np.array([m.T_map_base[:2, 3] for m in matches]).reshape(-1, 2)
    stored = np.array([T[:2, 3] for T in submaps]).reshape(-1, 2)
    metres = errors(matches, truths)[:, 0]
    order = np.argsort(metres)  # the worst on top
    axes.scatter(*stored.T, s=16, color=FAINT, label=f"{len(stored)} submaps", zorder=1)
    axes.plot(*(whole if route is None else route).T, color=INK, linewidth=0.8, label="route of the camera", zorder=2)
    lines = LineCollection(list(np.stack([true, found], 1)[order]), array=metres[order], cmap="plasma", linewidths=1.3,
                           zorder=3)
    dots = axes.scatter(*true[order].T, c=metres[order], cmap="plasma", s=14, zorder=4,
                        label=f"{len(matches)} matches published")
    if silent.any():
        axes.scatter(*whole[silent].T, s=24, facecolors="none", edgecolors=INK, linewidths=0.9, zorder=5,
                     label=f"{int(silent.sum())} kept back, not sure enough")
    for artist in (lines, dots):
        artist.set_clim(0.0, WORST_METRES)
    axes.add_collection(lines)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("x of the map, metres")
    axes.set_ylabel("y of the map, metres")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, columnspacing=1.2,
                handletextpad=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(dots, ax=axes, location="bottom", shrink=0.6, extend="max",
                    label="error of the match, metres (line: from the true place to the answer)")


def _example(upper: Any, lower: Any, e: Example) -> None:
    shown = np.where(e.best.ranges > 0, np.log(np.maximum(e.best.ranges, 1.0)), np.nan)
    upper.imshow(e.rgb, aspect="auto")
    upper.set_title(f"a query on the angular grid; its best candidate alone is {e.metres:.1f} m off "
                    f"(score {e.score:.2f})", fontsize=9, color=INK)
    lower.imshow(np.ma.masked_invalid(shown), aspect="auto", cmap="viridis_r", vmin=np.log(2.0), vmax=np.log(60.0))
    lower.set_facecolor("#e9ebee")
    lower.set_title("the range image it was matched with", fontsize=9, color=INK)
    for axes in (upper, lower):
        axes.set_xticks([])
        axes.set_yticks([])
