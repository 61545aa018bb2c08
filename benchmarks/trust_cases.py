# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a robot may meet with, and what an answer to each image is worth. Used by `trust.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import beta, chi2
from trust_drives import Pictures

from ms2cl_ros.core.calibration import Calibration
from ms2cl_ros.core.config import TrustConfig
from ms2cl_ros.core.geometry import inverse, rotation_z, transform
from ms2cl_ros.core.reliability import reliability
from ms2cl_ros.core.trust import Trust
from ms2cl_ros.core.types import Candidate, Match, StampedPose
from ms2cl_ros.tools.evaluation import normalised_errors
from ms2cl_ros.tools.moments import METRES, Moment, entropy_bits, is_right, off

BLACK = -1
# Farther apart than this, images are not of one stretch: the car went on unseen, at its speed.
GAP, SPEED = 10.0, 8.0
# Odometry: too long by this share, with white noise of this share of the way and of so many radians a step.
DRIFT, TREMBLE = 0.02, np.deg2rad(0.2)
# Jumps of the odometry, metres and degrees to the left, at even spaces along the drive.
JUMPS = ((2.0, 5.0), (5.0, -20.0), (20.0, 90.0))
OUTSIDE_SECONDS, OUTSIDE_HZ = 600.0, 1.5
COVERED_SECONDS, PAUSE_NS = 20.0, 1_000_000_000


@dataclass(frozen=True)
class Case:
    """N images in the order in which a robot takes them. `rows` (N,): which image, BLACK for a covered camera;
    `truths`: `T_map_base`, None outside of the map; `odometry`: (4, 4) each. `event`: from which image on something
    happened."""

    name: str
    stamps_ns: np.ndarray
    rows: np.ndarray
    truths: list[np.ndarray | None]
    odometry: list[np.ndarray]
    event: int | None = None

    @property
    def seconds(self) -> float:
        """From the first to the last image."""
        return float(self.stamps_ns[-1] - self.stamps_ns[0]) / 1e9


