# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training submodule at toy size: losses, data, resuming, export."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is optional")
if importlib.util.find_spec("timm") is None:
    pytest.skip("timm is not installed: training is optional", allow_module_level=True)

from toy_training import tiny, write_shard  # noqa: E402

from ms2cl_ros.core import projection  # noqa: E402
from ms2cl_ros.core.config import EncoderConfig  # noqa: E402
from ms2cl_ros.core.encoder import Encoder  # noqa: E402
from ms2cl_ros.core.errors import ConfigError, DataError  # noqa: E402
from ms2cl_ros.core.mapper import headings_around  # noqa: E402
from ms2cl_ros.core.types import RangeImage  # noqa: E402
from ms2cl_ros.training import augment, losses  # noqa: E402
from ms2cl_ros.training.data import camera_input, draw_batch, draw_rows, lidar_input  # noqa: E402
from ms2cl_ros.training.experiment import DataConfig, RangeMapConfig, from_tree, load, to_tree  # noqa: E402
from ms2cl_ros.training.export import contract, export  # noqa: E402
from ms2cl_ros.training.model import CrossModalModel, windows  # noqa: E402
from ms2cl_ros.training.shards import Shards  # noqa: E402
from ms2cl_ros.training.train import CHECKPOINT, Run, averaged, train  # noqa: E402

CONFIG = Path(__file__).resolve().parents[1] / "config" / "training"


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write_shard(tmp_path / "part.npz", turns=False)


@pytest.fixture
def model() -> CrossModalModel:
    torch.manual_seed(0)
    return CrossModalModel(tiny())


