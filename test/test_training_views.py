# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training on views that a map renders, on looks in other directions, and from another run's weights."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from toy_training import tiny  # noqa: E402

from ms2cl_ros.core.errors import DataError  # noqa: E402
from ms2cl_ros.core.projection import cut  # noqa: E402
from ms2cl_ros.core.types import RangeImage  # noqa: E402
from ms2cl_ros.training import losses  # noqa: E402
from ms2cl_ros.training.data import crop, draw_batch, look_from, paste  # noqa: E402
from ms2cl_ros.training.model import CrossModalModel  # noqa: E402
from ms2cl_ros.training.shards import Shards  # noqa: E402
from ms2cl_ros.training.train import CHECKPOINT, Run, train  # noqa: E402


def mapped_shard(folder: Path, n: int = 60) -> Path:
    """Every cell of a view is 2 plus its column's share of the turn; own sweeps are 100."""
    rng = np.random.default_rng(0)
    grid = tiny().lidar.grid
    turn = np.arange(grid.turn_columns) / grid.turn_columns
    view = np.broadcast_to(2.0 + turn, (n, grid.rows, grid.turn_columns))
    camera = tiny().camera.grid
    np.savez(folder / "mapped.npz", img=rng.integers(0, 255, (n, camera.rows, camera.columns, 3), dtype=np.uint8),
             rng=np.full((n, grid.rows, grid.columns), 100, np.float16), scene=np.arange(n) // 3, s=np.arange(n) * 5.0,
             view=view.astype(np.float16), moved=np.tile(np.float32([0.5, 0.2, 0.1]), (n, 1)))
    return folder / "mapped.npz"


@pytest.mark.parametrize("turned", [0.0, 0.3, 3.0, -3.1])
def test_a_look_begins_where_the_robot_cuts(turned: float) -> None:
    grid = tiny().lidar.grid
    turn = np.random.default_rng(1).uniform(2, 60, (grid.rows, grid.turn_columns)).astype(np.float32)
    want = cut(RangeImage(turn, grid.panorama()), -turned, grid.columns).ranges
    begin = look_from(torch.tensor([turned]), grid.turn_columns, grid.columns).round().long()
    found = crop(torch.from_numpy(turn)[None], begin, grid.columns)
    np.testing.assert_array_equal(found[0].numpy(), want)
    there = paste(torch.zeros(1, grid.rows, grid.turn_columns), begin, found)
    np.testing.assert_array_equal(crop(there, begin, grid.columns), found)
    assert (there > 0).sum() == (found > 0).sum()


@pytest.mark.parametrize("width", [128, 320])
@pytest.mark.parametrize("own", [False, True])
def test_the_look_lies_in_the_column_of_the_strip_that_a_batch_names(tmp_path: Path, width: int, own: bool) -> None:
    """Every view's cells hold its column's share of the turn, so where a window lies can be read in it."""
    data = dataclasses.replace(tiny().data, nearby=0.0 if own else 1.0, views=1.0, augment=0.0, turns=1.0, width=width)
    experiment = dataclasses.replace(tiny(), data=data)
    shards, grid = Shards([mapped_shard(tmp_path)], experiment), experiment.lidar.grid
    for step in range(8):
        batch = draw_batch(shards, experiment, step)
        assert batch.ranges.shape[3] == width and batch.windows == (5 if width == 128 else 20)
        shown = torch.exp(batch.ranges[:, 0, 0] * 0.8 + 2.7)
        first = (batch.column[:, None] * 16 + torch.arange(grid.columns)) % width
        seen = shown.gather(1, first)
        # pasted sweeps are 100 everywhere; looks begin on a strip's column or up to half of one beside it
        if own:
            assert ((seen > 90).float().mean(1) >= (grid.columns - 8.5) / grid.columns).all()
        else:
            middle = torch.where(seen[:, 31] > seen[:, 32], 1.0 - (seen[:, 31:33].mean(1) % 1.0), seen[:, 32] % 1.0)
            right = 0.5 + 0.1 / (2 * math.pi)
            assert (((middle - right).abs() < 9 / grid.turn_columns) | ((1 - middle - right).abs()
                                                                         < 9 / grid.turn_columns)).all()