def wheels(moves: Sequence[np.ndarray], seed: int, jumps: Sequence[tuple[float, float]] = ()) -> list[np.ndarray]:
    """Poses in a frame of their own from (4, 4) true moves: 2 % too long, noisy, and with jumps."""
    rng, out = np.random.default_rng(seed), [transform([-7.0, 3.0, 0.0]) @ rotation_z(2.0)]
    at = {(k + 1) * len(moves) // (len(jumps) + 1): jump for k, jump in enumerate(jumps)}
    for i, move in enumerate(moves):
        way = float(np.hypot(*move[:2, 3]))
        noisy = move.copy()
        noisy[:2, 3] = (1.0 + DRIFT) * move[:2, 3] + rng.normal(0.0, DRIFT * way, 2)
        noisy = noisy @ rotation_z(rng.normal(0.0, TREMBLE))
        if i in at:
            noisy = transform([0.0, at[i][0], 0.0]) @ rotation_z(np.deg2rad(at[i][1])) @ noisy
        out.append(out[-1] @ noisy)
    return out


def moves_of(poses: Sequence[np.ndarray]) -> list[np.ndarray]:
    """(4, 4) between each pose and the next."""
    return [inverse(a) @ b for a, b in pairwise(poses)]


def drive(pictures: Pictures, seed: int, jumps: Sequence[tuple[float, float]] = (), name: str = "drive",
          shift: np.ndarray | None = None) -> Case:
    """The drive as it was; where images are missing, the time to get there passes. `shift`: moves its truth."""
    poses = [T if shift is None else shift @ T for T in pictures.poses]
    moves = moves_of(poses)
    gap = np.array([float(np.hypot(*m[:2, 3])) for m in moves])
    extra = np.concatenate([[0.0], np.cumsum(np.where(gap > GAP, gap / SPEED, 0.0))])
    stamps = pictures.stamps_ns + np.round(extra * 1e9).astype(np.int64)
    return Case(name, stamps, np.arange(len(poses)), list(poses), wheels(moves, seed, jumps))


def kidnapped(pictures: Pictures, seed: int) -> Case:
    """Its first third, then its last third a second later; the odometry has noticed nothing."""
    whole, n = drive(pictures, seed), len(pictures.poses)
    first, last = np.arange(n // 3), np.arange(2 * n // 3, n)
    moves = [*moves_of(pictures.poses[first]), np.eye(4), *moves_of(pictures.poses[last])]
    stamps = whole.stamps_ns[last] - whole.stamps_ns[last[0]] + whole.stamps_ns[first[-1]] + PAUSE_NS
    rows = np.concatenate([first, last])
    return Case("kidnapped", np.concatenate([whole.stamps_ns[first], stamps]), rows,
                [pictures.poses[i] for i in rows], wheels(moves, seed), len(first))


def covered(pictures: Pictures, seed: int) -> Case | None:
    """A black picture for 20 s from the middle on; None for a drive that is too short."""
    case = drive(pictures, seed)
    begin = case.stamps_ns[len(case.rows) // 2]
    dark = (case.stamps_ns >= begin) & (case.stamps_ns < begin + round(COVERED_SECONDS * 1e9))
    if not (case.stamps_ns >= begin + round(COVERED_SECONDS * 1e9)).any():
        return None
    return replace(case, name="camera covered for 20 s", rows=np.where(dark, BLACK, case.rows),
                   event=len(case.rows) // 2)


def outside(many: Sequence[Pictures], seed: int) -> tuple[Case, np.ndarray]:
    """Ten minutes elsewhere, forwards and backwards through other drives; and (N,) which drive each image is of."""
    rows, part, moves = [], [], []
    wanted = round(OUTSIDE_SECONDS * OUTSIDE_HZ) + 1
    while len(rows) < wanted:
        way = [(k, i) for k, p in enumerate(many) for i in range(len(p.poses))]
        for k, i in [*way, *reversed(way)]:
            if rows:
                same = part[-1] == k and float(np.hypot(
                    *(many[k].poses[i][:2, 3] - many[k].poses[rows[-1]][:2, 3]))) < GAP
                moves.append(inverse(many[k].poses[rows[-1]]) @ many[k].poses[i] if same else np.eye(4))
            rows.append(i)
            part.append(k)
    rows, part, moves = rows[:wanted], part[:wanted], moves[:wanted - 1]
    stamps = np.round(np.arange(wanted) * 1e9 / OUTSIDE_HZ).astype(np.int64) + 10**9
    none: list[np.ndarray | None] = [None] * wanted
    return Case("outside of the map", stamps, np.array(rows), none, wheels(moves, seed)), np.array(part)


# judging -------------------------------------------------------------------------------------------------------------


def replay(case: Case, found: Sequence[tuple[Candidate, ...]], queries: np.ndarray, config: TrustConfig,
           calibration: Calibration | None, logit_scale: float) -> list[Moment]:
    """What a matcher would have made of it. `found`, `queries`: by row, the black picture last."""
    trust, out = Trust(config, calibration, logit_scale), []
    for stamp, row, truth, pose in zip(case.stamps_ns, case.rows, case.truths, case.odometry, strict=True):
        weighed = trust.weigh(found[row]) if found[row] else ()
        answer = trust.judge(weighed, int(stamp), StampedPose(int(stamp), pose), queries[row])
        match = None if answer is None or not weighed else Match(
            int(stamp), answer.T_map_base, answer.covariance, weighed, {}, answer.state, answer.probability)
        out.append(Moment(int(stamp), match, trust.state, trust.belief.best(), entropy_bits(trust.belief),
                          trust.belief.outside, truth))
    return out


@dataclass
class Tally:
    """Of N images: whether one was `told`, whether that was `right`, whether the map knew the place (`known`); `said`
    and `true`: probability of each answer, published or not, and whether it was right; `nees` of right published ones.
    """

    told: np.ndarray
    right: np.ndarray
    known: np.ndarray
    said: np.ndarray = field(default_factory=lambda: np.zeros(0))
    true: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    nees: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(np.concatenate([getattr(t, name) for t in (self, other)])
                       for name in ("told", "right", "known", "said", "true", "nees")))

    def plain(self) -> dict[str, Any]:
        """Figures: `low` bounds precision from below with 95 %, `nees_low` to `nees_high` holds the mean in 95 of 100
        cases if covariances are honest; both as if images were independent, which neighbours are not."""
        told, right = int(self.told.sum()), int(self.right.sum())
        queries, n = int(self.known.sum()), len(self.nees)
        bounds = chi2.ppf([0.025, 0.975], 3 * n) / n if n else (None, None)
        return {"images": len(self.told), "queries": queries, "told": told, "right": right,
                "precision": right / told if told else None,
                "low": float(beta.ppf(0.05, right, told - right + 1)) if right else (0.0 if told else None),
                "recall": int((self.right & self.known).sum()) / queries if queries else None,
                "ece": reliability(self.said, self.true).error if len(self.said) else None,
                "nees": float(self.nees.mean()) if n else None, "nees_low": bounds[0], "nees_high": bounds[1],
                "within_95": float((self.nees < chi2.ppf(0.95, 3)).mean()) if n else None}


def known_places(truths: Sequence[np.ndarray | None], submaps: np.ndarray) -> np.ndarray:
    """(N,) bool: a submap lies within METRES of where the image was taken."""
    return np.array([T is not None and bool((np.hypot(*(submaps[:, :2, 3] - T[:2, 3]).T) < METRES).any())
                     for T in truths])


def tally(moments: Sequence[Moment], submaps: np.ndarray) -> Tally:
    """Of what a matcher told."""
    told = np.array([m.told for m in moments])
    right = np.array([m.told and m.right for m in moments])
    good = [m for m in moments if m.told and m.right]
    answers = [(min(m.match.probability, 1.0), m.truth is not None and is_right(
        *off((m.place or m.match).T_map_base, m.truth))) for m in moments if m.match is not None]
    nees = normalised_errors([m.match for m in good if m.match], [m.truth for m in good if m.truth is not None])
    return Tally(told, right, known_places([m.truth for m in moments], submaps), np.array([a[0] for a in answers]),
                 np.array([a[1] for a in answers], bool), nees)


def guessed(poses: np.ndarray, told: np.ndarray, case: Case, submaps: np.ndarray) -> Tally:
    """Of guesses (N, 4, 4) of which those in `told` are published."""
    right = told & right_of(poses, case)
    return Tally(told, right, known_places(case.truths, submaps))


def right_of(poses: np.ndarray, case: Case) -> np.ndarray:
    """(N,) bool."""
    return np.array([T is not None and is_right(*off(P, T)) for P, T in zip(poses, case.truths, strict=True)])
