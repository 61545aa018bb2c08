# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The scores that recorded pairs are told apart by: descriptors, ranges, and both as the matcher weighs them."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.core.calibration import Calibration, RangeLikelihood
from ms2cl_ros.core.sidecar import RangeMap, Sidecar
from ms2cl_ros.core.verification import Verifier
from ms2cl_ros.tools.embedding import similarity
from ms2cl_ros.tools.evaluate_drive import Asked, Mapped, Weigh
from ms2cl_ros.tools.evaluate_pairs import BOTH
from ms2cl_ros.tools.pairs import Pairs


def score_kinds(pairs: Pairs, model: Sidecar, calibration: Calibration | None) -> dict[str, np.ndarray]:
    """(N, N) scores, image by scan, by kind: `descriptor` (cosine of descriptors as a robot holds them against each
    other); where model and calibration can, `range` (log-likelihood ratio of a scan's ranges) and `both` (evidence,
    nats)."""
    pairs = pairs.as_on_a_robot(calibration.centre if calibration else None)
    out = {"descriptor": similarity(pairs.images, pairs.scans)}
    if calibration is None or calibration.ranges is None or model.range_map is None or pairs.logits is None:
        return out
    out["range"] = range_scores(pairs, model.range_map, calibration.ranges)
    if calibration.both is not None:
        c = calibration.both
        out[BOTH] = c.offset + c.score * out["descriptor"] + c.ranges * out["range"]
    return out


def range_scores(pairs: Pairs, range_map: RangeMap, likelihood: RangeLikelihood) -> np.ndarray:
    """(N, N) float64 nats, image by scan, each scan at the heading whose descriptor fits best.

    Each drive's images come one after the other to a verifier of their own, which learns from them what this camera
    says everywhere, as on a robot.
    """
    assert pairs.logits is not None and pairs.coarse is not None
    out = np.empty((len(pairs.images),) * 2)
    for number in range(len(pairs.names)):
        verifier = Verifier(range_map, likelihood)
        for i in np.flatnonzero(pairs.drive == number).tolist():
            logits = pairs.logits[i].astype(np.float32)
            verifier.learn(logits, pairs.images[i])
            out[i] = verifier.score(logits, pairs.coarse, pairs.best_headings(i)).scores
    return out


def weigher(asked: Asked, mapped: Mapped, model: Sidecar, calibration: Calibration | None) -> Weigh | None:
    """Evidence as the matcher weighs it, for images that come in the order of their pass; None where model or
    calibration cannot compare ranges."""
    if calibration is None or calibration.ranges is None or calibration.both is None or model.range_map is None:
        return None
    if asked.logits is None or mapped.coarse is None:
        return None
    logits, stored, both = asked.logits, mapped.coarse, calibration.both
    verifier = Verifier(model.range_map, calibration.ranges)

    def weigh(row: int, scans: np.ndarray, cosines: np.ndarray, headings: np.ndarray) -> np.ndarray:
        seen = logits[row].astype(np.float32)
        verifier.learn(seen, asked.descriptors[row])
        return both.offset + both.score * cosines + both.ranges * verifier.score(seen, stored[scans], headings).scores
    return weigh
