# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings become training pairs: what stands in a row, where it was seen from, and which scene it belongs to."""

import zipfile

import numpy as np
import pytest
import recordings

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.geometry import rotation_z
from ms2cl_ros.core.sidecar import CameraInput
from ms2cl_ros.core.types import AngularGrid
from ms2cl_ros.training import pairs
from ms2cl_ros.training.neighbours import neighbourhoods, placed
from ms2cl_ros.training.pairs import PairsConfig, Road, pack, rows, scene_of, write_shard

LIDAR = AngularGrid(24, 80, 5.2, 0.8, 0.9)
CAMERA = CameraInput("", "", "angular_grid", AngularGrid(32, 80, 11.6, 0.8, 0.9), (32, 80), ("red",), (0.0,), (1.0,))


def azimuths(turn: np.ndarray, nearer_than: float) -> np.ndarray:
    """Radians at which a whole turn has something this near, one for each column."""
    columns = np.flatnonzero(((turn > 0) & (turn < nearer_than)).any(0))
    return np.pi - (columns + 0.5) * np.deg2rad(LIDAR.azimuth_step_deg)


def nearest_pole(x: float, y: float, heading: float) -> float:
    """Azimuth of the nearest pole from a place of the street, radians from `heading`."""
    away = recordings.POLES - [x, y]
    dx, dy = away[np.argmin((away**2).sum(1))]
    return (np.arctan2(dy, dx) - heading + np.pi) % (2 * np.pi) - np.pi


def test_every_frame_knows_the_scans_within_reach_before_and_behind_it():
    source = recordings.StreetOfPoles(12)
    found = list(neighbourhoods(placed(source.frames(), LIDAR, 1.0), 3.0))
    assert [one.frame.index for one, _ in found] == list(range(12))
    counts = [len(around) for _, around in found]
    assert counts == [4, 5, 6, 7, 7, 7, 7, 7, 7, 6, 5, 4]
    assert all(any(s is one.sighting for s in around) for one, around in found)


def test_scans_of_a_robot_that_stands_are_not_gathered():
    source = recordings.StreetOfPoles(1)
    frame = next(source.frames())
    found = list(neighbourhoods(placed([frame] * 20, LIDAR, 1.0), 3.0))
    assert [len(around) for _, around in found] == [1] + [2] * 19


def test_without_poses_frames_are_as_far_apart_as_the_guessed_speed_says():
    source = recordings.StreetOfPoles(4, posed=False)
    made = [variants[0] for variants in rows(source, CAMERA, LIDAR, PairsConfig(speed=3.0))]
    assert [row["s"] for row in made] == pytest.approx([0.0, 1.5, 3.0, 4.5])  # 2 Hz


def test_a_row_holds_the_picture_the_scan_before_it_and_the_whole_turn():
    made = next(rows(recordings.StreetOfPoles(3), CAMERA, LIDAR))[0]
    assert made["img"].shape == (32, 80, 3) and made["valid"].shape == (32, 80)
    assert made["img"][made["valid"]].tolist() == [[200, 100, 0]] * int(made["valid"].sum())  # blue first
    assert 0.3 < made["valid"].mean() < 1.0
    assert np.array_equal(made["rng"], made["sweep"][:, 160:240])
    assert made["sweep"].shape == made["view"].shape == (24, 400)
    assert not made["moved"].any()


def test_directions_are_told_from_the_heading_of_the_camera():
    straight, turned = (next(rows(recordings.StreetOfPoles(3, heading=h), CAMERA, LIDAR))[0] for h in (0.0, 0.45))
    shift = round(0.45 / np.deg2rad(LIDAR.azimuth_step_deg))
    seen = straight["sweep"] > 0
    same = np.roll(straight["sweep"], shift, axis=1)
    agree = np.abs(same - turned["sweep"])[np.roll(seen, shift, axis=1) & (turned["sweep"] > 0)] < 0.3
    assert agree.mean() > 0.95
    assert turned["pose"] == pytest.approx([0.5, 0.0, 0.45])
    assert np.array_equal(turned["rng"], turned["sweep"][:, 160:240])


def test_the_first_variant_is_seen_from_the_pose_and_the_others_from_where_they_say():
    config = PairsConfig(variants=4, along=2.0, aside=2.0, turn_deg=10.0, seed=3)
    for variants in list(rows(recordings.StreetOfPoles(14), CAMERA, LIDAR, config))[6:9:2]:
        assert not variants[0]["moved"].any()
        for row in variants:
            ahead, left, turn = row["moved"]
            assert abs(ahead) <= 2.0 and abs(left) <= 2.0
            x, y, _ = row["pose"]
            wanted = nearest_pole(x + ahead, y + left, turn)
            distance = np.linalg.norm(recordings.POLES - [x + ahead, y + left], axis=1).min()
            for seen in (row["sweep"], row["view"]):
                near = azimuths(seen, distance + 0.3)
                off = np.abs((near - wanted + np.pi) % (2 * np.pi) - np.pi).min()
                assert off < np.deg2rad(2.5)


