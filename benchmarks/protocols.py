#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Protocols A and E on cities that no model was trained on, along routes of KITTI odometry.

    MS2CL_DATA=DATA python benchmarks/protocols.py --model ms2cl_city --work /tmp/protocols --json figures.json

Each route gets a city of its own, of a seed that training never uses, and is driven three times: by the LiDAR that maps
it, and on a day of another season, with half of the parked cars exchanged, by a camera in the same direction (and a
LiDAR, for A) and by one that comes the other way in the other lane. `--work` keeps the drives: what is there is not
made again, and a run that was stopped goes on. Prints Markdown.

    A            the first camera asks the scans of its own pass, the one taken with it among them
    E same       it asks the map's scans, of another day
    E opposite   the camera that comes the other way asks them
    ..., views   the same, but what a map stores answers: the scans, and views rendered from where nobody drove

Every scan is looked at around the whole turn. "each in its own" sums up the cities above it; in "all in one map" the
scans of all cities may answer, which lie far apart.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.calibration import Calibration
from ms2cl_ros.core.config import Config, EncoderConfig, SubmapsConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import Ms2clError
from ms2cl_ros.core.mapper import Mapper, headings_around
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.types import PointCloud, StampedPose
from ms2cl_ros.tools.evaluate_drive import Asked, Mapped, as_on_a_robot, evaluate
from ms2cl_ros.tools.passes import Pass, kitti_passes
from ms2cl_ros.tools.protocols import Protocol
from ms2cl_ros.tools.rebuilding import building
from ms2cl_ros.tools.recall import Ranked, Recall, joined, recall, segments
from ms2cl_ros.tools.recorded_pass import Embedded, embed_pass
from ms2cl_ros.tools.routes import Route, base_route
from ms2cl_ros.tools.score_kinds import weigher
from ms2cl_ros.training.city.drive import synthesize
from ms2cl_ros.training.city.offsets import CAR_CHANGE, FIRST_SEED, WEATHERS
from ms2cl_ros.training.city.passes import MAP_PASS, QUERY_PASS, DrivePass
from ms2cl_ros.training.city.recipe import SEASONS, WHOLE, Day, Recipe

# Where the stretch of a route begins, metres: the first 400 m from there on lie within 150 m of one place, so that one
# scene of the city serves them all, which halves the time that it takes to make them.
BEGIN = {"00": 0.0, "05": 0.0, "06": 50.0, "08": 150.0}
# Added to the route's number; `ms2cl evaluate viewpoint` has the seeds right above FIRST_SEED.
SEED = FIRST_SEED + 100
ASKS = ("A", "E same", "E opposite", "E same, views", "E opposite, views")
EACH, ALL = "each in its own", "all in one map"
APART = 10_000.0
COMPLETE = "complete"
RADII = (10.0, 5.0)
Figures = dict[str, dict[str, dict[str, dict[float, Recall]]]]
"""By who asks, city (or EACH, ALL), score and radius."""


@dataclass(frozen=True)
class City:
    """One route, embedded. `by`: of who asks, the images and the scans that answer."""

    name: str
    by: dict[str, tuple[Asked, Mapped]]


def plan(name: str, args: argparse.Namespace) -> tuple[Recipe, dict[str, tuple[list[DrivePass], float]]]:
    """The city along KITTI's route `name`; by kind, the passes through it and the metres between their frames."""
    k, whole = list(BEGIN).index(name), not args.length
    recipe = Recipe(SEED + int(name), f"kitti:{name}", args.length or WHOLE, 0.0 if whole else BEGIN[name])
    day = Day(1, SEASONS[k % len(SEASONS)], WEATHERS[k % len(WEATHERS)], CAR_CHANGE)
    same = replace(QUERY_PASS, lidar=True, day=day)
    mapping = replace(MAP_PASS, day=Day(0, SEASONS[(k + 1) % len(SEASONS)], "fair", CAR_CHANGE))
    return recipe, {"map": ([mapping], args.map_step),
                    "ask": ([same, replace(same, lidar=False, reverse=True)], args.ask_step)}


