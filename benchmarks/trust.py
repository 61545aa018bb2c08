#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""May a published match be relied on? Precision and recall of what is told, against what one would do without.

    ms2cl demo --out k08 --route kitti:08 --length 1600 --seed 900008          # once; likewise another city
    python benchmarks/trust.py k08 k00 --drives DATA --cache CACHE --json trust.json --markdown docs/trust.md

Folders are those that `ms2cl demo` wrote; `--drives` names recorded drives in the compact layout, of which every other
frame maps and the others ask. Right is within 5 m and 30 degrees; recall counts images with a submap within 5 m.
Odometry is made from the true poses: 2 % too long, with white noise of 2 % of the way and of 0.2 degrees an image. In
time, stretches of which a drive has no images take as long as at 8 m/s.

Maps, embeddings and candidates are kept in the cache by model, calibration and settings, so that a run that was stopped
goes on. After a change of the code that finds or compares candidates, remove asked_* there.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from trust_cases import JUMPS, Case, Tally, covered, drive, guessed, kidnapped, outside, replay, right_of, tally
from trust_drives import (
    Asked,
    Cache,
    Pictures,
    Place,
    Together,
    along_route,
    ask,
    map_of_bag,
    map_of_drive,
    open_index,
    pictures_of_bag,
    pictures_of_drive,
    submaps_of,
)
from trust_tables import WAYS, markdown, show, written

from ms2cl_ros.core import sidecar
from ms2cl_ros.core.config import Config, EncoderConfig
from ms2cl_ros.core.encoder import Encoder, model_folder
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.trust import find_calibration
from ms2cl_ros.tools.compact import drive_folders
from ms2cl_ros.tools.moments import Moment, candidates_right
from ms2cl_ros.tools.rivals import FRAMES, Guesses, best_candidates, confirmed, least_threshold, sequences

TARGETS = (0.9, 0.99, 0.999)
USUAL = 0.99
LAST = (3, 5, 10)
SEED = 0
APART, COPY = transform([0.0, 20_000.0, 0.0]), transform([0.0, 5_000.0, 0.0])
Found = dict[str, Tally]


class Bench:
    """The model, the settings and the cache; what is asked of whom."""

    def __init__(self, config: Config, cache: Path) -> None:
        self.config = config
        self.encoder = Encoder.load(config.encoder)
        model = self.encoder.sidecar
        self.calibration = find_calibration(config.trust, model)
        self.cache = Cache(cache, model.fingerprint)
        self._known = repr((self.calibration.to_mapping() if self.calibration else None, config.retrieval))

    def place(self, folder: Path, kind: str) -> Place:
        """A drive with its map, made if need be."""
        name, config = folder.name, self.config
        make_pictures, make_map = ((lambda: pictures_of_bag(folder, config, self.encoder)), map_of_bag) if (
            kind == "synthetic") else ((lambda: pictures_of_drive(folder, self.encoder)), map_of_drive)
        pictures = self.cache.get(make_pictures, f"pictures_{name}", str(folder.resolve()))
        output = self.cache.path(f"map_{name}", str(folder.resolve()), config.submaps, config.views, config.sensors,
                                 suffix=".db")
        path = make_map(folder, output, config, self.encoder)
        return Place(name, kind, pictures, path, submaps_of(path))

    def asked(self, name: str, pictures: Pictures,
              parts: list[tuple[Path, np.ndarray, frozenset[int] | None]]) -> Asked:
        """The candidates of a drive's pictures in one or several maps taken as one."""
        def make() -> Asked:
            with ExitStack() as stack:
                indexes = {}
                for path, _, _ in parts:
                    if path not in indexes:
                        store, indexes[path] = open_index(path, self.config, self.encoder)
                        stack.enter_context(store)
                whole = Together([(indexes[path], T, kept) for path, T, kept in parts])
                return ask(pictures, whole, self.config, self.encoder)
        key = [(str(path), path.stat().st_size, T.tobytes(), kept and sorted(kept)) for path, T, kept in parts]
        return self.cache.get(make, f"asked_{name}", self._known, key)

    def judged(self, case: Case, found: Asked, queries: np.ndarray, way: str, target: float) -> list[Moment] | None:
        """What the matcher makes of a case in one of the WAYS; None where that needs a range likelihood."""
        motion, compared = WAYS[way]
        candidates = found.verified if compared else found.alone
        if candidates is None:
            return None
        trust = replace(self.config.trust, motion=motion, target_precision=target, verify=compared)
        return replay(case, candidates, queries, trust, self.calibration, self.encoder.sidecar.embedding.logit_scale)