def test_rows_depend_on_the_seed_and_the_frame_alone():
    config = PairsConfig(variants=2)
    whole = list(rows(recordings.StreetOfPoles(8), CAMERA, LIDAR, config))
    spaced = list(rows(recordings.StreetOfPoles(8), CAMERA, LIDAR, PairsConfig(variants=2, spacing=2.0)))
    assert np.array_equal(whole[2][1]["view"], spaced[1][1]["view"])
    other = list(rows(recordings.StreetOfPoles(8), CAMERA, LIDAR, PairsConfig(variants=2, seed=1)))
    assert not np.array_equal(whole[2][1]["moved"], other[2][1]["moved"])


def test_pairs_keep_their_distance_and_what_is_left_out_is_counted():
    source = recordings.StreetOfPoles(10)
    made = [variants[0]["s"] for variants in rows(source, CAMERA, LIDAR, PairsConfig(spacing=3.0))]
    assert made == [0.0, 3.0, 6.0, 9.0]
    assert source.dropped["nearer than the spacing to the pair before"] == 6


def test_a_long_recording_becomes_scenes_with_a_border_between_them():
    source = recordings.StreetOfPoles(14)
    config = PairsConfig(stretch=5.0, border=2.0, reach=1.0)
    made = [(v[0]["scene"] - scene_of("poles"), v[0]["s"]) for v in rows(source, CAMERA, LIDAR, config)]
    assert [s for scene, s in made if scene == 0] == list(range(5))
    assert [s for scene, s in made if scene == 1] == [7, 8, 9]
    assert source.dropped["on the border of two scenes"] == 4


def test_scenes_of_recordings_differ_and_are_told_from_synthetic_streets():
    names = [f"2011_09_26_drive_{k:04d}_sync" for k in range(200)]
    numbers = {scene_of(name) for name in names}
    assert len(numbers) == 200
    assert min(numbers) >= 1_000_000 and all(n % 1000 == 0 for n in numbers)
    assert scene_of(names[0]) == scene_of(names[0])


def test_shards_are_uncompressed_and_each_variant_has_its_own(tmp_path):
    count, paths = pack(recordings.StreetOfPoles(4), tmp_path / "a/poles.npz", CAMERA, LIDAR, PairsConfig(variants=2))
    assert count == 4
    assert [p.name for p in paths] == ["poles.npz", "poles_v2.npz"]
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
        shard = np.load(path)
        assert {k: (shard[k].dtype.name, len(shard[k])) for k in shard} == {
            "img": ("uint8", 4), "valid": ("bool", 4), "rng": ("float16", 4), "sweep": ("float16", 4),
            "view": ("float16", 4), "moved": ("float32", 4), "pose": ("float64", 4), "scene": ("int64", 4),
            "s": ("float64", 4)}
    assert not list(tmp_path.glob("a/*.part"))


def test_a_recording_that_gives_no_pairs_is_refused_with_the_reasons(tmp_path):
    source = recordings.StreetOfPoles(0)
    source.dropped["TransformError"] = 7
    with pytest.raises(DataError, match="poles gave no pairs; 7 left out: TransformError"):
        pack(source, tmp_path / "none.npz", CAMERA, LIDAR)


def test_a_shard_that_cannot_be_finished_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(pairs.np, "savez", full)
    with pytest.raises(DataError, match="No space left"):
        write_shard(tmp_path / "x.npz", {"s": np.zeros(1)})
    assert not list(tmp_path.iterdir())


def test_the_command_packs_every_recording_of_a_folder(tmp_path):
    from typer.testing import CliRunner

    from ms2cl_ros.cli import app
    for name in ("one", "two"):
        recordings.compact_drive(tmp_path / "data", name)
    out = CliRunner().invoke(app, ["pairs", str(tmp_path / "data"), "-o", str(tmp_path / "shards")])
    assert out.exit_code == 0, out.output
    assert sorted(p.name for p in (tmp_path / "shards").iterdir()) == ["one.npz", "two.npz"]
    refused = CliRunner().invoke(app, ["pairs", str(tmp_path / "data"), "-o", str(tmp_path / "all.npz")])
    assert isinstance(refused.exception, DataError) and "name a folder" in str(refused.exception)


def test_a_place_come_to_again_the_same_way_round_keeps_its_metres():
    road = Road()
    poses = [(x, 0.0, 0.0) for x in range(40)] + [(x, 1.0, 0.2) for x in range(5)] + [(30.0, 1.0, np.pi)]
    found = []
    for travelled, (x, y, heading) in enumerate(poses):
        T = rotation_z(heading)
        T[:2, 3] = x, y
        found.append(road.along(float(travelled), T))
    assert found[:40] == list(range(40))
    assert found[40:45] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert found[45] == 45.0  # the other way round it looks like another place


def test_without_poses_no_place_is_known_again():
    assert [Road().along(float(s), None) for s in range(3)] == [0.0, 1.0, 2.0]
