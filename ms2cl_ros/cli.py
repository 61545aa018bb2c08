# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl`: everything that needs no running ROS graph, and a player for machines without `ros2 bag`."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ms2cl_ros import (
    __version__,
    city_cli,
    evaluate_cli,
    foxglove_cli,
    markers_cli,
    recordings_cli,
    train_cli,
    trust_cli,
)
from ms2cl_ros.cli_options import Params, Set, bar, console, read_config
from ms2cl_ros.core.errors import Ms2clError
from ms2cl_ros.database_cli import app as database_app

if TYPE_CHECKING:
    from ms2cl_ros.core.config import Config

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich",
                  help="A camera finds its place in a LiDAR map.")
convert_app = typer.Typer(no_args_is_help=True, help="Write public data sets as rosbag2.")
app.add_typer(convert_app, name="convert")
app.add_typer(database_app, name="database")

PointsTopic = Annotated[str, typer.Option(help="PointCloud2 topic; the only one if left out")]
ImageTopic = Annotated[str, typer.Option(help="Image or CompressedImage topic; the only one if left out")]
InfoTopic = Annotated[str, typer.Option(help="CameraInfo topic; the only one if left out")]
PosesTopic = Annotated[str, typer.Option(help="Odometry or PoseStamped topic; the only one if left out")]


@app.command("map")
def map_command(bag: Annotated[Path, typer.Argument(metavar="BAG", help="a bag with poses, or a folder of scans")],
                output: Annotated[str, typer.Option("-o", "--output", help="the map's file or URL; extended if there")],
                params_file: Params = None, set_: Set = None, points: PointsTopic = "",
                poses: Annotated[str, typer.Option(help="topic of the poses, the only one if left out; or, of a "
                                                        "folder of scans, a pose file")] = "",
                poses_of: Annotated[str, typer.Option(help="what a pose file has poses of: lidar or base")] = "lidar",
                ) -> None:
    """Turn the scans of BAG into a map. Example: ms2cl map drive1 -o campus.db

    Of a folder of scans (.bin, .pcd, .ply, .npy, .npz), --poses names a pose file in TUM's or KITTI's form, as GLIM,
    LIO-SAM or KISS-ICP leave it. Example: ms2cl map scans/ --poses traj_lidar.txt -o campus.db
    """
    from ms2cl_ros.tools.offline import Topics, is_scan_folder, map_bag, map_folder
    config, how = read_config(params_file, set_), ""
    with bar("mapping") as progress:
        if is_scan_folder(bag):
            out, how = map_folder(bag, poses, output, config, poses_of, progress)
            how = f", poses found {how}"
        else:
            out = map_bag(bag, output, config, Topics(points=points, poses=poses), progress)
    if out.removed:
        how += f"; {out.removed} submaps removed to keep the map within its limits"
    console.print(f"{out.submaps} submaps from {out.seen} scans in {output}{how}" + _dropped(out.dropped))


@app.command()
def localize(bag: Path, map_: Annotated[str, typer.Option("--map", "-m", help="a map's file, or its URL")],
             json_: Annotated[Path | None, typer.Option("--json", help="write every match, one JSON a line")] = None,
             report: Annotated[Path | None, typer.Option(metavar="DIR", help="draw what happened into this folder: "
                                                         "report.png, report.json, each wrong match")] = None,
             params_file: Params = None, set_: Set = None, image: ImageTopic = "", camera_info: InfoTopic = "",
             poses: PosesTopic = "") -> None:
    """Find the images of BAG in a map. Example: ms2cl localize drive2 --map campus.db

    Poses in the bag, if they are in the map's frame, are taken as the truth and recall is printed.
    """
    from ms2cl_ros.tools.moments import Watch
    from ms2cl_ros.tools.offline import Topics, localize_bag, truth
    config = read_config(params_file, set_)
    topics = Topics(image=image, camera_info=camera_info, poses=poses)
    motion = truth(bag, config, topics)
    watch = Watch(lambda stamp: motion.base(stamp).T_map_base) if report else None
    with bar("localising") as progress:
        out = localize_bag(bag, map_, config, topics, progress, watch)
    if json_:
        json_.write_text("".join(json.dumps(_plain_match(m)) + "\n" for m in out.matches))
    told = sum(m.state == "MATCHED" for m in out.matches)
    console.print(f"{told} matches for {out.seen} images, {len(out.matches)} with candidates" + _dropped(out.dropped))
    _print_recall(motion, map_, config, out)
    if report and watch:
        from ms2cl_ros.tools import localize_report
        localize_report.write(report, bag, map_, config, topics, watch.moments)
        console.print(f"written: {report / 'report.png'}, {report / 'report.json'}")


