# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl evaluate`: how well a model finds places, by protocols with names."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ms2cl_ros.cli_options import bar, console

app = typer.Typer(no_args_is_help=True, help="How well a model finds places, by the protocols that have names.")

Model = Annotated[str, typer.Option(help="an exported model, shipped or a folder, or a checkpoint (.pt)")]
Json = Annotated[Path | None, typer.Option("--json", help="write all figures")]
Headings = Annotated[str, typer.Option(help="at which scans are looked at: camera (its own heading), all (as many as "
                                            "submaps.headings says), or a number of them")]
Pictures = Annotated[Path | None, typer.Option(help="a folder for pictures of wrong matches")]
CalibrationFile = Annotated[Path | None, typer.Option(help="what scores are worth, as `ms2cl calibrate` writes it, "
                                                           "where the model brings none or another is wanted")]
Threads = Annotated[int, typer.Option(help="of the encoders")]


@app.command("pairs")
def pairs_command(drives: Annotated[list[Path], typer.Argument(metavar="DRIVE...", help="drives in the compact layout, "
                                                               "or folders of them")],
                  model: Model = "ms2cl_city", json_: Json = None, pictures: Pictures = None,
                  headings: Headings = "camera", calibration: CalibrationFile = None, threads: Threads = 2) -> None:
    """Let every image of recorded drives ask the scans of all. Example: ms2cl evaluate pairs DATA --json out.json"""
    from ms2cl_ros.tools.evaluate_pairs import BOTH, evaluate_pairs
    from ms2cl_ros.tools.pairs import embed_pairs, open_drives
    from ms2cl_ros.tools.pairs_report import draw_wrong, plain, tables
    from ms2cl_ros.tools.score_kinds import score_kinds
    encoder = _encoder(model, threads)
    opened = open_drives(drives, encoder)
    with bar("embedding") as progress:
        pairs = embed_pairs(encoder, opened, _headings(headings, encoder), progress)
    scores = score_kinds(pairs, encoder.sidecar, _calibration(calibration, encoder))
    evaluated = evaluate_pairs(pairs, scores)
    for table in tables(evaluated):
        _wide().print(table)
    if json_:
        _write(json_, plain(pairs, evaluated, encoder))
    if pictures:
        kind = BOTH if BOTH in scores else "descriptor"
        _drawn(pictures, kind, *draw_wrong(pictures, pairs, scores[kind], opened, encoder))


Protocols = Annotated[list[str], typer.Option("--protocol", help="A, A-, B1, C, D1 or E; may be repeated")]
Map = Annotated[Path | None, typer.Option("--map", help="the pass that answers, in the same map; DATA if left out")]
Axes = Annotated[str, typer.Option(help="in which distances are measured, of KITTI's camera (x right, y down, z ahead)"
                                        ": xz; yz or xy to check others' figures")]
Split = Annotated[int, typer.Option(help="B1: the first frame that is not map; 0: as published")]
Seconds = Annotated[float, typer.Option(help="E: scans nearer in time are left out; -1: 30 in one pass, 0 of another")]
Metres = Annotated[float, typer.Option(help="E: scans nearer by road are left out")]


@app.command("drive")
def drive_command(data: Annotated[Path, typer.Argument(help="a pass with poses: KITTI raw or odometry, KITTI-360, a "
                                                            "bag, or what `ms2cl synthesize` wrote")],
                  protocol: Protocols, map_: Map = None, axes: Axes = "xz", split: Split = 0, seconds: Seconds = -1.0,
                  metres: Metres = 0.0,
                  online: Annotated[bool, typer.Option(help="E: later scans are left out, too")] = False,
                  model: Model = "ms2cl_city", json_: Json = None, pictures: Pictures = None,
                  headings: Headings = "all", calibration: CalibrationFile = None, threads: Threads = 2) -> None:
    """Carry out protocols of place recognition along a route. Example: ms2cl evaluate drive city/ --protocol E"""
    from ms2cl_ros.tools.drive_report import draw_wrong, plain, print_outcome
    from ms2cl_ros.tools.evaluate_drive import as_on_a_robot, evaluate
    from ms2cl_ros.tools.passes import asking_and_mapped
    from ms2cl_ros.tools.protocols import B1_SPLITS, E_SECONDS, Protocol
    from ms2cl_ros.tools.score_kinds import weigher
    other = map_ if map_ is not None and map_.resolve() != data.resolve() else None
    asking, mapped = asking_and_mapped(_passes(data), _passes(other) if other else [])
    alone = asking is mapped
    chosen = [Protocol(letter, axes, split or B1_SPLITS.get(asking.sequence, 0),
                       seconds if seconds >= 0 else E_SECONDS * alone, metres, online, alone) for letter in protocol]
    encoder = _encoder(model, threads)
    worth = _calibration(calibration, encoder)
    asked, scans = _embedded(encoder, asking, mapped, _headings(headings, encoder), worth is not None)
    asked, scans = as_on_a_robot(asked, scans, worth.centre if worth else None)
    outcomes = []
    for p in chosen:
        weigh = weigher(asked, scans, encoder.sidecar, worth)
        outcomes += [evaluate(p, asked, scans, w) for w in ([None, weigh] if weigh else [None])]
    for outcome in outcomes:
        print_outcome(outcome, _wide())
    if json_:
        _write(json_, plain(outcomes, asking, mapped, encoder, scans))
    if pictures:
        for outcome in (o for o in outcomes if o.score == "descriptor"):
            folder = pictures / outcome.protocol.letter
            _drawn(folder, "descriptor", *draw_wrong(folder, outcome, asked, scans, asking, mapped, encoder))


