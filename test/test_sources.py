# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of every kind are read as one, joined by index or stamp."""

import dataclasses
import shutil

import kitti_folders
import numpy as np
import pytest
import recordings

from ms2cl_ros.core.config import Config, FramesConfig
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.tools.convert import Options, convert_kitti_raw
from ms2cl_ros.tools.kitti import LIDAR_HEIGHT
from ms2cl_ros.training.sources.bag import BagSource, nearest_pictures
from ms2cl_ros.training.sources.kitti360 import Kitti360Source
from ms2cl_ros.training.sources.opening import open_source, open_sources

MILLISECOND = 1_000_000


def test_an_odometry_sequence_is_joined_by_index_and_says_what_is_missing(tmp_path):
    sequence = kitti_folders.odometry_sequence(tmp_path)
    (sequence / "velodyne/000001.bin").unlink()
    source = open_source(sequence)
    frames = list(source.frames())
    assert [f.index for f in frames] == [0, 2, 3]
    assert dict(source.dropped) == {"no scan of this index": 1}
    assert np.array_equal(frames[1].rgb, kitti_folders.rgb(2))
    assert np.array_equal(frames[1].points, kitti_folders.points(2)[:, :3])
    assert frames[1].T_map_base[:3, 3] == pytest.approx([2.0, 0.0, 0.0], abs=1e-6)  # 10 m/s, 10 Hz, forward is x


def test_an_odometry_sequence_without_poses_has_frames_without_poses(tmp_path):
    source = open_source(kitti_folders.odometry_sequence(tmp_path, with_poses=False))
    assert all(f.T_map_base is None for f in source.frames())
    assert "no poses" in source.notes[0]


def test_the_folder_of_all_sequences_gives_each_of_them(tmp_path):
    sequence = kitti_folders.odometry_sequence(tmp_path)
    shutil.copytree(sequence, sequence.parent / "11")
    assert [s.name for s in open_sources(sequence.parent)] == ["kitti_odometry_07", "kitti_odometry_11"]
    with pytest.raises(DataError, match="2 recordings: kitti_odometry_07, kitti_odometry_11"):
        open_source(sequence.parent)


def test_a_raw_drive_is_joined_by_index(tmp_path):
    drive = kitti_folders.raw_drive(tmp_path, frames=5, without_scans=(1, 3))
    source = open_source(drive)
    frames = list(source.frames())
    assert [f.index for f in frames] == [0, 2, 4]
    assert dict(source.dropped) == {"no scan of this index": 2}
    assert np.array_equal(frames[2].points, kitti_folders.points(4)[:, :3])
    step = frames[1].T_map_base[:3, 3] - frames[0].T_map_base[:3, 3]
    assert step == pytest.approx([2.0, 0.0, 0.0], abs=0.01)
    assert [s.name for s in open_sources(drive.parent)] == [drive.name]


def test_a_raw_drive_without_scans_names_the_download(tmp_path):
    drive = kitti_folders.raw_drive(tmp_path)
    shutil.rmtree(drive / "velodyne_points")
    with pytest.raises(DataError, match=r"has no scans, and pairs need both: they come from https://.*raw_data"):
        open_source(drive)


def test_drives_of_two_cities_are_told_apart_and_keep_their_own_poses(tmp_path):
    names = []
    for city in ("one", "two"):
        drive = kitti_folders.raw_drive(tmp_path / city)
        stamps = [kitti_folders.START_NS + k * kitti_folders.STEP_NS for k in range(5)]
        (drive / "poses_base.txt").write_text("".join(f"{t / 1e9:.9f} {100 + k} 7 0 0 0 0 1\n"
                                                      for k, t in enumerate(stamps)))
        source = open_source(drive)
        names.append(source.name)
        assert next(source.frames()).T_map_base[:3, 3] == pytest.approx([100.18, 7.0, 0.0], abs=0.01)
    assert len(set(names)) == 2


def test_kitti_360_is_joined_by_the_index_in_the_first_column_never_by_row(tmp_path):
    root = recordings.kitti360(tmp_path, pictures=(0, 1, 2, 3), scans=(1, 2, 3, 4), poses=(1, 3, 4))
    source = open_source(root)
    frames = list(source.frames())
    assert [f.index for f in frames] == [1, 3]
    assert dict(source.dropped) == {"no picture of this index": 1, "no scan of this index": 1,
                                    "no pose of this index": 2}
    assert np.array_equal(frames[1].rgb, kitti_folders.rgb(3))
    # the vehicle's origin lies 0.7 m behind the LiDAR and 0.4 m below; the base is on the ground below the LiDAR
    assert frames[1].T_map_base[:3, 3] == pytest.approx([3.0 + 0.7, 0.0, 0.8 - LIDAR_HEIGHT], abs=1e-9)
    assert frames[1].T_map_base[:3, :3] == pytest.approx(np.eye(3), abs=1e-9)
    assert frames[1].T_base_camera[:3, 3] == pytest.approx([0.8, 0.0, LIDAR_HEIGHT - 0.2], abs=1e-9)
    assert frames[1].T_base_camera[:3, :3] == pytest.approx(recordings.OPTICAL, abs=1e-9)


