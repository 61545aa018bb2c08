# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures, sheets and the judge of how real range images and pictures look, where the answer is known."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the judge and the shards need torch")
pytest.importorskip("embreex", reason="tracing the city needs embreex")

import torch

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.types import AngularGrid
from ms2cl_ros.training.city import realism, sheets
from ms2cl_ros.training.city.realism import Looks, differences, image_statistics, judge, statistics
from ms2cl_ros.training.city.sheets import Pair

CAMERA, LIDAR = AngularGrid(64, 160, 11.6, 0.4, 0.45), AngularGrid(48, 160, 5.2, 0.4, 0.45)
DATA = Path(os.environ.get("MS2CL_DATA", Path(__file__).parents[2] / "shared/data"))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The networks are so small that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def looks(ranges: np.ndarray, groups: int = 2) -> Looks:
    """Black pictures with these ranges, dealt to groups."""
    n = len(ranges)
    return Looks(np.zeros((n, 4, 4, 3), np.uint8), ranges, np.array([f"g{i % groups}" for i in range(n)]))


def rough(rng: np.random.Generator, n: int, spread: float) -> np.ndarray:
    return (10 * np.exp(spread * rng.normal(size=(n, 16, 32)))).astype(np.float32)


def test_statistics_of_a_known_image() -> None:
    """Two rows: one at 10 m throughout; one half empty, then 10 m and 20 m: one edge between three pairs."""
    image = np.zeros((1, 2, 8), np.float32)
    image[0, 0] = 10.0
    image[0, 1, 4:] = 10.0, 10.0, 20.0, 20.0
    got = statistics(image)
    assert got["log_range"] == pytest.approx([np.log(10), np.log(np.sqrt(200))], abs=1e-6)
    assert got["spread"] == pytest.approx([0, np.log(2) / 2], abs=1e-6)
    assert got["empty"] == pytest.approx([0, 0.5]) and got["edges"] == pytest.approx([0, 1 / 3])
    assert got["histogram"].sum() == pytest.approx(1.0) and got["histogram"].max() == pytest.approx(10 / 12)


def test_a_row_that_never_returns_anything_counts_in_the_share_of_empty_cells_only() -> None:
    a, b = np.full((2, 2, 8), 10.0, np.float32), np.full((2, 2, 8), 10.0, np.float32)
    b[:, 0] = 0
    apart = differences(statistics(a), statistics(b))
    assert apart["empty"] == pytest.approx(0.5)
    assert apart["log_range"] == 0 and apart["spread"] == 0 and apart["histogram"] == 0
    assert np.isnan(statistics(b)["log_range"][0])


def test_statistics_of_pictures() -> None:
    """Grey; stripes of black and white; pure red: brightness, contrast, steps and saturation by hand."""
    grey, stripes, red = np.full((1, 8, 8, 3), 127, np.uint8), np.zeros((1, 8, 8, 3), np.uint8), np.zeros(
        (1, 8, 8, 3), np.uint8)
    stripes[:, :, ::2], red[..., 0] = 255, 255
    a, b, c = (image_statistics(x) for x in (grey, stripes, red))
    assert (a["mean"], a["contrast"], a["saturation"], a["gradient"]) == pytest.approx((127 / 255, 0, 0, 0), abs=1e-6)
    # cells that are black in every picture count as outside it
    assert b["mean"] == pytest.approx(1.0) and b["burnt"] == 1.0
    both = image_statistics(np.concatenate([stripes, np.roll(stripes, 1, 2)]))
    assert both["contrast"] == pytest.approx(0.5, abs=1e-4) and both["gradient"] == pytest.approx(1.0, abs=1e-4)
    assert both["burnt"] == both["black"] == 0.5
    assert c["saturation"] == pytest.approx(1.0) and c["mean"] == pytest.approx(0.299, abs=1e-3)


