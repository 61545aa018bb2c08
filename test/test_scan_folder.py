# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scans in files of every kind find their poses, or the reason why not is said."""

import struct

import numpy as np
import pytest
from small_maps import T_BASE_LIDAR, config_of, make_map, route, scan, town

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.geometry import quaternion
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.tools.offline import is_scan_folder, map_folder
from ms2cl_ros.tools.scan_files import read_scan
from ms2cl_ros.tools.scan_folder import open_folder, scan_files, stamp_of

XYZI = np.random.default_rng(1).uniform(2, 30, (40, 4)).astype(np.float32)
STAMP = 1_317_042_504_907_314_000


def ply(form, rows=XYZI, extra="", count=None):
    head = (f"ply\nformat {form} 1.0\ncomment made here\n{extra}element vertex {count or len(rows)}\n"
            "property float x\nproperty float y\nproperty double z\nproperty uchar intensity\nend_header\n").encode()
    if form == "ascii":
        return head + "".join(f"{x:.6f} {y:.6f} {z:.6f} {int(i)}\n" for x, y, z, i in rows).encode()
    order = "<" if "little" in form else ">"
    return head + b"".join(struct.pack(order + "ffdB", x, y, z, int(i)) for x, y, z, i in rows)


def pcd(path, encoding):
    pypcd4 = pytest.importorskip("pypcd4")
    kind = {"ascii": pypcd4.Encoding.ASCII, "binary": pypcd4.Encoding.BINARY,
            "binary_compressed": pypcd4.Encoding.BINARY_COMPRESSED}[encoding]
    pypcd4.PointCloud.from_xyzi_points(XYZI).save(path, encoding=kind)


@pytest.mark.parametrize("name", ["s.bin", "s.npy", "s.npz", "xyz.npz", "ascii.ply", "binary_little_endian.ply",
                                  "binary_big_endian.ply", "ascii.pcd", "binary.pcd", "binary_compressed.pcd"])
def test_every_kind_of_file_gives_the_points_that_were_written(tmp_path, name):
    path = tmp_path / name
    if name == "s.bin":
        XYZI.tofile(path)
    elif name == "s.npy":
        np.save(path, XYZI)
    elif name == "s.npz":
        np.savez(path, points=XYZI)
    elif name == "xyz.npz":
        np.savez(path, xyz=XYZI[:, :3], intensity=XYZI[:, 3])
    elif path.suffix == ".ply":
        path.write_bytes(ply(path.stem))
    else:
        pcd(path, path.stem)
    columns = read_scan(path)
    xyz = np.column_stack([columns[a] for a in "xyz"])
    np.testing.assert_allclose(xyz, XYZI[:, :3], atol=1e-5)
    np.testing.assert_allclose(columns["intensity"], XYZI[:, 3], atol=1.0)


@pytest.mark.parametrize(("name", "data", "says"), [
    ("a.bin", b"12345", "multiple of 16"),
    ("a.bin", b"", "no points"),
    ("a.npy", b"nothing", "no numpy array"),
    ("a.npz", b"nothing", "no numpy arrays"),
    ("a.ply", b"nothing", "no PLY file"),
    ("a.ply", ply("binary_little_endian")[:-1], "cut short"),
    ("a.ply", ply("ascii", count=99), "cut short"),
    ("a.ply", ply("ascii").replace(b"element vertex", b"element edge"), "before its points"),
    ("a.ply", ply("ascii").replace(b"property uchar intensity", b"property list uchar int i"), "lists"),
    ("a.ply", ply("ascii").replace(b"float x", b"float u"), "has no x"),
    ("a.pcd", b"nothing", "no PCD file"),
    ("a.las", b"", "expected one of .bin"),
])
def test_a_file_that_is_no_whole_scan_is_refused_with_its_name_and_the_reason(tmp_path, name, data, says):
    if name == "a.pcd":
        pytest.importorskip("pypcd4")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=says) as e:
        read_scan(tmp_path / name)
    assert name in str(e.value)


@pytest.mark.parametrize(("name", "stamp"), [
    ("1317042504.907314000.pcd", STAMP), ("1317042504907314000.bin", STAMP), ("1317042504907314.bin", STAMP),
    ("1317042504907.bin", STAMP - 314_000), ("1317042504_907314000.ply", STAMP), ("cloud_1317042504.907314.ply", STAMP),
    ("12.5.bin", 12_500_000_000), ("0000000012.bin", None), ("000012.pcd", None), ("scan.pcd", None),
])
def test_stamps_are_read_from_names_to_the_nanosecond(tmp_path, name, stamp):
    assert stamp_of(tmp_path / name) == stamp


@pytest.fixture
def folder(tmp_path):
    """Six scans named by number, taken 2 m apart."""
    (tmp_path / "scans").mkdir()
    for i in range(6):
        (XYZI + np.float32(i)).tofile(tmp_path / f"scans/{i:06d}.bin")
    return tmp_path / "scans"


def kitti_file(path, poses):
    path.write_text("".join(" ".join(f"{v:.9f}" for v in T[:3].ravel()) + "\n" for T in poses))
    return path


def tum_file(path, poses, stamps):
    path.write_text("# stamp x y z qx qy qz qw\n" + "".join(
        f"{s // 10**9}.{s % 10**9:09d} " + " ".join(f"{v:.9f}" for v in (*T[:3, 3], *quaternion(T))) + "\n"
        for T, s in zip(poses, stamps)))
    return path