def test_kitti_360_scans_are_corrected_for_the_motion_of_the_sweep(tmp_path):
    root = recordings.kitti360(tmp_path, speed=10.0)
    left, ahead, right = [0.0, 20.0, 0.0, 0.5], [20.0, 0.0, 0.0, 0.5], [0.0, -20.0, 0.0, 0.5]
    np.array([left, ahead, right], np.float32).tofile(
        root / "data_3d_raw" / recordings.SEQUENCE / "velodyne_points/data/0000000001.bin")
    frame = next(f for f in open_source(root).frames() if f.index == 1)
    # clockwise: the left was seen 25 ms before the front, from 0.25 m behind, the right as much after it
    assert frame.points == pytest.approx(np.array([[-0.25, 20, 0], [20, 0, 0], [0.25, -20, 0]]), abs=1e-4)


def test_a_kitti_360_scan_without_neighbouring_poses_is_taken_as_it_is(tmp_path):
    root = recordings.kitti360(tmp_path, poses=(0,))
    assert np.array_equal(next(open_source(root).frames()).points, kitti_folders.points(0)[:, :3])


@pytest.mark.parametrize("missing", ["calibration/perspective.txt", "calibration/calib_cam_to_velo.txt",
                                     "calibration/calib_cam_to_pose.txt",
                                     f"data_poses/{recordings.SEQUENCE}/poses.txt",
                                     f"data_3d_raw/{recordings.SEQUENCE}/velodyne_points/timestamps.txt",
                                     f"data_2d_raw/{recordings.SEQUENCE}/image_00/data_rect"])
def test_a_missing_part_of_kitti_360_is_named_with_its_download(tmp_path, missing):
    path = recordings.kitti360(tmp_path) / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=r"is not there.*kitti-360/download") as error:
        open_source(tmp_path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("file", "text", "reason"), [
    ("calibration/perspective.txt", "P_rect_00: 1 2 3\n", r"should be 3 x 4 numbers"),
    ("calibration/perspective.txt", "S_rect_00: 40 20\n", r"lacks P_rect_00, R_rect_00"),
    (f"data_poses/{recordings.SEQUENCE}/poses.txt", "1 0 0\n", r"line 1: expected the frame's index and 12 numbers"),
    (f"data_3d_raw/{recordings.SEQUENCE}/velodyne_points/timestamps.txt", "2013-05-28 08:46:02.9\n",
     r"has 1 lines, but there is a scan 3"),
    (f"data_3d_raw/{recordings.SEQUENCE}/velodyne_points/timestamps.txt", "a\nb\nc\nd\n", r"expected times like")])
def test_a_damaged_file_of_kitti_360_is_refused_with_the_reason(tmp_path, file, text, reason):
    (recordings.kitti360(tmp_path) / file).write_text(text)
    with pytest.raises(DataError, match=reason):
        Kitti360Source(tmp_path, recordings.SEQUENCE)


def test_kitti_360_without_a_common_index_says_how_many_of_each_there_are(tmp_path):
    recordings.kitti360(tmp_path, pictures=(0,), scans=(1, 2))
    with pytest.raises(DataError, match="1 pictures, 2 scans, 4 poses"):
        open_source(tmp_path)


def test_one_sequence_of_kitti_360_can_be_named(tmp_path):
    root = recordings.kitti360(tmp_path)
    assert open_source(root / "data_3d_raw" / recordings.SEQUENCE).name == recordings.SEQUENCE


def test_a_compact_drive_is_read_to_within_its_precision(tmp_path):
    frames = list(open_source(recordings.compact_drive(tmp_path)).frames())
    assert frames[1].points == pytest.approx(kitti_folders.points(1)[:, :3], abs=0.015)
    assert frames[2].T_map_base[:3, 3] == pytest.approx([2.0, 0, 0])
    assert np.array_equal(frames[1].T_base_camera[:3, :3], recordings.OPTICAL)