def test_the_judge_tells_smooth_from_rough_and_not_like_from_like() -> None:
    """Of 64 images a side in two groups: all right, and half right within four deviations (0.25)."""
    rng = np.random.default_rng(0)
    real = looks(rough(rng, 64, 0.05))
    assert judge(real, looks(rough(rng, 64, 0.8)), epochs=8)["mean"] > 0.95
    alike = judge(real, looks(rough(rng, 64, 0.05)), epochs=8)
    assert set(alike) == {"g0", "g1", "mean"} and abs(alike["mean"] - 0.5) < 0.25


def test_a_coarse_judge_does_not_see_which_beam_returned() -> None:
    """Every other row empty: told apart at once at full resolution, blocks of 4 x 4 know nothing of it."""
    rng = np.random.default_rng(1)
    a, b = rough(rng, 64, 0.0), rough(rng, 64, 0.0)
    b[:, ::2] = 0
    assert judge(looks(a), looks(b), epochs=4)["mean"] > 0.95
    assert judge(looks(a), looks(b), coarse=4, epochs=4)["mean"] == 0.5


def test_a_judge_without_groups_to_leave_out_is_refused() -> None:
    one = looks(rough(np.random.default_rng(2), 8, 0.1), 1)
    with pytest.raises(DataError, match="two real groups"):
        judge(one, one)


def test_shards_that_are_not_there_are_refused_with_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ms2cl pack"):
        realism.synthetic_looks(tmp_path)


def test_ranges_are_drawn_red_when_near_blue_when_far_and_black_where_nothing_is() -> None:
    near, far, nothing = sheets.colour_ranges(np.array([[3.0, 70.0, 0.0]], np.float32))[0].astype(int)
    assert near[0] > 100 > near[2] and far[2] > 100 > far[0] and not nothing.any()


def test_a_sheet_shows_every_pair_of_every_column_at_its_size() -> None:
    pair = Pair("here", np.full((6, 20, 3), 200, np.uint8), np.full((4, 20), 9.0, np.float32))
    picture = sheets.sheet([[pair, pair], [pair]], scale=2)
    colour = sheets.colour_ranges(pair.ranges)[0, 0]
    assert picture.dtype == np.uint8 and picture.shape[1] == 2 * 40 + 8
    assert (picture == 200).all(-1).sum() == 3 * 12 * 40 and (picture == colour).all(-1).sum() == 3 * 8 * 40


def test_recorded_pairs_come_first_and_carry_the_name_of_their_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(realism, "sheet", lambda columns, scale: seen.extend([[p.title for p in c] for c in columns]))
    pair = Pair("park, fair", np.zeros((4, 4, 3), np.uint8), np.ones((16, 32), np.float32))
    realism.beside(looks(rough(np.random.default_rng(3), 12, 0.1)), [[pair] * 3])
    assert [len(column) for column in seen] == [3, 3, 3]
    assert seen[2] == ["park, fair"] * 3 and all(t.startswith("recorded: g") for t in seen[0] + seen[1])


@pytest.mark.skipif(not (DATA / "object_000000").is_dir(), reason="no recorded drives: set MS2CL_DATA")
def test_the_command_writes_figure_sheets_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one real scene under two names, one district and a shard of noise."""
    for name in ("object_000000", "drive"):
        shutil.copytree(DATA / "object_000000", tmp_path / "data" / name)
    rng = np.random.default_rng(4)
    np.savez(tmp_path / "a.npz", img=rng.integers(0, 255, (8, 64, 160, 3), np.uint8), scene=np.arange(8),
             rng=rng.uniform(0, 50, (8, 48, 160)).astype(np.float16))
    monkeypatch.setattr(sheets, "SHOWN", {"park": "summer"})
    monkeypatch.setattr(sheets, "LENGTH", 250.0)
    out = tmp_path / "out"
    result = realism.main(tmp_path / "data", tmp_path, out, CAMERA, LIDAR, epochs=1)
    assert sorted(p.name for p in out.iterdir()) == ["city.jpg", "realism.json", "side_by_side.jpg", "statistics.png"]
    assert json.loads((out / "realism.json").read_text()) == result
    assert result["real"] == 2 and result["synthetic"] == 8 and result["images"]["real"]["contrast"] > 0.1
    assert set(result["judge"]) == {"scenes", "drive", "mean"}
