# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an exported model's scores are worth, fitted on pairs of cities it was not trained on, and into its sidecar.

    python -m ms2cl_ros.training.calibrate models/ms2cl_city 'packed/city_*.npz'

The pairs are shards as `ms2cl city pack` writes them; of these only the streets that training keeps apart are used
(`--every 20`: the last of every twenty seeds; 1 takes all). All their views are one map, and every picture asks it.
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core import centring, fitting, projection, sidecar
from ms2cl_ros.core.calibration import SAME_METRES, SAME_RADIANS, Calibration, RangeLikelihood, uncalibrated
from ms2cl_ros.core.centring import Centre
from ms2cl_ros.core.config import RetrievalConfig, SubmapsConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import DataError, Ms2clError
from ms2cl_ros.core.fitting import Trial
from ms2cl_ros.core.geometry import distance, rotation_z, transform, wrap, yaw
from ms2cl_ros.core.index import Entry
from ms2cl_ros.core.mapper import headings_around
from ms2cl_ros.core.reliability import reliability, thresholds
from ms2cl_ros.core.retrieval import Verify, candidates
from ms2cl_ros.core.types import Candidate, RangeImage, View
from ms2cl_ros.core.verification import Verifier, log_chances, stack
from ms2cl_ros.tools.embedding import pictures_moved, shift_of_map
from ms2cl_ros.training.looks import Drive, fit_most

HEADINGS, CANDIDATES = SubmapsConfig().headings, RetrievalConfig().candidates
# Cities lie side by side in one map.
FAR_APART = 1e4
# Wrong candidates against which the ranges of a picture's own view are fitted, and pictures that are enough for it.
AGAINST, FOR_RANGES = 10, 250
CAMERA = transform([0.0, 0.0, 0.0], [-0.5, 0.5, -0.5, 0.5])


@dataclass(frozen=True)
class Asked:
    """A picture: `descriptor` (D,), `logits` (bins + 1, rows, columns) or None, the true `T_map_base`, and its city."""

    descriptor: np.ndarray
    logits: np.ndarray | None
    T_map_base: np.ndarray
    city: int
    own: Entry


class Bank:
    """Views searched exactly, each answering with its best heading, as an index does."""

    def __init__(self, entries: Sequence[Entry], centre: Centre | None = None) -> None:
        self._entries = entries
        self._descriptors = np.stack([e.view.descriptors for e in entries])
        if centre is not None:
            shift = shift_of_map(self._descriptors, entries[0].view.headings, centre)
            self._descriptors = centring.moved(self._descriptors, shift)

    def search(self, query: np.ndarray, k: int) -> list[tuple[float, Entry]]:
        """The best heading of each of the `k` best views: (cosine, entry), best first."""
        scores = self._descriptors @ query
        heading, best = scores.argmax(1), scores.max(1)
        return [(float(best[i]), replace(self._entries[i], heading=float(self._entries[i].view.headings[heading[i]])))
                for i in np.argsort(-best, kind="stable")[:k]]


def read(path: Path, encoder: Encoder, number: int) -> list[Asked]:
    """The pairs of one city through the exported model; raises DataError for a shard without views."""
    try:
        with np.load(path) as shard:
            arrays = {key: shard[key] for key in ("img", "view", "moved", "pose")}
    except (OSError, KeyError, ValueError) as e:
        raise DataError(f"{path} is no shard of a mapped city (img, view, moved, pose): {e}") from e
    model, out = encoder.sidecar, []
    grid, around = model.lidar.grid.panorama(), headings_around(HEADINGS)
    valid = np.ones(arrays["img"].shape[1:3], bool)
    for i, (picture, view, moved, pose) in enumerate(zip(*arrays.values(), strict=True)):
        panorama = RangeImage(view.astype(np.float32), grid)
        coarse = projection.coarse(panorama, model.range_map, model.lidar.grid.columns) if model.range_map else None
        T = transform([pose[0] + number * FAR_APART, pose[1], 0.0]) @ rotation_z(float(pose[2]))
        T_view = T @ transform([*moved[:2], 0.0]) @ rotation_z(float(moved[2]))
        looked = View(T_view, around, encoder.embed_turns([panorama], around)[0], coarse,
                      id=number * 100_000 + i + 1)
        descriptor, logits = encoder.embed_image(picture[..., ::-1], valid)
        own = Entry(number, looked, 0.0, np.eye(4))
        out.append(Asked(descriptor, logits, T, number, own))
    return out


