# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is evaluated: a thing that embeds, and how alike its embeddings are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from ms2cl_ros.core import centring
from ms2cl_ros.core.centring import Centre
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.types import RangeImage

# Similarities held at once.
BLOCK = 1 << 24


class Embedder(Protocol):
    """`core.encoder.Encoder`, or a checkpoint that behaves like it."""

    sidecar: Sidecar

    def embed_turns(self, panoramas: Sequence[RangeImage], headings: np.ndarray) -> np.ndarray:
        """Whole turns and (n,) headings in radians -> (N, n, D) float32, unit length."""
        ...

    def embed_image(self, rgb: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """A picture on the camera's grid -> descriptor (D,) and range logits (bins + 1, rows, columns) or None."""
        ...


def similarities(images: np.ndarray, scans: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """`(rows, scores, headings)` block by block: of (Q, D) images and (M, n, D) scans, which images these are, the
    (q, M) cosine at the best of the n headings, and the (q, M) index of that heading."""
    count, headings, size = scans.shape
    flat = scans.reshape(-1, size).T
    step = max(1, BLOCK // max(1, count * headings))
    for first in range(0, len(images), step):
        rows = slice(first, min(first + step, len(images)))
        scores = (images[rows] @ flat).reshape(-1, count, headings)
        yield rows, scores.max(2), scores.argmax(2)


def pictures_moved(images: np.ndarray, drive: np.ndarray, centre: Centre | None) -> np.ndarray:
    """(Q, D) images, moved as a matcher does it, where there is a `centre`. `drive`: (Q,) which of them come one after
    the other from one camera."""
    if centre is None or not len(images):
        return images
    cameras = {d: centring.Pictures(centre.camera) for d in np.unique(drive).tolist()}
    return np.stack([cameras[d](image) for d, image in zip(drive.tolist(), images, strict=True)])


def shift_of_map(scans: np.ndarray, headings: np.ndarray, centre: Centre) -> np.ndarray:
    """(D,) by which an index moves the (M, n, D) scans of a map; `headings`: (n,) radians in the base's frame at which
    they are looked at, of which the one nearest to straight ahead tells what they have in common."""
    return centring.shift_of(scans[:, centring.straight_ahead(headings)], centre.lidar)


def centred(images: np.ndarray, drive: np.ndarray, scans: np.ndarray, headings: np.ndarray,
            centre: Centre | None) -> tuple[np.ndarray, np.ndarray]:
    """Both, as a robot holds them against each other, where there is a `centre`."""
    if centre is None:
        return images, scans
    return pictures_moved(images, drive, centre), centring.moved(scans, shift_of_map(scans, headings, centre))


def similarity(images: np.ndarray, scans: np.ndarray) -> np.ndarray:
    """(Q, M) cosine of (Q, D) images and (M, n, D) scans, each at its best heading."""
    return np.concatenate([scores for _, scores, _ in similarities(images, scans)])