@app.command("viewpoint")
def viewpoint_command(seed: Annotated[int, typer.Option(help="of the first street; from 900000 on, training sees none")
                                      ] = 900_000,
                      streets: Annotated[int, typer.Option(help="how many")] = 8,
                      images: Annotated[int, typer.Option(help="of each, one every 12 m")] = 12,
                      cache: Annotated[Path | None, typer.Option(help="a folder that keeps what is ray-cast, for "
                                                                      "other models")] = None,
                      assets: Annotated[list[Path] | None, typer.Option(help="FlightGear's or TORCS's data")] = None,
                      workers: Annotated[int, typer.Option(help="processes")] = 2,
                      model: Model = "ms2cl_city", json_: Json = None, threads: Threads = 2) -> None:
    """Ask maps whose views lie beside, ahead and askew of the pictures, on unseen synthetic streets."""
    from ms2cl_ros.training import viewpoint
    from ms2cl_ros.training.city.offsets import streets as make
    encoder, seeds = _encoder(model, threads), range(seed, seed + streets)
    with bar("ray-casting") as progress:
        made = make(seeds, images, encoder.sidecar.camera, encoder.sidecar.lidar.grid,
                    tuple(str(a) for a in assets or []), workers, cache, progress)
    with bar("embedding") as progress:
        figures = viewpoint.table(encoder, made, progress)
    _wide().print(viewpoint.rich_table(figures))
    if json_:
        _write(json_, viewpoint.plain(figures, seeds, encoder))


def _passes(path: Path) -> Any:
    """The passes at a path, nothing decoded yet."""
    from ms2cl_ros.tools.passes import Pass, is_kitti, kitti_passes
    if is_kitti(path):
        return kitti_passes(path)
    from ms2cl_ros.training.sources.opening import open_source
    source = open_source(path)

    def looks(pictures: bool, scans: bool, only: set[int] | None) -> Any:
        return (f for f in source.frames() if only is None or f.index in only)
    return [Pass(source.name, len(source), True, True, looks, notes=tuple(source.notes), dropped=source.dropped)]


def _embedded(encoder: Any, asking: Any, mapped: Any, around: Any, ranges: bool) -> tuple[Any, Any]:
    import numpy as np

    from ms2cl_ros.tools.recorded_pass import embed_pass
    beside = around is None
    around = np.zeros(1) if around is None else around
    done = []
    for one, pictures, scans in ([(asking, True, True)] if asking is mapped else
                                 [(asking, True, False), (mapped, False, True)]):
        with bar(f"embedding {one.name}") as progress:
            made = embed_pass(encoder, one.looks(pictures, scans, None), around, beside, one.T_base_route, ranges,
                              partial(_step, progress, one.frames))
        for why, n in {**one.dropped, **made.dropped}.items():
            console.print(f"[yellow]{one.name}: {n} frames left out: {why}[/]", highlight=False)
        for note in one.notes:
            console.print(f"[yellow]{note}[/]", highlight=False)
        done.append(made)
    return done[0].asked, done[-1].mapped


def _drawn(folder: Path, kind: str, drawn: int, there: int) -> None:
    console.print(f"{drawn} of {there} wrong first answers by {kind} drawn in {folder}", highlight=False)


def _step(progress: Any, total: int, done: int) -> None:
    progress(done, total)


def _write(path: Path, figures: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    console.print(f"written: {path}")


def _encoder(model: str, threads: int) -> Any:
    """An exported model, or a checkpoint, for which torch is imported."""
    if model.endswith(".pt"):
        from ms2cl_ros.training.checkpoint import load_checkpoint
        return load_checkpoint(Path(model), threads)
    from ms2cl_ros.core.config import EncoderConfig
    from ms2cl_ros.core.encoder import Encoder
    return Encoder.load(EncoderConfig(model=model, threads=threads))


def _headings(text: str, encoder: Any) -> Any:
    """(n,) radians; None for the camera's heading alone."""
    from ms2cl_ros.core.config import SubmapsConfig
    from ms2cl_ros.core.errors import ConfigError
    from ms2cl_ros.core.mapper import headings_around
    if text == "camera":
        return None
    if text != "all" and not (text.isdigit() and int(text) > 0):
        raise ConfigError(f"--headings {text}: expected camera, all, or how many around the turn")
    return headings_around(max(SubmapsConfig().headings, encoder.headings) if text == "all" else int(text))


def _calibration(path: Path | None, encoder: Any) -> Any:
    """A file's, else the model's, else None, which is said: then descriptors are all there is."""
    from ms2cl_ros.core.calibration import Calibration, load
    if path is not None:
        return load(path)
    if encoder.sidecar.calibration:
        return Calibration.from_mapping(encoder.sidecar.calibration)
    console.print(f"[yellow]{encoder.sidecar.name} is not calibrated: descriptors alone; ranges are not compared and "
                  "frames not joined[/]", highlight=False)
    return None


def _wide() -> Console:
    """For tables, which wrap below some width."""
    return Console(width=max(Console().width, 150))


def register(app_: typer.Typer) -> None:
    """Adds the commands to `ms2cl`."""
    app_.add_typer(app, name="evaluate")
