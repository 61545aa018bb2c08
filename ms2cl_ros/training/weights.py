# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An exported model as torch modules again, to be trained on: weights from its ONNX files, plan from its sidecar."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from ms2cl_ros.core import sidecar
from ms2cl_ros.core.errors import ConfigError, ModelError
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.training.experiment import Experiment, from_tree
from ms2cl_ros.training.model import CrossModalModel, Encoder


def read_model(folder: Path) -> tuple[Sidecar, Experiment, CrossModalModel]:
    """The contract, the experiment and the weights of an exported model; its students, which are not exported, anew.

    Raises ModelError if the folder holds no model, if its sidecar does not tell how it was built, or if a weight is
    missing or has another shape.
    """
    contract = sidecar.load(folder)
    if contract.training.get("weights") == "int8":
        raise ModelError(f"{folder} is quantised to int8, which cannot be trained on: take the model it was made from")
    tree = contract.training.get("experiment")
    if tree is None:
        raise ModelError(f"{folder / sidecar.SIDECAR} has no training.experiment, so nobody knows how the model is "
                         "built: export its checkpoint again with this version")
    try:
        experiment = from_tree(tree)
        model = CrossModalModel(experiment)
    except ConfigError as e:
        raise ModelError(f"{folder / sidecar.SIDECAR}: training.experiment is of another version: {e}") from e
    for encoder, part in ((model.camera, contract.camera), (model.lidar, contract.lidar)):
        take_weights(encoder, folder / part.file)
    with torch.no_grad():
        model.log_scale.fill_(math.log(contract.embedding.logit_scale))
    return contract, experiment, model


def take_weights(encoder: Encoder, path: Path) -> None:
    """Copies an ONNX file's weights, which carry the names of the modules, into an encoder; raises ModelError."""
    found = initialisers(path)
    # What only the students look at is not in the file: they and, without a decoder, the norms of the finer stages.
    last = len(encoder.trunk.widths) - 1
    finer = () if encoder.decoder is not None else tuple(f"trunk.norms.{k}." for k in range(last))
    missing = []
    with torch.no_grad():
        learnt = {n: b for n, b in encoder.named_buffers() if n.endswith(("running_mean", "running_var"))}
        for name, own in [*encoder.named_parameters(), *learnt.items()]:
            if name.startswith(("students.", *finer)):
                continue
            if name not in found or found[name].shape != own.shape:
                missing.append(f"{name} {tuple(own.shape)}")
            else:
                own.copy_(found[name])
    if missing:
        raise ModelError(f"{path} lacks {len(missing)} weights of the experiment in its sidecar, such as "
                         f"{', '.join(missing[:3])}: was it exported by another version?")


def initialisers(path: Path) -> dict[str, Tensor]:
    """The constants of an ONNX file by name; raises ModelError if it cannot be read."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as e:
        raise ModelError("the package onnx is not installed: run `pip install 'ms2cl_ros[training]'`") from e
    try:
        graph = onnx.load(str(path)).graph
    except Exception as e:  # protobuf's and onnx's errors share no base class
        raise ModelError(f"{path} cannot be read as ONNX: {e}") from e
    return {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
