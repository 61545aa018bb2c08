# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera finds its place in a map."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np

from ms2cl_ros.core.centring import Pictures
from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import camera_view
from ms2cl_ros.core.index import Index
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.projection import CameraView
from ms2cl_ros.core.retrieval import Verify, candidates
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.trust import Trust, find_calibration
from ms2cl_ros.core.types import CameraImage, CameraModel, Match, StampedPose
from ms2cl_ros.core.verification import Verifier

Asked = Callable[[int], StampedPose | None]


def no_odometry(_: int) -> None:
    """For images that no odometry joins."""


class Matcher:
    """Answers where the base was when an image was taken, from it and from those before. One thread at a time."""

    def __init__(self, config: Config, encoder: Encoder, store: Store) -> None:
        self._config, self._encoder = config, encoder
        self._views: dict[tuple, tuple[CameraView, float]] = {}
        model = encoder.sidecar
        calibration = find_calibration(config.trust, model)
        centre = calibration.centre if calibration else None
        self._index = Index(store, model.embedding.size, config.index, centre.lidar if centre else None)
        self._moved = Pictures(centre.camera) if centre else None
        self.trust = Trust(config.trust, calibration, model.embedding.logit_scale)
        ranges = calibration.ranges if calibration and config.trust.verify else None
        self._verifier = Verifier(model.range_map, ranges) if model.range_map and ranges else None

    def tune(self, config: Config) -> None:
        """Takes on those settings that may change between two images: `retrieval` and `trust.target_precision`."""
        self._config = dataclasses.replace(self._config, retrieval=config.retrieval)
        self.trust.tune(config.trust.target_precision)

    def reset(self) -> None:
        """Forgets where the base was: the next image is looked for in the whole map."""
        self.trust.reset()

    def locate(self, image: CameraImage, camera: CameraModel, T_base_camera: np.ndarray,
               odometry: Asked = no_odometry) -> Match | None:
        """The match with its candidates, or None: the map is empty, or nothing reaches `retrieval.min_score`.

        Only a match in state MATCHED is promised. `T_base_camera`: pose of the optical frame (z forward) in the base.
        `odometry`: asked, once all else is done, for the base at a stamp in ns in any frame that drifts; images without
        an answer are joined by a constant velocity. Submaps that another process has added since the last call are
        searched too.
        Raises SensorError if the image does not fit the camera model.
        """
        clock = Laps()
        view, heading = self._view(camera, T_base_camera)
        rgb, valid = view(image.rgb)
        clock.lap("project")
        query, logits = self._encoder.embed_image(rgb, valid)
        clock.lap("embed")
        self._index.refresh()
        clock.lap("refresh")
        if not len(self._index):
            self.reset()  # that nothing was found in an empty map says nothing of where the base is
            return None
        settings = self._config.retrieval
        asked = self._moved(query) if self._moved else query
        found = candidates(self._index, asked, heading, T_base_camera, settings.candidates,
                           self._verify(asked, logits, valid))
        clock.lap("search")
        best = max((c.score for c in found), default=-np.inf)
        found = self.trust.weigh(found) if found and best >= settings.min_score else ()
        pose = odometry(image.stamp_ns)
        clock.lap("odometry")
        answer = self.trust.judge(found, image.stamp_ns, pose, query)
        clock.lap("judge")
        if not found or answer is None:
            return None
        return Match(image.stamp_ns, answer.T_map_base, answer.covariance, found, clock.seconds, answer.state,
                     answer.probability)

    def _verify(self, query: np.ndarray, logits: np.ndarray | None, valid: np.ndarray) -> Verify | None:
        """Compares candidates with the ranges read from the image, where model and calibration can."""
        if self._verifier is None or logits is None:
            return None
        self._verifier.learn(logits, query)
        return partial(self._verifier.score, logits, seen=seen_cells(valid, self._encoder.sidecar))

    def _view(self, camera: CameraModel, T_base_camera: np.ndarray) -> tuple[CameraView, float]:
        """The precomputed resampling for this camera and mounting; only the last one is kept."""
        key = (camera.key(), T_base_camera.tobytes())
        if key not in self._views:
            T_view_camera, heading = camera_view(T_base_camera)
            self._views = {key: (CameraView(camera, T_view_camera, self._encoder.sidecar.camera), heading)}
        return self._views[key]


def seen_cells(valid: np.ndarray, model: Sidecar) -> np.ndarray | None:
    """(rows, columns) bool, the cells of the range map of which the camera sees at least half, from what it sees of its
    own cells, (camera rows, columns) bool. None where the two grids do not lie over each other."""
    camera, lidar, ranges = model.camera.grid, model.lidar.grid, model.range_map
    if camera is None or ranges is None or camera.columns != lidar.columns:
        return None
    first = round((camera.elevation_top_deg - lidar.elevation_top_deg) / camera.elevation_step_deg)
    part = valid[max(first, 0):first + lidar.rows]
    if first < 0 or len(part) != lidar.rows or lidar.rows % ranges.rows or lidar.columns % ranges.columns:
        return None
    blocks = part.reshape(ranges.rows, lidar.rows // ranges.rows, ranges.columns, lidar.columns // ranges.columns)
    return blocks.mean(axis=(1, 3)) >= 0.5


class Laps:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        """Ends the stage `name`."""
        now = perf_counter()
        self.seconds[name], self._last = now - self._last, now
