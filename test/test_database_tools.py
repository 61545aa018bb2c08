# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl database`: what it says of a map is so, what it makes is whole, and what must not be joined is not."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from small_maps import OFFSET, add_rendered_view, config_of, damage

from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.tools.database import check, info, prune
from ms2cl_ros.tools.merge import merge
from ms2cl_ros.tools.reembed import reembed

# info, check, prune ----------------------------------------------------------------------------------------------

def test_info_counts_what_is_in_a_map(copy, config):
    add_rendered_view(copy, config)
    found = info(copy)
    assert (found.submaps, found.views, found.rendered, found.with_points) == (35, 36, 1, True)
    assert found.model.name == "tiny"
    assert found.metres == pytest.approx(34 * 2.0 + 2.0 * (np.sqrt(2) - 1), abs=2.0)
    (x0, y0), (x1, y1) = found.extent
    assert (x0, y0, x1, y1) == pytest.approx((0, 0, 40, 30))
    assert found.bytes_per_100_m == pytest.approx(found.megabytes * 1e6 / found.metres * 100)
    [session] = found.sessions
    assert (session.name, session.submaps) == ("monday", 35)
    assert (session.first_stamp_ns, session.last_stamp_ns) == (1000 * 10**9, 1034 * 10**9)


def test_info_of_an_empty_map_is_told_too(tmp_path, config):
    open_map(tmp_path / "e.db", Encoder.load(config.encoder).sidecar, write=True).close()
    found = info(tmp_path / "e.db")
    assert (found.submaps, found.views, found.metres, found.bytes_per_100_m) == (0, 0, 0.0, None)


def test_a_flipped_bit_is_found_by_check_and_gone_after_prune(copy, config):
    assert check(copy) == []
    damage(copy, 5)
    [line] = check(copy)
    assert "submap 5" in line
    out = prune(copy, config, damaged=True)
    assert (out.gone, out.left) == ({"damaged records": 1}, 34)
    assert check(copy) == []


def test_prune_keeps_to_the_limit_exactly_and_removes_sessions_by_number(copy, config):
    out = prune(copy, replace(config, store=replace(config.store, max_submaps=20)))
    assert out.left == 20
    assert out.after < out.before
    with pytest.raises(StoreError, match="no session 7; there are 1"):
        prune(copy, config, session=7)
    assert prune(copy, config, session=1).left == 0


# merge -----------------------------------------------------------------------------------------------------------

def test_maps_of_one_frame_are_joined_with_their_sessions_and_thinned(maps, tmp_path, config):
    out = merge(maps / "a.db", maps / "b.db", tmp_path / "c.db", config)
    assert "one frame" in out.said
    assert out.thinned == 35, "each of b's stands 0.8 m beside one of a's"
    with open_map(tmp_path / "c.db", None, False) as store, open_map(maps / "b.db", None, False) as newer:
        assert [(s.name, s.submaps) for s in store.sessions() if s.submaps] == [("tuesday", 35)]
        for (_, stamp, T), (_, other, U) in zip(store.poses(), newer.poses(), strict=True):
            assert stamp == other
            np.testing.assert_array_equal(T, U)
        assert store.check() == []
    everything = replace(config, submaps=replace(config.submaps, distance=0.5))
    assert merge(maps / "a.db", maps / "b.db", tmp_path / "all.db", everything).submaps == 70
    assert [(s.name, s.submaps) for s in info(tmp_path / "all.db").sessions] == [("monday", 35), ("tuesday", 35)]


def test_an_offset_between_frames_is_measured_and_refused(maps, tmp_path, config):
    with pytest.raises(StoreError, match=r"another frame.*turned -25\.\d\d degrees.*--align") as e:
        merge(maps / "a.db", maps / "off.db", tmp_path / "c.db", config)
    T = np.linalg.inv(OFFSET)
    assert f"z {T[2, 3]:+.1f}" in str(e.value)
    assert sorted(tmp_path.iterdir()) == []


def test_an_aligned_map_lies_on_the_other_within_a_decimetre(maps, tmp_path, config):
    everything = replace(config, submaps=replace(config.submaps, distance=0.5))
    out = merge(maps / "a.db", maps / "off.db", tmp_path / "c.db", everything, align=True)
    assert out.said.startswith("moved by")
    with open_map(tmp_path / "c.db", None, False) as store, open_map(maps / "b.db", None, False) as truth:
        moved = [store.submap(key) for key in store.members(2)]
        assert len(moved) == 35
        for submap, (_, _, T) in zip(moved, truth.poses(), strict=True):
            assert np.linalg.norm(submap.T_map_base[:3, 3] - T[:3, 3]) < 0.1
            assert np.trace(submap.T_map_base[:3, :3].T @ T[:3, :3]) > 1 + 2 * np.cos(np.deg2rad(0.3))
            np.testing.assert_allclose(submap.views[0].T_map_base, submap.T_map_base, atol=1e-9)


def test_maps_that_do_not_overlap_are_refused_unless_the_frames_are_trusted(maps, tmp_path, config):
    with pytest.raises(StoreError, match=r"no place of .*far\.db was found.*--trust-frames"):
        merge(maps / "a.db", maps / "far.db", tmp_path / "c.db", config)
    out = merge(maps / "a.db", maps / "far.db", tmp_path / "c.db", config, trust_frames=True)
    assert (out.submaps, out.thinned) == (70, 0)
    assert info(tmp_path / "c.db").extent[1][0] == pytest.approx(540.0)


def test_rendered_views_move_along_and_marks_stay(maps, tmp_path, config):
    shutil.copy(maps / "off.db", tmp_path / "off.db")
    add_rendered_view(tmp_path / "off.db", config, aside=1.75)
    apart = replace(config, submaps=replace(config.submaps, distance=0.5))
    merge(maps / "a.db", tmp_path / "off.db", tmp_path / "c.db", apart, align=True)
    with open_map(tmp_path / "c.db", None, False) as store:
        key = store.members(2)[1]
        scanned, rendered = store.submap(key).views
        assert rendered.rendered
        np.testing.assert_allclose(np.linalg.inv(scanned.T_map_base) @ rendered.T_map_base, transform([0, 1.75, 0]),
                                   atol=1e-9)
        assert key not in store.unrendered()
        assert len(store.unrendered()) == 69


def test_maps_of_two_models_and_existing_targets_are_refused(maps, tmp_path, config, other_model):
    with pytest.raises(StoreError, match="is there already"):
        merge(maps / "a.db", maps / "b.db", maps / "far.db", config)
    reembed(maps / "b.db", tmp_path / "other.db", config_of(other_model, views={"spacing": 0.0}))
    with pytest.raises(StoreError, match=r"model 'tiny'.*'wider'.*reembed"):
        merge(maps / "a.db", tmp_path / "other.db", tmp_path / "c.db", config)