def flat(found: tuple[torch.Tensor, list[torch.Tensor], torch.Tensor | None],
         ) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The teacher's and the students' embeddings of a camera."""
    column = torch.zeros(len(found[0]), dtype=torch.long)
    return losses.look(found[0], column, 4), [losses.look(strip, column, 4) for strip in found[1]]


def test_distillation_leaves_the_teacher_head_alone(model: CrossModalModel) -> None:
    x = torch.randn(3, 4, 32, 64)
    teacher, students = flat(model.camera.train_forward(x))
    losses.distillation(teacher, students, stop_gradient=True).backward()
    assert all(p.grad is None for p in model.camera.teacher.parameters())
    assert all(p.grad is None for p in model.camera.trunk.stages[2].parameters())
    assert all(p.grad is not None for p in model.camera.students.parameters())
    assert model.camera.trunk.stages[0].blocks[0].mlp.fc1.weight.grad.abs().sum() > 0


def test_without_stop_gradient_distillation_moves_the_teacher(model: CrossModalModel) -> None:
    teacher, students = flat(model.camera.train_forward(torch.randn(3, 4, 32, 64)))
    losses.distillation(teacher, students, stop_gradient=False).backward()
    assert model.camera.teacher.collapse.weight.grad.abs().sum() > 0


def test_distillation_is_one_minus_cosine() -> None:
    teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert losses.distillation(teacher, [teacher]).item() == pytest.approx(0.0)
    assert losses.distillation(teacher, [teacher.flip(0)]).item() == pytest.approx(1.0)
    assert losses.distillation(teacher, [teacher, teacher.flip(0)]).item() == pytest.approx(0.5)


def test_near_frames_of_one_street_are_no_negatives() -> None:
    street, along = torch.tensor([1, 1, 1, 2]), torch.tensor([0.0, 3.0, 9.0, 0.0])
    near = losses.near_frames(street, along, 3.5)
    assert near.tolist() == [[True, True, False, False], [True, True, False, False], [False, False, True, False],
                             [False, False, False, True]]
    same = torch.ones(4, 2) / math.sqrt(2)
    # Frames 0 and 1 compete with two others each, frames 2 and 3 with three: the mean of ln 3, ln 3, ln 4, ln 4.
    expected = (math.log(3) + math.log(4)) / 2
    found = losses.contrast(same, same[:, None], torch.zeros(4, dtype=torch.long), torch.tensor(0.0), near)
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_range_targets_take_the_nearest_return_of_a_cell() -> None:
    config = RangeMapConfig(rows=1, columns=2, bins=4, near=2.0, far=32.0)
    ranges = torch.tensor([[[0.0, 5.0, 0.0, 0.0], [9.0, 0.0, 0.0, 0.0]]])
    assert losses.range_targets(ranges, config).tolist() == [[[1, 4]]]
    assert losses.range_targets(torch.full((1, 2, 4), 200.0), config).tolist() == [[[3, 3]]]


def test_range_loss_counts_only_cells_that_were_seen() -> None:
    logits = torch.zeros(1, 5, 1, 2)
    logits[0, 2, 0, 0] = 50.0
    target, seen = torch.tensor([[[2, 0]]]), torch.tensor([[[1.0, 0.0]]])
    assert losses.range_classes(logits, target, seen, smoothing=0.0).item() == pytest.approx(0.0, abs=1e-5)
    assert losses.range_classes(logits, target, torch.ones(1, 1, 2), smoothing=0.0).item() == pytest.approx(
        math.log(5) / 2, abs=1e-5)


def test_embeddings_have_unit_length_and_do_not_depend_on_the_batch(model: CrossModalModel) -> None:
    model.eval()
    x = torch.randn(5, 2, 16, 64)
    with torch.no_grad():
        together = windows(model.lidar(x), 4)[:, 0]
        alone = torch.cat([windows(model.lidar(x[k:k + 1]), 4)[:, 0] for k in range(5)])
    assert torch.allclose(together.norm(dim=1), torch.ones(5), atol=1e-5)
    assert torch.allclose(together, alone, atol=1e-5)


def test_training_tensors_equal_those_of_the_robot() -> None:
    experiment = tiny()
    sidecar = contract(experiment, CrossModalModel(experiment), {}, {})
    rng = np.random.default_rng(0)
    rgb, valid = rng.integers(0, 255, (2, 32, 64, 3), dtype=np.uint8), rng.random((2, 32, 64)) < 0.8
    mine = camera_input(torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255.0, torch.from_numpy(valid), experiment.camera)
    np.testing.assert_allclose(mine.numpy(), projection.camera_tensor(rgb, valid, sidecar.camera), atol=1e-5)
    ranges = rng.uniform(0, 140, (2, 16, 320)).astype(np.float32)
    ranges[ranges < 20] = 0
    mine = lidar_input(torch.from_numpy(ranges), experiment.lidar)
    np.testing.assert_allclose(mine.numpy(), projection.lidar_tensor(ranges, sidecar.lidar), atol=1e-5)


def test_shard_images_are_turned_to_red_first(shard: Path) -> None:
    shards = Shards([shard], tiny())
    image, here = shards.images([7])[0], shards.ranges([7], "rng")
    with np.load(shard) as stored:
        np.testing.assert_allclose(image[0, 0].numpy() * 255, stored["img"][7, :, :, 2], atol=1e-3)
        np.testing.assert_array_equal(here[0].numpy(), stored["rng"][7].astype(np.float32))


def test_held_out_streets_are_never_drawn(shard: Path) -> None:
    shards = Shards([shard], tiny())
    assert set(shards.street[shards.held_out]) == {19}
    drawn = np.concatenate([draw_rows(shards.streets[False], 10, 3, np.random.default_rng(k)) for k in range(20)])
    assert not set(drawn) & set(shards.held_out)


def test_a_compressed_shard_is_refused_with_the_remedy(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "small.npz", img=np.zeros((1, 32, 64, 3), np.uint8))
    with pytest.raises(DataError, match=r"np\.savez"):
        Shards([tmp_path / "small.npz"], tiny())


def test_a_shard_of_another_grid_is_refused(shard: Path) -> None:
    experiment = tiny()
    grid = dataclasses.replace(experiment.lidar.grid, rows=32, elevation_top_deg=8.0)
    other = dataclasses.replace(experiment, lidar=dataclasses.replace(experiment.lidar, grid=grid))
    with pytest.raises(DataError, match="grids want"):
        Shards([shard], other)


def test_mirroring_turns_camera_and_lidar_alike() -> None:
    torch.manual_seed(0)
    columns, some = torch.arange(6.0).expand(40, 2, 6), torch.arange(40) % 3 == 0
    picture = columns[:, None].repeat(1, 3, 1, 1)
    image, here, nearby, valid = augment.flip(some, picture, columns, columns, columns > 2)
    assert torch.equal(here[:, 0, 0] == 5, some)
    assert torch.equal(image[:, 0], here) and torch.equal(nearby, here) and torch.equal(valid, here > 2)


def test_no_augmentation_leaves_ranges_alone() -> None:
    ranges = torch.rand(4, 16, 64) * 50
    assert torch.equal(augment.augment_ranges(ranges, tiny().lidar.grid, strength=0.0), ranges)


def test_a_car_camera_sees_the_middle_and_seldom_the_lower_corners() -> None:
    torch.manual_seed(0)
    grid = load(CONFIG / "ms2cl_city.yaml").camera.grid
    valid = augment.fields_of_view(50, grid, strength=0.0)
    assert valid[:, 8:56, 40:120].all()
    assert valid[:, -1, [0, -1]].float().mean() < 0.2


def test_a_killed_run_goes_on_exactly(shard: Path, tmp_path: Path) -> None:
    experiment = tiny(steps=5)
    shards = Shards([shard], experiment)
    whole = Run(experiment, shards, tmp_path / "whole")
    for _ in range(5):
        whole.advance()
    first = Run(experiment, shards, tmp_path / "broken")
    for _ in range(2):
        first.advance()
    first.save()
    first.advance()  # lost: the kill comes before the next checkpoint
    torch.manual_seed(1234)
    second = train(experiment, shards, tmp_path / "broken", say=lambda line: None)
    assert second.step == 5
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert all(torch.equal(whole.average[k], second.average[k]) for k in whole.average)


def test_a_checkpoint_of_another_experiment_is_refused(shard: Path, tmp_path: Path) -> None:
    shards = Shards([shard], tiny())
    Run(tiny(), shards, tmp_path).save()
    with pytest.raises(ConfigError, match="another experiment"):
        Run(tiny(steps=9), shards, tmp_path).resume()


def test_training_lowers_the_loss_on_one_batch(shard: Path, tmp_path: Path) -> None:
    schedule = dataclasses.replace(tiny().schedule, steps=40, learning_rate=3e-3)
    experiment = dataclasses.replace(tiny(), schedule=schedule, data=DataConfig(streets=19, frames=3, augment=0.0))
    run = Run(experiment, Shards([shard], experiment), tmp_path)
    terms = [run.advance() for _ in range(40)]
    assert sum(terms[-1].values()) < 0.9 * sum(terms[0].values())


def test_the_exported_model_agrees_with_torch_and_leaves_the_students_behind(shard: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is needed to export")
    experiment = tiny(steps=1)
    train(experiment, Shards([shard], experiment), tmp_path / "run", say=lambda line: None)
    loaded, model, counters = averaged(tmp_path / "run" / CHECKPOINT)
    assert to_tree(loaded) == to_tree(experiment)
    made = export(loaded, model, counters, tmp_path / "made")
    assert max(made.training["onnx_against_torch"].values()) < 1e-4
    for name in ("camera.onnx", "lidar.onnx"):
        names = {i.name for i in onnx.load(tmp_path / "made" / name).graph.initializer}
        assert any("teacher" in n for n in names) and not any("student" in n for n in names)
    encoder = Encoder.load(EncoderConfig(model=str(tmp_path / "made")))
    grid = experiment.lidar.grid.panorama()
    turns = np.random.default_rng(0).uniform(0, 60, (3, grid.rows, grid.columns)).astype(np.float32)
    with torch.no_grad():
        want = windows(model.lidar(lidar_input(torch.from_numpy(turns), experiment.lidar)), 4).numpy()
    assert encoder.headings == want.shape[1] == 20
    found = encoder.embed_turns([RangeImage(t, grid) for t in turns], headings_around(20))
    straight_ahead = (grid.columns // 2 - 32) // 16
    np.testing.assert_allclose(found[:, 0], want[:, straight_ahead], atol=1e-4)
    np.testing.assert_allclose(found[:, 3], want[:, straight_ahead - 3], atol=1e-4)
    between = encoder.embed_turns([RangeImage(t, grid) for t in turns], np.array([np.radians(9 * 1.125)]))
    rolled = [RangeImage(np.roll(t, 9, axis=1), grid) for t in turns]
    # windows of the coarsest stage lie elsewhere, so nearly the same is all that can be asked
    assert ((between * encoder.embed_turns(rolled, np.zeros(1))).sum(2) > 0.95).all()
    embedding, logits = encoder.embed_image(np.full((32, 64, 3), 90, np.uint8), np.ones((32, 64), bool))
    assert embedding.shape == (32,) and logits is not None and logits.shape == (9, 8, 32)
    assert "What it cannot do" in (tmp_path / "made" / "README.md").read_text()


def test_batches_depend_on_seed_and_step_alone(shard: Path) -> None:
    shards = Shards([shard], tiny())
    a, b, c = (draw_batch(shards, tiny(), step) for step in (3, 3, 4))
    assert torch.equal(a.image, b.image) and torch.equal(a.ranges, b.ranges)
    assert a.image.shape != c.image.shape or not torch.equal(a.image, c.image)


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_experiment_shipped_builds_its_model(path: Path) -> None:
    experiment = load(path)
    exported = sum(p.numel() for n, p in CrossModalModel(experiment).named_parameters() if "students" not in n)
    assert 2 * exported < 13e6 or path.stem == "paper_scale", "as float16 both ONNX files together stay below 13 MB"


def test_an_unknown_key_of_an_experiment_is_refused() -> None:
    tree = {**to_tree(tiny()), "colour": "blue"}
    with pytest.raises(ConfigError, match="colour"):
        from_tree(tree)


def test_grids_that_do_not_line_up_are_refused() -> None:
    experiment = tiny()
    grid = dataclasses.replace(experiment.lidar.grid, elevation_top_deg=1.5)
    with pytest.raises(ConfigError, match="whole rows"):
        CrossModalModel(dataclasses.replace(experiment, lidar=dataclasses.replace(experiment.lidar, grid=grid)))
