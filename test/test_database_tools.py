# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl database`: what it says of a map is so, what it makes is whole, and what must not be joined is not."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import write_tiny_model
from small_maps import T_BASE_LIDAR, config_of, make_map, route, town

from ms2cl_ros.core.database import open_map
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import quaternion, rotation_z, transform
from ms2cl_ros.core.types import View
from ms2cl_ros.tools.database import check, info, prune
from ms2cl_ros.tools.database_export import export, geodetic, parse_origin
from ms2cl_ros.tools.merge import merge
from ms2cl_ros.tools.reembed import reembed
from ms2cl_ros.tools.trajectories import read_trajectory

OFFSET = transform([30.0, -12.0, 1.5]) @ rotation_z(np.deg2rad(25.0))


@pytest.fixture
def ms2cl(monkeypatch, capsys):
    """A run of the command line in this process: (exit code, stdout, stderr without line breaks)."""
    from ms2cl_ros import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ms2cl", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
            raise SystemExit(0)
        said = capsys.readouterr()
        return end.value.code, said.out, " ".join(said.err.split())
    return run


@pytest.fixture(scope="module")
def config(tiny_model):
    return config_of(tiny_model)


@pytest.fixture(scope="module")
def maps(tmp_path_factory, config):
    """Maps of one town: `a`; `b`, the same road half a step on and 0.4 m aside; `off`, b in another frame; `far`."""
    folder, points = tmp_path_factory.mktemp("maps"), town()
    half_on = [T @ transform([0.7, 0.4, 0.0]) for T in route()]
    make_map(folder / "a.db", config, route(), session="monday", points=points)
    make_map(folder / "b.db", config, half_on, session="tuesday", start_s=9000, points=points)
    make_map(folder / "off.db", config, half_on, OFFSET, "tuesday", 9000, points)
    make_map(folder / "far.db", config, route(), transform([500.0, 0.0, 0.0]), "elsewhere", 9000, town(seed=8))
    return folder


@pytest.fixture
def copy(maps, tmp_path):
    shutil.copy(maps / "a.db", tmp_path / "a.db")
    return tmp_path / "a.db"


def add_rendered_view(path, config, submap_id=2, aside=1.75):
    with open_map(path, Encoder.load(config.encoder).sidecar, write=True) as store:
        view = store.submap(submap_id).views[0]
        store.add_views(submap_id, [View(view.T_map_base @ transform([0, aside, 0]), view.headings, view.descriptors,
                                         rendered=True)])


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


def damage(path, submap_id):
    db = sqlite3.connect(path)
    blob = bytearray(db.execute("SELECT panorama FROM scans WHERE submap = ?", (submap_id,)).fetchone()[0])
    blob[20] ^= 4
    db.execute("UPDATE scans SET panorama = ? WHERE submap = ?", (bytes(blob), submap_id))
    db.commit()
    db.close()


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
    reembed(maps / "b.db", tmp_path / "other.db", config_of(other_model))
    with pytest.raises(StoreError, match=r"model 'tiny'.*'wider'.*reembed"):
        merge(maps / "a.db", tmp_path / "other.db", tmp_path / "c.db", config)


# reembed ---------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wider")
    write_tiny_model(folder, "wider", 10)
    return folder


@pytest.fixture(scope="module")
def other_grid(tmp_path_factory):
    """The tiny model with an elevation a degree higher: range images have to be rendered anew."""
    import yaml
    folder = tmp_path_factory.mktemp("higher")
    write_tiny_model(folder, "higher")
    tree = yaml.safe_load((folder / "model.yaml").read_text())
    tree["lidar"]["grid"]["elevation_top_deg"] += 1.0
    (folder / "model.yaml").write_text(yaml.safe_dump(tree))
    return folder


