# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drives in the compact layout: what is read, and what is refused with the reason."""

from pathlib import Path

import numpy as np
import pytest
from compact_drives import CAMERA_GRID, LIDAR_GRID, PlaceEmbedder, packed, write_drive

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.tools.compact import CompactDrive, drive_folders, read_drive, read_scan

CAMERA = PlaceEmbedder().sidecar.camera


def test_a_packed_sweep_decodes_to_its_points(tmp_path: Path) -> None:
    azimuth, elevation, ranges = np.array([35999, 18000, 9000]), np.array([-100, 0, 50]), np.array([1000, 250, 12000])
    (tmp_path / "0.xz").write_bytes(packed(azimuth, elevation, ranges))
    points = read_scan(tmp_path / "0.xz")
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), [10.0, 2.5, 120.0], rtol=1e-5)
    np.testing.assert_allclose(points[1], [2.5, 0.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(np.degrees(np.arctan2(points[2, 1], points[2, 0])), -90.0, atol=1e-3)


def test_a_file_that_is_no_packed_sweep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.xz").write_bytes(b"not a sweep")
    with pytest.raises(DataError, match="no packed sweep"):
        read_scan(tmp_path / "0.xz")


def test_frames_come_in_order_on_the_grids_of_the_model(tmp_path: Path) -> None:
    frames = list(read_drive(write_drive(tmp_path / "a", [4, 7]), CAMERA, LIDAR_GRID))
    assert [round(float(np.median(f.panorama.ranges[f.panorama.ranges > 0]))) for f in frames] == [7, 10]
    assert frames[0].rgb.shape == (CAMERA_GRID.rows, CAMERA_GRID.columns, 3)
    assert [int(np.median(f.rgb[f.valid])) for f in frames] == [22, 31]
    assert frames[1].position.tolist() == [2.0, 0.0, 0.0] and frames[0].heading == pytest.approx(0.0)


def test_a_drive_without_poses_says_so(tmp_path: Path) -> None:
    drive = CompactDrive(write_drive(tmp_path / "a", [1, 2], step=None), CAMERA, LIDAR_GRID)
    assert not drive.posed and len(drive) == 2


def test_drives_and_folders_of_drives_may_be_mixed_and_count_once(tmp_path: Path) -> None:
    a, b = write_drive(tmp_path / "set" / "a", [1]), write_drive(tmp_path / "set" / "b", [2])
    assert drive_folders(tmp_path / "set", a) == [a, b]
    assert drive_folders(b) == [b]


def test_a_folder_without_drives_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"drive\.yaml"):
        drive_folders(tmp_path)


def test_two_drives_of_one_name_are_refused(tmp_path: Path) -> None:
    a, b = write_drive(tmp_path / "x" / "a", [1]), write_drive(tmp_path / "y" / "a", [2])
    with pytest.raises(DataError, match="several drives are called a"):
        drive_folders(a, b)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "a", [1, 2])
    (folder / "image/000001.webp").unlink()
    with pytest.raises(DataError, match=r"000001\.webp"):
        list(read_drive(folder, CAMERA, LIDAR_GRID))


def test_a_drive_without_a_calibration_is_refused_with_what_it_wants(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "a", [1])
    (folder / "drive.yaml").write_text("name: a\n")
    with pytest.raises(DataError, match="T_cam_lidar"):
        CompactDrive(folder, CAMERA, LIDAR_GRID)