def test_scans_and_poses_of_one_number_are_matched_by_order(folder, tmp_path):
    poses = route()[:6]
    stamps = [10**9 * i for i in range(1, 7)]
    for file in (kitti_file(tmp_path / "k.txt", poses), tum_file(tmp_path / "t.txt", poses, stamps)):
        found = open_folder(folder, file, Config(), "base")
        assert (len(found.scans), found.unposed, found.how) == (6, 0, "by order")
        for i, s in enumerate(found.scans):
            np.testing.assert_allclose(s.pose().T_map_base, poses[i], atol=1e-6)
            assert s.path.name == f"{i:06d}.bin"
    assert [s.pose().stamp_ns for s in found.scans] == stamps


def test_where_scans_are_missing_the_number_in_the_name_is_the_line(folder, tmp_path):
    poses = route()[:6]
    (folder / "000002.bin").unlink()
    found = open_folder(folder, kitti_file(tmp_path / "k.txt", poses), Config(), "base")
    assert "numbers" in found.how
    assert [s.pose().T_map_base[0, 3] for s in found.scans] == pytest.approx([0, 2, 6, 8, 10])


def test_stamped_scans_get_interpolated_poses_and_those_in_gaps_are_counted(tmp_path):
    (tmp_path / "s").mkdir()
    for ms in (0, 150, 300, 5000):
        XYZI.tofile(tmp_path / f"s/{STAMP + ms * 10**6}.bin")
    poses = tum_file(tmp_path / "t.txt", route()[:3], [STAMP, STAMP + 200 * 10**6, STAMP + 400 * 10**6])
    found = open_folder(tmp_path / "s", poses, Config(), "base")
    assert found.unposed == 1
    assert "stamps" in found.how
    assert [s.pose().T_map_base[0, 3] for s in found.scans] == pytest.approx([0.0, 1.5, 3.0], abs=1e-6)


def test_poses_of_the_lidar_become_poses_of_the_base_in_the_same_frame(folder, tmp_path):
    poses = route()[:6]
    file = kitti_file(tmp_path / "k.txt", [T @ T_BASE_LIDAR for T in poses])
    config = config_of(tmp_path, frames={"lidar_extrinsics": [0.3, 0.0, 1.7, 0.0, 0.0, 0.0, 1.0]})
    for s, T in zip(open_folder(folder, file, config).scans, poses):
        np.testing.assert_allclose(s.pose().T_map_base, T, atol=1e-6)
        np.testing.assert_allclose(s.sweep()[1], T_BASE_LIDAR)


def test_mismatches_are_told_with_counts_names_and_times(folder, tmp_path):
    with pytest.raises(DataError, match=r"6 scans \(000000.bin to 000005.bin\).*has 5 poses.*as many"):
        open_folder(folder, kitti_file(tmp_path / "k.txt", route()[:5]), Config())
    stamped = tmp_path / "stamped"
    stamped.mkdir()
    XYZI.tofile(stamped / f"{STAMP}.bin")
    with pytest.raises(DataError, match=r"1317042504\.907 s .*from 1\.000 s to 2\.000 s.*same drive"):
        open_folder(stamped, tum_file(tmp_path / "t.txt", route()[:2], [10**9, 2 * 10**9]), Config())
    with pytest.raises(DataError, match="one of lidar, base"):
        open_folder(folder, tmp_path / "k.txt", Config(), "camera")
    np.save(folder / "000001.npy", XYZI)
    with pytest.raises(DataError, match=r"several kinds"):
        scan_files(folder)
    with pytest.raises(DataError, match=r"no scans; expected files ending in \.bin"):
        scan_files(tmp_path / "stamped" / "..")
    with pytest.raises(DataError, match="no folder"):
        scan_files(tmp_path / "nowhere")
    with pytest.raises(DataError, match="--poses"):
        map_folder(stamped, "", tmp_path / "m.db", Config())


def test_a_folder_gives_the_submaps_that_the_same_scans_give_one_by_one(tmp_path, tiny_model):
    poses, points = route()[:8], town()
    config = config_of(tiny_model, frames={"lidar_extrinsics": [0.3, 0.0, 1.7, 0.0, 0.0, 0.0, 1.0]})
    make_map(tmp_path / "direct.db", config, poses, points=points)
    (tmp_path / "scans").mkdir()
    for i, T in enumerate(poses):
        np.save(tmp_path / f"scans/{1000 + i}.000000000.npy", scan(points, T, 0).xyz)
    np.save(tmp_path / "scans/1004.500000000.npy", np.zeros((3, 3)))  # nothing within range
    file = tum_file(tmp_path / "t.txt", [T @ T_BASE_LIDAR for T in poses], [(1000 + i) * 10**9 for i in range(8)])
    assert is_scan_folder(tmp_path / "scans")
    out, how = map_folder(tmp_path / "scans", file, tmp_path / "folder.db", config)
    assert (out.submaps, out.seen, dict(out.dropped)) == (8, 9, {"no pose at their stamp": 1})
    assert "stamps" in how
    model = Encoder.load(config.encoder).sidecar
    with open_map(tmp_path / "direct.db", model, False) as a, open_map(tmp_path / "folder.db", model, False) as b:
        assert b.sessions()[0].name == "scans"
        for (key, stamp, T), (_, other, U) in zip(a.poses(), b.poses(), strict=True):
            assert stamp == other
            np.testing.assert_allclose(T, U, atol=1e-6)
            np.testing.assert_allclose(a.panorama(key).ranges, b.panorama(key).ranges, atol=0.011)
            one, same = a.submap(key).views[0], b.submap(key).views[0]
            np.testing.assert_allclose(one.descriptors, same.descriptors, atol=1e-4)
