# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Bayes filter over where the base is: a few weighted hypotheses, the rest of the map, and outside of the map.

Three kinds of mass sum to 1: the hypotheses; `elsewhere`, spread evenly over the rest of the map, to which what is
dropped goes and from which a candidate where no hypothesis is draws its prior; `outside`, not in the map at all.

Images of one place resemble each other, and so do their errors. They are therefore taken together as one *look* while
the base stays within `BeliefModel.look` metres: within a look evidence is averaged, only from look to look it adds up.
A robot that stands still learns from its first image and from the average of all of them, not from their number.

A step costs the same whatever the history and the size of the map: `KEPT` hypotheses times the candidates of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import erf

from ms2cl_ros.core.geometry import rotation_z, yaw
from ms2cl_ros.core.hypotheses import Hypotheses, composed, near, wrapped
from ms2cl_ros.core.motion import Step
from ms2cl_ros.core.retrieval import UNKNOWN_METRES, UNKNOWN_RADIANS, VIEW_METRES, VIEW_RADIANS
from ms2cl_ros.core.types import Candidate

KEPT, LEAST = 128, 1e-6
# Of so many of the heaviest hypotheses it is asked which one stands amid the most mass.
HEADS = 8
# A place is what lies within this of its middle.
PLACE_METRES, PLACE_RADIANS = 5.0, np.deg2rad(30.0)
# Turned this far, the camera looks at something else.
LOOK_RADIANS = np.deg2rad(25.0)
# Images that the average of a look reaches back over, so that a standing robot forgets what it saw minutes ago.
MEMORY = 20
# Metres a second that a robot has of which nothing is known.
SPEED = 8.0
# What no number of images tells, metres along and aside of the base, radians: all views of a road may be to one side.
UNSEEN_ALONG, UNSEEN_ASIDE, UNSEEN_RADIANS = 0.5, 0.8, np.deg2rad(1.5)


@dataclass(frozen=True)
class BeliefModel:
    """What the filter takes for granted.

    `elsewhere`: evidence of all places together that are not among the candidates, nats; `offset` and `slope` make the
    log odds of candidates against it right (all three as in `calibration.Confidence`).
    `hit`: probability that a candidate shows the place where the base is. `outside`: prior of not being in the map.
    `places`: how many places of a map look different enough for a wrong one not to come back by itself; the fewer, the
    less it counts that a hypothesis is found again. `leak`: share of the mass that is set free at each look, for a
    robot that was carried away or that enters or leaves the map. `look`: metres. `most_a_look`: nats that a look tells
    at most for a place against being outside.
    """

    elsewhere: float = 0.0
    offset: float = 0.0
    slope: float = 1.0
    hit: float = 0.85
    outside: float = 0.1
    places: float = 20.0
    leak: float = 1e-3
    look: float = 6.0
    most_a_look: float = float("inf")

    @property
    def miss(self) -> float:
        """Log-likelihood ratio, against being outside, of a place that no candidate shows."""
        return float(np.log(1.0 - self.hit))

    def said(self, evidence: np.ndarray) -> np.ndarray:
        """Log-likelihood ratio, against being outside, of a place that a candidate with this evidence shows.

        Chosen so that one image after an even prior gives the best candidate the odds that the calibration does. Where
        that is more than `most_a_look`, all get so much less: among themselves they stand as before.
        """
        inside = 1.0 - self.outside
        rest = (inside * (1.0 - self.hit) + self.outside) / inside
        told = self.offset + self.slope * (evidence - self.elsewhere) + np.log(rest * self.among(len(evidence)))
        return told - max(0.0, float(told.max(initial=-np.inf)) - self.most_a_look)

    def among(self, candidates: int) -> float:
        """Of how many places so many candidates are the answer; a few are always left over."""
        return max(self.places, 1.25 * candidates)


@dataclass(frozen=True)
class Place:
    """The most probable place, and how probable the next different one is.

    `covariance`: (6, 6), ROS order, map frame. `shown`: whether the last image's candidates speak for it.
    """

    T_map_base: np.ndarray
    covariance: np.ndarray
    probability: float
    next: float
    shown: bool


