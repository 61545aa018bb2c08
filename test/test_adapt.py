# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model is adapted to a recording: what is held back, what is read back, what is written."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
import recordings

torch = pytest.importorskip("torch", reason="torch is not installed: training is optional")
if importlib.util.find_spec("timm") is None or importlib.util.find_spec("onnx") is None:
    pytest.skip("timm or onnx is not installed: training is optional", allow_module_level=True)

from ms2cl_ros.core import sidecar  # noqa: E402
from ms2cl_ros.core.errors import ConfigError, DataError, ModelError  # noqa: E402
from ms2cl_ros.core.types import AngularGrid  # noqa: E402
from ms2cl_ros.training.adapt import (  # noqa: E402
    Adaptation,
    AdaptConfig,
    enough,
    own_experiment,
    split,
    write_pieces,
)
from ms2cl_ros.training.adapted import adapt_model, figures  # noqa: E402
from ms2cl_ros.training.data import draw_batch  # noqa: E402
from ms2cl_ros.training.experiment import (  # noqa: E402
    DataConfig,
    Experiment,
    InputConfig,
    ModelConfig,
    RangeMapConfig,
    ScheduleConfig,
    TrunkConfig,
    to_tree,
)
from ms2cl_ros.training.export import export  # noqa: E402
from ms2cl_ros.training.model import CrossModalModel  # noqa: E402
from ms2cl_ros.training.pairs import PairsConfig, collect  # noqa: E402
from ms2cl_ros.training.shards import Shards  # noqa: E402
from ms2cl_ros.training.weights import read_model  # noqa: E402

SMALL = AdaptConfig(steps=2, frames=6, variants=2, threads=1, radius=1.5, learning_rate=1e-2)


