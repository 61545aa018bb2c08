# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The markers of a bag's localisation and the side-by-side picture as a PNG: what RViz would show, without it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import DataError, SensorError, TransformError
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.loop_closure import loop_closure
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.messages import to_camera_image, to_camera_model
from ms2cl_ros.core.types import CameraImage, CameraModel, Match
from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, open_bag
from ms2cl_ros.tools.offline import Motion, Progress, Topics
from ms2cl_ros.tools.scene import Scene, Shape
from ms2cl_ros.tools.side_by_side import SideBySide

# As RViz shows it: the colours are made for a dark ground.
GROUND, SUBMAPS, INK = "#303030", "#a0aab9", "#e6e6e6"
MARGIN, CLOSE = 30.0, 20.0
LEGEND = "grey: submaps   blue: route   pink: belief   orange: candidates   white: to the matched submap"


@dataclass(frozen=True)
class Sight:
    """What is to be seen after one image. `submaps`: (N, 3) metres, map frame; `pair`: (H, W, 3) uint8."""

    shapes: list[Shape]
    pair: np.ndarray
    submaps: np.ndarray
    match: Match


def last_sight(bag_path: Path | str, database: Path | str, config: Config, number: int = -1,
               topics: Topics = Topics(), progress: Progress | None = None) -> Sight:
    """Localises the images of a bag up to `number` (from 0; -1: the last one); what is seen after the last match.

    The route is of all promised matches. Raises DataError if none of the images had a match.
    """
    encoder = Encoder.load(config.encoder)
    with open_bag(bag_path) as bag, open_map(database, encoder.sidecar, write=False) as store:
        motion, matcher, scene = Motion(bag, config, topics.poses), Matcher(config, encoder, store), Scene()
        info = next(iter(bag.messages([bag.pick(CAMERA_INFOS, topics.camera_info or None)])))[2]
        camera = to_camera_model(info, config.sensors.image_rectified)
        topic = bag.pick(IMAGES, topics.image or None)
        total = bag.topics[topic].count if number < 0 else min(number + 1, bag.topics[topic].count)
        last: tuple[CameraImage, np.ndarray, Match] | None = None
        for i, (_, _, message) in enumerate(bag.messages([topic])):
            if i >= total:
                break
            found = _locate(message, camera, motion, matcher, config)
            if found is not None:
                last, hypotheses = found, matcher.trust.belief.hypotheses
                scene.note(last[2])
            if progress:
                progress(i + 1, total)
        if last is None:
            raise DataError(f"none of {total} images of {bag_path} had a match in {store.name}: nothing to draw")
        image, T_base_camera, match = last
        closure = loop_closure(match, store)
        pair = SideBySide(encoder).draw(image, camera, T_base_camera, match, closure, store)
        submaps = np.array([T[:3, 3] for _, _, T in store.poses()]).reshape(-1, 3)
        return Sight(scene.shapes(match, hypotheses, closure), pair, submaps, match)


def _locate(message: Any, camera: CameraModel, motion: Motion, matcher: Matcher,
            config: Config) -> tuple[CameraImage, np.ndarray, Match] | None:
    try:
        image = to_camera_image(message)
        frame = image.frame_id or camera.frame_id
        T = sensor_in_base(config.frames, "camera", motion.transforms, frame, image.stamp_ns)
        match = matcher.locate(image, camera, T, motion.odometry)
    except (SensorError, TransformError):
        return None
    return None if match is None else (image, T, match)


def draw(path: Path, sight: Sight) -> None:
    """Writes a PNG: the scene from above, whole and around the base, and the picture beside its match's ranges."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    figure = plt.figure(figsize=(13, 10), facecolor=GROUND, constrained_layout=True)
    rows = figure.subfigures(2, 1, height_ratios=(2.4, 1.0))
    whole, close = rows[0].subplots(1, 2)
    base = sight.match.T_map_base[:2, 3]
    places = np.concatenate([sight.submaps[:, :2], base[None]])
    _plan(whole, sight, places.min(0) - MARGIN, places.max(0) + MARGIN, "the whole map, metres", 6.0)
    _plan(close, sight, base - CLOSE, base + CLOSE, "around the base, metres", 40.0)
    rows[0].suptitle(LEGEND, color=INK, fontsize=9)
    below = rows[1].subplots()
    below.imshow(sight.pair, interpolation="nearest")
    below.set_axis_off()
    below.set_title("the query image, and the ranges of the submap that it was matched with", color=INK, fontsize=10)
    for part in rows:
        part.set_facecolor(GROUND)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, facecolor=GROUND)
    plt.close(figure)


def _plan(axes: Any, sight: Sight, low: np.ndarray, high: np.ndarray, title: str, dot: float) -> None:
    axes.set_facecolor(GROUND)
    axes.scatter(*sight.submaps[:, :2].T, s=dot, color=SUBMAPS, linewidths=0, zorder=1)
    for shape in sight.shapes:
        PAINT[shape.kind](axes, shape)
    axes.set_aspect("equal")
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.tick_params(colors=INK, labelsize=8)
    axes.set_title(title, color=INK, fontsize=10)


def _lines(axes: Any, shape: Shape) -> None:
    from matplotlib.collections import LineCollection
    axes.add_collection(LineCollection(shape.xyz[:, :2].reshape(-1, 2, 2), colors=shape.colours[::2], linewidths=2.0,
                                       zorder=2))


def _points(axes: Any, shape: Shape) -> None:
    if len(shape.xyz):
        axes.scatter(*shape.xyz[:, :2].T, s=28, c=shape.colours, linewidths=0, zorder=3)


def _arrows(axes: Any, shape: Shape) -> None:
    pairs = shape.xyz[:, :2].reshape(-1, 2, 2)
    if len(pairs):
        axes.quiver(*pairs[:, 0].T, *(pairs[:, 1] - pairs[:, 0]).T, angles="xy", scale_units="xy", scale=1.0,
                    color=shape.colours[::2], width=0.006, zorder=4)


def _text(axes: Any, shape: Shape) -> None:
    axes.annotate(shape.text, shape.xyz[0, :2], (8, 10), textcoords="offset points", color=shape.colours[0],
                  fontsize=11, weight="bold", zorder=5, annotation_clip=True)


PAINT = {"lines": _lines, "points": _points, "arrows": _arrows, "text": _text}