def centre_of(asked: Sequence[Asked]) -> Centre:
    """Where the model has the descriptors of pictures, and of what their own views show where these look."""
    looks = [a.own.view.descriptors[_looked_at(a)] for a in asked]
    return Centre(np.mean([a.descriptor for a in asked], 0), np.mean(looks, 0))


def _looked_at(picture: Asked) -> int:
    """Which heading of a picture's own view the camera looked along."""
    truth = wrap(yaw(picture.T_map_base) - yaw(picture.own.view.T_map_base))
    return int(np.argmax(np.cos(picture.own.view.headings - truth)))


def centred(asked: Sequence[Asked], centre: Centre) -> list[Asked]:
    """The pictures with their descriptors moved as the robot does, in each city by a camera that begins anew."""
    found = pictures_moved(np.stack([a.descriptor for a in asked]), np.array([a.city for a in asked]), centre)
    return [replace(a, descriptor=d) for a, d in zip(asked, found, strict=True)]


def ask(asked: Sequence[Asked], bank: Bank, verifier: Verifier | None) -> list[Trial]:
    """Every picture's candidates as the robot would find them, and which are right."""
    out = []
    for picture in asked:
        found = candidates(bank, picture.descriptor, 0.0, CAMERA, CANDIDATES, _verify(picture, verifier))
        out.append(Trial(found, np.array([is_right(c.T_map_base, picture.T_map_base) for c in found]), picture.city))
    return out


def _verify(picture: Asked, verifier: Verifier | None) -> Verify | None:
    if verifier is None or picture.logits is None:
        return None
    logits = picture.logits
    return lambda coarse, headings: verifier.score(logits, coarse, headings)


def is_right(found: np.ndarray, T_map_base: np.ndarray) -> bool:
    """Whether a pose is within 5 m and 20 degrees of the true one, whatever their heights."""
    flat = found.copy()
    flat[2, 3] = T_map_base[2, 3]
    return (distance(flat, T_map_base) < SAME_METRES
            and abs(wrap(yaw(flat) - yaw(T_map_base))) < SAME_RADIANS)


def fit_ranges(asked: Sequence[Asked], bank: Bank, encoder: Encoder) -> RangeLikelihood | None:
    """How a range map's cells count, from each picture's own view against the candidates that are wrong; None for a
    model without a range map."""
    spec = encoder.sidecar.range_map
    if spec is None:
        return None
    said = [np.exp(log_chances(a.logits)).mean(2) for a in asked if a.logits is not None]
    plain = RangeLikelihood(np.ones((2, spec.rows)), np.mean(said, 0))
    verifier, cells, right = Verifier(spec, plain), [], []
    few = np.random.default_rng(0).permutation(len(asked))[:FOR_RANGES]
    for picture in (asked[i] for i in few):
        tried = [replace(picture.own, heading=float(picture.own.view.headings[_looked_at(picture)]))]
        tried += [entry for _, entry in bank.search(picture.descriptor, 2 * AGAINST)
                  if distance(entry.view.T_map_base, picture.T_map_base) > 2 * SAME_METRES][:AGAINST]
        _, coarse = stack([entry.view.coarse for entry in tried])
        assert picture.logits is not None and len(coarse) == len(tried)
        cells.append(verifier.by_row(picture.logits, coarse, np.array([entry.heading for entry in tried])))
        right.append(np.arange(len(tried)) == 0)
    return replace(plain, exponents=fitting.fit_exponents(cells, right))


def fit(asked: Sequence[Asked], entries: Sequence[Entry], encoder: Encoder) -> Calibration:
    """Everything, from some pictures that ask a map."""
    centre = centre_of(asked)
    bank, asked = Bank(entries, centre), centred(asked, centre)
    ranges = fit_ranges(asked, bank, encoder)
    return replace(fitting.fit(ask(asked, bank, _verifier(encoder, ranges)), ranges), centre=centre)


def tried(asked: Sequence[Asked], entries: Sequence[Entry], encoder: Encoder, known: Calibration) -> list[Trial]:
    """Other pictures that ask it under a calibration."""
    assert known.centre is not None
    return ask(centred(asked, known.centre), Bank(entries, known.centre), _verifier(encoder, known.ranges))


