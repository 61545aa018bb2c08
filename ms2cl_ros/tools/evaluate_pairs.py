# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval on recorded drives in the compact layout: every image asks the scans of all drives together.

A right answer is a scan of the same drive nearer than a radius; where no poses are known (single scenes), it is the
image's own scan alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ms2cl_ros.tools.consecutive import FRAMES, Drives, over_frames
from ms2cl_ros.tools.pairs import Pairs
from ms2cl_ros.tools.recall import Recall, rank, recall, segments

RADII, RANKS = (2.0, 5.0, 10.0), ("1", "5")
OWN_IN = None
# Scans of the image's drive nearer than this are left out, its own in any case; OWN_IN leaves none out.
GAPS = (OWN_IN, 0.0, 1.0, 2.0, 3.0, 4.0)
# Scores that are log-likelihood ratios of "it is here", and so add up from frame to frame.
BOTH, OVER_FRAMES = "both", f"both_{FRAMES}_frames"
SINGLE, ALL = "single_scenes", "all"
# More segments than a drive has.
DRIVE_STRIDE = 10 ** 6


def left_out(pairs: Pairs, gap: float | None) -> np.ndarray:
    """(N, N) bool: the scans that an image may not be answered with; see GAPS."""
    out = np.zeros((len(pairs.images),) * 2, bool)
    if gap is not None:
        out = pairs.apart() < gap
        np.fill_diagonal(out, True)
    return out


@dataclass(frozen=True)
class Group:
    """Figures of some queries under one rule of what is left out: by radius, and the share whose first answer lies in
    the right drive, of all that were asked."""

    by_radius: dict[float, Recall]
    right_drive: float


Evaluated = dict[str, dict[str, dict[float | None, Group]]]
"""By group of images, score kind and what is left out."""


def figures(pairs: Pairs, scores: np.ndarray, queries: np.ndarray, gap: float | None) -> Group:
    """Of (N, N) scores, image by scan, and (N,) bool which images ask."""
    chosen = np.flatnonzero(queries)
    allowed, apart = ~left_out(pairs, gap)[chosen], pairs.apart()[chosen]
    found = {r: rank(scores[chosen], allowed, apart < r) for r in RADII}
    route = segments(pairs.travelled)[chosen] + DRIVE_STRIDE * pairs.drive[chosen]
    best = found[RADII[0]].best
    right_drive = (pairs.drive[best] == pairs.drive[chosen])[best >= 0]
    return Group({r: recall(f, route, r, RANKS) for r, f in found.items()}, float(right_drive.mean()))


def groups(pairs: Pairs) -> dict[str, np.ndarray]:
    """Which images are told about together, (N,) bool by name: each drive, all of them, the single scenes."""
    single, out = pairs.single(), {}
    for number, name in enumerate(pairs.names):
        mine = pairs.drive == number
        if not single[mine].any():
            out[name] = mine
    if out:
        out[ALL] = ~single
    if single.any():
        out[SINGLE] = single
    return out


def evaluate_pairs(pairs: Pairs, scores: Mapping[str, np.ndarray], gaps: Sequence[float | None] = GAPS) -> Evaluated:
    """Figures of (N, N) scores, image by scan, by kind; those called BOTH are taken over several frames, too.

    Single scenes have no other right answer than their own scan, so that of theirs nothing is ever left out.
    """
    out: Evaluated = {}
    drives = Drives(pairs.drive, pairs.poses, pairs.posed)
    for gap in gaps:
        kinds = dict(scores)
        if BOTH in kinds:
            kinds[OVER_FRAMES] = over_frames(kinds[BOTH], ~left_out(pairs, gap), drives, drives)
        for name, queries in groups(pairs).items():
            for kind, values in kinds.items():
                if name != SINGLE or gap is OWN_IN:
                    out.setdefault(name, {}).setdefault(kind, {})[gap] = figures(pairs, values, queries, gap)
    return out
