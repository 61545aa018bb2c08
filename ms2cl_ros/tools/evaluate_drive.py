# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The protocols carried out: embedded images ask embedded scans along routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ms2cl_ros.core.centring import Centre
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.tools import protocols
from ms2cl_ros.tools.embedding import centred, similarities
from ms2cl_ros.tools.precision_recall import Curve, curve
from ms2cl_ros.tools.protocols import Protocol
from ms2cl_ros.tools.recall import MISSED, Ranked, Recall, joined, rank, recall, segments
from ms2cl_ros.tools.routes import Route

DIRECTIONS = ("same", "opposite", "side", "both")
# The radius that directions, errors and precision are told for, where a protocol has several.
USUAL = 10.0
# Answers that are weighed anew, and how far below them all others stay.
WEIGHED, BELOW = 50, 2.0
Weigh = Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Row of the image, (k,) scans, their cosines and headings -> (k,) evidence, nats."""


@dataclass(frozen=True)
class Asked:
    """Q images. `descriptors`: (Q, D); `route`: where the base was; `heading`: (Q,) radians, where the camera looks in
    the base's frame (to the left); `logits`: (Q, bins + 1, rows, columns) float16 of the range map, where kept."""

    descriptors: np.ndarray
    route: Route
    heading: np.ndarray
    logits: np.ndarray | None = None


@dataclass(frozen=True)
class Mapped:
    """M scans. `descriptors`: (M, n, D); `route`; `headings`: (n,) radians in the base's frame, where each looks;
    `coarse`: (M, rows, turn) uint8, their ranges in bins, where kept."""

    descriptors: np.ndarray
    route: Route
    headings: np.ndarray
    coarse: np.ndarray | None = None


def as_on_a_robot(asked: Asked, mapped: Mapped, centre: Centre | None) -> tuple[Asked, Mapped]:
    """Both with the descriptors that matcher and index would hold against each other; images come in order."""
    images, scans = centred(asked.descriptors, np.zeros(len(asked.descriptors), int), mapped.descriptors,
                            mapped.headings, centre)
    return replace(asked, descriptors=images), replace(mapped, descriptors=scans)


@dataclass(frozen=True)
class Answers:
    """First answers of the frames in `rows`: `scan` int (MISSED where none was allowed), `score`, `metres` to it, and
    `degrees` between where the camera looks and where the answer says it does."""

    rows: np.ndarray
    scan: np.ndarray
    score: np.ndarray
    metres: np.ndarray
    degrees: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """`recalls`: by group ("all"; of E also DIRECTIONS) and radius; `ranked`: by radius; `curve`: at the usual one."""

    protocol: Protocol
    recalls: Mapping[str, Mapping[float, Recall]]
    ranked: Mapping[float, Ranked]
    answers: Answers
    curve: Curve
    score: str = "descriptor"

    @property
    def usual(self) -> float:
        """The radius that errors and precision are told for."""
        return usual(self.protocol)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        p = self.protocol
        return {"protocol": p.letter, "score": self.score, "rule": p.rule, "axes": p.axes,
                "recall": {g: {f"{r:g}": v.plain() for r, v in by.items()} for g, by in self.recalls.items()},
                "localisation": localisation(self), "precision_recall": {"radius": self.usual, **self.curve.plain()}}


def usual(protocol: Protocol) -> float:
    """The radius that directions, errors and precision are told for."""
    return USUAL if USUAL in protocol.radii else protocol.radii[0]


