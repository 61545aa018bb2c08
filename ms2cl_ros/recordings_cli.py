# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl pairs` and `ms2cl adapt`: recordings become training pairs, or a model of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ms2cl_ros.cli_options import Params, Set, bar, console, read_config

if TYPE_CHECKING:
    from ms2cl_ros.core.sidecar import CameraInput
    from ms2cl_ros.core.types import AngularGrid

ImageTopic = Annotated[str, typer.Option(help="of a bag: Image or CompressedImage topic; the only one if left out")]
InfoTopic = Annotated[str, typer.Option(help="of a bag: CameraInfo topic; the only one if left out")]
PointsTopic = Annotated[str, typer.Option(help="of a bag: PointCloud2 topic; the only one if left out")]
PosesTopic = Annotated[str, typer.Option(help="of a bag: Odometry or PoseStamped topic; the only one if left out")]


def pairs(sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="recordings, or folders of them")],
          output: Annotated[Path, typer.Option("-o", "--output", help="a shard (.npz) for one recording, or a folder")],
          model: Annotated[str, typer.Option(help="whose grids are used")] = "ms2cl_city",
          experiment: Annotated[Path | None, typer.Option(help="an experiment's YAML, whose grids are used "
                                                               "instead")] = None,
          spacing: Annotated[float, typer.Option(min=0.0, help="metres between pairs; 0: every frame")] = 0.0,
          stretch: Annotated[float, typer.Option(min=0.0, help="metres after which a new scene begins; 0: one "
                                                               "recording is one scene")] = 0.0,
          variants: Annotated[int, typer.Option(min=1, help="shards of each recording; the first is seen from the "
                                                            "camera's pose, the others from near it")] = 1,
          speed: Annotated[float, typer.Option(min=0.01, help="m/s, a cautious guess for recordings without "
                                                              "poses")] = 2.0,
          seed: Annotated[int, typer.Option(help="of what is drawn at random")] = 0,
          params_file: Params = None, set_: Set = None, image: ImageTopic = "", camera_info: InfoTopic = "",
          points: PointsTopic = "", poses: PosesTopic = "") -> None:
    """Turn recordings into training pairs: bags, KITTI odometry and raw, KITTI-360, compact drives, city drives.

    Example: ms2cl pairs dataset/sequences -o shards --spacing 2 --stretch 150
    """
    import dataclasses

    import cv2

    from ms2cl_ros.core.errors import DataError
    from ms2cl_ros.tools.offline import Topics
    from ms2cl_ros.training.pairs import PairsConfig, pack, told
    from ms2cl_ros.training.sources.opening import open_sources
    cv2.setNumThreads(1)
    config = read_config(params_file, set_)
    topics = Topics(image=image, camera_info=camera_info, points=points, poses=poses)
    found = [one for path in sources for one in open_sources(path, config, topics)]
    one_file = output.suffix == ".npz"
    if one_file and len(found) > 1:
        raise DataError(f"{len(found)} recordings do not go into {output}: name a folder, which gets a shard of each")
    if twice := {s.name for s in found if sum(s.name == t.name for t in found) > 1}:
        raise DataError(f"several recordings are called {', '.join(sorted(twice))}, and scenes are told apart by that: "
                        "rename one, or pack them one by one")
    camera, lidar = _grids(model, experiment)
    settings = dataclasses.replace(PairsConfig(), spacing=spacing, stretch=stretch, variants=variants, speed=speed,
                                   seed=seed)
    for source in found:
        path = output if one_file else output / f"{source.name.replace('/', '_')}.npz"
        with bar(source.name) as progress:
            count, files = pack(source, path, camera, lidar, settings, progress)
        for note in source.notes:
            console.print(f"[yellow]{note}[/]", highlight=False)
        more = f" and {len(files) - 1} variants beside it" if len(files) > 1 else ""
        console.print(f"{count} pairs of {source.name} in {files[0]}{more}{told(source.dropped)}", highlight=False)


