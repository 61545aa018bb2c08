# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`make demo`: a drive is made or converted, both nodes map and localise it, figures and a picture are left behind."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.geometry import quaternion
from ms2cl_ros.ros.replay import Drive, Outcome, private_graph, run, write_summary
from ms2cl_ros.tools.convert import Options, convert_kitti_raw
from ms2cl_ros.tools.evaluation import Recall, errors
from ms2cl_ros.tools.kitti import T_BASE_LIDAR, read_raw
from ms2cl_ros.tools.report import draw, examples, published_line, recall_table

if TYPE_CHECKING:
    from ms2cl_ros.training.city.recipe import Recipe

PRODUCTS = ("map_bag", "query_bag", "map.db", "map.db-wal", "map.db-shm", "map.db.lock", "log",
            "parameters.yaml", "summary.json", "report.png")


def main(out: Path, drive: Path | None, recipe: Recipe, rate: float, console: Console) -> None:
    """Runs the demo into `out`; raises Ms2clError where any stage fails. What an earlier run left there is removed, but
    for a synthetic drive of the same recipe."""
    # a plain `kill` ends it as Ctrl-C does, so that the nodes are stopped too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    private_graph()
    for name in PRODUCTS:
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    made, folder = _synthetic(out, recipe, console) if drive is None else (_kitti(out, drive, console), drive)
    config = config_of(out, folder)
    with _bar(console) as (say, progress):
        outcome = run(made, out, config, say, progress, rate)
    _report(out, made, config, outcome, console)


def _synthetic(out: Path, recipe: Recipe, console: Console) -> tuple[Drive, Path]:
    """A city that exists nowhere, driven twice: other cars, other light, a little to the side.

    A block is driven round by both. On any other route the LiDAR maps what is passed for the first time, and the camera
    comes by where it leads past a place again, in the same or in the opposite direction.
    """
    from ms2cl_ros.training.city.drive import synthesize
    from ms2cl_ros.training.city.passes import MAP_PASS, QUERY_PASS
    again = recipe.route != "block"
    visits = ("first", "again") if again else ("all", "all")
    passes = [replace(p, visits=v) for p, v in zip((MAP_PASS, QUERY_PASS), visits)]
    with _bar(console) as (say, progress):
        say("making a city and driving through it twice")
        try:
            made = synthesize(out / "drive", recipe, passes=passes, progress=progress)
        except DataError:  # drives of another recipe
            shutil.rmtree(out / "drive")
            made = synthesize(out / "drive", recipe, passes=passes, progress=progress)
        folders = [d.folder for d in made.drives]
        for folder, bag in zip(folders, ("map_bag", "query_bag")):
            say(f"writing {bag}")
            convert_kitti_raw(folder, out / bag, poses=folder / "poses_base.txt", progress=progress)
    name = f"synthetic city, seed {recipe.seed}, {made.length:.0f} m of {recipe.route}" + (
        ": first visits map, later ones localise" if again else " driven twice in the same direction")
    return Drive(name, out / "map_bag", out / "query_bag"), folders[0]


def _kitti(out: Path, drive: Path, console: Console) -> Drive:
    """Even frames map, odd frames localise."""
    nothing: Callable[[int], bool] = lambda index: False  # noqa: E731
    with _bar(console) as (say, progress):
        say(f"converting {drive.name}: scans of even frames")
        convert_kitti_raw(drive, out / "map_bag", Options(scan_frames="even", image_frames=nothing), progress=progress)
        say(f"converting {drive.name}: images of odd frames")
        convert_kitti_raw(drive, out / "query_bag", Options(image_frames="odd", scan_frames=nothing), progress=progress)
    return Drive(f"{drive.name} (even frames map, odd frames localise)", out / "map_bag", out / "query_bag")


@contextmanager
def _bar(console: Console) -> Iterator[tuple[Callable[[str], None], Callable[[float, float], None]]]:
    """Two functions: one names the stage, one moves the bar."""
    with Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
                  console=console) as bar:
        tasks = []

        def say(text: str) -> None:
            tasks.append(bar.add_task(text, total=None))

        def progress(done: float, total: float) -> None:
            bar.update(tasks[-1], completed=done, total=total)
        yield say, progress


def _report(out: Path, drive: Drive, config: Config, outcome: Outcome, console: Console) -> None:
    write_summary(out / "summary.json", outcome.summary)
    off = errors(outcome.matches, outcome.truths)[:, 0]
    typical, worst = np.argsort(off)[len(off) // 2], np.argmax(off)
    shown = examples(drive.query_bag, config, [outcome.matches[i].stamp_ns for i in (typical, worst)])
    draw(out / "report.png", drive.name, outcome.matches, outcome.truths, outcome.submaps, shown)
    console.print(recall_table([Recall(**r) for r in outcome.summary["recall"]]))
    if len(outcome.summary["recall_by_direction"]) > 1:
        for way, found in outcome.summary["recall_by_direction"].items():
            console.print(recall_table([Recall(**r) for r in found], way))
    console.print(_figures(outcome.summary))
    console.print(f"map: {out / 'map.db'}   figures: {out / 'summary.json'}   picture: {out / 'report.png'}")


def _figures(summary: dict[str, Any]) -> Table:
    table = Table(title=summary["drive"], show_header=False)
    latency = summary["latency_ms"]
    for name, value in (
            ("submaps stored, views of them", f"{summary['submaps']}, {summary['views']}"),
            ("images with candidates", f"{summary['matched']} of {summary['images']}"),
            ("matches published", published_line(summary["published"])),
            ("error of the match, median", f"{summary['error']['median_m']:.2f} m, "
                                           f"{summary['error']['median_deg']:.1f} degrees"),
            ("latency, image sent to match heard", f"{latency['median']:.0f} ms median, {latency['p95']:.0f} ms p95"),
            ("share of the scan rate kept", f"{summary['scan_rate_kept']:.0%} of {summary['scans']} scans")):
        table.add_row(name, value)
    return table


def config_of(out: Path, drive: Path) -> Config:
    """The defaults, with the drive's extrinsics as parameters, since TF messages are not on every machine."""
    T = read_raw(drive).calibration.T_base_camera
    config = Config()
    frames = replace(config.frames, extrinsics_source="parameters", lidar_extrinsics=_pose(T_BASE_LIDAR),
                     camera_extrinsics=_pose(T))
    return replace(config, frames=frames, store=replace(config.store, database=str(out.resolve() / "map.db")))


def _pose(T: np.ndarray) -> list[float]:
    return [float(v) for v in (*T[:3, 3], *quaternion(T))]