def test_a_map_is_computed_anew_for_another_model_of_the_same_grid(copy, tmp_path, config, other_model):
    add_rendered_view(copy, config)
    out = reembed(copy, tmp_path / "n.db", config_of(other_model))
    assert (out.submaps, out.dropped, out.model) == (35, 1, "wider")
    model = Encoder.load(config_of(other_model).encoder).sidecar
    direct = make_map(tmp_path / "direct.db", config_of(other_model), route(), session="monday")
    with open_map(tmp_path / "n.db", model, False) as new, open_map(direct, model, False) as mapped:
        assert new.check() == []
        assert new.sessions() == mapped.sessions()
        assert len(new.unrendered()) == 35, "views are rendered anew by the mapper"
        for (key, stamp, T), (_, other, U) in zip(new.poses(), mapped.poses(), strict=True):
            assert stamp == other
            np.testing.assert_array_equal(T, U)
            a, b = new.submap(key), mapped.submap(key)
            assert a.views[0].descriptors.shape == (8, 20)
            # range images were rounded to centimetres on the way
            np.testing.assert_allclose(a.views[0].descriptors, b.views[0].descriptors, atol=2e-3)
            assert (a.sensor, a.travelled) == (b.sensor, b.travelled)


def test_another_grid_is_rendered_from_the_points_or_refused_without(copy, tmp_path, config, other_grid):
    out = reembed(copy, tmp_path / "n.db", config_of(other_grid))
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
                            str(model), "-o", str(tmp_path / "n.db"), "-p", "submaps.headings=360"],
                           stderr=subprocess.DEVNULL)
    part, end = tmp_path / ".n.db.part-wal", time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 100_000) and time.monotonic() < end and run.poll() is None:
        time.sleep(0.002)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "it was still at work"
    assert not (tmp_path / "n.db").exists()
    assert copy.read_bytes() == before
    assert check(copy) == []
    assert reembed(copy, tmp_path / "n.db", config).submaps == 35
    assert not list(tmp_path.glob(".n.db.part*"))


# export ----------------------------------------------------------------------------------------------------------

def test_metres_become_degrees_as_geographic_libraries_have_it():
    """Known answers: 1000 m east and north along a geodesic, by GeographicLib's direct problem on WGS 84."""
    east, north, up = geodetic(np.array([[1000.0, 0, 0], [0, 1000.0, 0], [0, 0, 50.0]]), (49.0, 8.4))
    assert east[0] == pytest.approx(8.413666468230296, abs=1e-8)
    assert north[1] == pytest.approx(49.008992011263686, abs=1e-8)
    np.testing.assert_allclose(up, [8.4, 49.0, 50.0], atol=1e-6)
    assert north[2] == pytest.approx(1000.0**2 / 2 / 6.37e6, abs=0.01), "the tangent leaves the Earth"


def test_geojson_has_a_line_a_session_and_a_point_a_submap(maps, tmp_path):
    assert export(maps / "a.db", tmp_path / "m.geojson", (49.0, 8.4)) == 35
    tree = json.loads((tmp_path / "m.geojson").read_text())
    kinds = [f["geometry"]["type"] for f in tree["features"]]
    assert kinds == ["LineString"] + ["Point"] * 35
    first, last = tree["features"][1], tree["features"][-1]
    np.testing.assert_allclose(first["geometry"]["coordinates"], [8.4, 49.0, 0.0], atol=1e-9)
    assert first["properties"] == {"session": 1, "name": "monday", "submap": 1, "stamp": 1000.0, "yaw_deg": 0.0}
    assert last["properties"]["yaw_deg"] == 90.0
    assert "note" not in tree
    export(maps / "a.db", tmp_path / "metres.geojson")
    tree = json.loads((tmp_path / "metres.geojson").read_text())
    assert "metres" in tree["note"]
    assert tree["features"][-1]["geometry"]["coordinates"] == [40.0, 30.0, 0.0]


def test_tum_and_csv_carry_every_pose(maps, tmp_path):
    export(maps / "off.db", tmp_path / "m.tum")
    export(maps / "off.db", tmp_path / "m.csv")
    poses, stamped = read_trajectory(tmp_path / "m.tum")
    rows = (tmp_path / "m.csv").read_text().splitlines()
    assert stamped
    assert rows[0].startswith("submap,session,name,stamp_ns,x,y,z,qx")
    with open_map(maps / "off.db", None, False) as store:
        for pose, row, (key, stamp, T) in zip(poses, rows[1:], store.poses(), strict=True):
            assert pose.stamp_ns == stamp
            np.testing.assert_allclose(pose.T_map_base, T, atol=2e-4)
            cells = row.split(",")
            assert cells[:4] == [str(key), "1", "tuesday", str(stamp)]
            np.testing.assert_allclose([float(c) for c in cells[4:11]], [*T[:3, 3], *quaternion(T)], atol=1e-4)


