# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model's folder, adapted to a recording: its figures before and after, on what was held back, and its card."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core import sidecar
from ms2cl_ros.core.calibration import Calibration
from ms2cl_ros.core.centring import Centre
from ms2cl_ros.core.config import EncoderConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.types import RangeImage
from ms2cl_ros.tools.embedding import Embedder, centred
from ms2cl_ros.tools.recall import rank, recall, segments
from ms2cl_ros.training.adapt import AdaptConfig, Say, adapt, split, write_pieces
from ms2cl_ros.training.experiment import AboutConfig, Experiment
from ms2cl_ros.training.export import export
from ms2cl_ros.training.model import CrossModalModel
from ms2cl_ros.training.pairs import PairsConfig, collect, positions, told
from ms2cl_ros.training.sources.contract import Source
from ms2cl_ros.training.weights import read_model

Arrays = dict[str, np.ndarray]
RULES = {"own_in": "own scan in", "own_out": "own scan out"}


def figures(encoder: Embedder, pairs: Arrays, asking: np.ndarray, radius: float,
            centre: Centre | None = None) -> dict[str, dict[str, Any]]:
    """Recall of the images `asking` (indices, in order) among all scans of a recording, each seen along its own camera:
    with the image's own scan among them, and without. A scan nearer than `radius` metres is right. Descriptors are
    moved as on a robot, where there is a `centre`."""
    grid = encoder.sidecar.lidar.grid.panorama()
    turns = [RangeImage(turn.astype(np.float32), grid) for turn in pairs["sweep"]]
    scans = encoder.embed_turns(turns, np.zeros(1))
    images = np.stack([encoder.embed_image(pairs["img"][i][..., ::-1], pairs["valid"][i])[0] for i in asking])
    images, scans = centred(images, np.zeros(len(images), int), scans, np.zeros(1), centre)
    place = positions(pairs)
    right = np.linalg.norm(place[asking, None] - place[None], axis=2) < radius
    others = np.arange(len(scans))[None] != asking[:, None]
    pieces = segments(pairs["s"][asking])
    return {name: recall(rank(images @ scans[:, 0].T, allowed, right), pieces, radius, ("1", "5")).plain()
            for name, allowed in (("own_in", np.ones_like(others)), ("own_out", others))}


