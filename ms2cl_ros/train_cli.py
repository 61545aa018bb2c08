# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl train` and `ms2cl ablate`: models from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ms2cl_ros.cli_options import bar, console

Seed = Annotated[int, typer.Option(help="of the first city; the others count from there")]


def train(experiment: Annotated[Path, typer.Argument(help="a YAML file, as in config/training")],
          output: Annotated[Path, typer.Option("-o", "--output", help="folder for checkpoints, curves and the model")],
          shards: Annotated[list[Path] | None, typer.Argument(help="packed pairs, by `ms2cl pack` or "
                                                                   "`ms2cl pairs`")] = None,
          cities: Annotated[int, typer.Option(help="make and pack so many cities first, on all cores")] = 0,
          seed: Seed = 1,
          length: Annotated[float, typer.Option(help="metres round each block")] = 320.0,
          spacing: Annotated[float, typer.Option(help="metres between pairs")] = 6.0,
          workers: Annotated[int, typer.Option(help="processes that make cities; 0: one a core")] = 0,
          assets: Annotated[list[Path] | None, typer.Option(help="a folder with FlightGear's or TORCS's data; may be "
                                                                 "repeated")] = None,
          minutes: Annotated[float, typer.Option(help="of training; 0: as the experiment says")] = 0.0,
          steps: Annotated[int, typer.Option(help="instead of minutes")] = 0,
          device: Annotated[str, typer.Option(help="auto, cpu or cuda; as the experiment says if left out")] = "",
          begin: Annotated[Path | None, typer.Option(help="a checkpoint whose weights are refined")] = None,
          model: Annotated[Path | None, typer.Option(help="where the exported model goes; OUTPUT/model if left "
                                                          "out")] = None,
          half: Annotated[bool, typer.Option(help="keep its weights as float16: half the size")] = False) -> None:
    """Make cities, train on them, export the model; needs no network. Stopped and called again, it goes on.

    Example: ms2cl train config/training/ms2cl_city.yaml -o runs/mine --cities 200 --minutes 40
    """
    from ms2cl_ros.core.errors import DataError
    from ms2cl_ros.training.experiment import load
    from ms2cl_ros.training.offline import CitiesPlan, pack_cities, train_and_export, with_budget
    planned = with_budget(load(experiment), minutes, steps, device)
    paths = list(shards or [])
    if cities:
        plan = CitiesPlan(cities, seed, length, spacing, tuple(str(a) for a in assets or []), workers)
        with bar("packing") as progress:
            paths += pack_cities(plan, planned, output / "shards", progress)
    if not paths:
        raise DataError("nothing to train on: name shards, or say --cities N")
    made = train_and_export(planned, paths, output, model or output / "model", "float16" if half else "float32", begin,
                            lambda line: print(line, file=sys.stderr, flush=True))
    console.print(f"{made.folder}: {made.fingerprint[:12]}, {made.training['steps']} steps in "
                  f"{made.training['minutes']:g} minutes", highlight=False)


def ablate(plan: Annotated[Path, typer.Argument(help="such as config/training/ablation/ten.yaml")],
           output: Annotated[Path, typer.Option("-o", "--output", help="checkpoints, figures and the table")],
           shards: Annotated[list[str], typer.Option(help="NAME=PATTERN of shards to train on: city, real, and, if not "
                                                          "picked out of city, tame, bare, few; may be repeated")],
           test: Annotated[list[str], typer.Option(help="NAME=PATTERN of shards to test on; may be repeated")],
           minutes: Annotated[float, typer.Option(help="of training, for each")] = 0.0,
           steps: Annotated[int, typer.Option(help="instead of minutes")] = 0,
           only: Annotated[list[str] | None, typer.Option(help="a variant's title; may be repeated")] = None,
           seed: Annotated[int, typer.Option(help="of the training")] = 0) -> None:
    """Train variants of one experiment at equal budget and print what each scores. Called again, it goes on.

    Example: ms2cl ablate config/training/ablation/ten.yaml -o runs/ablation --minutes 30 --shards 'city=shards/c*.npz'
    --test 'city=unseen/*.npz'
    """
    from ms2cl_ros.training.ablate import ablate as carry_out
    from ms2cl_ros.training.ablate import chosen, groups_of, table, with_derived
    output.mkdir(parents=True, exist_ok=True)
    results = carry_out(chosen(plan, minutes, steps, seed, only), output, with_derived(groups_of(shards)),
                        groups_of(test), lambda line: print(line, file=sys.stderr, flush=True))
    print(table(results))


def register(app: typer.Typer) -> None:
    """Adds the commands to `ms2cl`."""
    for command in (train, ablate):
        app.command()(command)
