# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl synthesize`, `ms2cl pack` and `ms2cl realism`: the synthetic city from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ms2cl_ros.cli_options import bar, console

Seed = Annotated[int, typer.Option(help="another seed, another city")]
Assets = Annotated[list[Path] | None, typer.Option(help="a folder with FlightGear's or TORCS's data; may be repeated")]
Model = Annotated[str, typer.Option(help="the model whose grids are used")]


def synthesize(output: Annotated[Path, typer.Option("-o", "--output", help="folder for KITTI raw drives")],
               seed: Seed = 1,
               route: Annotated[str, typer.Option(help="block, eight, there_and_back, kitti:00 or a file")] = "block",
               length: Annotated[float, typer.Option(help="metres of it")] = 400.0,
               start: Annotated[float, typer.Option(help="where on a given route they begin, metres")] = 0.0,
               district: Annotated[str, typer.Option(help="residential, old_town, arterial, park, industrial, country "
                                                          "or mixed")] = "mixed",
               assets: Assets = None,
               wildness: Annotated[float, typer.Option(help="0: as in life; 1: any colour on anything")] = 0.0,
               season: Annotated[str, typer.Option(help="of the query: spring, summer, autumn, winter")] = "summer",
               weather: Annotated[str, typer.Option(help="of the query: fair, overcast, low_sun, fog, rain")] = "fair",
               lidar: Annotated[str, typer.Option(help="64, 32, 16 beams, or the name of a sensor")] = "64",
               step: Annotated[float, typer.Option(help="metres between frames")] = 2.5,
               scale: Annotated[float, typer.Option(help="of a 1242 x 375 image")] = 0.5,
               oncoming: Annotated[bool, typer.Option(help="the query drives in the other lane")] = False,
               reverse: Annotated[bool, typer.Option(help="the query comes the other way")] = False,
               both: Annotated[bool, typer.Option(help="both sensors on both passes")] = False,
               bags: Annotated[bool, typer.Option(help="write rosbag2 beside the KITTI folders")] = False) -> None:
    """Make a city that exists nowhere and drive it twice: LiDAR first, then the camera on another day.

    Stopped and called again, it writes what is missing.
    """
    from ms2cl_ros.training.city.drive import synthesize as make
    from ms2cl_ros.training.city.passes import MAP_PASS, QUERY_PASS
    from ms2cl_ros.training.city.recipe import Day, Recipe
    recipe = Recipe(seed, route, length, start, district, tuple(str(a) for a in assets or []), wildness)
    query = replace(QUERY_PASS, day=Day(1, season, weather), oncoming_lane=oncoming, reverse=reverse)
    passes = [replace(p, lidar=p.lidar or both, camera=p.camera or both) for p in (MAP_PASS, query)]
    with bar("driving") as progress:
        out = make(output, recipe, passes=passes, step_m=step, image_scale=scale,
                   lidar=int(lidar) if lidar.isdigit() else lidar, progress=progress)
    for drive in out.drives:
        console.print(f"{drive.folder}: {drive.scans} scans, {drive.images} images, {drive.metres:.0f} m")
        if bags:
            from ms2cl_ros.tools.convert import convert_kitti_raw
            convert_kitti_raw(drive.folder, output / f"{drive.folder.name}_bag", poses=drive.folder / "poses_base.txt")


def pack(output: Annotated[Path, typer.Option("-o", "--output", help="folder for the shards")],
         cities: Annotated[int, typer.Option(help="how many; one shard each")] = 10,
         seed: Seed = 1,
         length: Annotated[float, typer.Option(help="metres round each block")] = 320.0,
         spacing: Annotated[float, typer.Option(help="metres between pairs")] = 6.0,
         workers: Annotated[int, typer.Option(help="processes; 0: one a core")] = 0,
         assets: Assets = None, model: Model = "ms2cl_city") -> None:
    """Write training pairs of many cities, on all cores. Stopped and called again, it goes on."""
    from ms2cl_ros.core.encoder import model_folder
    from ms2cl_ros.core.sidecar import load
    from ms2cl_ros.training.city.pack import pack as write
    sidecar = load(model_folder(model))
    assert sidecar.camera.grid is not None
    with bar("packing") as progress:
        pairs = write(output, seed, cities, sidecar.camera.grid, sidecar.lidar.grid, length=length, spacing=spacing,
                      assets=tuple(str(a) for a in assets or []), workers=workers or None, progress=progress)
    console.print(f"{pairs} new pairs in {output}")


def realism(data: Path, shards: Path, output: Annotated[Path, typer.Option("-o", "--output", help="a folder")],
            model: Model = "ms2cl_city") -> None:
    """Hold the city's range images against recorded drives: statistics, a picture, a judge of which is which."""
    from ms2cl_ros.core.encoder import model_folder
    from ms2cl_ros.core.sidecar import load
    from ms2cl_ros.training.city.realism import main
    sidecar = load(model_folder(model))
    assert sidecar.camera.grid is not None
    console.print_json(json.dumps(main(data, shards, output, sidecar.camera.grid, sidecar.lidar.grid)))


def register(app: typer.Typer) -> None:
    """Adds the commands to `ms2cl`."""
    for command in (synthesize, pack, realism):
        app.command()(command)