def drives(asked: Sequence[Asked], entries: Sequence[Entry], encoder: Encoder, known: Calibration) -> list[Drive]:
    """Each city's pictures as a drive in the map of all cities, and in the map of all others."""
    out = []
    for city in sorted({a.city for a in asked}):
        mine = [a for a in asked if a.city == city]
        for inside in (True, False):
            there = [e for e in entries if inside or e.submap_id != city]
            if not there:
                continue
            trials = tried(mine, there, encoder, known)
            out.append(Drive(tuple(t.candidates for t in trials), np.stack([a.T_map_base for a in mine]), inside))
    return out


def _verifier(encoder: Encoder, ranges: RangeLikelihood | None) -> Verifier | None:
    spec = encoder.sidecar.range_map
    return Verifier(spec, ranges) if spec and ranges else None


def calibrate(encoder: Encoder, shards: Sequence[Path]) -> Calibration:
    """The calibration from all cities; its figures are those of each half of them under a fit to the other half.

    Raises DataError with fewer than two cities, or if the model finds too little in them.
    """
    if len(shards) < 2:
        raise DataError(f"{len(shards)} shards with held-out streets: give two or more cities, so that each can be "
                        "tried under a fit to the others (`--every 1` takes streets that may have been trained on)")
    cities = [read(path, encoder, number) for number, path in enumerate(shards, 1)]
    everyone = [picture for city in cities for picture in city]
    entries = [picture.own for picture in everyone]
    before, after, firsts = [], [], []
    for half in (0, 1):
        known = fit([p for p in everyone if p.city % 2 == half], entries, encoder)
        trials = tried([p for p in everyone if p.city % 2 != half], entries, encoder, known)
        before.append(fitting.said_and_right(trials, uncalibrated(encoder.sidecar.embedding.logit_scale)))
        after.append(fitting.said_and_right(trials, known))
        firsts.append(first_right(trials, known))
    (plain, right), (said, good) = ([np.concatenate(parts) for parts in zip(*answers, strict=True)]
                                    for answers in (before, after))
    reached: dict[str, Any] = {
        "pictures": len(everyone), "cities": len(cities), "headings": HEADINGS,
        "recall@1": {name: _round(np.concatenate([f[name] for f in firsts]).mean()) for name in firsts[0]},
        "expected_calibration_error": {"before": _round(reliability(plain, right).error),
                                       "after": _round(reliability(said, good).error)}}
    known = fit(everyone, entries, encoder)
    known, told = fit_most(drives(everyone, entries, encoder, known), known, is_right,
                           encoder.sidecar.embedding.logit_scale)
    reached["logarithmic_score"] = {str(most): _round(score) for most, score in told.items()}
    return replace(known, thresholds=thresholds(said, good), reached=reached)


def _round(value: float) -> float:
    return round(float(value), 3)


def first_right(trials: Sequence[Trial], known: Calibration) -> dict[str, np.ndarray]:
    """Whether the first candidate is right: by the descriptor alone, by ranges alone, and by both, (N,) bool each."""
    ways: dict[str, Callable[[Candidate], float]] = {"descriptor": lambda c: c.score,
                                                     "ranges": lambda c: c.range_score or 0.0}
    out = {name: np.array([bool(t.right[int(np.argmax([key(c) for c in t.candidates]))]) for t in trials])
           for name, key in ways.items()}
    both = fitting.said_and_right(trials, known)[1]
    return {**out, "both": both}


def main(model: Path, shards: list[str], every: int = 20, dry_run: bool = False) -> None:
    """Calibrates the exported MODEL on the held-out streets of SHARDS (files or patterns), into its sidecar."""
    import yaml

    from ms2cl_ros.core.config import EncoderConfig
    try:
        encoder = Encoder.load(EncoderConfig(model=str(model), threads=2))
        paths = sorted({Path(p) for pattern in shards for p in glob.glob(pattern)})
        kept = [p for p in paths if _seed(p) % every == every - 1]
        known = calibrate(encoder, kept)
        print(yaml.safe_dump({"reached": known.reached, "thresholds": known.thresholds}, sort_keys=False))
        if not dry_run:
            sidecar.save(replace(encoder.sidecar, calibration=known.to_mapping()), encoder.sidecar.folder)
    except Ms2clError as e:
        print(f"error: {e}", file=sys.stderr)
        raise SystemExit(1) from e


def _seed(path: Path) -> int:
    with np.load(path) as shard:
        return int(shard["scene"][0])


if __name__ == "__main__":
    import typer
    typer.run(main)