def test_a_compact_drive_prefers_the_poses_of_lidar_odometry(tmp_path):
    frames = list(open_source(recordings.compact_drive(tmp_path, odometry=True)).frames())
    assert frames[2].T_map_base[:3, 3] == pytest.approx([4.0, 0, 0])


def test_a_compact_drive_names_the_picture_that_is_missing(tmp_path):
    folder = recordings.compact_drive(tmp_path)
    (folder / "image/0000000001.webp").unlink()
    with pytest.raises(DataError, match=r"0000000001.webp is not there: frames.csv names it"):
        list(open_source(folder).frames())


@pytest.mark.parametrize(("file", "text", "reason"), [
    ("drive.yaml", "camera: {}\n", "should give camera.K"), ("frames.csv", "a,b\n1,2\n", "under the columns index"),
    ("frames.csv", "index,stamp_ns,x,y,z,qx,qy,qz,qw\n0,0,a,0,0,0,0,0,1\n", "frame 0: its pose is not seven numbers")])
def test_a_compact_drive_with_a_wrong_table_is_refused_with_the_reason(tmp_path, file, text, reason):
    folder = recordings.compact_drive(tmp_path)
    (folder / file).write_text(text)
    with pytest.raises(DataError, match=reason):
        open_source(folder)


def test_scans_take_the_nearest_picture_and_no_picture_serves_two_scans():
    scans = [0, 100, 200, 300, 1000]
    pictures = [-10, 110, 140, 290, 305]
    found = nearest_pictures([s * MILLISECOND for s in scans], [p * MILLISECOND for p in pictures], 0.06)
    assert {s // MILLISECOND: p // MILLISECOND for s, p in found.items()} == {0: -10, 100: 110, 200: 140, 300: 305}
    shared = nearest_pictures([0, 30 * MILLISECOND], [20 * MILLISECOND])
    assert shared == {30 * MILLISECOND: 20 * MILLISECOND}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bag")
    convert_kitti_raw(kitti_folders.raw_drive(folder, frames=6, without_scans=(2,)), folder / "ride")
    return folder / "ride"


def test_a_bag_gives_the_pairs_of_the_drive_it_was_made_of(bag):
    source = open_source(bag)
    frames = list(source.frames())
    assert source.name == "ride"
    assert len(frames) == len(source) == 5
    assert np.array_equal(frames[2].rgb, kitti_folders.rgb(3))
    # the picture is taken 10.6 ms after the scan, at 10 m/s: what stands still has come 0.106 m nearer
    assert frames[2].points[:, 0] == pytest.approx(kitti_folders.points(3)[:, 0] - 0.106, abs=0.002)
    assert frames[2].points[:, 1:] == pytest.approx(kitti_folders.points(3)[:, 1:3], abs=0.002)
    assert frames[3].T_map_base[0, 3] - frames[2].T_map_base[0, 3] == pytest.approx(1.0, abs=0.01)


def test_a_bag_without_odometry_gives_frames_without_poses_and_says_so(bag, tmp_path):
    from ms2cl_ros.tools.bags import BagWriter, open_bag
    with open_bag(bag) as old, BagWriter(tmp_path / "bare") as new:
        for topic in old.topics.values():
            if topic.name != "/odometry":
                new.add_topic(topic.name, topic.msgtype)
        for topic, stamp, message in old.messages(new.counts):
            new.write(topic, stamp, message)
    source = open_source(tmp_path / "bare")
    frames = list(source.frames())
    assert "no odometry" in source.notes[0]
    assert len(frames) == 5 and all(f.T_map_base is None for f in frames)
    assert np.array_equal(frames[2].points, kitti_folders.points(3)[:, :3])


def test_a_bag_whose_pictures_come_at_other_times_is_refused(tmp_path):
    drive = kitti_folders.raw_drive(tmp_path, frames=6)
    convert_kitti_raw(drive, tmp_path / "apart", Options(scan_frames=(0, 2), image_frames=(4, 6)))
    with pytest.raises(DataError, match="are the two clocks one"):
        open_source(tmp_path / "apart")


def test_frames_of_a_bag_whose_extrinsics_are_missing_are_counted_and_the_reason_noted(bag):
    config = dataclasses.replace(Config(), frames=FramesConfig(base="somewhere_else"))
    source = BagSource(bag, config)
    assert list(source.frames()) == []
    assert source.dropped["TransformError"] == 5
    assert "somewhere_else" in source.notes[-1]


def test_a_folder_that_is_no_recording_is_told_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"is no recording; looked for a bag .*KITTI odometry.*KITTI-360"):
        open_sources(tmp_path)
    with pytest.raises(DataError, match="there is no such file or folder"):
        open_sources(tmp_path / "nothing")
