# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A training checkpoint where an exported model is expected: torch behind the robot's own encoder."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.training.export import contract
from ms2cl_ros.training.train import averaged


class TorchSession:
    """Runs one encoder as an ONNX session would; the exported file has the same outputs in the same order."""

    def __init__(self, encoder: nn.Module) -> None:
        self._encoder = encoder.eval()

    @torch.inference_mode()
    def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The first outputs, as many as are named, float32, of the only input (N, C, H, W) float32."""
        [x] = inputs.values()
        found: Any = self._encoder(torch.from_numpy(np.ascontiguousarray(x)))
        found = found if isinstance(found, tuple) else (found,)
        return [value.float().numpy() for value in found[:len(outputs)]]


def load_checkpoint(path: Path, threads: int = 2) -> Encoder:
    """The averaged weights of a checkpoint as an encoder, its contract that of an export; raises DataError if it is
    none. Its fingerprint is that of the file."""
    torch.set_num_threads(threads)
    experiment, model, counters = averaged(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    sidecar = contract(experiment, model, {"steps": counters["step"]}, {})
    sidecar = replace(sidecar, camera=replace(sidecar.camera, sha256=digest),
                      lidar=replace(sidecar.lidar, sha256=digest))
    return Encoder(sidecar, TorchSession(model.camera), TorchSession(model.lidar))
