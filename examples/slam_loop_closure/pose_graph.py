# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odometry and closures become a pose graph in GTSAM, solved so that false closures lose their say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ms2cl_ros.core.geometry import inverse, wrap, yaw

# One step of KISS-ICP with 16 beams, a sweep every 1.25 m, ROS order, metres and radians: `spread` on the drive of seed
# 2, rounded. Such rings hold the pitch ten times worse than the heading: with one figure for all, closures bend the
# plane.
STEP = np.array([0.02, 0.012, 0.02, *np.deg2rad([0.11, 0.23, 0.02])])
# Steps over which `spread` is taken: 5 m for the position, since over more of them it is what the tilt makes of it;
# 10 m for the angles, whose errors hang together from step to step.
POSITION_STEPS, ANGLE_STEPS = 4, 8
# Where a drive begins is free: it is only held so that the graph has one solution.
START = np.array([1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4])
# Closures with a squared error beyond that share of the chi-squared distribution are outliers.
INLIER_SHARE = 0.99
# Odometry and a match agree where the one puts the other within so many metres and radians.
AGREES_METRES, AGREES_RADIANS = 6.0, np.deg2rad(15.0)
# A false closure, made to see what it does, is at least so many metres off.
FALSE_METRES = 20.0


@dataclass(frozen=True)
class Closure:
    """Pose number `index` of a drive, seen from an earlier one or from a map.

    `T_partner_base`: from pose number `partner`; where that is None, `T_map_base` in a map that is taken as known.
    `covariance`: (6, 6), ROS order (x y z roll pitch yaw), along the axes of the base.
    """

    index: int
    partner: int | None
    T_partner_base: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True)
class Solution:
    """`poses`: (n, 4, 4). `weights`: (m,) of each closure, 1 where it is believed, 0 where it is not."""

    poses: np.ndarray
    weights: np.ndarray


def solve(odometry: np.ndarray, closures: Sequence[Closure], step: np.ndarray = STEP) -> Solution:
    """The trajectory that odometry (n, 4, 4) and closures agree on best.

    Graduated non-convexity with truncated least squares (Yang et al., RA-L 2020): a robust kernel that is sharpened
    while solving, so that good closures that contradict much drift are not lost at the start. `step`: (6,) standard
    deviations of one step of the odometry, ROS order. Against a map, odometry is first laid where most closures agree.
    """
    import gtsam
    anchored = any(c.partner is None for c in closures)
    start = (anchor(odometry, closures) if anchored else np.eye(4)) @ odometry
    graph, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
    # against a map the start is hardly known, otherwise it is the origin
    free = np.array([1e3, 1e3, 1e3, np.pi, np.pi, np.pi]) if anchored else START
    graph.add(gtsam.PriorFactorPose3(0, gtsam.Pose3(start[0]), _noise(np.diag(free**2))))
    for k, T in enumerate(start):
        values.insert(k, gtsam.Pose3(T))
        if k:
            moved = gtsam.Pose3(inverse(odometry[k - 1]) @ odometry[k])
            graph.add(gtsam.BetweenFactorPose3(k - 1, k, moved, _noise(np.diag(step**2))))
    trusted = graph.size()
    for c in closures:
        graph.add(_factor(c))
    if not closures:
        return Solution(start, np.zeros(0))
    settings = gtsam.GncLMParams()
    settings.setLossType(gtsam.GncLossType.TLS)
    settings.setKnownInliers(list(range(trusted)))
    solver = gtsam.GncLMOptimizer(graph, values, settings)
    solver.setInlierCostThresholdsAtProbability(INLIER_SHARE)
    result = solver.optimize()
    poses = np.array([result.atPose3(k).matrix() for k in range(len(start))])
    return Solution(poses, np.asarray(solver.getWeights())[trusted:])


def _factor(c: Closure) -> Any:
    import gtsam
    pose, noise = gtsam.Pose3(c.T_partner_base), _noise(c.covariance)
    if c.partner is None:
        return gtsam.PriorFactorPose3(c.index, pose, noise)
    return gtsam.BetweenFactorPose3(c.partner, c.index, pose, noise)