def evaluate(protocol: Protocol, asked: Asked, mapped: Mapped, weigh: Weigh | None = None) -> Outcome:
    """Carries a protocol out: with `protocol.one_pass`, both have the same frames of one route.

    `weigh`: gives the WEIGHED best answers by descriptor another order; the images come to it in turn.
    Raises DataError if the pass is too short for any frame to ask.
    """
    rows = protocols.askers(protocol, asked.route)
    if not len(rows) or not len(mapped.route):
        raise DataError(f"protocol {protocol.letter} ({protocol.rule}) has {len(rows)} queries and "
                        f"{len(mapped.route)} scans here: the pass is too short for it")
    found: dict[float, list[Ranked]] = {r: [] for r in protocol.radii}
    ways: dict[float, list[np.ndarray]] = {r: [] for r in protocol.radii}
    firsts = []
    for part in protocols.blocks(rows, len(mapped.route) * mapped.descriptors.shape[1]):
        [(_, scores, looks)] = similarities(asked.descriptors[part], mapped.descriptors)
        allowed = protocols.answerable(protocol, asked.route, part, mapped.route)
        metres = protocols.distances(protocol, asked.route, part, mapped.route)
        if weigh is not None:
            scores = np.stack([_weighed(weigh, int(row), s, there, mapped.headings[h])
                               for row, s, there, h in zip(part, scores, allowed, looks)])
        for r in protocol.radii:
            right = protocols.within(protocol, metres, r)
            found[r].append(rank(scores, allowed, right))
            ways[r].append(protocols.directions(asked.route, part, mapped.route, right & allowed))
        firsts.append(_first(asked, mapped, part, found[r][-1].best, scores, metres, looks))
    ranked = {r: joined(parts) for r, parts in found.items()}
    answers = Answers(rows, *(np.concatenate(values) for values in zip(*firsts)))
    places = segments(asked.route.travelled)[rows]
    recalls = {"all": {r: recall(f, places, r) for r, f in ranked.items()}}
    if protocol.letter == "E":
        for name in DIRECTIONS:
            those = {r: np.concatenate(ways[r]) == name for r in protocol.radii}
            recalls[name] = {r: recall(f.only(those[r]), places[those[r]], r) for r, f in ranked.items()}
    return Outcome(protocol, recalls, ranked, answers, _curve(protocol, ranked, answers),
                   "both" if weigh else "descriptor")


def _weighed(weigh: Weigh, row: int, scores: np.ndarray, allowed: np.ndarray, headings: np.ndarray) -> np.ndarray:
    """(M,) scores in which the best allowed are worth their evidence, and all others less, in their old order."""
    there = np.flatnonzero(allowed)
    if not len(there):
        return scores
    best = there[np.argsort(-scores[there], kind="stable")[:WEIGHED]]
    evidence = weigh(row, best, scores[best], headings[best])
    out = scores + (float(evidence.min()) - BELOW)
    out[best] = evidence
    return out


def _first(asked: Asked, mapped: Mapped, rows: np.ndarray, best: np.ndarray, scores: np.ndarray, metres: np.ndarray,
           looks: np.ndarray) -> tuple[np.ndarray, ...]:
    each = np.arange(len(rows))
    # of a route, headings grow to the right; of sensors, to the left
    told = mapped.headings[looks[each, best]] - mapped.route.heading[best]
    true = asked.heading[rows] - asked.route.heading[rows]
    degrees = np.degrees(np.abs((told - true + np.pi) % (2 * np.pi) - np.pi))
    nothing = best == MISSED
    return (best, np.where(nothing, -np.inf, scores[each, best]), np.where(nothing, np.inf, metres[each, best]),
            np.where(nothing, np.nan, degrees))


def _curve(protocol: Protocol, ranked: Mapping[float, Ranked], answers: Answers) -> Curve:
    found = ranked[usual(protocol)]
    asked = found.best != MISSED
    return curve(answers.score[asked], (found.hit == 0)[asked], (found.right > 0)[asked])


def localisation(outcome: Outcome) -> dict[str, Any]:
    """Of queries that have a right answer within the usual radius: metres from the first answer to the truth (median,
    90th percentile), and of those first answers that are right, metres and degrees (median)."""
    found = outcome.ranked[outcome.usual]
    counted, right = found.right > 0, found.hit == 0
    metres, degrees = outcome.answers.metres, outcome.answers.degrees

    def at(values: np.ndarray, share: float) -> float | None:
        return round(float(np.quantile(values, share)), 3) if len(values) else None
    return {"radius": outcome.usual, "metres_median": at(metres[counted], 0.5), "metres_p90": at(metres[counted], 0.9),
            "right_metres_median": at(metres[right], 0.5), "right_degrees_median": at(degrees[right], 0.5)}