def make(work: Path, name: str, args: argparse.Namespace) -> tuple[Pass, list[Pass]]:
    """The map's pass along KITTI's route `name` and the two that ask; drives what is not there yet."""
    folder = work / f"kitti_{name}"
    recipe, kinds = plan(name, args)
    for kind, (passes, step) in kinds.items():
        # so that another model does not have to wait for the city to be built again
        done, all_of_it = folder / kind / COMPLETE, repr((recipe, passes, step))
        if done.is_file() and done.read_text() == all_of_it:
            continue
        began = time.monotonic()
        made = synthesize(folder / kind, recipe, passes=passes, step_m=step, workers=args.workers,
                          progress=_told(f"{name} {kind}"))
        done.write_text(all_of_it)
        print(f"{name} {kind}: {made.length:.0f} m, {sum(d.scans for d in made.drives)} scans, "
              f"{sum(d.images for d in made.drives)} images, {time.monotonic() - began:.0f} s", flush=True)
    return kitti_passes(folder / "map")[0], kitti_passes(folder / "ask")


def _told(name: str) -> Callable[[int, int], None]:
    def progress(done: int, frames: int) -> None:
        if done % 20 == 0:
            print(f"{name}: {done} of {frames} frames", flush=True)
    return progress


def headings(encoder: Encoder) -> np.ndarray:
    """(n,) radians, those at which the mapper stores a view."""
    return headings_around(max(SubmapsConfig().headings, encoder.headings))


def stored(encoder: Encoder, output: Path, mapping: Pass) -> Mapped:
    """All views of the map that the mapper makes of a pass, which is kept at `output`."""
    if not output.exists():
        with building(output) as part, open_map(part, encoder.sidecar, write=True) as store:
            mapper = Mapper(Config(), encoder, store)
            for look in mapping.looks(False, True, None):
                if look.points is not None and look.T_map_base is not None:
                    mapper.add_scan(PointCloud(look.points, look.stamp_ns, "lidar"),
                                    StampedPose(look.stamp_ns, look.T_map_base), look.T_base_lidar)
            mapper.render_ripe(None, final=True)
            store.save(output)
    with open_map(output, encoder.sidecar, write=False) as store:
        views = [view for _, _, view in store.views_after(0)]
    poses, known = np.stack([v.T_map_base for v in views]), [v.coarse for v in views if v.coarse is not None]
    return Mapped(np.stack([v.descriptors for v in views]), base_route(poses, np.zeros(len(views))), views[0].headings,
                  np.stack(known) if len(known) == len(views) else None)


def embedded(encoder: Encoder, name: str, mapping: Pass, asking: Sequence[Pass], work: Path) -> City:
    """A route's passes, embedded; every scan at as many headings as the mapper stores."""
    around, ranges = headings(encoder), bool(encoder.sidecar.calibration)

    def embed(one: Pass, pictures: bool, scans: bool) -> Embedded:
        return embed_pass(encoder, one.looks(pictures, scans, None), around, False, one.T_base_route, ranges)
    same, opposite = embed(asking[0], True, True), embed(asking[1], True, False)
    there = embed(mapping, False, True).mapped
    assert same.asked and same.mapped and opposite.asked and there
    views = stored(encoder, work / f"kitti_{name}" / f"map_{encoder.sidecar.fingerprint[:12]}.db", mapping)
    return City(name, dict(zip(ASKS, ((same.asked, same.mapped), (same.asked, there), (opposite.asked, there),
                                      (same.asked, views), (opposite.asked, views)))))


def figures(cities: Sequence[City], encoder: Encoder) -> Figures:
    """Recall of every ask in its own city; if there are several, of these together and of all as one map."""
    out: Figures = {ask: {} for ask in ASKS}
    for ask in ASKS:
        pairs = [city.by[ask] for city in cities]
        own = [_ranked(*pair, ask, encoder) for pair in pairs]
        for city, pair, ranked in zip(cities, pairs, own):
            out[ask][city.name] = _recalls([ranked], [pair[0].route])
        if len(cities) > 1:
            routes = [_moved(asked.route, k) for k, (asked, _) in enumerate(pairs)]
            union = _together([replace(m, route=_moved(m.route, k)) for k, (_, m) in enumerate(pairs)])
            every = [_ranked(replace(asked, route=route), union, ask, encoder)
                     for route, (asked, _) in zip(routes, pairs)]
            out[ask] |= {EACH: _recalls(own, routes), ALL: _recalls(every, routes)}
    return out


def _ranked(asked: Asked, mapped: Mapped, ask: str, encoder: Encoder) -> dict[str, Mapping[float, Ranked]]:
    """By score and radius; by ranges, too, with a calibrated model."""
    protocol = Protocol("A") if ask == "A" else Protocol("E", seconds=0.0, one_pass=False)
    worth = Calibration.from_mapping(encoder.sidecar.calibration) if encoder.sidecar.calibration else None
    asked, mapped = as_on_a_robot(asked, mapped, worth.centre if worth else None)
    out = {"descriptor": evaluate(protocol, asked, mapped).ranked}
    if weigh := weigher(asked, mapped, encoder.sidecar, worth):
        out["both"] = evaluate(protocol, asked, mapped, weigh).ranked
    return out


