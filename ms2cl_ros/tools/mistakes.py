# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Wrong published matches as pictures: the query, the ranges read from it, what it was taken for, and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.geometry import camera_view, wrap, yaw
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.messages import to_camera_image, to_camera_model
from ms2cl_ros.core.projection import CameraView, cut
from ms2cl_ros.core.sidecar import RangeMap
from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, open_bag
from ms2cl_ros.tools.moments import METRES, Moment
from ms2cl_ros.tools.offline import Motion, Topics

MOST = 24
PAPER, INK, EMPTY = "#ffffff", "#222222", "#e9ebee"
NEAR, FAR = 2.0, 60.0


def chosen(moments: Sequence[Moment], most: int = MOST) -> list[Moment]:
    """Wrong published ones, at most so many, in order of time: of each run of them first the surest, then the rest."""
    runs: list[list[Moment]] = []
    before = False
    for m in moments:
        wrong = m.told and m.truth is not None and not m.right
        if wrong and not before:
            runs.append([])
        if wrong:
            runs[-1].append(m)
        before = wrong
    ordered = [sorted(run, key=lambda m: -_probability(m)) for run in runs]
    picked = [run[0] for run in ordered] + [m for run in ordered for m in run[1:]]
    return sorted(picked[:most], key=lambda m: m.stamp_ns)


def draw_all(folder: Path, bag_path: Path | str, map_: Path | str, config: Config, topics: Topics,
             moments: Sequence[Moment]) -> int:
    """Writes a PNG for each of the `chosen` moments into `folder`; returns how many."""
    wanted = {m.stamp_ns: m for m in chosen(moments)}
    if not wanted:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    encoder = Encoder.load(config.encoder)
    with open_bag(bag_path) as bag, open_map(map_, encoder.sidecar, write=False) as store:
        motion = Motion(bag, config, topics.poses)
        info = next(iter(bag.messages([bag.pick(CAMERA_INFOS, topics.camera_info or None)])))[2]
        camera = to_camera_model(info, config.sensors.image_rectified)
        for record in bag.records([bag.pick(IMAGES, topics.image or None)]):
            if record.stamp_ns not in wanted:
                continue
            image, moment = to_camera_image(bag.decode(record)), wanted[record.stamp_ns]
            mount = sensor_in_base(config.frames, "camera", motion.transforms, image.frame_id or camera.frame_id,
                                   image.stamp_ns)
            T_view_camera, heading = camera_view(mount)
            rgb, valid = CameraView(camera, T_view_camera, encoder.sidecar.camera)(image.rgb)
            _draw(folder / f"{moment.stamp_ns}.png", moment, rgb, _rows(moment, heading, rgb, valid, encoder, store))
    return len(wanted)


def _rows(m: Moment, heading: float, rgb: np.ndarray, valid: np.ndarray, encoder: Encoder,
          store: Store) -> list[tuple[str, np.ndarray]]:
    """Ranges with a title each: as read from the picture, where it was taken to be, where it is."""
    assert m.match is not None and m.truth is not None
    spec, (metres, degrees), out = encoder.sidecar.range_map, m.off, []
    if spec is not None and (logits := encoder.embed_image(rgb, valid)[1]) is not None:
        out.append(("the ranges that the model reads from it", read_ranges(logits, spec)))
    columns = encoder.sidecar.lidar.grid.columns
    for T, words in ((m.match.T_map_base, f"taken for this place, {metres:.1f} m and {degrees:.0f} degrees off"),
                     (m.truth, "the truth")):
        seen = looked_at(store, T, heading, columns)
        if seen is None:
            out.append((f"{words}: nothing of the map is near", np.zeros((1, columns), np.float32)))
        else:
            out.append((f"{words}: submap {seen[0]}, {seen[1]:.1f} m away", seen[2]))
    return out


def looked_at(store: Store, T_map_base: np.ndarray, heading: float,
              columns: int) -> tuple[int, float, np.ndarray] | None:
    """The submap nearest to a pose, metres to it, and the part of its ranges (rows, columns) that a camera which looks
    along `heading` in the base would see; None if there is none within four times METRES."""
    near = store.near(T_map_base[:2, 3], 4 * METRES)
    if not near:
        return None
    submap = store.submap(near[0], views=False)
    turned = wrap(yaw(T_map_base) + heading - yaw(submap.T_map_base))
    metres = float(np.hypot(*(submap.T_map_base[:2, 3] - T_map_base[:2, 3])))
    return near[0], metres, cut(submap.panorama, turned, columns).ranges


def read_ranges(logits: np.ndarray, spec: RangeMap) -> np.ndarray:
    """(rows, columns) metres: the most probable bin's middle, 0 where that is "nothing came back"."""
    best = logits.argmax(0)
    metres = spec.near * (spec.far / spec.near) ** ((best + 0.5) / spec.bins)
    return np.where(best == spec.bins, 0.0, metres).astype(np.float32)


def _probability(m: Moment) -> float:
    return m.match.probability if m.match else 0.0


def _draw(path: Path, m: Moment, rgb: np.ndarray, rows: Sequence[tuple[str, np.ndarray]]) -> None:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    # the camera's grid reaches higher than the LiDAR's; cells are drawn alike, and both end at the same elevation
    taller = max(rgb.shape[0] / max(ranges.shape[0] for _, ranges in rows), 1.0)
    figure, axes = plt.subplots(len(rows) + 1, 1, figsize=(8.5, 2.2 * (len(rows) + taller)), facecolor=PAPER,
                                height_ratios=[taller, *[1.0] * len(rows)], constrained_layout=True)
    axes[0].imshow(rgb, aspect="auto")
    axes[0].set_title(f"asked at stamp {m.stamp_ns}: published as {_probability(m):.4f} probable", fontsize=10,
                      color=INK)
    for axis, (title, ranges) in zip(axes[1:], rows):
        shown_ranges(axis, ranges)
        axis.set_title(title, fontsize=10, color=INK)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(path, dpi=90)
    plt.close(figure)


def shown_ranges(axis: Any, ranges: np.ndarray) -> None:
    """Draws (rows, columns) metres by their logarithm, near ones bright; 0 is left empty."""
    shown = np.where(ranges > 0, np.log(np.maximum(ranges, 1.0)), np.nan)
    axis.imshow(np.ma.masked_invalid(shown), aspect="auto", cmap="viridis_r", vmin=np.log(NEAR), vmax=np.log(FAR))
    axis.set_facecolor(EMPTY)
