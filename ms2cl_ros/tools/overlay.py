# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One image and one scan of a bag on the angular grid: to see with one's own eyes whether the extrinsics are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import model_folder
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.extrinsics import sensor_in_base
from ms2cl_ros.core.geometry import apply, camera_view, inverse
from ms2cl_ros.core.messages import to_camera_image, to_camera_model, to_point_cloud
from ms2cl_ros.core.projection import CameraView, render_ranges
from ms2cl_ros.core.sidecar import load
from ms2cl_ros.core.types import CameraImage, PointCloud
from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, POINTS, BagReader, open_bag
from ms2cl_ros.tools.offline import Motion, Topics

# A neighbour this much farther makes a depth edge.
EDGE_RATIO = 1.25


def depth_edges(ranges: np.ndarray) -> np.ndarray:
    """(rows, columns) bool: cells whose left or right neighbour is at least a quarter farther away."""
    padded = np.pad(ranges, ((0, 0), (1, 1)), mode="edge")
    sides = np.stack([padded[:, :-2], padded[:, 2:]])
    return ((ranges > 0) & (sides > ranges * EDGE_RATIO)).any(0)


def on_one_grid(bag_path: Path | str, number: int, config: Config,
                topics: Topics = Topics()) -> tuple[np.ndarray, np.ndarray]:
    """`(rgb, ranges)` of the image `number` of a bag and the scan nearest in time, both seen from the camera's centre.

    (rows, columns, 3) uint8 and (rows, columns) float32 metres on the camera's grid of the configured model. No pose
    is asked for: the two are taken to belong to one moment. Raises DataError if there is no such image.
    """
    with open_bag(bag_path) as bag:
        image, cloud = _pair(bag, number, config, topics)
        info = next(iter(bag.messages([bag.pick(CAMERA_INFOS, topics.camera_info or None)])))[2]
        transforms = Motion(bag, config, topics.poses).transforms
    camera = to_camera_model(info, config.sensors.image_rectified)
    frame = image.frame_id or camera.frame_id
    T_base_camera = sensor_in_base(config.frames, "camera", transforms, frame, image.stamp_ns)
    T_base_lidar = sensor_in_base(config.frames, "lidar", transforms, cloud.frame_id, cloud.stamp_ns)
    spec = load(model_folder(config.encoder.model)).camera
    T_view_camera, _ = camera_view(T_base_camera)
    view = CameraView(camera, T_view_camera, spec)
    if view.grid is None:
        raise DataError(f"the model '{config.encoder.model}' takes the whole image, so there is no common grid to draw")
    points = apply(T_view_camera @ inverse(T_base_camera) @ T_base_lidar, cloud.xyz)
    ranges = render_ranges(points, view.grid, config.sensors.min_range, config.sensors.max_range).ranges
    return view(image.rgb)[0], ranges


def _pair(bag: BagReader, number: int, config: Config, topics: Topics) -> tuple[CameraImage, PointCloud]:
    image_topic, points_topic = bag.pick(IMAGES, topics.image or None), bag.pick(POINTS, topics.points or None)
    stamps = [r.stamp_ns for r in bag.records([image_topic])]
    if not 0 <= number < len(stamps):
        raise DataError(f"{bag.path} has images 0 to {len(stamps) - 1}; asked for {number}")
    records = list(bag.records([image_topic], start_ns=stamps[number], stop_ns=stamps[number] + 1))
    scan = min(bag.records([points_topic]), key=lambda r: abs(r.stamp_ns - stamps[number]))
    cloud = to_point_cloud(bag.decode(scan), config.sensors.min_range, config.sensors.max_range)
    return to_camera_image(bag.decode(records[0])), cloud


def draw(path: Path, rgb: np.ndarray, ranges: np.ndarray) -> None:
    """Writes a PNG: the image, the range image, and the image with the scan's depth edges in it."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    marked = rgb.copy()
    marked[depth_edges(ranges)] = (255, 40, 40)
    shown = np.ma.masked_equal(ranges, 0.0)
    figure, axes = plt.subplots(3, 1, figsize=(9, 11), constrained_layout=True)
    titles = ("camera image on the angular grid", "range image of the scan on the same cells",
              "the scan's depth edges in the image")
    for ax, picture, title in zip(axes, (rgb, np.ma.log(shown), marked), titles):
        ax.imshow(picture, cmap="viridis_r", interpolation="nearest", aspect="equal")
        ax.set_title(title, fontsize=11)
        ax.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