def tiny() -> Experiment:
    trunk = TrunkConfig(width=16, depths=(1, 1, 1), heads=(1, 2, 2), window=(2, 4), drop_path=0.0)
    return Experiment(
        name="tiny",
        camera=InputConfig(AngularGrid(32, 64, 8.0, 0.8, 1.125), ("red", "green", "blue", "valid"),
                           (0.4, 0.5, 0.6, 0.0), (0.2, 0.3, 0.25, 1.0)),
        lidar=InputConfig(AngularGrid(16, 64, 1.6, 0.8, 1.125), ("log_range", "valid"), (2.7, 0.0), (0.8, 1.0)),
        model=ModelConfig(trunk, trunk, embedding=32, columns=4, students=(0, 1), decoder=(16, 16)),
        range_map=RangeMapConfig(rows=8, columns=32, bins=8),
        data=DataConfig(streets=3, frames=2, cities=3, city_frames=2, width=128),
        schedule=ScheduleConfig(minutes=0.0, steps=2, bfloat16=False, threads=1))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A tiny model with weights of its own, and the folder that it was exported into."""
    torch.manual_seed(5)
    experiment, folder = tiny(), tmp_path_factory.mktemp("model") / "tiny"
    model = CrossModalModel(experiment).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn_like(p))
    export(experiment, model, {"pairs": 1, "streets": 1, "step": 1, "seconds": 60.0}, folder)
    return model, folder


def test_parts_held_back_are_whole_blocks_and_nothing_near_them_is_trained_on():
    along = np.arange(100.0)
    parts = split(along, np.stack([along, 0 * along], 1), 5.0)
    assert parts.held_back.tolist() == [*range(20, 30), *range(70, 80)]
    assert parts.train.tolist() == [*range(16), *range(34, 66), *range(84, 100)]
    assert parts.piece.tolist() == [0] * 16 + [1] * 32 + [2] * 16


def test_a_place_that_is_come_to_again_is_not_trained_on_if_it_is_held_back():
    along = np.arange(100.0)
    position = np.stack([along, 0 * along], 1)
    position[90:] = position[20:30] + np.array([0.0, 2.0])
    parts = split(along, position, 5.0)
    assert not set(range(90, 100)) & set(parts.train.tolist())


def test_a_recording_that_is_too_short_is_refused():
    along = np.arange(20.0)
    with pytest.raises(DataError, match=r"20 pairs along 19 m leave .* take a longer recording"):
        split(along, np.stack([along, 0 * along], 1), 5.0)


def test_an_exported_model_is_read_back_to_the_last_bit_but_its_students(exported):
    model, folder = exported
    _, experiment, again = read_model(folder)
    assert experiment == tiny()
    old, new = dict(model.named_parameters()), dict(again.named_parameters())
    finer = ("lidar.trunk.norms.0", "lidar.trunk.norms.1")
    read = [n for n in old if ".students." not in n and not n.startswith(finer) and n != "log_scale"]
    assert len(read) > 100
    assert all(torch.equal(old[n], new[n]) for n in read)
    assert new["log_scale"].item() == pytest.approx(old["log_scale"].item(), abs=1e-3)
    x = torch.randn(2, 2, 16, 320)
    assert torch.equal(model.lidar(x), again.eval().lidar(x))


def test_a_model_without_its_experiment_is_refused_with_the_remedy(exported, tmp_path):
    import shutil
    folder = shutil.copytree(exported[1], tmp_path / "old")
    made = sidecar.load(folder)
    training = {k: v for k, v in made.training.items() if k != "experiment"}
    sidecar.save(dataclasses.replace(made, training=training), folder)
    with pytest.raises(ModelError, match=r"no training.experiment.*export its checkpoint again"):
        read_model(folder)


def test_weights_of_another_shape_are_refused_by_name(exported, tmp_path):
    import shutil
    folder = shutil.copytree(exported[1], tmp_path / "other")
    made = sidecar.load(folder)
    wider = dataclasses.replace(tiny(), model=dataclasses.replace(tiny().model, embedding=64))
    sidecar.save(dataclasses.replace(made, training={**made.training, "experiment": to_tree(wider)}), folder)
    with pytest.raises(ModelError, match=r"lacks 2 weights .*teacher\.project"):
        read_model(folder)


def test_short_recordings_are_gone_over_less_often_than_time_would_allow():
    config = AdaptConfig(passes=20.0, frames=64, rehearsal=0.5)
    assert [enough(n, config, False) for n in (16, 64, 3200)] == [10, 20, 1000]
    assert enough(3200, config, True) == 2000


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """Shard of a drive past poles, and the experiment it is learnt by."""
    experiment = tiny()
    contract = sidecar.CameraInput("", "", "angular_grid", experiment.camera.grid, (32, 64), ("red",), (0.0,), (1.0,))
    made = collect(recordings.StreetOfPoles(40), contract, experiment.lidar.grid, PairsConfig(variants=2, reach=2.0))
    path = tmp_path_factory.mktemp("own") / "own.npz"
    write_pieces(path, made, split(made[0]["s"], made[0]["pose"][:, :2], 1.5))
    return path, own_experiment(experiment, SMALL), made


def test_a_strong_pull_leaves_the_weights_where_they_were(pieces):
    path, experiment, _ = pieces
    moved = {}
    for pull in (0.0, 1e6):
        torch.manual_seed(1)
        model = CrossModalModel(tiny())
        run = Adaptation(model, tiny(), dataclasses.replace(SMALL, pull=pull))
        terms = run.advance(draw_batch(Shards([path], experiment), experiment, 0), experiment, 0.0)
        assert set(terms) == {"contrast", "distil", "range", "keep"} and terms["distil"] == 0.0
        moved[pull] = max((p - run.start[n]).abs().max().item() for n, p in model.named_parameters())
    assert moved[0.0] > 1e-6
    assert moved[1e6] == 0.0


def test_batches_come_from_the_frames_to_train_on_alone(pieces):
    path, experiment, made = pieces
    parts = split(made[0]["s"], made[0]["pose"][:, :2], 1.5)
    shards = Shards([path], experiment)
    assert len(shards) == 2 * len(parts.train)
    assert not set(shards.along.tolist()) & set(made[0]["s"][parts.held_back].tolist())
    assert len(draw_batch(shards, experiment, 0).along) >= SMALL.frames


def test_figures_of_an_embedder_that_knows_everything_and_of_one_that_knows_nothing(pieces):
    _, _, made = pieces

    class Knowing:
        sidecar = type("S", (), {"lidar": type("L", (), {"grid": tiny().lidar.grid})})

        def __init__(self, shift: int) -> None:
            self.shift = shift

        def embed_turns(self, panoramas, headings):
            return np.eye(len(panoramas), dtype=np.float32)[:, None]

        def embed_image(self, rgb, valid):
            frame = int(rgb[..., 0].max())  # the street's pictures are painted with their number
            return np.roll(np.eye(40, dtype=np.float32)[frame], self.shift), None

    asking = np.arange(10, 20)
    all_right, wrong = (figures(Knowing(k), made[0], asking, 1.5) for k in (0, 9))
    assert all_right["own_in"]["recall"]["1"] == 1.0
    assert wrong["own_in"]["recall"]["1"] == 0.0
    assert all_right["own_in"]["chance"] == pytest.approx(3 / 40, abs=1e-4)
    assert all_right["own_out"]["chance"] == pytest.approx(2 / 39, abs=1e-4)
    assert all_right["own_out"]["database"] == 39 and all_right["own_in"]["queries"] == 10


def test_an_adapted_model_is_written_whole_and_says_what_it_saw(exported, tmp_path):
    folder, out, said = exported[1], tmp_path / "mine", []
    tests = [recordings.StreetOfPoles(10, name="elsewhere")]
    made, report = adapt_model(recordings.StreetOfPoles(40), folder, out, SMALL, (), tests, said.append)
    assert sorted(p.name for p in out.iterdir()) == ["README.md", "camera.onnx", "lidar.onnx", "model.yaml"]
    assert made.fingerprint != sidecar.load(folder).fingerprint
    assert made.training["adapted_from"]["fingerprint"] == sidecar.load(folder).fingerprint
    assert read_model(out)[1].model == tiny().model
    assert "recording 'poles'" in made.training["data"] and "poles" in made.training["licence"]
    assert report["steps"] == 2 and report["trained_on"] == 28
    assert report["after"]["elsewhere"]["own_in"]["queries"] == 10
    assert report["after"]["poles"]["own_in"]["queries"] == 8
    card = (out / "README.md").read_text()
    assert "| poles, held back | own scan out | 8 | 39 |" in card and "| elsewhere | own scan in | 10 | 10 |" in card
    with pytest.raises(ConfigError, match="exists already"):
        adapt_model(recordings.StreetOfPoles(40), folder, out, SMALL)


def test_a_recording_is_not_tested_on_itself(exported, tmp_path):
    street = recordings.StreetOfPoles(40)
    with pytest.raises(ConfigError, match="called alike"):
        adapt_model(street, exported[1], tmp_path / "mine", SMALL, (), [street])
