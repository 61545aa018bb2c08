# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""KITTI as downloaded: stamps, calibration, poses, gaps, and what is said when something is missing."""

import csv
import importlib.util
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from kitti_folders import (
    IMAGE_NS,
    OXTS_NS,
    POINTS,
    SCAN_NS,
    SPEED,
    START_NS,
    STEP_NS,
    odometry_sequence,
    oxts,
    points,
    raw_drive,
    rgb,
)

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.geometry import apply, distance, inverse, quaternion, transform
from ms2cl_ros.tools.kitti import T_BASE_LIDAR, read_odometry, read_raw
from ms2cl_ros.tools.trajectories import extended

DATA = Path(os.environ.get("MS2CL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def test_stamps_are_the_sensors_own_to_the_nanosecond(tmp_path):
    frames = list(read_raw(raw_drive(tmp_path)).frames())
    assert [f.image.stamp_ns for f in frames] == [START_NS + IMAGE_NS + k * STEP_NS for k in range(4)]
    assert [f.scan.stamp_ns for f in frames] == [START_NS + SCAN_NS + k * STEP_NS for k in range(4)]


def test_a_frame_gives_its_picture_and_its_points(tmp_path):
    frame = list(read_raw(raw_drive(tmp_path)).frames())[2]
    np.testing.assert_array_equal(frame.image.rgb(), rgb(2))
    np.testing.assert_array_equal(frame.scan.points(), points(2))


def test_calibration_puts_points_where_the_devkit_does(tmp_path):
    calibration = read_raw(raw_drive(tmp_path)).calibration
    xyz = points(0)[:, :3].astype(float)
    P = np.array([[20, 0, 20, 2], [0, 20, 10, 0.2], [0, 0, 1, 0.003]])
    rectified = np.stack([-xyz[:, 1], -xyz[:, 2] - 0.08, xyz[:, 0] - 0.27, np.ones(POINTS)])
    expected = P @ rectified
    got = calibration.K @ apply(inverse(calibration.T_lidar_camera), xyz).T
    np.testing.assert_allclose(got, expected, atol=1e-9)


def test_the_base_lies_on_the_ground_below_the_lidar(tmp_path):
    calibration = read_raw(raw_drive(tmp_path)).calibration
    np.testing.assert_allclose(T_BASE_LIDAR[:3, 3], [0, 0, 1.73])
    # P's fourth column: camera 2 is K^-1 (2, 0.2, 0.003) = (0.097, 0.0085, 0.003) left, above and behind of camera 0
    np.testing.assert_allclose(calibration.T_base_camera[:3, 3], [0.27 - 0.003, 0.097, 1.73 - 0.08 + 0.0085], atol=1e-9)
    np.testing.assert_allclose(calibration.T_base_camera[:3, 2], [1, 0, 0], atol=1e-12)


def test_oxts_poses_are_metres_of_the_base_from_its_first_pose(tmp_path):
    poses = read_raw(raw_drive(tmp_path)).pose_buffer()
    for k in range(4):
        T = poses.at(START_NS + OXTS_NS + k * STEP_NS).T_map_base
        np.testing.assert_allclose(T, transform((k * SPEED * 0.1, 0, 0)), atol=1e-5)


def test_the_lever_arm_of_the_imu_is_taken_into_account(tmp_path):
    drive = raw_drive(tmp_path, frames=2)
    turned = oxts(0.0).split()
    turned[5] = "1.5707963267948966"  # the car turns left about its IMU
    (drive / "oxts/data/0000000001.txt").write_text(" ".join(turned))
    T = read_raw(drive).pose_buffer().at(START_NS + OXTS_NS + STEP_NS).T_map_base
    # the base is at (0.8, -0.3) from the IMU, after the turn at (0.3, 0.8)
    np.testing.assert_allclose(T[:3, 3], [0.3 - 0.8, 0.8 + 0.3, 0], atol=1e-5)


def test_oxts_poses_carry_the_accuracy_the_unit_reports(tmp_path):
    pose = read_raw(raw_drive(tmp_path)).poses[1]
    np.testing.assert_allclose(np.sqrt(np.diag(pose.covariance)[:3]), 0.05)
    assert np.all(np.diag(pose.covariance) > 0)


def test_the_first_scan_has_a_pose_although_it_fired_before_the_first_oxts(tmp_path):
    drive = read_raw(raw_drive(tmp_path))
    first = drive.pose_buffer().at(START_NS + SCAN_NS)
    np.testing.assert_allclose(first.T_map_base[0, 3], -SPEED * (OXTS_NS - SCAN_NS) / 1e9, atol=1e-5)


def test_motion_is_not_carried_on_beyond_the_limit(tmp_path):
    poses = list(read_raw(raw_drive(tmp_path)).poses)
    first, last = poses[0].stamp_ns, poses[-1].stamp_ns
    assert extended(poses, first - STEP_NS - 1, last + STEP_NS + 1, STEP_NS) == poses
    assert len(extended(poses, first - STEP_NS, last + STEP_NS, STEP_NS)) == len(poses) + 2
    assert extended(poses[:1], first - 1, last, STEP_NS) == poses[:1]


def test_a_missing_scan_leaves_the_others_with_their_own_pictures_and_is_counted(tmp_path):
    drive = read_raw(raw_drive(tmp_path, without_scans=(1,)))
    frames = list(drive.frames())
    assert [f.scan is None for f in frames] == [False, True, False, False]
    np.testing.assert_array_equal(frames[2].scan.points(), points(2))
    assert frames[2].scan.stamp_ns == START_NS + SCAN_NS + 2 * STEP_NS
    assert drive.missing == {"scan": 1}


def test_an_excerpt_with_a_stamp_for_each_file_keeps_its_indices(tmp_path):
    folder = raw_drive(tmp_path, frames=6)
    for sensor, suffix in (("image_02", "png"), ("velodyne_points", "bin"), ("oxts", "txt")):
        for k in (1, 3, 5):
            (folder / sensor / f"data/{k:010d}.{suffix}").unlink()
        lines = (folder / sensor / "timestamps.txt").read_text().splitlines()
        (folder / sensor / "timestamps.txt").write_text("\n".join(lines[::2]))
    frames = list(read_raw(folder).frames())
    assert [f.index for f in frames] == [0, 2, 4]
    assert [f.image.stamp_ns for f in frames] == [START_NS + IMAGE_NS + k * STEP_NS for k in (0, 2, 4)]


def test_time_stamps_that_fit_neither_indices_nor_files_are_refused(tmp_path):
    folder = raw_drive(tmp_path)
    path = folder / "velodyne_points/timestamps.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:2]))
    with pytest.raises(DataError, match="4 files up to index 3, but 2 time stamps"):
        read_raw(folder)


@pytest.mark.parametrize("gone, said", [
    ("image_02/data", "image_02/data.*synced.rectified"), ("velodyne_points/data", "velodyne_points.*synced"),
    ("oxts/timestamps.txt", "oxts/timestamps.txt is not there.*synced"),
    ("../calib_cam_to_cam.txt", "calib_cam_to_cam.txt is not there.*calibration")])
def test_what_is_missing_is_named_with_the_download_it_comes_from(tmp_path, gone, said):
    folder = raw_drive(tmp_path)
    (folder / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=said):
        read_raw(folder)


@pytest.mark.parametrize("sensor", ["image_02", "velodyne_points"])
def test_a_drive_of_one_sensor_is_read_and_the_other_named(tmp_path, sensor):
    folder = raw_drive(tmp_path)
    (folder / sensor).rename(tmp_path / "elsewhere")
    drive = read_raw(folder)
    assert len(drive.images) + len(drive.scans) == 4
    assert drive.missing == {}
    assert any(f"has no {sensor}" in note for note in drive.notes)


def test_a_drive_without_any_sensor_is_refused(tmp_path):
    folder = raw_drive(tmp_path)
    for sensor in ("image_02", "velodyne_points"):
        (folder / sensor).rename(tmp_path / sensor)
    with pytest.raises(DataError, match=r"neither image_02 nor velodyne_points.*synced"):
        read_raw(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_raw(tmp_path / "2011_09_26_drive_0001_sync")


def test_a_calibration_without_an_entry_is_refused(tmp_path):
    folder = raw_drive(tmp_path)
    (folder.parent / "calib_velo_to_cam.txt").write_text("R: 1 0 0 0 1 0 0 0\n")
    with pytest.raises(DataError, match=r"lacks R \(9 numbers\), T \(3 numbers\)"):
        read_raw(folder)


def test_a_scan_cut_short_is_refused(tmp_path):
    folder = raw_drive(tmp_path)
    path = folder / "velodyne_points/data/0000000001.bin"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="797 bytes, expected a multiple of 16"):
        list(read_raw(folder).frames())[1].scan.points()


def test_a_picture_that_is_none_is_refused(tmp_path):
    folder = raw_drive(tmp_path)
    (folder / "image_02/data/0000000001.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match="not a picture"):
        list(read_raw(folder).frames())[1].image.rgb()


def test_an_oxts_file_of_another_length_is_refused(tmp_path):
    folder = raw_drive(tmp_path)
    (folder / "oxts/data/0000000001.txt").write_text("49 8.4 114")
    with pytest.raises(DataError, match="3 numbers, expected 30"):
        read_raw(folder)


def test_an_odometry_sequence_brings_camera_poses_over_to_the_base(tmp_path):
    drive = read_odometry(odometry_sequence(tmp_path))
    assert [f.image.stamp_ns for f in drive.frames()] == [1_000_000_000 + k * STEP_NS for k in range(4)]
    for k, pose in enumerate(drive.poses):
        np.testing.assert_allclose(pose.T_map_base, transform((k * SPEED * 0.1, 0, 0)), atol=1e-9)
        assert pose.covariance is None


def test_both_kinds_of_calibration_agree(tmp_path):
    raw, sequence = read_raw(raw_drive(tmp_path)).calibration, read_odometry(odometry_sequence(tmp_path)).calibration
    np.testing.assert_allclose(raw.T_lidar_camera, sequence.T_lidar_camera, atol=1e-12)
    np.testing.assert_allclose(raw.K, sequence.K)


def test_a_sequence_without_poses_says_so(tmp_path):
    drive = read_odometry(odometry_sequence(tmp_path, with_poses=False))
    assert drive.poses == () and "07.txt is not there" in drive.notes[0]


def test_a_pose_file_with_lines_for_other_frames_is_refused(tmp_path):
    folder = odometry_sequence(tmp_path)
    path = tmp_path / "dataset/poses/07.txt"
    path.write_text(path.read_text() * 2)
    with pytest.raises(DataError, match="8 poses, but the frames go from 0 to 3"):
        read_odometry(folder)


def test_tum_poses_are_of_the_base_at_their_own_times(tmp_path):
    path = tmp_path / "poses.tum"
    stamp = START_NS + 123_456_789
    path.write_text(f"# t x y z qx qy qz qw\n{START_NS // 10**9}.{START_NS % 10**9:09d} 0 0 0 0 0 0 1\n"
                    f"{stamp // 10**9}.{stamp % 10**9:09d} 1 2 3 0 0 1 0\n")
    pose = read_raw(raw_drive(tmp_path), poses=path).pose_buffer().at(stamp)
    np.testing.assert_allclose(pose.T_map_base[:3, 3], [1, 2, 3])
    np.testing.assert_allclose(np.abs(quaternion(pose.T_map_base)), [0, 0, 1, 0], atol=1e-12)


def test_poses_that_leave_most_of_the_drive_out_are_noted(tmp_path):
    path = tmp_path / "poses.tum"
    path.write_text("1 0 0 0 0 0 0 1\n2 1 0 0 0 0 0 1\n")
    drive = read_raw(raw_drive(tmp_path), poses=path)
    assert drive.notes == ("8 of 8 pictures and scans lie outside the poses' times",)


@pytest.mark.parametrize("text, said", [
    ("1 2 3\n", "found 3"), ("", "found none"), ("1 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n", "not after"),
    ("1 0 0 0 0 0 0 7\n", "unit quaternion"), ("x 0 0 0 0 0 0 1\n", "line 1"),
    ("2 0 0 0 0 1 0 0 0 0 1 0\n" * 4, "not a rotation")])
def test_a_pose_file_that_makes_no_sense_is_refused_with_the_reason(tmp_path, text, said):
    path = tmp_path / "poses.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_raw(raw_drive(tmp_path), poses=path)


def test_poses_of_an_unknown_frame_are_refused(tmp_path):
    with pytest.raises(DataError, match="camera, lidar, base"):
        read_odometry(odometry_sequence(tmp_path), poses_of="imu")


@pytest.fixture(scope="module")
def drive_0009(tmp_path_factory):
    source = DATA / "2011_09_26_drive_0009_sync"
    if not (source / "frames.csv").is_file():
        pytest.skip(f"no KITTI excerpt at {source} (set MS2CL_DATA)")
    spec = importlib.util.spec_from_file_location("pairs", DATA / "pairs.py")
    pairs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pairs)
    return read_raw(pairs.unpack(source, tmp_path_factory.mktemp("kitti"))), source


def test_a_real_drive_has_the_motion_computed_elsewhere(drive_0009):
    drive, source = drive_0009
    with open(source / "frames.csv", newline="") as f:
        rows = [[float(row[k]) for k in ("x", "y", "z", "qx", "qy", "qz", "qw")] for row in csv.DictReader(f)]
    expected = [transform(r[:3], r[3:]) for r in rows]
    poses = [p.T_map_base @ T_BASE_LIDAR for p in drive.poses[-len(rows):]]  # one was added at the beginning
    assert len(drive.poses) == len(rows) + 1 == 52
    for (a, b), (c, d) in zip(pairwise(poses), pairwise(expected), strict=True):
        np.testing.assert_allclose(inverse(a) @ b, inverse(c) @ d, atol=3e-4)  # the table has four digits
    assert sum(distance(a, b) for a, b in pairwise(poses)) == pytest.approx(55, abs=1.5)


def test_a_real_drive_has_the_calibration_computed_elsewhere(drive_0009):
    import yaml
    drive, source = drive_0009
    table = yaml.safe_load((source / "drive.yaml").read_text())
    np.testing.assert_allclose(inverse(drive.calibration.T_lidar_camera), table["T_cam_lidar"], atol=1e-6)
    np.testing.assert_allclose(drive.calibration.K, table["camera"]["K"], atol=1e-6)
