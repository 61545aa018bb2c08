# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A calibration from a drive whose poses are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ms2cl_ros.core import fitting, sidecar
from ms2cl_ros.core.calibration import SAME_METRES, SAME_RADIANS, Calibration, uncalibrated
from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import model_folder
from ms2cl_ros.core.errors import DataError, TransformError
from ms2cl_ros.core.fitting import Trial
from ms2cl_ros.core.geometry import wrap, yaw
from ms2cl_ros.core.reliability import TARGETS, reliability, thresholds
from ms2cl_ros.core.trust import find_calibration
from ms2cl_ros.core.types import Match
from ms2cl_ros.tools.offline import Motion, Progress, Topics, localize_bag, truth

# Metres of road whose images are left out together: further apart they show other things.
BLOCK = 30.0
Counts = dict[float, tuple[int, int]]


@dataclass(frozen=True)
class Calibrated:
    """`known`: the calibration; the other figures are of images under a fit to the other stretches of the road, and
    `before` it. `before`, `after`: of answers said to be so sure or surer, how many were right and how many there
    were. `model`: fingerprint of the model whose scores these are."""

    known: Calibration
    images: int
    blocks: int
    error_before: float
    error_after: float
    before: Counts
    after: Counts
    model: str


def calibrate_on(bag: Path | str, database: Path | str, config: Config, topics: Topics = Topics(),
                 progress: Progress | None = None) -> Calibrated:
    """Localises a drive in a map and fits a calibration to what its own poses say of the answers.

    What the model brings along is where the fit begins. Raises DataError if the poses are not usable, if too few
    images find their place, or if the drive is one stretch of `BLOCK` metres only.
    """
    model = sidecar.load(model_folder(config.encoder.model))
    start = find_calibration(replace(config.trust, calibration=""), model)
    found = localize_bag(bag, database, config, topics, progress)
    trials = posed_trials(found.matches, truth(bag, config, topics))
    ranges = start.ranges if start else None
    before = fitting.said_and_right(trials, start or uncalibrated(model.embedding.logit_scale))
    after = fitting.left_out(trials, ranges, start)
    known = fitting.fit(trials, ranges, start)
    error_before, error_after = (reliability(*answers).error for answers in (before, after))
    blocks = len({t.block for t in trials})
    reached = {"drive": Path(bag).name, "pictures": len(trials), "stretches": blocks,
               "expected_calibration_error": {"before": round(error_before, 3), "after": round(error_after, 3)}}
    known = replace(known, thresholds=thresholds(*after), reached=reached)
    return Calibrated(known, len(trials), blocks, error_before, error_after, _counts(*before), _counts(*after),
                      model.fingerprint)


def posed_trials(matches: Sequence[Match], motion: Motion) -> list[Trial]:
    """Matches with their candidates held against the drive's own poses, in blocks of `BLOCK` metres of road.

    A candidate is right within 5 m and 20 degrees. Raises DataError if no image has a pose.
    """
    out, travelled, last = list[Trial](), 0.0, None
    for match in sorted(matches, key=lambda m: m.stamp_ns):
        try:
            T = motion.base(match.stamp_ns).T_map_base
        except TransformError:
            continue
        travelled += 0.0 if last is None else float(np.hypot(*(T[:2, 3] - last[:2, 3])))
        last = T
        right = [np.hypot(*(c.T_map_base[:2, 3] - T[:2, 3])) < SAME_METRES
                 and abs(wrap(yaw(c.T_map_base) - yaw(T))) < SAME_RADIANS for c in match.candidates]
        out.append(Trial(match.candidates, np.array(right, bool), int(travelled / BLOCK)))
    if not out:
        raise DataError(f"none of {len(matches)} answers has a pose at its stamp: a calibration wants a drive with "
                        "poses in the map's frame (--poses names their topic)")
    return out


def _counts(said: np.ndarray, right: np.ndarray) -> Counts:
    return {target: (int(right[said >= target].sum()), int((said >= target).sum())) for target in TARGETS[:-1]}


def write(out: Calibrated, path: Path) -> None:
    """A file that `trust.calibration` may name; raises DataError if it cannot be written."""
    import yaml
    tree = {"model": out.model, "calibration": out.known.to_mapping()}
    try:
        path.write_text("# What this model's scores are worth on one drive; written by `ms2cl calibrate`.\n"
                        + yaml.safe_dump(tree, sort_keys=False, width=300))
    except OSError as e:
        raise DataError(f"cannot write the calibration {path}: {e.strerror}") from e