def _recalls(parts: Sequence[dict[str, Mapping[float, Ranked]]],
             routes: Sequence[Route]) -> dict[str, dict[float, Recall]]:
    # no segment of 100 m belongs to two cities
    places = np.concatenate([segments(route.travelled) + 1000 * k for k, route in enumerate(routes)])
    return {score: {r: recall(joined([part[score][r] for part in parts]), places, r) for r in RADII}
            for score in parts[0]}


def _moved(route: Route, k: int) -> Route:
    """The same route in a city of its own."""
    return replace(route, position=route.position + np.array([k * APART, 0.0, 0.0]))


def _together(maps: Sequence[Mapped]) -> Mapped:
    route = Route(**{name: np.concatenate([getattr(m.route, name) for m in maps]) for name in vars(maps[0].route)})
    coarse = None if maps[0].coarse is None else np.concatenate([m.coarse for m in maps if m.coarse is not None])
    return Mapped(np.concatenate([m.descriptors for m in maps]), route, maps[0].headings, coarse)


def markdown(told: Figures) -> str:
    """A row for each ask and city."""
    lines = ["| | city along KITTI | Q | DB | R@1 10 m: descriptor | both (95 %) | chance | R@1 5 m: descriptor "
             "| both (95 %) | chance |", "|---|---|" + "---:|" * 8]
    for ask, by_city in told.items():
        for name, scores in by_city.items():
            first = scores["descriptor"][RADII[0]]
            cells = [f"{first.queries} of {first.asked}", str(first.database)]
            for r in RADII:
                cells += [_share(scores["descriptor"][r].ranks["1"]), _with_interval(scores.get("both"), r),
                          _share(scores["descriptor"][r].chance)]
            lines.append(f"| {ask} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _with_interval(by_radius: dict[float, Recall] | None, radius: float) -> str:
    if by_radius is None:
        return "-"
    found = by_radius[radius]
    between = found.interval["1"]
    return _share(found.ranks["1"]) + (f" ({_share(between[0])} to {_share(between[1])})" if between else "")


def plain(told: Figures, encoder: Encoder, args: argparse.Namespace) -> dict[str, Any]:
    """For JSON."""
    return {"model": encoder.sidecar.name, "fingerprint": encoder.sidecar.fingerprint,
            "headings_per_scan": len(headings(encoder)), "length": args.length, "map_step": args.map_step,
            "ask_step": args.ask_step,
            "seeds": {name: SEED + int(name) for name in args.routes},
            "recall": {ask: {name: {score: {f"{r:g}": v.plain() for r, v in by.items()} for score, by in scores.items()}
                             for name, scores in by_city.items()} for ask, by_city in told.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ms2cl_city", help="an exported model, shipped or a folder")
    parser.add_argument("--work", type=Path, required=True, help="keeps the drives")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--markdown", type=Path, help="write the table here, too")
    parser.add_argument("--routes", nargs="+", default=list(BEGIN), choices=list(BEGIN))
    parser.add_argument("--length", type=float, default=400.0, help="metres of each route; 0: the whole, hours")
    parser.add_argument("--map-step", type=float, default=2.5, help="metres between scans of the map")
    parser.add_argument("--ask-step", type=float, default=5.0, help="metres between images")
    parser.add_argument("--workers", type=int, default=2, help="processes that make drives")
    parser.add_argument("--threads", type=int, default=2, help="of the encoders")
    parser.add_argument("--make-only", action="store_true", help="makes the drives and evaluates nothing")
    args = parser.parse_args()
    try:
        made = {name: make(args.work, name, args) for name in args.routes}
        if args.make_only:
            return
        began, encoder = time.monotonic(), Encoder.load(EncoderConfig(model=args.model, threads=args.threads))
        told = figures([embedded(encoder, name, *passes, args.work) for name, passes in made.items()], encoder)
    except Ms2clError as e:
        raise SystemExit(f"protocols: {e}") from e
    table = markdown(told)
    print(f"{encoder.sidecar.name}, {encoder.sidecar.fingerprint[:12]}, {len(headings(encoder))} headings: "
          f"evaluated in {time.monotonic() - began:.0f} s\n\n{table}")
    if args.markdown:
        args.markdown.write_text(table)
    if args.json:
        args.json.write_text(json.dumps(plain(told, encoder, args), indent=1) + "\n")


if __name__ == "__main__":
    main()
