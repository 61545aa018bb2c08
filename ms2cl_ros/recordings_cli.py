# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl pairs`: recordings become training pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
        from ms2cl_ros.core.sidecar import CameraInput
        from ms2cl_ros.training.experiment import load as load_experiment
        eye, ear = (planned := load_experiment(experiment)).camera, planned.lidar
        return CameraInput("", "", "angular_grid", eye.grid, (eye.grid.rows, eye.grid.columns), eye.channels, eye.mean,
                           eye.std), ear.grid
    from ms2cl_ros.core.encoder import model_folder
    from ms2cl_ros.core.sidecar import load
    contract = load(model_folder(model))
    return contract.camera, contract.lidar.grid


def register(app: typer.Typer) -> None:
    """Adds the commands to `ms2cl`."""
    app.command()(pairs)