def own_map(bench: Bench, place: Place) -> Asked:
    """A drive asks its own map."""
    return bench.asked(place.name, place.pictures, [(place.map, np.eye(4), None)])


def ways(bench: Bench, place: Place) -> dict[str, dict[str, Tally]]:
    """By way and target: a drive in its own map."""
    found, case, out = own_map(bench, place), drive(place.pictures, SEED), {}
    for way in WAYS:
        for target in TARGETS:
            moments = bench.judged(case, found, place.pictures.queries, way, target)
            if moments is not None:
                out.setdefault(way, {})[f"{target:g}"] = tally(moments, place.submaps)
    return out


def first_right(bench: Bench, place: Place) -> dict[str, Any]:
    """Of the best candidate of each image, and of all of them; with the chance of a submap drawn at random."""
    found, case = own_map(bench, place), drive(place.pictures, SEED)
    moments = bench.judged(case, found, place.pictures.queries, "fused with odometry, no ranges", USUAL) or []
    hits = [candidates_right(m) for m in moments]
    by_score = right_of(best_candidates(found.alone[:-1]).poses, case)
    near = [float((np.hypot(*(place.submaps[:, :2, 3] - T[:2, 3]).T) < 5.0).mean()) for T in place.pictures.poses]
    return {"images": len(moments), "submaps": len(place.submaps), "seconds": round(case.seconds, 1),
            "first_right": float(by_score.mean()), "any_right": float(np.mean([any(h) for h in hits])),
            "chance": float(np.mean(near))}


def rivals(bench: Bench, place: Place) -> dict[str, list[Guesses]]:
    """Guesses of every rival for a drive in its own map; of k of n, for each of several n."""
    found, case = own_map(bench, place), drive(place.pictures, SEED)
    best = best_candidates(found.alone[:-1])
    similarity, poses = along_route(place, bench.encoder)
    at, margin = sequences(similarity)
    return {"best candidate, threshold": [best],
            "k of the last n, odometry": [confirmed(best, case.stamps_ns, case.odometry, n) for n in LAST],
            "k of the last n, no odometry": [confirmed(best, case.stamps_ns, None, n) for n in LAST],
            f"sequence of {FRAMES} images": [Guesses(poses[np.arange(len(at)), at], margin)]}


def against(mine: dict[str, list[Guesses]], case: Case, submaps: np.ndarray, theirs: dict[str, list[Guesses]],
            tuned_on: Case) -> dict[str, dict[str, Tally]]:
    """By rival and target, each with the threshold, and the n, that told most while meeting the target elsewhere."""
    out: dict[str, dict[str, Tally]] = {}
    for name, choices in mine.items():
        for target in TARGETS:
            which, threshold = chosen(theirs[name], tuned_on, target)
            guesses = choices[which]
            out.setdefault(name, {})[f"{target:g}"] = guessed(guesses.poses, guesses.told(threshold), case, submaps)
    return out


def chosen(choices: list[Guesses], case: Case, target: float) -> tuple[int, float]:
    """Which of the choices tells most right ones at its least threshold for a target, and that threshold."""
    best, which, at = -1.0, 0, np.inf
    for i, guesses in enumerate(choices):
        right = right_of(guesses.poses, case)
        threshold = least_threshold(guesses.scores, right, target)
        told = guesses.told(threshold)
        met = bool(told.any()) and right[told].mean() >= target
        worth = float((told & right).sum()) if met else -0.5
        if worth > best:
            best, which, at = worth, i, threshold
    return which, at