def _grids(model: str, experiment: Path | None) -> tuple[CameraInput, AngularGrid]:
    """The camera's input and the LiDAR's grid of an experiment or, without one, of a model."""
    if experiment is not None:
        from ms2cl_ros.core.errors import ConfigError
        from ms2cl_ros.core.sidecar import CameraInput
        from ms2cl_ros.training.experiment import load as load_experiment
        planned = load_experiment(experiment)
        eye, grid = planned.camera, planned.lidar.grid
        if grid is None:
            raise ConfigError(f"{experiment}: the LiDAR's input has no grid to put scans on")
        return CameraInput("", "", eye.projection, eye.grid, eye.pixels, eye.channels, eye.mean, eye.std), grid
    from ms2cl_ros.core.encoder import model_folder
    from ms2cl_ros.core.sidecar import load
    contract = load(model_folder(model))
    return contract.camera, contract.lidar.grid


def adapt(bag: Annotated[Path, typer.Argument(metavar="BAG", help="a recording with images and scans, no labels")],
          output: Annotated[Path, typer.Option("-o", "--output", help="folder of the new model; must not exist")],
          model: Annotated[str, typer.Option(help="an exported model, shipped or a folder")] = "ms2cl_city",
          minutes: Annotated[float, typer.Option(min=0.1, help="of training at most; reading BAG comes on top")] = 6.0,
          passes: Annotated[float, typer.Option(min=1.0, help="over BAG at most")] = 20.0,
          steps: Annotated[int, typer.Option(min=0, help="of training, instead of minutes and passes")] = 0,
          rehearse: Annotated[list[Path] | None, typer.Option(help="a shard of what the model was trained on, so that "
                                                              "it forgets less; may be repeated")] = None,
          test: Annotated[list[Path] | None, typer.Option(help="another recording to report on; may be "
                                                               "repeated")] = None,
          learning_rate: Annotated[float, typer.Option(min=0.0, help="of the weights")] = 3e-4,
          threads: Annotated[int, typer.Option(min=1, help="of training and of the encoders")] = 2,
          seed: Annotated[int, typer.Option(help="of what is drawn at random")] = 0,
          params_file: Params = None, set_: Set = None, image: ImageTopic = "", camera_info: InfoTopic = "",
          points: PointsTopic = "", poses: PosesTopic = "") -> None:
    """Fine-tune a model on BAG without labels, in minutes, and report before and after on parts held back.

    Example: ms2cl adapt drive1 --model ms2cl_city -o models/mine --test drive2
    """
    from ms2cl_ros.core.encoder import model_folder
    from ms2cl_ros.tools.offline import Topics
    from ms2cl_ros.training.adapt import AdaptConfig
    from ms2cl_ros.training.adapted import adapt_model
    from ms2cl_ros.training.sources.opening import open_source
    config = read_config(params_file, set_)
    topics = Topics(image=image, camera_info=camera_info, points=points, poses=poses)
    source, *tests = (open_source(path, config, topics) for path in (bag, *(test or ())))
    settings = AdaptConfig(minutes=minutes, passes=passes, steps=steps, learning_rate=learning_rate,
                           threads=threads, seed=seed)
    with bar("reading") as progress:
        made, report = adapt_model(source, model_folder(model), output, settings, rehearse or (), tests,
                                   lambda line: console.print(line, highlight=False), progress)
    _print_adapted(report)
    console.print(f"{made.name} in {output}: set encoder.model to that path; maps made before need "
                  "`ms2cl database reembed`", highlight=False)


def _print_adapted(report: dict[str, Any]) -> None:
    from rich.table import Table

    from ms2cl_ros.training.adapted import table
    out = Table("recording", "map", "images", "scans", "chance", "R@1 before", "after", "R@5 before", "after")
    for name, rule, before, after in table(report):
        shares = [f"{row['recall'][n]:.3f}" if row["recall"][n] is not None else "-"
                  for n in ("1", "5") for row in (before, after)]
        chance = "-" if after["chance"] is None else f"{after['chance']:.3f}"
        out.add_row(name, rule, str(after["queries"]), str(after["database"]), chance, *shares)
    Console().print(out)


def register(app: typer.Typer) -> None:
    """Adds the commands to `ms2cl`."""
    app.command()(pairs)
    app.command()(adapt)