class Belief:
    """The filter. `predict` with what the base did, then `observe` what its camera saw. One thread at a time."""

    def __init__(self, model: BeliefModel | None = None) -> None:
        self.model = model or BeliefModel()
        self.reset()

    def reset(self) -> None:
        """Knows nothing: all mass is spread over the map and outside of it."""
        self.hypotheses = Hypotheses.none()
        self.elsewhere, self.outside = 1.0 - self.model.outside, self.model.outside
        self._begin_look()

    def _begin_look(self) -> None:
        self._images, self._seconds = 0, 0.0
        self._seen_elsewhere = 0.0  # nats that this look has told of the rest of the map
        self._moved: np.ndarray | None = np.zeros(3)  # since the look began; None: no odometry
        self._began: np.ndarray | None = None  # where the best hypothesis was then

    # motion --------------------------------------------------------------------------------------------------------

    def predict(self, step: Step, looks_new: bool | None = None) -> None:
        """Carries the hypotheses along; closes the look if the base has moved on.

        Without odometry, `looks_new` says whether it has, as far as the pictures tell; None: the hypotheses tell.
        """
        seconds = abs(step.seconds)
        self._seconds += seconds
        if step.move is None or step.covariance is None:
            self.hypotheses, self._moved = self.hypotheses.coasted(seconds), None
        else:
            self.hypotheses = self.hypotheses.driven(step.move, step.covariance, seconds)
            if self._moved is not None:
                self._moved = composed(self._moved[None], step.move)[0]
        if self._images and (self._moved_on() if self._moved is not None or looks_new is None else looks_new):
            self._close_look()

    @property
    def looking(self) -> bool:
        """Whether an image of the present look has been observed."""
        return self._images > 0

    def _moved_on(self) -> bool:
        moved = self._moved
        if moved is None:
            if self._began is None or not len(self.hypotheses):
                return self._seconds * SPEED >= self.model.look
            moved = self.hypotheses.poses[0, :3] - self._began
            moved[:2] *= min(1.0, 4 * SPEED * self._seconds / max(float(np.hypot(*moved[:2])), 1e-6))
        turned = abs(float(wrapped(moved[2:])[0]))
        return float(np.hypot(*moved[:2])) >= self.model.look or turned >= LOOK_RADIANS

    def _close_look(self) -> None:
        """What it told counts for good; a little of all mass is set free.

        A hypothesis that has stayed where it was, as one may without odometry, stays in its own look: a view that many
        places resemble is found again and again, and that must not add up.
        """
        leak, known = self.model.leak, self.hypotheses
        freed, back, away = leak * known.weights.sum() / 2, leak * self.outside, leak * self.elsewhere
        self.elsewhere += freed + back - away
        self.outside += freed + away - back
        known = known.moved_on(self.model.look / 2, LOOK_RADIANS / 2)
        self.hypotheses = replace(known, weights=(1.0 - leak) * known.weights)
        self._begin_look()

    # measurement ---------------------------------------------------------------------------------------------------

    def observe(self, candidates: Sequence[Candidate]) -> None:
        """Takes in the candidates of one image, with their evidence; none at all speaks against the whole map."""
        self._images += 1
        miss, known = self.model.miss, replace(self.hypotheses, images=self.hypotheses.images + 1.0)
        share = max(1.0 / self._images, 1.0 / MEMORY)
        told, known = self._listen(candidates, known) if candidates else (np.full(len(known), miss), known)
        born = self._born(candidates, share, self.hypotheses) if candidates else Hypotheses.none()
        change = np.maximum(1.0 / known.images, 1.0 / MEMORY) * (told - known.seen)
        known = replace(known, weights=known.weights * np.exp(change), seen=known.seen + change)
        change_elsewhere = share * (miss - self._seen_elsewhere)
        self.elsewhere *= float(np.exp(change_elsewhere))
        self._seen_elsewhere += change_elsewhere
        self._tidy(known.joined(born))
        if self._began is None and len(self.hypotheses):
            self._began = self.hypotheses.poses[0, :3].copy()

    def _listen(self, candidates: Sequence[Candidate], known: Hypotheses) -> tuple[np.ndarray, Hypotheses]:
        """What an image says of each hypothesis, nats (n,), and the hypotheses pulled towards what suits them."""
        noise = _noise(candidates[0])
        off = known.offsets(_poses(candidates))
        said = self.model.said(_evidence(candidates))[None] + known.fit(off, noise)
        best, miss = said.max(1, initial=-np.inf), self.model.miss
        told = np.logaddexp(miss, best)
        shares = np.exp(said - best[:, None])
        shares *= np.exp(best - told)[:, None] / shares.sum(1, keepdims=True)
        # by odometry, later images of a look tell less and less of where it is, together at most 1.7 times the first
        repeated = np.ones(len(known)) if self._moved is None else known.images**2
        pulled = known.pulled(off, shares, noise * repeated[:, None, None])
        ground = np.array([c.T_map_base for c in candidates])[shares.argmax(1)]
        grounds = np.where((best > 0.0)[:, None, None], ground, known.grounds)
        return told, replace(pulled, grounds=grounds, shown=best > 0.0)

    def _born(self, candidates: Sequence[Candidate], share: float, known: Hypotheses) -> Hypotheses:
        """A hypothesis for each candidate, with mass from the rest of the map, which loses it.

        Candidates that show one place share the prior of that one place, each in proportion to its evidence. Where
        hypotheses are `known`, only what they lack of an even prior is drawn: nothing is drawn twice.
        """
        poses, said = _poses(candidates), self.model.said(_evidence(candidates))
        here = np.where(near(poses, poses, PLACE_METRES, PLACE_RADIANS), said[None], -np.inf)
        best = here.max(1)
        there = near(poses, known.poses[:, :3], PLACE_METRES, PLACE_RADIANS) @ known.weights
        prior = np.maximum(self.elsewhere / self.model.among(len(said)) - there, 0.0)
        prior *= np.exp(said - best) / np.exp(here - best[:, None]).sum(1)
        change = share * (best - self._seen_elsewhere)
        self.elsewhere -= float(prior.sum())
        k = len(said)
        spread = np.zeros((k, 4, 4))
        spread[:, :3, :3], spread[:, 3, 3] = _noise(candidates[0]), SPEED**2
        return Hypotheses(prior * np.exp(change), np.column_stack([poses, np.zeros(k)]), spread,
                          self._seen_elsewhere + change, np.full(k, float(self._images)), poses,
                          np.array([c.T_map_base for c in candidates]), best > 0.0)

    def _tidy(self, known: Hypotheses) -> None:
        """Merges, keeps the heaviest, gives the mass of the others to the rest of the map; all mass sums to 1."""
        known = known.merged() if len(known) else known
        total = known.weights.sum() + self.elsewhere + self.outside
        keep = np.flatnonzero(known.weights > LEAST * total)[:KEPT]
        dropped = float(known.weights.sum() - known.weights[keep].sum())
        kept = known.taken(keep)
        self.hypotheses = replace(kept, weights=kept.weights / total)
        self.elsewhere, self.outside = (self.elsewhere + dropped) / total, self.outside / total

    # answers -------------------------------------------------------------------------------------------------------

    def best(self) -> Place | None:
        """The place with the most mass around it; None where nothing is known."""
        known = self.hypotheses
        if not len(known):
            return None
        certain = known.weights * _inside(known.spreads)
        places = known.within(PLACE_METRES, PLACE_RADIANS, HEADS)
        mass = places @ certain
        middle = int(mass.argmax())
        here = places[middle]
        others = [float(known.weights[place & ~here].sum()) for i, place in enumerate(places) if not here[i]]
        shown = bool(known.weights[here & known.shown].sum() > 0.5 * known.weights[here].sum())
        return Place(*self._moments(middle, here), float(mass[middle]), max(others, default=0.0), shown)

    def _moments(self, middle: int, here: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`T_map_base` and covariance (6, 6) of the hypotheses `here` (n,) bool, around one of them.

        What no number of images tells comes on top. Height, roll and pitch are unknown and say so.
        """
        known = self.hypotheses
        share = known.weights[here] / known.weights[here].sum()
        off = known.poses[here, :3] - known.poses[middle, :3]
        off[:, 2] = wrapped(off[:, 2])
        mean = share @ off
        off -= mean
        spread = np.einsum("n,nij->ij", share, known.spreads[here][:, :3, :3] + off[:, :, None] * off[:, None, :])
        ground = known.grounds[middle]
        pose = known.poses[middle, :3] + mean
        R = rotation_z(pose[2])[:3, :3]
        unseen = R @ np.diag([UNSEEN_ALONG, UNSEEN_ASIDE, UNSEEN_RADIANS]) ** 2 @ R.T
        C = np.diag([0.0, 0.0, UNKNOWN_METRES**2, UNKNOWN_RADIANS**2, UNKNOWN_RADIANS**2, 0.0])
        C[np.ix_([0, 1, 5], [0, 1, 5])] = (spread + spread.T) / 2 + (unseen + unseen.T) / 2
        T = ground.copy()
        T[:3, :3] = rotation_z(pose[2] - yaw(ground))[:3, :3] @ ground[:3, :3]
        T[:2, 3] = pose[:2]
        return T, C


def _poses(candidates: Sequence[Candidate]) -> np.ndarray:
    """(k, 3) x y yaw."""
    return np.array([[*c.T_map_base[:2, 3], yaw(c.T_map_base)] for c in candidates])


def _evidence(candidates: Sequence[Candidate]) -> np.ndarray:
    return np.array([c.evidence for c in candidates])


def _noise(candidate: Candidate) -> np.ndarray:
    """(3, 3) of a right candidate's pose about the true one: views stand apart, and so do headings."""
    return np.diag([VIEW_METRES**2, VIEW_METRES**2, candidate.heading_step**2 / 12 + VIEW_RADIANS**2])


def _inside(spreads: np.ndarray) -> np.ndarray:
    """(n,) share of each Gaussian (n, 4, 4) that lies within a place about its own middle."""
    variance = (spreads[:, 0, 0] + spreads[:, 1, 1]) / 2
    turned = np.sqrt(np.maximum(spreads[:, 2, 2], 1e-12))
    return (1.0 - np.exp(-PLACE_METRES**2 / (2 * variance))) * erf(PLACE_RADIANS / (turned * np.sqrt(2)))