@pytest.mark.parametrize("text", ["49", "49,8,1", "north,8", "91,0", "0,200"])
def test_an_origin_that_is_none_is_refused(text):
    with pytest.raises(StoreError, match=r"LAT,LON|between"):
        parse_origin(text)


# the command line ------------------------------------------------------------------------------------------------

def test_a_map_is_made_of_a_folder_looked_at_drawn_and_exported_by_commands(ms2cl, tmp_path, tiny_model):
    from small_maps import scan
    from test_scan_folder import tum_file
    (tmp_path / "scans").mkdir()
    points, poses = town(), route()[:12]
    for i, T in enumerate(poses):
        np.save(tmp_path / f"scans/{i:04d}.npy", scan(points, T, 0).xyz)
    file = tum_file(tmp_path / "traj.txt", [T @ T_BASE_LIDAR for T in poses], [10**9 * (i + 1) for i in range(12)])
    code, _, said = ms2cl("map", tmp_path / "scans", "--poses", file, "-o", tmp_path / "m.db", "-p",
                          f"encoder.model={tiny_model}", "-p", "submaps.distance=1.9", "-p", "views.spacing=0.0", "-p",
                          "frames.lidar_extrinsics=[0.3, 0.0, 1.7, 0.0, 0.0, 0.0, 1.0]")
    assert (code, "12 submaps from 12 scans" in said, "by order" in said) == (0, True, True), said
    code, out, said = ms2cl("database", "info", tmp_path / "m.db")
    assert code == 0, said
    assert "12, with points" in out
    assert "x 0.0 to 22.0 m" in out
    assert "per 100 m" in out
    assert ms2cl("database", "check", tmp_path / "m.db")[0] == 0
    code, _, said = ms2cl("database", "export", tmp_path / "m.db", "-o", tmp_path / "m.geojson", "--origin=-33.9,151.2")
    assert (code, "12 submaps" in said) == (0, True)
    pytest.importorskip("matplotlib")
    code, _, said = ms2cl("database", "plot", tmp_path / "m.db", "-o", tmp_path / "m.png")
    assert code == 0, said
    import cv2
    picture = cv2.imread(str(tmp_path / "m.png"))
    assert min(picture.shape[:2]) > 200
    assert picture.std() > 5, "something is drawn"


def test_what_is_sound_of_a_damaged_map_is_saved_to_a_new_one(ms2cl, copy, tmp_path):
    damage(copy, 7)
    code, _, said = ms2cl("database", "recover", copy, "-o", tmp_path / "saved.db")
    assert code == 0, said
    assert "34 submaps with 34 views" in said
    assert check(tmp_path / "saved.db") == []
    assert ms2cl("database", "check", tmp_path / "saved.db")[0] == 0


def test_mistakes_are_one_message_and_exit_code_1(ms2cl, maps, copy, tmp_path):
    damage(copy, 3)
    for arguments, says in (
            (("info", tmp_path / "none.db"), "no map at"),
            (("check", copy), "1 faults"),
            (("prune", copy), "--max-submaps"),
            (("export", copy, "-o", tmp_path / "m.xyz"), "must end in one of .geojson, .csv, .tum"),
            (("export", copy, "-o", tmp_path / "m.csv", "--origin", "1,2"), "--origin is for .geojson"),
            (("merge", maps / "a.db", maps / "off.db", "-o", tmp_path / "c.db"), "--align"),
            (("reembed", maps / "a.db", "--model", "nowhere", "-o", tmp_path / "n.db"), "no model 'nowhere'")):
        code, _, said = ms2cl("database", *arguments)
        assert code == 1, said
        assert says in said
