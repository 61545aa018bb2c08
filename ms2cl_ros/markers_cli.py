# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl markers`: what RViz and Foxglove show of a matcher at work, as a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ms2cl_ros.cli_options import Params, Set, bar, console, read_config


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("markers")(markers_command)


def markers_command(
    map_: Annotated[str, typer.Argument(metavar="MAP", help="a map's file, or its URL")],
    bag: Annotated[Path, typer.Option(help="images to localise in it")],
    output: Annotated[Path, typer.Option("-o", "--output", help="a PNG")],
    number: Annotated[int, typer.Option(help="up to which image, from 0; -1 for all")] = -1,
    params_file: Params = None, set_: Set = None,
    image: Annotated[str, typer.Option(help="Image or CompressedImage topic; the only one if left out")] = "",
    camera_info: Annotated[str, typer.Option(help="CameraInfo topic; the only one if left out")] = "",
    poses: Annotated[str, typer.Option(help="Odometry or PoseStamped topic; the only one if left out")] = "",
) -> None:
    """Draw what RViz would show after an image. Example: ms2cl markers campus.db --bag drive2 -o seen.png"""
    from ms2cl_ros.tools.offline import Topics
    from ms2cl_ros.tools.scene_plot import draw, last_sight
    topics = Topics(image=image, camera_info=camera_info, poses=poses)
    with bar("localising") as progress:
        sight = last_sight(bag, map_, read_config(params_file, set_), number, topics, progress)
    draw(output, sight)
    console.print(f"{sight.match.state} with probability {sight.match.probability:.3f}; written: {output}")
