# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From the candidates of images, one after the other, to an answer that says whether it may be relied on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ms2cl_ros.core import calibration as calibrated
from ms2cl_ros.core.belief import Belief, BeliefModel, Place
from ms2cl_ros.core.calibration import Calibration, Confidence
from ms2cl_ros.core.config import TrustConfig
from ms2cl_ros.core.decision import LOST, Decision
from ms2cl_ros.core.errors import ModelError
from ms2cl_ros.core.frames import JUMP_NS
from ms2cl_ros.core.motion import Odometry, Step, elapsed
from ms2cl_ros.core.retrieval import covariance
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.types import Candidate, StampedPose

# Without a calibration a model's own softmax is believed by half, and a map's other places weigh as much as this.
OWN_SHARE, OWN_ELSEWHERE = 0.5, 2.0
# Cosine of the descriptors of two pictures from places about 2 m apart; alike pictures are of one place.
ALIKE = 0.85


@dataclass(frozen=True)
class Answer:
    """Where the base is, its covariance (6, 6), the state and the probability that it is right."""

    T_map_base: np.ndarray
    covariance: np.ndarray
    state: str
    probability: float


def find_calibration(config: TrustConfig, model: Sidecar) -> Calibration | None:
    """The user's own, else the model's, else None. Raises ModelError for one that cannot be read or does not fit."""
    if config.calibration:
        found = calibrated.load(Path(config.calibration).expanduser(), model.fingerprint)
    elif model.calibration:
        found = Calibration.from_mapping(model.calibration)
    else:
        return None
    sizes = {len(found.centre.camera), len(found.centre.lidar)} if found.centre else set()
    if sizes - {model.embedding.size}:
        raise ModelError(f"the calibration's centre has {sorted(sizes)} numbers, descriptors of {model.name} have "
                         f"{model.embedding.size}: calibrate this model")
    return found


def uncalibrated(found: Sequence[Candidate], logit_scale: float) -> tuple[Candidate, ...]:
    """Evidence for want of a calibration: how far a score stands out from all the others, as the model was trained."""
    scores = np.array([c.score for c in found])
    rest = (scores.sum() - scores) / max(len(scores) - 1, 1) if len(scores) > 1 else np.zeros(1)
    return tuple(dataclasses.replace(c, evidence=float(OWN_SHARE * logit_scale * above))
                 for c, above in zip(found, scores - rest))


class Trust:
    """Belief and decision over a sequence of images. One thread at a time.

    `belief`: as the last image left it. `resets`: how often a clock set back made it forget.
    """

    def __init__(self, config: TrustConfig, calibration: Calibration | None, logit_scale: float) -> None:
        self._config, self._calibration, self._logit_scale = config, calibration, logit_scale
        self._confidence = calibration.confidence if calibration else Confidence(OWN_ELSEWHERE)
        c = self._confidence
        self.belief = Belief(BeliefModel(c.elsewhere, c.offset, c.slope, look=config.look, most_a_look=c.most_a_look))
        self._alone = config.motion == "none"
        self._decision = Decision(self._threshold(), hysteresis=not self._alone)
        self._odometry = Odometry()
        self._last_ns: int | None = None
        self._picture: np.ndarray | None = None
        self.resets = 0

    @property
    def odometry_jumps(self) -> int:
        """Moves of the odometry that were not believed."""
        return self._odometry.jumps

    @property
    def state(self) -> str:
        """LOST, TRACKING or MATCHED after the last image."""
        return self._decision.state

    def _threshold(self) -> float:
        """Probability from which on the target is met: as fitted for one image, if there is something fitted."""
        target = self._config.target_precision
        known = self._calibration.thresholds if self._calibration and self._alone else {}
        fitted = [least for share, least in sorted(known.items()) if share >= target - 1e-9]
        return max(fitted[0] if fitted else target, 0.5)

    def tune(self, target_precision: float) -> None:
        """Another promise, from the next image on; raises nothing, and nothing is forgotten."""
        self._config = dataclasses.replace(self._config, target_precision=target_precision)
        self._decision.demand(self._threshold())

    def reset(self) -> None:
        """Forgets everything: the next image looks in the whole map."""
        self.belief.reset()
        self._decision.reset()
        self._odometry.forget()
        self._last_ns = self._picture = None

    def weigh(self, found: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """The candidates with their evidence, that with the most first."""
        if self._calibration is not None:
            return calibrated.evidence(found, self._calibration)
        return tuple(sorted(uncalibrated(found, self._logit_scale), key=lambda c: -c.evidence))

    def judge(self, found: Sequence[Candidate], stamp_ns: int, odometry: StampedPose | None,
              picture: np.ndarray | None = None) -> Answer | None:
        """What the candidates of an image (with evidence, best first) and all before make of it.

        `picture`: its descriptor (D,), by which images of one place are known where there is no odometry.
        None if nothing is known: no candidate now, and none before.
        """
        if self._last_ns is not None and stamp_ns < self._last_ns - JUMP_NS:
            self.resets += 1
            self.reset()
        seconds = 0.0 if self._last_ns is None else elapsed(self._last_ns, stamp_ns)
        self._last_ns = stamp_ns
        if self._alone:
            return self._judge_alone(found, stamp_ns)
        step = self._odometry.step(odometry if self._config.motion == "odometry" else None, seconds)
        self.belief.predict(step, self._looks_new(picture))
        if picture is not None and not self.belief.looking:
            self._picture = picture
        self.belief.observe(found)
        place = self.belief.best()
        was = self._decision.state
        state = self._decision.update(place, stamp_ns, _way(step))
        if state == LOST and was != LOST:
            self._start_over(found)
            place = self.belief.best()
        return self._answer(place, found, state)

    def _looks_new(self, picture: np.ndarray | None) -> bool | None:
        """Whether a picture differs from the first one of the look; None if that is not known."""
        if picture is None or self._picture is None:
            return None
        return float(picture @ self._picture) < ALIKE

    def _judge_alone(self, found: Sequence[Candidate], stamp_ns: int) -> Answer | None:
        """One image for itself."""
        self.belief.reset()
        self.belief.observe(found)
        place = self.belief.best()
        if place is not None:
            sure = self._single(found)
            place = dataclasses.replace(place, probability=sure, next=min(place.next, 1.0 - sure))
        self._decision.reset()
        return self._answer(place, found, self._decision.update(place, stamp_ns))

    def _single(self, found: Sequence[Candidate]) -> float:
        known = Calibration(calibrated.Evidence(0.0, 1.0), None, self._confidence)
        return calibrated.probability(found, self._calibration or known)

    def _start_over(self, found: Sequence[Candidate]) -> None:
        """A place that was lost keeps no claim; this image is the first one of a new search."""
        self.belief.reset()
        self.belief.observe(found)

    def _answer(self, place: Place | None, found: Sequence[Candidate], state: str) -> Answer | None:
        if state == LOST and found:
            spread = covariance(tuple(found), self._logit_scale)
            return Answer(found[0].T_map_base, spread, state, place.probability if place else 0.0)
        if place is None:
            return None
        return Answer(place.T_map_base, place.covariance, state, place.probability)


def _way(step: Step) -> float:
    """Metres that the base may have gone during a step."""
    return 30.0 * abs(step.seconds) if step.move is None else float(np.hypot(step.move[0], step.move[1]))