def _print_recall(motion: Any, map_: str, config: Config, out: Any) -> None:
    from ms2cl_ros.core.encoder import Encoder
    from ms2cl_ros.core.errors import TransformError
    from ms2cl_ros.core.maps.database import open_map
    from ms2cl_ros.tools.evaluation import published, recalls
    from ms2cl_ros.tools.report import published_line, recall_table
    try:
        truths = [motion.base(m.stamp_ns).T_map_base for m in out.matches]
        missed = [motion.base(s).T_map_base for s in out.unmatched]
    except TransformError as e:
        console.print(f"no recall: {e}")
        return
    with open_map(map_, Encoder.load(config.encoder).sidecar, write=False) as store:
        stored = [T for _, _, T in store.poses()]
    Console().print(recall_table(recalls(out.matches, missed, truths, stored)))
    console.print("published: " + published_line(dataclasses.asdict(published(out.matches, missed, truths, stored))))


def _plain_match(match: Any) -> dict[str, Any]:
    return {"stamp_ns": match.stamp_ns, "T_map_base": match.T_map_base.tolist(),
            "covariance": match.covariance.tolist(),
            "candidates": [{**dataclasses.asdict(c), "T_map_base": c.T_map_base.tolist()} for c in match.candidates],
            "state": match.state, "probability": match.probability, "seconds": match.seconds}


def _dropped(counts: dict[str, int]) -> str:
    return "".join(f"; [yellow]{n} left out: {reason}[/]" for reason, n in counts.items())


@app.command()
def overlay(bag: Path, output: Annotated[Path, typer.Option("-o", "--output", help="a PNG")],
            number: Annotated[int, typer.Option(help="which image, from 0")] = 0, params_file: Params = None,
            set_: Set = None, image: ImageTopic = "", points: PointsTopic = "", camera_info: InfoTopic = "") -> None:
    """Draw an image and the scan nearest in time on one grid, to check the extrinsics by eye."""
    from ms2cl_ros.tools.offline import Topics
    from ms2cl_ros.tools.overlay import draw, on_one_grid
    topics = Topics(image=image, points=points, camera_info=camera_info)
    draw(output, *on_one_grid(bag, number, read_config(params_file, set_), topics))
    console.print(f"written: {output}")


def _convert(write: Any, source: Path, output: Path, storage: str, compressed: str | None, poses: Path | None) -> None:
    from ms2cl_ros.tools.convert import Options
    with bar("converting") as progress:
        out = write(source, output, Options(storage=storage, compressed=compressed), poses, progress=progress)
    for topic, count in out.counts.items():
        console.print(f"{count:7d}  {topic}", highlight=False)
    for note in (*out.notes, *(f"{n} frames without {what}" for what, n in out.missing.items() if n)):
        console.print(f"[yellow]{note}[/]")


Out = Annotated[Path, typer.Option("-o", "--output", help="the bag's folder; must not exist")]
Storage = Annotated[str, typer.Option(help="mcap or sqlite3")]
Compressed = Annotated[str | None, typer.Option(help="jpeg or png; raw images if left out")]
Poses = Annotated[Path | None, typer.Option(help="pose file, TUM or KITTI format, in place of the drive's own")]


@convert_app.command("kitti-raw")
def convert_kitti_raw(drive: Path, output: Out, storage: Storage = "mcap", compressed: Compressed = None,
                      poses: Poses = None) -> None:
    """A synced KITTI raw drive, e.g. 2011_09_26/2011_09_26_drive_0009_sync with its calibration beside it."""
    from ms2cl_ros.tools import convert
    _convert(convert.convert_kitti_raw, drive, output, storage, compressed, poses)


