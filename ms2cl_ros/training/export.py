# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a trained model as the robot reads it: two ONNX files, their sidecar and a card.

    python -m ms2cl_ros.training.export runs/ms2cl_city/checkpoint.pt models/ms2cl_city --shards shards/a_00.npz

Student heads stay behind. ONNX Runtime must agree with torch, or nothing is written. The sidecar holds the whole
experiment, and constants keep the names of the modules' weights, so that a model can be trained on (`weights.py`).
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ms2cl_ros.core import sidecar
from ms2cl_ros.core.errors import ModelError, Ms2clError
from ms2cl_ros.core.sidecar import CameraInput, Embedding, LidarInput, RangeMap, Sidecar
from ms2cl_ros.training.card import card
from ms2cl_ros.training.compress import halve, name_all, quantise
from ms2cl_ros.training.experiment import Experiment, to_tree
from ms2cl_ros.training.model import CrossModalModel, Encoder, input_sizes

OPSET = 17  # onnxruntime 1.17 and 1.32 were seen to read it
# How far the outputs may be from torch's, the range map's logits among them; int8 is judged by its recall alone.
TOLERANCES = {"float32": 1e-3, "float16": 0.1, "int8": math.inf}
Figures = Callable[[Path], dict[str, Any]]


def export_onnx(encoder: Encoder, path: Path, name: str, size: tuple[int, ...], weights: str = "float32") -> float:
    """Writes one encoder for inputs `name` of (N, *size); returns how far ONNX Runtime is from torch at most.

    `weights`: float32, float16 (half the file) or int8. Raises ModelError if that exceeds its tolerance.
    """
    encoder.eval()
    outputs = ["strip"] if encoder.trunk.around else ["embedding"]
    outputs += ["range_logits"] if encoder.decoder is not None else []
    generator = torch.Generator().manual_seed(0)
    with warnings.catch_warnings():
        # The tracer warns about sizes that become constants: all but the batch are meant to be.
        warnings.simplefilter("ignore")
        # Folding would put transposed weights without names in the place of those of the modules.
        torch.onnx.export(encoder, (torch.randn(2, *size, generator=generator),), str(path), input_names=[name],
                          output_names=outputs, opset_version=OPSET, dynamo=False, do_constant_folding=False,
                          dynamic_axes={k: {0: "batch"} for k in (name, *outputs)})
    name_all(path)
    {"float32": lambda _: None, "float16": halve, "int8": quantise}[weights](path)
    difference = max(parity(encoder, path, name, torch.randn(n, *size, generator=generator)) for n in (1, 3))
    if difference > TOLERANCES[weights]:
        raise ModelError(f"{path.name} differs from torch by {difference:.2g} (allowed: {TOLERANCES[weights]:g})")
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


def contract(experiment: Experiment, model: CrossModalModel, training: dict[str, Any],
             evaluation: dict[str, Any]) -> Sidecar:
    """The sidecar of a model; the digests are filled in when it is saved."""
    c, r, sizes = experiment.camera, experiment.lidar, input_sizes(experiment)
    assert r.grid is not None
    maps = experiment.range_map
    return Sidecar(
        name=experiment.name,
        camera=CameraInput("camera.onnx", "", c.projection, c.grid, sizes["camera"][0], c.channels, c.mean, c.std),
        lidar=LidarInput("lidar.onnx", "", r.grid, sizes["lidar"][0], r.channels, r.mean, r.std, r.near, r.far,
                         experiment.model.around),
        embedding=Embedding(experiment.model.embedding, experiment.model.columns, "cosine",
                            round(model.log_scale.exp().item(), 3)),
        range_map=RangeMap(maps.rows, maps.columns, maps.bins, maps.near, maps.far) if maps else None,
        training=training, evaluation=evaluation)


