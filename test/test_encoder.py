# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model that does not fit its sidecar is refused with the reason; one that fits gives unit descriptors."""

import shutil

import numpy as np
import pytest
import yaml

from ms2cl_ros.core.config import EncoderConfig
from ms2cl_ros.core.encoder import Encoder, model_folder
from ms2cl_ros.core.errors import ModelError
from ms2cl_ros.core.sidecar import load, sha256
from ms2cl_ros.core.types import RangeImage


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def change(folder, edit):
    """Edits the sidecar as a tree."""
    tree = yaml.safe_load((folder / "model.yaml").read_text())
    edit(tree)
    (folder / "model.yaml").write_text(yaml.safe_dump(tree))


def encoder(folder, **settings):
    return Encoder.load(EncoderConfig(model=str(folder), **settings))


def test_views_and_images_become_unit_descriptors_whatever_the_batch(model):
    e = encoder(model)
    grid = e.sidecar.lidar.grid.panorama()
    ranges = np.random.default_rng(0).uniform(2, 60, (9, grid.rows, grid.columns)).astype(np.float32)
    turns, headings = [RangeImage(r, grid) for r in ranges], np.array([0.0, 1.0, 2.0, 3.0])
    together = e.embed_turns(turns, headings)
    alone = np.stack([e.embed_turns([t], headings[i:i + 1])[0, 0] for i in range(4) for t in turns], 0)
    assert together.shape == (9, 4, e.sidecar.embedding.size)
    np.testing.assert_allclose(np.linalg.norm(together, axis=2), 1.0, atol=1e-5)
    np.testing.assert_allclose(together.transpose(1, 0, 2).reshape(36, -1), alone, atol=1e-5)


def test_the_shipped_model_fits_its_sidecar_and_predicts_a_range_map():
    e = Encoder.load(EncoderConfig())
    size, ranges = e.sidecar.camera.size, e.sidecar.range_map
    descriptor, logits = e.embed_image(np.full((*size, 3), 90, np.uint8), np.ones(size, bool))
    assert descriptor.shape == (e.sidecar.embedding.size,)
    assert np.linalg.norm(descriptor) == pytest.approx(1.0, abs=1e-5)
    assert logits.shape == (ranges.bins + 1, ranges.rows, ranges.columns)


def test_the_shipped_models_stay_small():
    folder = model_folder("ms2cl_city")
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 20e6


def test_a_model_file_that_was_changed_is_refused(model):
    with open(model / "lidar.onnx", "ab") as f:
        f.write(b"\0")
    with pytest.raises(ModelError, match=r"lidar\.onnx is not the file its sidecar describes"):
        encoder(model)


def test_a_model_file_that_is_gone_is_refused(model):
    (model / "camera.onnx").unlink()
    with pytest.raises(ModelError, match=r"names camera\.onnx, which is not there"):
        encoder(model)


@pytest.mark.parametrize(("edit", "says"), [
    (lambda t: t.update(format=99), "reads format 1"),
    (lambda t: t.pop("embedding"), "lacks embedding"),
    (lambda t: t["lidar"].pop("near"), r"missing \['near'\]"),
    (lambda t: t["camera"].update(colour="red"), r"unknown \['colour'\]"),
    (lambda t: t["camera"].update(projection="cylinder"), "cylinder"),
    (lambda t: t["lidar"].update(channels=["intensity"] * len(t["lidar"]["mean"])), "intensity"),
    (lambda t: t["embedding"].update(metric="euclidean"), "euclidean"),
    (lambda t: t["embedding"].update(size=t["embedding"]["size"] + 1), "its sidecar says"),
    (lambda t: t["lidar"].update(size=[3, 5]), "its sidecar says"),
])
def test_a_sidecar_that_contradicts_itself_or_the_model_is_refused(model, edit, says):
    change(model, edit)
    with pytest.raises(ModelError, match=says):
        encoder(model)


def test_a_file_that_is_no_onnx_model_is_refused(model):
    (model / "lidar.onnx").write_bytes(b"not a model")
    change(model, lambda t: t["lidar"].update(sha256=sha256(model / "lidar.onnx")))
    with pytest.raises(ModelError, match="onnxruntime cannot load"):
        encoder(model)


def test_an_execution_provider_that_is_not_there_is_refused_with_those_that_are(model):
    with pytest.raises(ModelError, match="CPUExecutionProvider"):
        encoder(model, providers=["NoSuchProvider"])


def test_an_unknown_model_name_is_refused_with_those_shipped():
    with pytest.raises(ModelError, match="ms2cl_city"):
        model_folder("ms2cl_moon")


def test_the_fingerprint_changes_with_the_geometry_and_not_with_the_card(model):
    before = load(model).fingerprint
    change(model, lambda t: t["training"].update(data="other words"))
    assert load(model).fingerprint == before
    change(model, lambda t: t["lidar"].update(far=33.0))
    assert load(model).fingerprint != before
