# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was believed after each image of a drive, and how much of it was true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import entr
from scipy.stats import chi2

from ms2cl_ros.core.belief import Belief, Place
from ms2cl_ros.core.decision import LOST, MATCHED, TRACKING
from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.frames import SECOND
from ms2cl_ros.core.geometry import wrap, yaw
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.reliability import reliability
from ms2cl_ros.core.types import Match
from ms2cl_ros.tools.evaluation import errors, normalised_errors, published

# Right is within this of the truth.
METRES, DEGREES = 5.0, 30.0
# x, y and heading.
FREE, ELLIPSE = 3, 0.95
STATES = (LOST, TRACKING, MATCHED)


@dataclass(frozen=True)
class Moment:
    """One image. `match`: None if there was no candidate; `state`: after it; `place`: where the belief has most mass.

    `entropy`: bits, of all that is believed, the rest of the map and outside of it each as one; `outside`: probability
    of not being in the map. `truth`: `T_map_base` or None where it is not known.
    """

    stamp_ns: int
    match: Match | None
    state: str
    place: Place | None
    entropy: float
    outside: float
    truth: np.ndarray | None = None

    @property
    def told(self) -> bool:
        """Whether a match was published."""
        return self.match is not None and self.state == MATCHED

    @property
    def off(self) -> tuple[float, float]:
        """Metres and degrees from the truth to the match; infinite where either is missing."""
        if self.match is None or self.truth is None:
            return np.inf, np.inf
        metres, degrees = errors([self.match], [self.truth])[0]
        return float(metres), float(degrees)

    @property
    def right(self) -> bool:
        """Whether the match is within METRES and DEGREES of the truth."""
        return is_right(*self.off)


def is_right(metres: float, degrees: float) -> bool:
    """Whether an answer so far off counts as right."""
    return metres < METRES and degrees < DEGREES


def entropy_bits(belief: Belief) -> float:
    """Of the hypotheses, the rest of the map and outside of it."""
    return float(entr([*belief.hypotheses.weights, belief.elsewhere, belief.outside]).sum() / np.log(2.0))


class Watch:
    """Takes down a moment after each image; given to `offline.localize_bag`.

    `truth`: the base's pose in the map at a stamp, which may raise TransformError.
    """

    def __init__(self, truth: Callable[[int], np.ndarray]) -> None:
        self._truth = truth
        self.moments: list[Moment] = []

    def __call__(self, stamp_ns: int, match: Match | None, matcher: Matcher) -> None:
        """After each image."""
        belief = matcher.trust.belief
        try:
            truth = self._truth(stamp_ns)
        except TransformError:
            truth = None
        self.moments.append(Moment(stamp_ns, match, matcher.trust.state, belief.best(), entropy_bits(belief),
                                   belief.outside, truth))


def figures(moments: Sequence[Moment], database: Sequence[np.ndarray]) -> dict[str, Any]:
    """What a drive came to, in plain numbers. `database`: `T_map_base` of the submaps.

    What needs the truth is told of images that have one, and left out if none has.
    """
    states = Counter(m.state for m in moments)
    out: dict[str, Any] = {"images": len(moments), "states": {s: states[s] for s in STATES},
                           "seconds_to_first_match": _seconds_to(moments, lambda m: m.told)}
    known = [m for m in moments if m.truth is not None]
    if not known:
        return out
    out["seconds_to_first_right_match"] = _seconds_to(moments, lambda m: m.told and m.right)
    found = [m for m in known if m.match is not None]
    matches, truths = [m.match for m in found if m.match], [m.truth for m in found if m.truth is not None]
    missed = [m.truth for m in known if m.match is None and m.truth is not None]
    out["published"] = asdict(published(matches, missed, truths, database, METRES, DEGREES))
    out["first_candidate_right"] = _share(is_right(*_candidate_off(m, 0)) for m in found)
    out["a_candidate_right"] = _share(any(candidates_right(m)) for m in found)
    out["published_errors"] = _errors([m for m in found if m.told])
    out["ellipse"] = honesty([m for m in found if m.told and m.right])
    out["expected_calibration_error"] = calibration_error(found)
    return out


def candidates_right(m: Moment) -> list[bool]:
    """Which of a moment's candidates are right; none where the truth is not known."""
    if m.match is None or m.truth is None:
        return []
    return [is_right(*_candidate_off(m, i)) for i in range(len(m.match.candidates))]


def _candidate_off(m: Moment, i: int) -> tuple[float, float]:
    assert m.match is not None and m.truth is not None
    return off(m.match.candidates[i].T_map_base, m.truth)


def off(T: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Metres and degrees from a true `T_map_base` to another."""
    return float(np.hypot(*(T[:2, 3] - truth[:2, 3]))), float(np.rad2deg(abs(wrap(yaw(T) - yaw(truth)))))


def _seconds_to(moments: Sequence[Moment], reached: Callable[[Moment], bool]) -> float | None:
    stamp = next((m.stamp_ns for m in moments if reached(m)), None)
    return None if stamp is None else round((stamp - moments[0].stamp_ns) / SECOND, 3)


def _share(values: Any) -> float:
    counted = [bool(v) for v in values]
    return round(float(np.mean(counted)), 4) if counted else float("nan")


def _errors(told: Sequence[Moment]) -> dict[str, float] | None:
    """Median, 95th percentile and greatest metres and degrees of the moments' matches."""
    if not told:
        return None
    off = np.array([m.off for m in told])
    return {f"{name}_{unit}": round(float(np.quantile(off[:, k], q)), 3) for k, unit in ((0, "m"), (1, "deg"))
            for name, q in (("median", 0.5), ("p95", 0.95), ("max", 1.0))}


def honesty(told: Sequence[Moment]) -> dict[str, float] | None:
    """Whether the covariances of matches mean what they say: the mean normalised squared error of x, y and heading, the
    range in which it lies in 95 of 100 cases if they do and images are independent (`low`, `high`; chi-square), and the
    share within the ellipse that holds 95 %."""
    matches = [m.match for m in told if m.match]
    if not matches:
        return None
    nees = normalised_errors(matches, [m.truth for m in told if m.truth is not None])
    low, high = chi2.ppf([0.025, 0.975], FREE * len(nees)) / len(nees)
    return {"n": len(nees), "mean": round(float(nees.mean()), 3), "low": round(float(low), 3),
            "high": round(float(high), 3),
            "within_95": round(float((nees < chi2.ppf(ELLIPSE, FREE)).mean()), 3)}


def calibration_error(found: Sequence[Moment]) -> float | None:
    """Expected calibration error of the probabilities of all moments, published or not; None without any."""
    said, right = [], []
    for m in found:
        if m.match is None or m.truth is None:
            continue
        said.append(min(m.match.probability, 1.0))
        right.append(is_right(*off(m.match.T_map_base if m.place is None else m.place.T_map_base, m.truth)))
    return round(reliability(np.array(said), np.array(right)).error, 4) if said else None
