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

from test_training import tiny  # noqa: E402

from ms2cl_ros.core.errors import DataError  # noqa: E402
from ms2cl_ros.core.projection import cut  # noqa: E402
from ms2cl_ros.core.types import RangeImage  # noqa: E402
from ms2cl_ros.training import losses  # noqa: E402
from ms2cl_ros.training.data import Shards, draw_batch, look_around, window  # noqa: E402
from ms2cl_ros.training.train import CHECKPOINT, Run, train  # noqa: E402


def mapped_shard(folder: Path, n: int = 60) -> Path:
    """Every cell of a view is ten times its pair's number plus its column's share of the turn."""
    rng = np.random.default_rng(0)
    grid = tiny().lidar.grid
    sweeps = rng.uniform(6, 60, (2, n, grid.rows, grid.columns)).astype(np.float16)
    turn = np.arange(grid.turn_columns) / grid.turn_columns
    view = np.broadcast_to((np.arange(n) % 6)[:, None, None] * 10.0 + 1.0 + turn, (n, grid.rows, grid.turn_columns))
    camera = tiny().camera.grid
    np.savez(folder / "mapped.npz", img=rng.integers(0, 255, (n, camera.rows, camera.columns, 3), dtype=np.uint8),
             rng=sweeps[0], rng2=sweeps[1], scene=np.arange(n) // 3, s=np.arange(n) * 5.0,
             view=view.astype(np.float16), moved=np.tile(np.float32([0.5, 0.2, 0.1]), (n, 1)))
    return folder / "mapped.npz"


@pytest.mark.parametrize("heading", [0.0, 0.3, 3.0, -3.1])
def test_a_window_is_what_the_robot_cuts(heading: float) -> None:
    grid = tiny().lidar.grid
    turn = np.random.default_rng(1).uniform(2, 60, (grid.rows, grid.turn_columns)).astype(np.float32)
    want = cut(RangeImage(turn, grid.panorama()), heading, grid.columns).ranges
    got = window(torch.from_numpy(turn)[None], torch.tensor([heading]), grid.columns)[0].numpy()
    np.testing.assert_array_equal(got, want)


def test_views_replace_neighbouring_sweeps_and_are_looked_at_along_the_camera(tmp_path: Path) -> None:
    experiment = dataclasses.replace(tiny(), data=dataclasses.replace(tiny().data, views=1.0, heading_deg=0.0))
    shards = Shards([mapped_shard(tmp_path)], experiment)
    rows = np.array([0, 7, 20])
    looks, others = look_around(shards, rows, shards.read(rows)[2], experiment)
    turn, columns = experiment.lidar.grid.turn_columns, experiment.lidar.grid.columns
    assert others is not None and others.shape[0] == 3
    middle = looks[:, 0, columns // 2].numpy() - 10.0 * (rows % 6) - 1.0
    # turned 0.1 to the left of the pose, the camera's direction lies 0.1 to the view's right
    np.testing.assert_allclose(middle, 0.5 + 0.1 / (2 * math.pi), atol=1.5 / turn + 0.02)


def test_shards_with_and_without_views_go_together(tmp_path: Path) -> None:
    plain = np.load(mapped_shard(tmp_path))
    np.savez(tmp_path / "plain.npz", **{k: plain[k] for k in ("img", "rng", "rng2", "s")}, scene=plain["scene"] + 100)
    shards = Shards([tmp_path / "plain.npz", tmp_path / "mapped.npz"], tiny())
    which, turns, turned = shards.turns([0, 59, 60, 119])
    assert which.tolist() == [2, 3] and len(turns) == 2
    np.testing.assert_allclose(turned.numpy(), 0.1, atol=1e-6)
    streets = [draw_batch(shards, tiny(), step) for step in range(4)]
    for batch in streets:
        mapped = int((batch.street < 100).sum())
        assert (0 if batch.others is None else len(batch.others)) == mapped
    assert any((b.street >= 100).any() and (b.street < 100).any() for b in streets)


def test_looks_in_other_directions_compete_with_the_own_one() -> None:
    same = torch.ones(3, 2) / math.sqrt(2)
    apart = torch.eye(3, dtype=torch.bool)
    alone = losses.contrast(same, same, torch.tensor(0.0), apart).item()
    among = losses.contrast(same, same, torch.tensor(0.0), apart, same[:2]).item()
    assert alone == pytest.approx(math.log(3), abs=1e-5)
    assert among == pytest.approx((math.log(5) + math.log(3)) / 2, abs=1e-5)


def test_a_run_can_begin_from_another_ones_weights(tmp_path: Path) -> None:
    experiment = dataclasses.replace(tiny(), schedule=dataclasses.replace(tiny().schedule, steps=1))
    shards = Shards([mapped_shard(tmp_path)], experiment)
    first = train(experiment, shards, tmp_path / "first", lambda line: None)
    second = Run(dataclasses.replace(experiment, seed=9), shards, tmp_path / "second")
    second.begin_from(tmp_path / "first" / CHECKPOINT)
    for name, value in second.model.state_dict().items():
        assert torch.equal(value, first.average[name]), name


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    experiment = tiny()
    run = Run(experiment, Shards([mapped_shard(tmp_path)], experiment), tmp_path / "run")
    torch.save({"average": {"nothing": torch.zeros(1)}}, tmp_path / "odd.pt")
    with pytest.raises(DataError, match=r"odd\.pt holds no weights"):
        run.begin_from(tmp_path / "odd.pt")