def scenarios(bench: Bench, place: Place, others: list[Place]) -> dict[str, dict[str, Any]]:
    """What else may happen to a robot in this map, at the usual target; `others`: whose pictures are of elsewhere."""
    own, pictures, out = own_map(bench, place), place.pictures, {}
    cases: list[tuple[Case, Asked, np.ndarray, np.ndarray]] = [
        (c, own, pictures.queries, place.submaps) for c in (
            drive(pictures, SEED, name="odometry 2 % off"), drive(pictures, SEED, JUMPS, "odometry jumps"),
            kidnapped(pictures, SEED), covered(pictures, SEED)) if c is not None]
    with open_map(place.map, bench.encoder.sidecar, write=False) as store:
        ids = [key for key, _, _ in store.poses()]
    half = frozenset(ids[:len(ids) // 2])
    twins = bench.asked(f"twins_{place.name}", pictures, [(place.map, np.eye(4), None), (place.map, COPY, half)])
    cases.append((drive(pictures, SEED, name="half of the map is there twice"), twins, pictures.queries,
                  place.submaps))
    if others:
        case, part = outside([o.pictures for o in others], SEED)
        parts = [bench.asked(f"{o.name}_in_{place.name}", o.pictures, [(place.map, np.eye(4), None)]) for o in others]
        first = np.cumsum([0, *(len(o.pictures.poses) for o in others)])
        whole = Asked(tuple(f for a in parts for f in a.alone[:-1]) + parts[0].alone[-1:], None if any(
            a.verified is None for a in parts) else tuple(
                f for a in parts for f in (a.verified or ())[:-1]) + (parts[0].verified or ())[-1:])
        queries = np.concatenate([o.pictures.queries[:-1] for o in others] + [pictures.queries[-1:]])
        cases.append((replace(case, rows=case.rows + first[part]), whole, queries, place.submaps))
    for case, found, queries, submaps in cases:
        for way in WAYS:
            moments = bench.judged(case, found, queries, way, USUAL)
            if moments is not None:
                out.setdefault(case.name, {})[way] = told_of(case, moments, submaps)
    return out


def told_of(case: Case, moments: list[Moment], submaps: np.ndarray) -> dict[str, Any]:
    """Figures of a case, and of what came after its event."""
    out = tally(moments, submaps).plain() | {"seconds": round(case.seconds, 1)}
    if case.event is None:
        return out
    after = moments[case.event:]
    lit = [m for m, row in zip(after, case.rows[case.event:]) if row >= 0]
    again = next((m.stamp_ns for m in lit if m.told and m.right), None)
    return out | {"wrong_after": sum(m.told and not m.right for m in after),
                  "told_in_the_dark": sum(m.told for m, r in zip(after, case.rows[case.event:]) if r < 0),
                  "seconds_to_right_again": None if again is None else (again - lit[0].stamp_ns) / 1e9}


def together(bench: Bench, places: list[Place]) -> dict[str, dict[str, Tally]]:
    """All maps of a kind as one."""
    shifts = [np.linalg.matrix_power(APART, k) for k in range(len(places))]
    parts = [(p.map, T, None) for p, T in zip(places, shifts)]
    submaps = np.concatenate([T @ p.submaps for p, T in zip(places, shifts)])
    out: dict[str, dict[str, Tally]] = {}
    for place, T in zip(places, shifts):
        found = bench.asked(f"all_{place.name}", place.pictures, list(parts))
        case = drive(place.pictures, SEED, shift=T)
        for way in WAYS:
            moments = bench.judged(case, found, place.pictures.queries, way, USUAL)
            if moments is not None:
                by = out.setdefault(way, {})
                one = tally(moments, submaps)
                by[f"{USUAL:g}"] = by[f"{USUAL:g}"] + one if f"{USUAL:g}" in by else one
    return out


# in processes of their own -------------------------------------------------------------------------------------------


def prepare(job: tuple[Config, Path, Path, str]) -> Place:
    """The costly part of one drive."""
    config, cache, folder, kind = job
    bench, began = Bench(config, cache), time.perf_counter()
    place = bench.place(folder, kind)
    own_map(bench, place)
    print(f"{place.name}: {len(place.pictures.poses)} images, {len(place.submaps)} submaps, "
          f"{time.perf_counter() - began:.0f} s", flush=True)
    return place


def study(job: tuple[Config, Path, Place, list[Place]]) -> dict[str, Any]:
    """Everything about one drive but what needs thresholds of another."""
    config, cache, place, others = job
    bench = Bench(config, cache)
    return {"about": first_right(bench, place), "ways": ways(bench, place), "guesses": rivals(bench, place),
            "scenarios": scenarios(bench, place, others)}


def other_drive(places: list[Place], i: int) -> int | None:
    """Where thresholds for the i-th drive are found: the next one of its kind, else any other."""
    same = [j for j, p in enumerate(places) if p.kind == places[i].kind and j != i]
    rest = same or [j for j in range(len(places)) if j != i]
    return min(rest, key=lambda j: (j - i) % len(places), default=None)


def pooled(parts: list[dict[str, dict[str, Tally]]]) -> dict[str, dict[str, Tally]]:
    """The same rows of several drives, added up."""
    out: dict[str, dict[str, Tally]] = {}
    for part in parts:
        for row, by in part.items():
            for target, one in by.items():
                old = out.setdefault(row, {}).get(target)
                out[row][target] = one if old is None else old + one
    return out


def measure(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    jobs = [(config, args.cache, folder, "synthetic") for folder in args.folders]
    recorded = drive_folders(*args.drives) if args.drives else []
    # single scenes have no other frame that could ask
    jobs += [(config, args.cache, folder, "real") for folder in recorded if len(list((folder / "scan").iterdir())) > 1]
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        places = list(pool.map(prepare, jobs))
        work = [(config, args.cache, p, [o for o in places if o is not p] if p.kind == "synthetic" else [])
                for p in places]
        studies = list(pool.map(study, work))
    bench, rows = Bench(config, args.cache), []
    for i, (place, found) in enumerate(zip(places, studies)):
        other, rows_of = other_drive(places, i), dict(found["ways"])
        if other is not None:
            rows_of |= against(found["guesses"], drive(place.pictures, SEED), place.submaps,
                               studies[other]["guesses"], drive(places[other].pictures, SEED))
        rows.append(rows_of)
    out: dict[str, Any] = {"drives": {}, "scenarios": {}, "pooled": {}, "one_map": {}}
    for i, (place, found) in enumerate(zip(places, studies)):
        other = other_drive(places, i)
        out["drives"][place.name] = {"kind": place.kind, **found["about"], "rows": written(rows[i]),
                                     "thresholds_from": None if other is None else places[other].name}
        out["scenarios"][place.name] = found["scenarios"]
    for kind in ("synthetic", "real"):
        chosen = [i for i, p in enumerate(places) if p.kind == kind]
        if len(chosen) > 1:
            out["pooled"][kind] = written(pooled([rows[i] for i in chosen]))
            out["one_map"][kind] = written(together(bench, [places[i] for i in chosen]))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="synthetic drives, as `ms2cl demo --out` writes them")
    parser.add_argument("--drives", type=Path, nargs="*", default=[], help="recorded drives in the compact layout")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--model", default=EncoderConfig().model)
    parser.add_argument("--calibration", default="", help="a file of `ms2cl calibrate` in place of the model's own")
    parser.add_argument("--set", "-p", nargs="*", default=[], help="settings, as in submaps.headings=12")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="a page whose tables between <!-- trust --> marks are replaced")
    args = parser.parse_args()
    if not args.folders and not args.drives:
        parser.error("name at least one folder, or recorded drives with --drives")
    from ms2cl_ros.cli_options import read_config
    began, config = time.perf_counter(), read_config(None, args.set)
    config = replace(config, encoder=replace(config.encoder, model=args.model),
                     trust=replace(config.trust, calibration=args.calibration))
    model = sidecar.load(model_folder(args.model))
    out = {"model": model.name, "fingerprint": model.fingerprint[:12],
           "calibrated": bool(model.calibration or args.calibration), "headings": config.submaps.headings,
           **measure(config, args)}
    out["wall_s"] = round(time.perf_counter() - began, 1)
    show(out)
    if args.json:
        args.json.write_text(json.dumps(out, indent=1) + "\n")
    if args.markdown:
        markdown(out, args.markdown)


if __name__ == "__main__":
    main()
