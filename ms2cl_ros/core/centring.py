# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Descriptors moved to where the model is used to have them.

What all pictures of one camera have in common, and all of one LiDAR, tells no place from another; where it differs from
what the model was made on, it makes some views everybody's neighbour. So the mean of the robot's pictures, and that of
what the mapping LiDAR saw straight ahead, are moved to the means of the model's own pairs: first-order alignment of
domains (Sun, Feng, Saenko, "Return of Frustratingly Easy Domain Adaptation", AAAI 2016, aligns covariances, too).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Pictures, and views of a map, that the model's own mean counts for; and pictures after which old ones are forgotten.
PICTURES, VIEWS, REMEMBERED = 50.0, 20.0, 1000.0
# A picture more like the last one counted (cosine of descriptors) adds nothing: the robot may be standing.
SAME_PICTURE = 0.9


@dataclass(frozen=True)
class Centre:
    """Mean descriptors of pairs that the model was not trained on, (D,) float32 each, shorter than 1: `camera` of their
    pictures, `lidar` of what the LiDAR sees where these look."""

    camera: np.ndarray
    lidar: np.ndarray


class Pictures:
    """The mean of one camera's pictures, which begins as the model's own and is learnt from picture to picture."""

    def __init__(self, usual: np.ndarray) -> None:
        self._usual, self._mean = usual.astype(np.float32), usual.astype(np.float32)
        self._count, self._last = PICTURES, np.zeros(0, np.float32)

    def __call__(self, descriptor: np.ndarray) -> np.ndarray:
        """A picture's (D,) descriptor, moved, of unit length; the picture is learnt first, unless it is like the last
        one learnt."""
        if self._last.shape != descriptor.shape or float(self._last @ descriptor) <= SAME_PICTURE:
            self._last, self._count = descriptor, min(self._count + 1.0, REMEMBERED)
            self._mean = self._mean + (descriptor - self._mean) / np.float32(self._count)
        return moved(descriptor, self._mean - self._usual)


def shift_of(ahead: Sequence[np.ndarray] | np.ndarray, usual: np.ndarray) -> np.ndarray:
    """(D,) float32: how far the mean of what some views show ahead, (n, D), lies from the model's own; the more views
    there are, the more it is believed. 0 for none."""
    if not len(ahead):
        return np.zeros_like(usual, np.float32)
    return ((np.asarray(ahead) - usual).sum(0) / (VIEWS + len(ahead))).astype(np.float32)


def straight_ahead(headings: np.ndarray) -> int:
    """Which of (n,) headings, radians in the base's frame, lies nearest to straight ahead."""
    return int(np.argmax(np.cos(headings)))


def moved(descriptors: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """(..., D) float32 of unit length: descriptors less a (D,) shift."""
    out = np.asarray(descriptors, np.float32) - shift
    out /= np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-12)
    return out


def scores(descriptors: np.ndarray, query: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """(n,) cosine of a (D,) query and (n, D) descriptors, all of unit length, once the latter are `moved` by a shift,
    which need not be done for it."""
    if not shift.any():
        return descriptors @ query
    against = descriptors @ np.stack([query, shift], 1)
    length = np.sqrt(np.maximum(1.0 - 2.0 * against[:, 1] + shift @ shift, 1e-12))
    return (against[:, 0] - shift @ query) / length
