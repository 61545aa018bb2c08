# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A turn embedded once: some numbers for each of its azimuth columns, out of which every heading's descriptor is cut.

A strip is (numbers, width) float32. Column 0 begins at azimuth +180 degrees and azimuth falls, as in a panorama; the
last column meets the first.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

ON_BORDER = 1e-6  # in columns: headings are computed, and miss a border by a rounding error


def rounded(strip: np.ndarray) -> np.ndarray:
    """A strip as maps keep it: scaled to at most 1, which no descriptor sees, and rounded to float16; float32."""
    greatest = np.abs(strip).max(initial=0.0)
    scaled = strip / greatest if greatest > 0 else strip
    return scaled.astype(np.float16).astype(np.float32)


def first_columns(headings: np.ndarray, width: int, columns: int) -> np.ndarray | None:
    """(n,) int64: where the windows of `columns` columns begin that are centred on headings (radians) in a strip
    `width` columns around; None unless each begins at a column's border."""
    first = width * (0.5 - np.asarray(headings, np.float64) / (2 * np.pi)) - columns / 2
    whole = np.rint(first)
    if not (np.abs(first - whole) <= ON_BORDER).all():
        return None
    return whole.astype(np.int64) % width


def looks(strip: np.ndarray, first: np.ndarray, columns: int) -> np.ndarray:
    """(n, numbers * columns) float32 of unit length: of a strip (numbers, width) the `columns` from each of the `first`
    (n,) on, round the turn."""
    strip = np.asarray(strip, np.float32)
    at, cells = _places(np.asarray(first, np.int64).tobytes(), *strip.shape, columns)
    length = np.sqrt(np.square(strip).sum(0, dtype=np.float64)[at].sum(1))
    found = strip.reshape(-1)[cells]
    found /= np.maximum(length, 1e-12).astype(np.float32)[:, None]
    return found


@lru_cache(maxsize=16)
def _places(first: bytes, numbers: int, width: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns (n, columns) of each window; where its numbers lie in the flattened strip, (n, numbers * columns)."""
    at = (np.frombuffer(first, np.int64)[:, None] + np.arange(columns)) % width
    cells = np.arange(numbers)[None, :, None] * width + at[:, None, :]
    return at, cells.reshape(len(at), -1)
