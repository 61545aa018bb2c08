# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl database` as it is typed: what it exports, what it prints, how it ends."""

import json

import numpy as np
import pytest
from small_maps import T_BASE_LIDAR, damage, route, scan, town

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import quaternion
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.tools.database import check
from ms2cl_ros.tools.database_export import export, geodetic, parse_origin
from ms2cl_ros.tools.trajectories import read_trajectory


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


def test_a_map_is_made_of_a_folder_looked_at_drawn_and_exported_by_commands(ms2cl, tmp_path, tiny_model):
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