def export(experiment: Experiment, model: CrossModalModel, counters: dict[str, Any], folder: Path,
           evaluation: dict[str, Any] | None = None, weights: str = "float32",
           figures: Figures | None = None) -> Sidecar:
    """Writes camera.onnx, lidar.onnx, model.yaml and README.md into `folder`; raises ModelError and leaves the folder
    as it was if the exported files do not agree with torch.

    `weights`: how the files keep them, float32, float16 or int8. `figures`: what the model in a folder scores, to be
    put beside `evaluation`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        files, differences = Path(scratch), {}
        for name, key, encoder in (("camera", "image", model.camera), ("lidar", "range_image", model.lidar)):
            (rows, columns), channels = input_sizes(experiment)[name]
            found = export_onnx(encoder, files / f"{name}.onnx", key, (channels, rows, columns), weights)
            differences[f"{name}.onnx"] = float(f"{found:.2g}")
        training = _training(experiment, counters, weights, differences)
        made = contract(experiment, model, training, evaluation or {})
        sidecar.save(made, files)
        if figures is not None:
            made = replace(made, evaluation={**made.evaluation, **figures(files)})
            sidecar.save(made, files)
        (files / "README.md").write_text(card(sidecar.load(files), experiment, model))
        folder.mkdir(parents=True, exist_ok=True)
        # The sidecar goes last: until then its digests refuse a half-copied model.
        for name in ("camera.onnx", "lidar.onnx", "README.md", sidecar.SIDECAR):
            shutil.copyfile(files / name, folder / (name + ".part"))
            os.replace(folder / (name + ".part"), folder / name)
    return sidecar.load(folder)


def _training(experiment: Experiment, counters: dict[str, Any], weights: str,
              differences: dict[str, float]) -> dict[str, Any]:
    """What the sidecar tells of where the model comes from."""
    return {"data": experiment.about.data, "licence": experiment.about.licence, "pairs": counters["pairs"],
            "streets": counters["streets"], "steps": counters["step"],
            "minutes": round(counters["seconds"] / 60.0, 1), "seed": experiment.seed,
            "weights": weights, "onnx_against_torch": differences, "experiment": to_tree(experiment)}


class _Part:
    """One exported encoder with the face of a torch one."""

    def __init__(self, path: Path, columns: int) -> None:
        import onnxruntime as ort
        self._session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._input, self._columns = self._session.get_inputs()[0].name, columns

    def train_forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor | None]:
        """(N, C, H, W) -> strip (N, numbers, columns), no students, range logits or None."""
        found = [torch.from_numpy(y) for y in self._session.run(None, {self._input: x.numpy()})]
        strip = found[0] if found[0].ndim == 3 else found[0].reshape(len(x), -1, self._columns)
        return strip, [], found[1] if len(found) > 1 else None


class ExportedModel:
    """The encoders in a folder, for the code that evaluates torch's."""

    def __init__(self, folder: Path) -> None:
        columns = sidecar.load(folder).embedding.columns
        self.camera, self.lidar = _Part(folder / "camera.onnx", columns), _Part(folder / "lidar.onnx", columns)

    def parameters(self) -> Iterator[torch.Tensor]:
        """None that torch could move to another device."""
        return iter(())


def figures_of(experiment: Experiment, shards: list[Path] | None, pairs: Path | None) -> Figures:
    """What a model in a folder scores on the held-out streets of `shards` and on recorded drives under `pairs`."""
    from ms2cl_ros.core.config import EncoderConfig
    from ms2cl_ros.core.encoder import Encoder as Robots
    from ms2cl_ros.training.evaluate_pairs import evaluate
    from ms2cl_ros.training.shards import Shards
    from ms2cl_ros.training.validate import held_out_figures

    def of(folder: Path) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if shards:
            out["held_out_streets"] = held_out_figures(ExportedModel(folder), experiment,
                                                       Shards(shards, experiment, training=False), 10 ** 6)
        if pairs:
            out["recorded_drives"] = evaluate(Robots.load(EncoderConfig(model=str(folder))), pairs)
        return out
    return of


def main(checkpoint: Path, folder: Path, shards: list[Path] | None = None, pairs: Path | None = None,
         half: bool = False, int8: bool = False) -> None:
    """Exports CHECKPOINT into FOLDER. With --shards, the card gives figures on their held-out streets;
    with --pairs, a folder of recorded drives, figures on those too.

    --half keeps the weights as float16, for half the size; --int8 writes a quantised variant beside, FOLDER_int8.
    """
    from ms2cl_ros.training.train import averaged
    try:
        experiment, model, counters = averaged(checkpoint)
        variants = [(folder, "float16" if half else "float32")]
        variants += [(folder.with_name(folder.name + "_int8"), "int8")] if int8 else []
        for place, weights in variants:
            made = export(experiment, model, counters, place, {}, weights, figures_of(experiment, shards, pairs))
            size = sum((place / part).stat().st_size for part in ("camera.onnx", "lidar.onnx")) / 1e6
            print(f"{place}: {made.fingerprint[:12]}, {weights}, {size:.1f} MB, onnx against torch "
                  f"{made.training['onnx_against_torch']}")
    except Ms2clError as e:
        print(f"error: {e}", file=sys.stderr)
        raise SystemExit(1) from e


if __name__ == "__main__":
    import typer
    typer.run(main)
