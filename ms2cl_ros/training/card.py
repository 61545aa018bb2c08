# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The card of an exported model, written from its sidecar so that the two cannot disagree."""

from __future__ import annotations

from typing import Any

from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.types import AngularGrid
from ms2cl_ros.training.experiment import Experiment
from ms2cl_ros.training.model import CrossModalModel

TITLES = {"own_scan_in": "the image's own scan in the map", "own_scan_out": "own scan left out",
          "single_scenes": "single scenes, one pair each, own scan in"}


def card(model: Sidecar, experiment: Experiment, weights: CrossModalModel) -> str:
    """Markdown: what the model is, what it saw, what it scores and what it cannot do."""
    parts = [f"# {model.name}", "", *_what(model, experiment, weights), "", "## Trained on", "", *_training(model)]
    if "recorded_drives" in model.evaluation:
        parts += ["", "## Recorded drives, none of them trained on", "",
                  *_recorded(model.evaluation["recorded_drives"])]
    if "held_out_streets" in model.evaluation:
        parts += ["", "## Synthetic streets held out", "", *_held_out(model.evaluation["held_out_streets"])]
    return "\n".join([*parts, "", "## What it cannot do", "", *_limits(), "", "## Licence", "",
                      str(model.training["licence"]), ""])


def _what(model: Sidecar, experiment: Experiment, weights: CrossModalModel) -> list[str]:
    size = {name: sum(p.numel() for n, p in part.named_parameters() if not n.startswith("students")) / 1e6
            for name, part in (("camera", weights.camera), ("lidar", weights.lidar))}
    eye = ("the whole picture at {} x {} pixels".format(*model.camera.size) if model.camera.grid is None
           else _grid(model.camera.grid))
    lines = ["Two encoders, trained with MS2-CL's losses, that put a camera image and a LiDAR range image of one "
             "place near each other.", "",
             "| | camera | LiDAR |", "|---|---|---|",
             f"| input | {eye} | {_grid(model.lidar.grid)} |",
             f"| channels | {', '.join(model.camera.channels)} | {', '.join(model.lidar.channels)} |",
             f"| stages (width x blocks) | {_stages(experiment.model.camera)} | {_stages(experiment.model.lidar)} |",
             f"| parameters | {size['camera']:.2f} M | {size['lidar']:.2f} M |", "",
             f"Embedding: {model.embedding.size} numbers of unit length, {model.embedding.columns} azimuth columns "
             "from left to right. The teacher is the coarsest stage"
             + (f"; stages {' and '.join(map(str, experiment.model.students))} are its students while training, and "
                "their heads are not in these files." if experiment.model.students else ".")]
    if model.range_map is not None:
        r = model.range_map
        lines += ["", f"The camera model's second output is a range map: {r.rows} x {r.columns} cells over the LiDAR's "
                      f"grid, {r.bins} ranges from {r.near:g} to {r.far:g} m and \"nothing came back\". Rows above the "
                      "highest beam of the training sweeps (+2 degrees) were never trained."]
    return lines


def _stages(trunk: Any) -> str:
    stages = ", ".join(f"{trunk.width * 2 ** k} x {depth}" for k, depth in enumerate(trunk.depths))
    return stages if trunk.kind == "swin" else f"convolutions: {stages}"


def _grid(grid: AngularGrid) -> str:
    low = grid.elevation_top_deg - grid.rows * grid.elevation_step_deg
    return (f"{grid.rows} x {grid.columns} cells of {grid.elevation_step_deg:g} x {grid.azimuth_step_deg:g} degrees, "
            f"elevation {low:+g} to {grid.elevation_top_deg:+g}")


def _training(model: Sidecar) -> list[str]:
    t = model.training
    return [f"{t['data']}", "",
            f"{t['pairs']} pairs from {t['streets']} training streets, {t['steps']} steps in {t['minutes']:g} minutes, "
            f"seed {t['seed']}. The files keep the weights as {t.get('weights', 'float32')}; "
            f"ONNX Runtime differs from torch by at most {max(t['onnx_against_torch'].values()):g}."]


def _row(title: str, f: dict[str, Any]) -> str:
    return (f"| {title} | {f['queries']} | {f['recall@1']:.3f} | {f['recall@5']:.3f} | {f['right_drive']:.3f} | "
            f"{f['chance']:.3f} |")


def _recorded(e: dict[str, Any]) -> list[str]:
    rows = [_row(TITLES.get(k, k.replace("_", " ")), f) for k, f in e.items()
            if isinstance(f, dict) and "recall@1" in f]
    out = [f"KITTI, {e['pairs']} pairs of image and scan. Every image asks all {e['pairs']} scans together; a hit is "
           f"within {e['hit_within_m']:g} m in the right drive. None of them was trained on. Descriptors as the "
           "encoders give them. Neighbouring frames look alike, so the counts overstate how much is known.", "",
           "| map | images | R@1 | R@5 | right drive | chance of R@1 |", "|---|---|---|---|---|---|", *rows]
    if "range_map" in e:
        r = e["range_map"]
        out += ["", f"Range map: mean |d ln r| {r['mean_abs_log_range_error']:.3f}; the median scan of these very "
                    f"drives would have {r['median_map']:.3f}."]
    return out


def _held_out(e: dict[str, Any]) -> list[str]:
    out = [f"{e['pairs']} pairs; each image against all sweeps of its kind of street, a hit within 5 m in the right "
           "street.", "", "| streets | sweep | R@1 | R@5 | chance of R@1 |", "|---|---|---|---|---|"]
    for kind in ("streets", "cities"):
        for key, title in (("own", "from the image's pose"), ("nearby", "what a map holds nearby")):
            if kind in e:
                f = e[kind]
                out.append(f"| {kind} | {title} | {f[key]['recall@1']:.3f} | {f[key]['recall@5']:.3f} | "
                           f"{f['chance']:.4f} |")
    errors = [f"{kind} {e[kind]['mean_abs_log_range_error']:.3f}" for kind in ("streets", "cities")
              if "mean_abs_log_range_error" in e.get(kind, {})]
    return [*out, "", f"Range map: mean |d ln r| {', '.join(errors)}."] if errors else out


def _limits() -> list[str]:
    return ["- Poses beside the mapped ones: it was trained for sweeps up to 2 m along and about half a metre aside. "
            "From another lane (3.5 m) expect most answers to be wrong, unless the map holds views from there.",
            "- Other headings: a view answers for the heading it was cut at, and a few degrees beside it is harder. "
            "See the rows of the turned map above.",
            "- Sensors: the training camera is a pinhole on a car's roof at 1.7 m; the LiDAR has 64 beams from +2 to "
            "-16 degrees. Fewer beams and narrower cameras were simulated, not measured.",
            "- Night, rain, snow and indoor places were not in the training data.",
            "- It is small and was trained on a CPU for minutes; its figures do not compare with those of papers."]