def _noise(covariance: np.ndarray) -> Any:
    """A covariance in ROS order as GTSAM wants it: rotation first."""
    import gtsam
    order = [3, 4, 5, 0, 1, 2]
    return gtsam.noiseModel.Gaussian.Covariance(covariance[np.ix_(order, order)])


def anchor(odometry: np.ndarray, closures: Sequence[Closure]) -> np.ndarray:
    """`T_map_odom` that most closures against a map agree with: each proposes one, the others vote."""
    known = [c for c in closures if c.partner is None]
    proposals = [c.T_partner_base @ inverse(odometry[c.index]) for c in known]
    votes = []
    for T in proposals:
        off = [T @ odometry[c.index] for c in known]
        votes.append(sum(np.hypot(*(A[:2, 3] - c.T_partner_base[:2, 3])) < AGREES_METRES
                         and abs(wrap(yaw(A) - yaw(c.T_partner_base))) < AGREES_RADIANS
                         for A, c in zip(off, known)))
    return proposals[int(np.argmax(votes))]


def spread(odometry: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(6,) standard deviations of one step of an odometry (n, 4, 4), ROS order, metres and radians, for `solve`.

    From the errors over several steps, as if each step's were independent: what one drive with known poses teaches
    about an odometry, for other drives with it.
    """
    return np.r_[_errors(odometry, truth, POSITION_STEPS)[:3], _errors(odometry, truth, ANGLE_STEPS)[3:]]


def _errors(odometry: np.ndarray, truth: np.ndarray, steps: int) -> np.ndarray:
    moved = [np.linalg.inv(poses[:-steps]) @ poses[steps:] for poses in (truth, odometry)]
    off = np.linalg.inv(moved[0]) @ moved[1]
    errors = np.hstack([off[:, :3, 3], Rotation.from_matrix(off[:, :3, :3]).as_rotvec()])
    return np.sqrt((errors**2).mean(0) / steps)


def with_false_ones(closures: Sequence[Closure], odometry: np.ndarray, share: float, seed: int) -> list[Closure]:
    """The same closures, but a `share` of them, drawn at random, claim the place of another one, `FALSE_METRES` off.

    Places are those that the odometry (n, 4, 4), or the map, has for them.
    """
    rng = np.random.default_rng(seed)
    claimed = [c.T_partner_base if c.partner is None else odometry[c.partner] @ c.T_partner_base for c in closures]
    places = np.array([T[:2, 3] for T in claimed]).reshape(-1, 2)
    out = list(closures)
    for k in rng.choice(len(out), round(share * len(out)), replace=False):
        far = np.flatnonzero(np.linalg.norm(places - places[k], axis=1) > FALSE_METRES)
        other = closures[int(rng.choice(far))]
        out[k] = replace(out[k], partner=other.partner, T_partner_base=other.T_partner_base)
    return out


def onto(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`T_truth_estimate` that lays poses (n, 4, 4) best onto others: least squares of positions, without scale."""
    a, b = estimate[:, :3, 3], truth[:, :3, 3]
    U, _, Vt = np.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)))
    T = np.eye(4)
    T[:3, :3] = U @ np.diag([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))]) @ Vt
    T[:3, 3] = b.mean(0) - T[:3, :3] @ a.mean(0)
    return T


def aligned(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`estimate` (n, 4, 4) turned and shifted as a whole `onto` the truth."""
    return onto(estimate, truth) @ estimate


def ate(estimate: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Absolute trajectory error, root mean square in metres after `aligned`: in `space`, and `level` (x and y only).

    `space` is what `evo_ape tum truth.tum estimate.tum --align` prints as rmse.
    """
    off = aligned(estimate, truth)[:, :3, 3] - truth[:, :3, 3]
    return {"space": float(np.sqrt((off**2).sum(1).mean())), "level": float(np.sqrt((off[:, :2]**2).sum(1).mean()))}
