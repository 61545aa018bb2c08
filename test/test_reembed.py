# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl database reembed` and `share`: a map for another model, and its way to the robots."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_maps import add_rendered_view, config_of, make_map, route

from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.tools.database import check
from ms2cl_ros.tools.reembed import reembed

NONE = {"spacing": 0.0}


def test_a_map_is_computed_anew_for_another_model_of_the_same_grid(copy, tmp_path, config, other_model):
    add_rendered_view(copy, config)
    out = reembed(copy, tmp_path / "n.db", config_of(other_model, views=NONE))
    assert (out.submaps, out.views, out.rendered, out.model) == (35, 35, 0, "wider")
    model = Encoder.load(config_of(other_model).encoder).sidecar
    direct = make_map(tmp_path / "direct.db", config_of(other_model), route(), session="monday")
    with open_map(tmp_path / "n.db", model, False) as new, open_map(direct, model, False) as mapped:
        assert new.check() == []
        assert new.sessions() == mapped.sessions()
        assert len(new.unrendered()) == 35, "it is left to the mapper"
        for (key, stamp, T), (_, other, U) in zip(new.poses(), mapped.poses(), strict=True):
            assert stamp == other
            np.testing.assert_array_equal(T, U)
            a, b = new.submap(key), mapped.submap(key)
            assert a.views[0].descriptors.shape == (8, 20)
            # range images were rounded to centimetres on the way
            np.testing.assert_allclose(a.views[0].descriptors, b.views[0].descriptors, atol=2e-3)
            assert (a.sensor, a.travelled) == (b.sensor, b.travelled)


def test_another_grid_is_rendered_from_the_points_or_refused_without(copy, tmp_path, config, other_grid):
    out = reembed(copy, tmp_path / "n.db", config_of(other_grid, views=NONE))
    assert out.submaps == 35
    with open_map(tmp_path / "n.db", None, False) as new:
        image = new.panorama(10)
        assert image.grid.elevation_top_deg == 13.0
        with open_map(copy, None, False) as old:
            before = old.panorama(10).ranges
        filled = (image.ranges[3:] > 0) & (before[3:] > 0)
        assert filled.mean() > 0.5
    bare = make_map(tmp_path / "bare.db", replace(config, submaps=replace(config.submaps, voxel=0.0)), route()[:3])
    with pytest.raises(StoreError, match=r"submap 1 .* no points are kept.*submaps\.voxel"):
        reembed(bare, tmp_path / "m.db", config_of(other_grid))
    assert not (tmp_path / "m.db").exists()
    assert [p.name for p in tmp_path.iterdir() if ".part" in p.name] == []


def test_a_reembed_killed_half_way_leaves_the_old_map_and_nothing_else_and_can_be_run_again(copy, tmp_path, config):
    before = copy.read_bytes()
    model = Path(config.encoder.model)
    run = subprocess.Popen([sys.executable, "-m", "ms2cl_ros.cli", "database", "reembed", str(copy), "--model",
                            str(model), "-o", str(tmp_path / "n.db"), "-p", "submaps.headings=360", "-p",
                            "views.spacing=0"], stderr=subprocess.DEVNULL)
    part, end = tmp_path / ".n.db.part-wal", time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 100_000) and time.monotonic() < end and run.poll() is None:
        time.sleep(0.002)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "it was still at work"
    assert not (tmp_path / "n.db").exists()
    assert copy.read_bytes() == before
    assert check(copy) == []
    assert reembed(copy, tmp_path / "n.db", config_of(model, views=NONE)).submaps == 35
    assert not list(tmp_path.glob(".n.db.part*"))


def test_views_from_elsewhere_are_rendered_anew(copy, tmp_path, config, other_model):
    apart = config_of(other_model, views={"spacing": 8.0, "lateral_reach": 3.5, "lateral_step": 3.5})
    out = reembed(copy, tmp_path / "n.db", apart)
    assert out.views == out.submaps + out.rendered
    assert out.rendered > 3
    with open_map(tmp_path / "n.db", None, False) as new:
        assert new.unrendered() == []
        assert {v.descriptors.shape for _, _, v in new.views_after(0)} == {(8, 20)}
        assert new.check() == []
