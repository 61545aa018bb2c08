# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is evaluated by the same code as the model exported from it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is optional")
for _name in ("timm", "onnx"):
    if importlib.util.find_spec(_name) is None:
        pytest.skip(f"{_name} is not installed: training is optional", allow_module_level=True)

from test_training import tiny  # noqa: E402

from ms2cl_ros.core.config import EncoderConfig  # noqa: E402
from ms2cl_ros.core.encoder import Encoder  # noqa: E402
from ms2cl_ros.core.errors import DataError  # noqa: E402
from ms2cl_ros.core.types import RangeImage  # noqa: E402
from ms2cl_ros.training.checkpoint import load_checkpoint  # noqa: E402
from ms2cl_ros.training.experiment import to_tree  # noqa: E402
from ms2cl_ros.training.export import export  # noqa: E402
from ms2cl_ros.training.model import CrossModalModel  # noqa: E402
from ms2cl_ros.training.train import averaged  # noqa: E402


def test_a_checkpoint_embeds_as_the_model_exported_from_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    counters = {"step": 3, "seconds": 1.0, "pairs": 10, "streets": 2}
    torch.save({"experiment": to_tree(tiny()), "average": CrossModalModel(tiny()).state_dict(), **counters},
               tmp_path / "checkpoint.pt")
    export(*averaged(tmp_path / "checkpoint.pt"), tmp_path / "made")
    encoders = load_checkpoint(tmp_path / "checkpoint.pt", 1), Encoder.load(EncoderConfig(model=str(tmp_path / "made")))
    grid, rng = encoders[1].sidecar.lidar.grid.panorama(), np.random.default_rng(0)
    turn = RangeImage(rng.uniform(0, 60, (grid.rows, grid.columns)).astype(np.float32), grid)
    rgb, valid = rng.integers(0, 255, (32, 64, 3), dtype=np.uint8), np.ones((32, 64), bool)
    ours, theirs = (e.embed_turns([turn], np.array([0.0, 0.7])) for e in encoders)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    (embedding, logits), (other, wanted) = (e.embed_image(rgb, valid) for e in encoders)
    np.testing.assert_allclose(embedding, other, atol=1e-4)
    assert logits is not None and wanted is not None
    np.testing.assert_allclose(logits, wanted, atol=1e-3)
    assert encoders[0].headings == encoders[1].headings
    assert encoders[0].sidecar.fingerprint != encoders[1].sidecar.fingerprint


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="checkpoint"):
        load_checkpoint(tmp_path / "missing.pt")