@convert_app.command("kitti-odometry")
def convert_kitti_odometry(sequence: Path, output: Out, storage: Storage = "mcap", compressed: Compressed = None,
                           poses: Poses = None) -> None:
    """A sequence of the KITTI odometry benchmark, e.g. dataset/sequences/07."""
    from ms2cl_ros.tools import convert
    _convert(convert.convert_kitti_odometry, sequence, output, storage, compressed, poses)


@app.command()
def play(bag: Path, rate: Annotated[float, typer.Option(help="times the bag's own pace")] = 1.0,
         loop: Annotated[bool, typer.Option(help="begin again at the end")] = False,
         start: Annotated[float, typer.Option(help="seconds into the bag")] = 0.0,
         topics: Annotated[list[str] | None, typer.Option(help="only these; may be repeated")] = None,
         remap: Annotated[list[str] | None, typer.Option(help="FROM:=TO; may be repeated")] = None,
         clock: Annotated[bool, typer.Option(help="publish /clock")] = True,
         wait: Annotated[int, typer.Option(help="subscriptions to wait for before starting")] = 0,
         wait_timeout: Annotated[float, typer.Option(help="seconds to wait for them")] = 10.0,
         log: Annotated[Path | None, typer.Option(help="a line for each message: seconds into the bag, length of the "
                                                       "bag, monotonic time at which it went out")] = None) -> None:
    """Publish a rosbag2 where there is no `ros2 bag play`. Example: ms2cl play drive2 --rate 2"""
    _transports()
    from ms2cl_ros.ros import player
    lines = open(log, "w", buffering=1) if log else None  # noqa: SIM115 - as long as the process

    def note(done: float, total: float) -> None:
        if lines is not None:
            lines.write(f"{done:.9f} {total:.9f} {time.monotonic():.9f}\n")
    names = dict(text.split(":=", 1) for text in remap or [] if ":=" in text)
    player.play(bag, rate=rate, loop=loop, start=start, topics=topics or None, remap=names, clock=clock,
                wait_for=wait, wait_timeout=wait_timeout, on_progress=note)


def _transports() -> None:
    """DDS settings under which clouds and images arrive; before rclpy is imported."""
    import os

    from ms2cl_ros.ros.transport import environment
    os.environ.update(environment(os.environ))


@app.command()
def demo(out: Annotated[Path, typer.Option(help="where the map, the figures and the picture go")] = Path("demo"),
         drive: Annotated[Path | None, typer.Option(help="a KITTI raw drive instead of the synthetic street")] = None,
         route: Annotated[str, typer.Option(help="of the synthetic city: block, eight, there_and_back, kitti:00 or a "
                                                "pose file")] = "block",
         length: Annotated[float, typer.Option(help="metres of it; 0: 400, or the whole of a given route")] = 0.0,
         start: Annotated[float, typer.Option(help="where on a given route they begin, metres")] = 0.0,
         seed: Annotated[int, typer.Option(help="of the synthetic city")] = 1,
         rate: Annotated[float, typer.Option(help="times real time")] = 1.0) -> None:
    """Build a map with one drive and localise a camera in it, through the real nodes."""
    from ms2cl_ros.demo import main as run_demo
    from ms2cl_ros.training.city.recipe import GENERATED, WHOLE, Recipe
    metres = length or (400.0 if route in GENERATED else WHOLE)
    run_demo(out, drive, Recipe(seed=seed, route=route, length=metres, start=start), rate, console)


@app.command("config")
def config_command() -> None:
    """Print every parameter with its default, description and range."""
    from ms2cl_ros.core.config import dump
    print(dump(), end="")


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


city_cli.register(app)
evaluate_cli.register(app)
foxglove_cli.register(app)
markers_cli.register(app)
recordings_cli.register(app)
train_cli.register(app)
trust_cli.register(app)


def main() -> None:
    """Entry point: errors raised on purpose become one line and exit code 1."""
    try:
        app()
    except Ms2clError as e:
        console.print(f"[bold red]ms2cl:[/] {e}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