def test_shards_with_and_without_turns_take_turns(tmp_path: Path) -> None:
    mapped = np.load(mapped_shard(tmp_path))
    np.savez(tmp_path / "plain.npz", **{k: mapped[k] for k in ("img", "rng", "s")}, scene=mapped["scene"] + 100,
             rng2=mapped["rng"])
    shards = Shards([tmp_path / "plain.npz", tmp_path / "mapped.npz"], tiny())
    assert shards.turns.tolist() == [False] * 60 + [True] * 60
    widths = set()
    for step in range(8):
        batch = draw_batch(shards, tiny(), step)
        assert len(set((batch.street < 100).tolist())) == 1, "all of a batch have whole turns, or none"
        widths.add((bool(batch.street[0] < 100), batch.ranges.shape[3]))
    assert widths == {(True, 128), (False, 64)}


def test_the_cells_that_a_real_camera_sees_are_not_drawn(tmp_path: Path) -> None:
    mapped = np.load(mapped_shard(tmp_path))
    valid = np.zeros((60, 32, 64), bool)
    valid[:, 8:24, 16:48] = True
    np.savez(tmp_path / "real.npz", **mapped, valid=valid)
    experiment = dataclasses.replace(tiny(), data=dataclasses.replace(tiny().data, augment=0.0))
    batch = draw_batch(Shards([tmp_path / "real.npz"], experiment), experiment, 0)
    assert batch.image[:, 3].sum().item() == len(batch.image) * 16 * 32


def test_an_image_is_told_from_other_headings_of_its_place_but_not_from_those_beside_it() -> None:
    strips = torch.eye(6)[None].repeat(2, 1, 1)
    strips[1] *= -1
    camera = torch.stack([torch.eye(6)[2], -torch.eye(6)[2]])
    column, apart = torch.tensor([2, 2]), torch.eye(2, dtype=torch.bool)
    found = losses.contrast(camera, strips, column, torch.tensor(0.0), apart).item()
    # own: e, three other headings: 1 each; the other place: one heading 1 / e, five 1 each
    forth = math.log((math.e + 3 + math.exp(-1) + 5) / math.e)
    back = math.log((math.e + math.exp(-1)) / math.e)
    assert found == pytest.approx((forth + back) / 2, abs=1e-5)


def test_a_turned_world_turns_the_strip_and_changes_nothing_else() -> None:
    torch.manual_seed(0)
    lidar = CrossModalModel(tiny()).lidar.eval()
    turn = torch.randn(2, 2, 16, 320)
    with torch.no_grad():
        strip, turned = lidar(turn), lidar(torch.roll(turn, 64, 3))
    # 64 columns are four of the strip's and a whole window of the coarsest stage
    torch.testing.assert_close(torch.roll(strip, 4, 2), turned, atol=1e-5, rtol=1e-4)


def test_a_run_can_begin_from_another_ones_weights(tmp_path: Path) -> None:
    experiment = dataclasses.replace(tiny(), schedule=dataclasses.replace(tiny().schedule, steps=1))
    shards = Shards([mapped_shard(tmp_path)], experiment)
    first = train(experiment, shards, tmp_path / "first", lambda line: None)
    second = Run(dataclasses.replace(experiment, seed=9), shards, tmp_path / "second")
    second.begin_from(tmp_path / "first" / CHECKPOINT)
    for name, value in second.model.state_dict().items():
        assert torch.equal(value, first.average[name]), name


def test_a_model_with_another_stem_begins_with_all_weights_but_the_stems(tmp_path: Path) -> None:
    experiment = dataclasses.replace(tiny(), schedule=dataclasses.replace(tiny().schedule, steps=1))
    shards = Shards([mapped_shard(tmp_path)], experiment)
    first = train(experiment, shards, tmp_path / "first", lambda line: None)
    camera = dataclasses.replace(experiment.model.camera, stem="patch")
    other = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, camera=camera))
    second = Run(other, shards, tmp_path / "second")
    assert second.begin_from(tmp_path / "first" / CHECKPOINT) == ["camera.trunk.stem"]
    for name, value in second.model.state_dict().items():
        if not name.startswith("camera.trunk.stem"):
            assert torch.equal(value, first.average[name]), name


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    experiment = tiny()
    run = Run(experiment, Shards([mapped_shard(tmp_path)], experiment), tmp_path / "run")
    torch.save({"average": {"nothing": torch.zeros(1)}}, tmp_path / "odd.pt")
    with pytest.raises(DataError, match=r"odd\.pt holds no weights"):
        run.begin_from(tmp_path / "odd.pt")