def adapt_model(source: Source, folder: Path, out: Path, config: AdaptConfig, rehearsal: Sequence[Path] = (),
                tests: Sequence[Source] = (), say: Say = print,
                progress: Callable[[int, int], None] | None = None) -> tuple[Sidecar, dict[str, Any]]:
    """Writes to `out` the model of `folder`, adapted to a recording; returns its contract and the report.

    The report holds, before and after, figures of the part held back and of each recording in `tests`, which nothing
    is trained on. `progress(done, total)` is called while recordings are read. Raises ConfigError if `out` is there or
    two recordings have one name, and as `read_model`, the sources and `adapt` do.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already: name another folder, or remove it")
    names = [s.name for s in (source, *tests)]
    if len(set(names)) < len(names):
        raise ConfigError(f"several recordings are called alike ({', '.join(names)}): a part held back is reported "
                          "anyway, so test on others")
    contract, experiment, model = read_model(folder)
    own, *asked = _pairs([source, *tests], contract, config, say, progress)
    parts = split(own[0]["s"], positions(own[0]), config.radius)
    trials = {source.name: (own[0], parts.held_back), **{
        test.name: (arrays[0], np.arange(len(arrays[0]["s"]))) for test, arrays in zip(tests, asked, strict=True)}}
    say(f"{len(parts.train)} pairs to train on, {len(parts.held_back)} held back")
    centre = Calibration.from_mapping(contract.calibration).centre if contract.calibration else None
    before = _figures(folder, trials, config, centre)
    with tempfile.TemporaryDirectory() as scratch:
        pieces = Path(scratch) / "own.npz"
        write_pieces(pieces, own, parts)
        learnt, spent = adapt(model, experiment, pieces, rehearsal, config, say)
        made = _exported(learnt, experiment, contract, Path(scratch) / out.name, source, parts.train, spent, rehearsal)
        report = {"recording": source.name, "trained_on": len(parts.train), **spent, "radius": config.radius,
                  "held_back": source.name, "before": before, "after": _figures(made.folder, trials, config, centre)}
        _finish(made, contract, report)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made.folder, out)
    return sidecar.load(out), report


def _pairs(sources: Sequence[Source], contract: Sidecar, config: AdaptConfig, say: Say,
           progress: Callable[[int, int], None] | None) -> list[list[Arrays]]:
    """The variants of the first recording, the first variant of the others."""
    found = []
    for number, source in enumerate(sources):
        settings = PairsConfig(variants=1 if number else config.variants, seed=config.seed)
        found.append(collect(source, contract.camera, contract.lidar.grid, settings, progress))
        for note in source.notes:
            say(note)
        say(f"{len(found[-1][0]['s'])} pairs of {source.name}{told(source.dropped)}")
    return found


def _figures(folder: Path, trials: dict[str, tuple[Arrays, np.ndarray]], config: AdaptConfig,
             centre: Centre | None) -> dict[str, Any]:
    encoder = Encoder.load(EncoderConfig(model=str(folder), threads=config.threads))
    return {name: figures(encoder, arrays, asking, config.radius, centre) for name, (arrays, asking) in trials.items()}


def _exported(model: CrossModalModel, experiment: Experiment, before: Sidecar, folder: Path, source: Source,
              trained: np.ndarray, spent: dict[str, float], rehearsal: Sequence[Path]) -> Sidecar:
    """The model in a folder, its card saying what it saw besides."""
    more = f", with {len(rehearsal)} shards of rehearsal" if rehearsal else ""
    about = AboutConfig(
        f"{before.training['data']} Then adapted in {spent['steps']} steps to {len(trained)} pairs of the recording "
        f"'{source.name}'{more}.",
        f"{before.training['licence']}; and the terms of the recording '{source.name}'")
    named = dataclasses.replace(experiment, name=folder.name, about=about)
    counters = {"pairs": before.training.get("pairs", 0), "streets": before.training.get("streets", 0),
                "step": before.training.get("steps", 0), "seconds": 60.0 * before.training.get("minutes", 0.0)}
    weights = before.training.get("weights", "float32")
    return export(named, model, counters, folder, weights=weights)


def _finish(made: Sidecar, before: Sidecar, report: dict[str, Any]) -> None:
    """Puts the report into the sidecar and the card. What scores are worth is taken over from the model before."""
    training = {**made.training, "adapted_from": {"name": before.name, "fingerprint": before.fingerprint}}
    sidecar.save(dataclasses.replace(made, training=training, calibration=before.calibration,
                                     evaluation={**made.evaluation, "adapted": report}), made.folder)
    path = made.folder / "README.md"
    path.write_text(path.read_text().rstrip() + "\n\n" + "\n".join(card(report, before.name)) + "\n")


def card(report: dict[str, Any], before: str) -> list[str]:
    """Markdown of what the adaptation did."""
    lines = [f"## Adapted from {before}", "",
             f"{report['trained_on']} pairs of '{report['recording']}', {report['steps']} steps in "
             f"{report['minutes']:g} minutes. Figures of images it was not trained on, asking all scans of their "
             f"recording along the camera's own heading; a scan within {report['radius']:g} m is right. Scores are "
             "calibrated as the model before was.",
             "", "| recording | map | images | scans | chance | R@1 before | after | R@5 before | after |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name, rule, before_row, after_row in table(report):
        shares = " | ".join(_share(row["recall"][n]) for n in ("1", "5") for row in (before_row, after_row))
        lines.append(f"| {name} | {rule} | {after_row['queries']} | {after_row['database']} | "
                     f"{_share(after_row['chance'])} | {shares} |")
    return lines


def table(report: dict[str, Any]) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Recording, what its map holds, and figures before and after, one for each line of a table."""
    return [(f"{name}, held back" if name == report["held_back"] else name, RULES[rule], report["before"][name][rule],
             after) for name, rules in report["after"].items() for rule, after in rules.items()]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
