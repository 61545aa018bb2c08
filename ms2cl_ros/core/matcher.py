# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera finds its place in a map."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import camera_view
from ms2cl_ros.core.index import Index
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.projection import CameraView
from ms2cl_ros.core.retrieval import candidates, covariance
from ms2cl_ros.core.types import CameraImage, CameraModel, Match


class Matcher:
    """Answers where the base was when an image was taken. One thread at a time."""

    def __init__(self, config: Config, encoder: Encoder, store: Store) -> None:
        self._config, self._encoder = config, encoder
        self._index = Index(store, encoder.sidecar.embedding.size, config.index)
        self._views: dict[tuple, tuple[CameraView, float]] = {}

    def locate(self, image: CameraImage, camera: CameraModel, T_base_camera: np.ndarray) -> Match | None:
        """The match with its candidates, or None: the map is empty, or nothing reaches `retrieval.min_score`.

        `T_base_camera`: pose of the optical frame (z forward) in the base. Submaps that another process has added
        since the last call are searched too. Raises SensorError if the image does not fit the camera model.
        """
        clock = Laps()
        view, heading = self._view(camera, T_base_camera)
        rgb, valid = view(image.rgb)
        clock.lap("project")
        query, _ = self._encoder.embed_image(rgb, valid)
        clock.lap("embed")
        self._index.refresh()
        clock.lap("refresh")
        settings, embedding = self._config.retrieval, self._encoder.sidecar.embedding
        found = candidates(self._index, query, heading, T_base_camera, settings.candidates)
        clock.lap("search")
        if not found or found[0].score < settings.min_score:
            return None
        spread = covariance(found, embedding.logit_scale)
        return Match(image.stamp_ns, found[0].T_map_base, spread, found, clock.seconds)

    def _view(self, camera: CameraModel, T_base_camera: np.ndarray) -> tuple[CameraView, float]:
        """The precomputed resampling for this camera and mounting; only the last one is kept."""
        key = (camera.key(), T_base_camera.tobytes())
        if key not in self._views:
            T_view_camera, heading = camera_view(T_base_camera)
            self._views = {key: (CameraView(camera, T_view_camera, self._encoder.sidecar.camera), heading)}
        return self._views[key]


class Laps:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        """Ends the stage `name`."""
        now = perf_counter()
        self.seconds[name], self._last = now - self._last, now
