# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Packed training pairs: whole shards, resumable, with views that show what the camera's own sweep shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trimesh", reason="the city's trees need trimesh")
pytest.importorskip("embreex", reason="tracing the city needs embreex")

from ms2cl_ros.core.projection import cut
from ms2cl_ros.core.types import AngularGrid, RangeImage
from ms2cl_ros.training.city import pack as packing

CAMERA = AngularGrid(16, 40, 11.6, 1.6, 1.8)
LIDAR = AngularGrid(12, 40, 5.2, 1.6, 1.8)
SEED = 21


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "MAP_STEP", 5.0)
        seen: list[tuple[int, int]] = []
        new = packing.pack(folder, SEED, 1, CAMERA, LIDAR, length=240.0, spacing=40.0, workers=1,
                           progress=lambda done, cities: seen.append((done, cities)))
    assert seen == [(1, 1)]
    assert new == 12
    return folder


def test_a_shard_holds_images_sweeps_views_and_poses_of_one_city(shards: Path) -> None:
    with np.load(shards / f"city_{SEED}.npz") as shard:
        found = {k: (v.shape, v.dtype.name) for k, v in shard.items()}
        assert (shard["scene"] == SEED).all()
        assert (shard["s"] >= 1e5).sum() == 6, "half of the pairs go the other way round"
        assert np.abs(shard["moved"][:, :2]).max() <= packing.ALONG
    assert found["img"] == ((12, 16, 40, 3), "uint8")
    assert found["rng"] == ((12, 12, 40), "float16")
    assert found["sweep"] == found["view"] == ((12, 12, 200), "float16")
    assert found["moved"] == found["pose"] == ((12, 3), "float32")


def test_a_view_of_the_map_shows_what_the_own_sweep_shows(shards: Path) -> None:
    """Looked at along the camera, most cells of a view agree within a fifth; along any other direction far fewer do."""
    with np.load(shards / f"city_{SEED}.npz") as shard:
        own, views, moved = shard["rng"].astype(np.float32), shard["view"].astype(np.float32), shard["moved"]

    def agreement(aside: float) -> float:
        shares = []
        for sweep, view, m in zip(own, views, moved):
            look = cut(RangeImage(view, LIDAR.panorama()), aside - float(m[2]), LIDAR.columns).ranges
            both = (sweep > 0) & (look > 0)
            both[8:] = False  # the road looks alike everywhere
            shares.append(float((np.abs(np.log(sweep[both] / look[both])) < 0.2).mean()))
        return float(np.median(shares))
    assert agreement(0.0) > 0.6
    assert agreement(0.0) > 1.5 * max(agreement(np.pi / 2), agreement(-np.pi / 2), agreement(np.pi))


def test_packing_again_leaves_what_is_there_and_clears_what_was_cut_off(shards: Path) -> None:
    path = shards / f"city_{SEED}.npz"
    before = path.stat().st_mtime_ns
    (shards / "city_99.1.part").write_bytes(b"half")
    assert packing.pack(shards, SEED, 1, CAMERA, LIDAR, length=240.0, spacing=40.0, workers=1) == 0
    assert path.stat().st_mtime_ns == before
    assert sorted(p.name for p in shards.iterdir()) == [path.name]


def test_outings_differ_in_district_season_and_wildness_and_come_again_by_seed() -> None:
    plans = [packing.outing(seed) for seed in range(40)]
    assert plans == [packing.outing(seed) for seed in range(40)]
    assert len({p.recipe.district for p in plans}) >= 6
    assert len({p.today.season for p in plans}) == 4
    assert any(p.today.season != p.other.season for p in plans)
    assert {0.0, 1.0} < {p.recipe.wildness for p in plans}
    assert all(p.today.number != p.other.number for p in plans)
