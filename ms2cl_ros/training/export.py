# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a trained model as the robot reads it: two ONNX files, their sidecar and a card.

    python -m ms2cl_ros.training.export runs/ms2cl_city/checkpoint.pt models/ms2cl_city --shards shards/a_00.npz

Student heads stay behind. ONNX Runtime must agree with torch, or nothing is written.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ms2cl_ros.core import sidecar
from ms2cl_ros.core.errors import ModelError, Ms2clError
from ms2cl_ros.core.sidecar import CameraInput, Embedding, LidarInput, RangeMap, Sidecar
from ms2cl_ros.training.card import card
from ms2cl_ros.training.experiment import Experiment
from ms2cl_ros.training.model import CrossModalModel, Encoder

OPSET = 17  # what onnxruntime 1.23, the last for Python 3.10, reads without doubt
TOLERANCE = 1e-3


def export_onnx(encoder: Encoder, path: Path, name: str, size: tuple[int, ...]) -> float:
    """Writes one encoder for inputs `name` of (N, *size); returns how far ONNX Runtime is from torch at most.

    Raises ModelError if that exceeds TOLERANCE.
    """
    encoder.eval()
    outputs = ["strip"] if encoder.trunk.around else ["embedding"]
    outputs += ["range_logits"] if encoder.decoder is not None else []
    generator = torch.Generator().manual_seed(0)
    with warnings.catch_warnings():
        # The tracer warns about sizes that become constants: all but the batch are meant to be.
        warnings.simplefilter("ignore")
        torch.onnx.export(encoder, (torch.randn(2, *size, generator=generator),), str(path), input_names=[name],
                          output_names=outputs, opset_version=OPSET, dynamo=False, do_constant_folding=False,
                          dynamic_axes={k: {0: "batch"} for k in (name, *outputs)})
    difference = max(parity(encoder, path, name, torch.randn(n, *size, generator=generator)) for n in (1, 3))
    if difference > TOLERANCE:
        raise ModelError(f"{path.name} differs from torch by {difference:.2g} (allowed: {TOLERANCE:g})")
    return difference


@torch.no_grad()
def parity(encoder: Encoder, path: Path, name: str, x: torch.Tensor) -> float:
    """The largest absolute difference between the exported file and the encoder over all outputs for one input."""
    import onnxruntime as ort
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    want = encoder(x)
    want = want if isinstance(want, tuple) else (want,)
    have = session.run(None, {name: x.numpy()})
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(have, want, strict=True))


def lidar_size(experiment: Experiment) -> tuple[int, int]:
    """Rows and columns of what the LiDAR's encoder eats."""
    grid = experiment.lidar.grid
    return grid.rows, grid.turn_columns if experiment.model.around else grid.columns


def contract(experiment: Experiment, model: CrossModalModel, training: dict[str, Any],
             evaluation: dict[str, Any]) -> Sidecar:
    """The sidecar of a model; the digests are filled in when it is saved."""
    c, r = experiment.camera, experiment.lidar
    maps = experiment.range_map
    return Sidecar(
        name=experiment.name,
        camera=CameraInput("camera.onnx", "", "angular_grid", c.grid, (c.grid.rows, c.grid.columns),
                           c.channels, c.mean, c.std),
        lidar=LidarInput("lidar.onnx", "", r.grid, lidar_size(experiment), r.channels, r.mean, r.std, r.near, r.far,
                         experiment.model.around),
        embedding=Embedding(experiment.model.embedding, experiment.model.columns, "cosine",
                            round(model.log_scale.exp().item(), 3)),
        range_map=RangeMap(maps.rows, maps.columns, maps.bins, maps.near, maps.far) if maps else None,
        training=training, evaluation=evaluation)


def export(experiment: Experiment, model: CrossModalModel, counters: dict[str, Any], folder: Path,
           evaluation: dict[str, Any] | None = None) -> Sidecar:
    """Writes camera.onnx, lidar.onnx, model.yaml and README.md into `folder`; raises ModelError and leaves the folder
    as it was if the exported files do not agree with torch."""
    schedule = experiment.schedule
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch)
        differences = {}
        for name, encoder, inputs in (("image", model.camera, experiment.camera),
                                      ("range_image", model.lidar, experiment.lidar)):
            path = files / ("camera.onnx" if name == "image" else "lidar.onnx")
            size = (inputs.grid.rows, inputs.grid.columns) if name == "image" else lidar_size(experiment)
            size = (len(inputs.channels), *size)
            differences[path.name] = float(f"{export_onnx(encoder, path, name, size):.2g}")
        training = {"data": experiment.about.data, "licence": experiment.about.licence, "pairs": counters["pairs"],
                    "streets": counters["streets"], "steps": counters["step"],
                    "minutes": round(counters["seconds"] / 60.0, 1), "seed": experiment.seed,
                    "loss": {"contrastive": experiment.loss.contrastive, "distillation": experiment.loss.distillation,
                             "range_map": experiment.loss.range_map, "stop_gradient": experiment.loss.stop_gradient},
                    "learning_rate": schedule.learning_rate, "onnx_against_torch": differences}
        made = contract(experiment, model, training, evaluation or {})
        sidecar.save(made, files)
        made = sidecar.load(files)
        (files / "README.md").write_text(card(made, experiment, model))
        folder.mkdir(parents=True, exist_ok=True)
        # The sidecar goes last: until then its digests refuse a half-copied model.
        for name in ("camera.onnx", "lidar.onnx", "README.md", sidecar.SIDECAR):
            shutil.copyfile(files / name, folder / (name + ".part"))
            os.replace(folder / (name + ".part"), folder / name)
    return sidecar.load(folder)


def main(checkpoint: Path, folder: Path, shards: list[Path] | None = None, pairs: Path | None = None) -> None:
    """Exports CHECKPOINT into FOLDER. With --shards, the card gives figures on their held-out streets;
    with --pairs, a folder of recorded drives, figures on those too."""
    from ms2cl_ros.core.config import EncoderConfig
    from ms2cl_ros.core.encoder import Encoder as Exported
    from ms2cl_ros.training.data import Shards
    from ms2cl_ros.training.evaluate_pairs import evaluate
    from ms2cl_ros.training.train import averaged
    from ms2cl_ros.training.validate import held_out_figures
    try:
        experiment, model, counters = averaged(checkpoint)
        evaluation: dict[str, Any] = {}
        if shards:
            evaluation["held_out_streets"] = held_out_figures(model, experiment, Shards(shards, experiment), 10 ** 6)
        made = export(experiment, model, counters, folder, evaluation)
        if pairs:
            evaluation["recorded_drives"] = evaluate(Exported.load(EncoderConfig(model=str(folder))), pairs)
            made = export(experiment, model, counters, folder, evaluation)
        print(f"{folder}: {made.fingerprint[:12]}, onnx against torch {made.training['onnx_against_torch']}")
    except Ms2clError as e:
        print(f"error: {e}", file=sys.stderr)
        raise SystemExit(1) from e


if __name__ == "__main__":
    import typer
    typer.run(main)
