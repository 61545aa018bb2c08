# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drives become submaps, and submaps views: gates, accumulation, rendering, and what a kill leaves behind."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from box_street import STREET, T_BASE_LIDAR, pose, sweep, truth
from scipy.spatial import cKDTree

from ms2cl_ros.core.config import Config, EncoderConfig, SubmapsConfig, ViewsConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import SensorError, TransformError
from ms2cl_ros.core.geometry import apply, distance
from ms2cl_ros.core.mapper import Mapper
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.types import PointCloud, StampedPose, Submap

FEW = np.linspace(11.0, -13.0, 4)  # beams, for a grid of eight rows
VIEWS = ViewsConfig(spacing=2.0, lateral_reach=1.75, lateral_step=1.75, reach=6.0)


@pytest.fixture(scope="module")
def encoder(tiny_model) -> Encoder:
    return Encoder.load(EncoderConfig(model=str(tiny_model)))


@pytest.fixture
def opened(encoder, tmp_path) -> Iterator[Callable[[], Store]]:
    """Opens the same map again and again."""
    stores = []

    def again() -> Store:
        for store in stores:
            store.close()
        stores[:] = [open_map(tmp_path / "map.db", encoder.sidecar, write=True)]
        return stores[0]
    yield again
    for store in stores:
        store.close()


def config(**submaps) -> Config:
    return Config(submaps=SubmapsConfig(**{"headings": 4, **submaps}), views=VIEWS)


def drive(mapper: Mapper, xs: np.ndarray, elevations: np.ndarray | None = None) -> list[Submap]:
    """Sweeps along the street; the submaps that came out of them."""
    out = []
    for x in xs:
        stamp = round(x * 1e8)
        if mapper.wants(pose(x)):
            cloud = sweep(pose(x), elevations=elevations, step_deg=1.0, stamp_ns=stamp)
            out.append(mapper.add_scan(cloud, StampedPose(stamp, pose(x)), T_BASE_LIDAR))
    return [s for s in out if s is not None]


def test_a_submap_keeps_its_points_in_the_base_frame_thinned_and_without_the_carrier(encoder, opened):
    store = opened()
    drive(Mapper(config(voxel=0.4), encoder, store), [5.0])
    points = store.submap(1).points
    assert points is not None
    on_map = apply(pose(5.0), points)
    assert np.abs(on_map[np.abs(on_map[:, 1]) < 3.0, 2]).max() < 0.02
    assert len(np.unique(np.floor(points / 0.4), axis=0)) > 0.9 * len(points)
    assert not ((np.abs(points[:, 0]) < 3.19) & (np.abs(points[:, 1]) < 1.79)).any()


def test_without_a_voxel_no_points_are_kept_and_nothing_waits_to_be_rendered(encoder, opened):
    store = opened()
    mapper = Mapper(config(voxel=0.0), encoder, store)
    drive(mapper, [0.0, 3.0])
    assert store.submap(1).points is None
    assert mapper.render_ripe(None, final=True) == 0


def test_a_submap_says_how_far_the_road_was_and_what_took_it(encoder, opened):
    store = opened()
    submaps = drive(Mapper(config(), encoder, store), np.arange(0.0, 7.0, 0.5))
    assert [s.travelled for s in submaps] == pytest.approx([0.0, 2.0, 4.0, 6.0])
    assert "lidar" in store.submap(1).sensor


def test_views_are_rendered_only_once_the_road_has_left_a_submap_behind(encoder, opened):
    store = opened()
    mapper = Mapper(config(), encoder, store)
    drive(mapper, np.arange(0.0, 6.1, 2.0))
    assert mapper.render_ripe() == 0
    drive(mapper, [8.0])
    assert mapper.render_ripe() == 1
    assert mapper.render_ripe() == 0
    assert len(store.submap(1).views) > 1
    assert len(store.submap(2).views) == 1


def test_at_the_end_the_newest_are_rendered_too_one_or_all_at_a_time(encoder, opened):
    store = opened()
    mapper = Mapper(config(), encoder, store)
    drive(mapper, np.arange(0.0, 8.1, 2.0))
    assert mapper.render_ripe(2, final=True) == 2
    assert mapper.render_ripe(None, final=True) == 3
    assert store.unrendered() == []


def test_each_rendered_view_stands_beside_the_road_and_is_marked_as_rendered(encoder, opened):
    store = opened()
    mapper = Mapper(config(), encoder, store)
    drive(mapper, np.arange(-6.0, 4.1, 2.0))
    mapper.render_ripe(None, final=True)
    views = [v for _, _, v in store.views_after(0)]
    rendered = np.array([v.T_map_base[:2, 3] for v in views if v.rendered])
    assert sorted({round(float(y), 2) for y in rendered[:, 1]}) == [-1.75, 1.75]
    assert sorted({round(float(x), 2) for x in rendered[:, 0]}) == [-6.0, -4.0, -2.0, 0.0, 2.0, 4.0]
    assert len(rendered) == 12
    assert sum(not v.rendered for v in views) == 6


def test_a_view_from_the_other_lane_is_found_by_who_drives_there(encoder, opened):
    """The descriptor of a sweep taken 1.75 m aside fits the rendered view there better than any sweep of the map."""
    store = opened()
    mapper = Mapper(config(headings=1), encoder, store)
    drive(mapper, np.arange(-6.0, 6.1, 2.0))
    mapper.render_ripe(None, final=True)
    aside = pose(0.0, 1.75)
    scan = mapper._scan(sweep(aside, step_deg=1.0), StampedPose(0, aside), T_BASE_LIDAR)
    query = mapper._embed(scan.sighting.panorama, aside).descriptors[0]
    views = [v for _, _, v in store.views_after(0)]
    best = max(views, key=lambda v: float(v.descriptors[0] @ query))
    assert best.rendered
    assert distance(best.T_map_base, aside) < 0.01


def test_a_second_session_on_the_same_lane_stores_no_rendered_views_again(encoder, opened):
    store = opened()
    mapper = Mapper(config(), encoder, store)
    drive(mapper, np.arange(0.0, 6.1, 2.0))
    mapper.render_ripe(None, final=True)
    first = store.view_count()
    mapper.begin_session("again")
    drive(mapper, np.arange(0.0, 6.1, 2.0))
    assert mapper.render_ripe(None, final=True) == 4
    assert store.view_count() == first + 4
    assert [s.name for s in store.sessions()][-1] == "again"


def test_views_are_rendered_from_the_points_of_their_own_day(encoder, opened):
    """A van that is parked there only in the second session does not show in views of the first."""
    store = opened()
    mapper = Mapper(config(), encoder, store)
    drive(mapper, np.arange(0.0, 6.1, 2.0))
    mapper.begin_session()
    for x in np.arange(0.0, 6.1, 2.0):
        street = np.concatenate([STREET, [[[2.0, 2.5, 0.0], [6.0, 4.5, 2.0]]]])
        mapper.add_scan(sweep(pose(x), street, step_deg=1.0), StampedPose(0, pose(x)), T_BASE_LIDAR)
    here = mapper._surroundings.place(2)
    near = [p for p in mapper._surroundings._around(here) if p.submap.session == here.submap.session]
    assert {p.submap.id for p in near} == {1, 2, 3, 4}


def test_what_a_killed_run_left_unrendered_is_rendered_by_the_next(encoder, opened):
    drive(Mapper(config(), encoder, opened()), np.arange(0.0, 4.1, 2.0))
    store = opened()
    assert store.unrendered() == [1, 2, 3]
    mapper = Mapper(config(), encoder, store)
    assert mapper.render_ripe(None) == 3
    assert store.unrendered() == []
    assert store.view_count() > 3


def test_rendering_stopped_between_submaps_gives_the_same_views_as_in_one_go(encoder, opened, tmp_path):
    mapper = Mapper(config(), encoder, opened())
    drive(mapper, np.arange(0.0, 6.1, 2.0))
    mapper.render_ripe(2, final=True)
    store = opened()
    Mapper(config(), encoder, store).render_ripe(None, final=True)
    with open_map(tmp_path / "other.db", encoder.sidecar, write=True) as other:
        whole = Mapper(config(), encoder, other)
        drive(whole, np.arange(0.0, 6.1, 2.0))
        whole.render_ripe(None, final=True)
        expected = [v for _, _, v in other.views_after(0)]
    for a, b in zip((v for _, _, v in store.views_after(0)), expected, strict=True):
        np.testing.assert_allclose(a.T_map_base, b.T_map_base, atol=1e-9)
        np.testing.assert_allclose(a.descriptors, b.descriptors, atol=1e-3)


def test_poses_corrected_after_a_loop_closure_hold_for_the_views_rendered_from_then_on(encoder, opened):
    store = opened()
    mapper = Mapper(config(), encoder, store)
    drive(mapper, np.arange(0.0, 6.1, 2.0))
    mapper.render_ripe(1, final=True)
    up = np.eye(4)
    up[1, 3] = 100.0
    store.update_poses({k: up @ T for k, _, T in store.poses()})
    mapper.render_ripe(None, final=True)
    assert {round(float(v.T_map_base[1, 3]), 2) for _, _, v in store.views_after(0)} == {98.25, 100.0, 101.75}


def test_a_spacing_of_zero_renders_nothing_and_leaves_the_submaps_to_a_later_run(encoder, opened):
    store = opened()
    none = dataclasses.replace(config(), views=ViewsConfig(spacing=0.0))
    mapper = Mapper(none, encoder, store)
    drive(mapper, [0.0, 2.0])
    assert mapper.render_ripe(None, final=True) == 0
    assert store.unrendered() == [1, 2]


def test_the_height_of_the_querying_robots_sensor_is_looked_from(encoder, opened):
    store = opened()
    low = dataclasses.replace(config(), views=dataclasses.replace(VIEWS, height=0.8))
    mapper = Mapper(low, encoder, store)
    drive(mapper, np.arange(0.0, 6.1, 2.0))
    surroundings = mapper._surroundings
    asked = []
    surroundings._panorama = lambda T, places: asked.append(T)  # type: ignore[method-assign, assignment, return-value]
    surroundings.render(2)
    assert {round(float(T[2, 3]), 3) for T in asked} == {0.8}


# accumulation --------------------------------------------------------------------------------------------------------


def test_an_accumulated_submap_is_stored_once_the_road_beyond_it_is_driven(encoder, opened):
    store = opened()
    mapper = Mapper(config(distance=4.0, accumulate=3.0), encoder, store)
    assert drive(mapper, np.arange(0.0, 2.9, 0.5)) == []
    assert [s.T_map_base[0, 3] for s in drive(mapper, np.arange(3.0, 7.1, 0.5))] == [0.0, 4.0]
    drive(mapper, [8.0])
    assert [s.T_map_base[0, 3] for s in mapper.flush()] == [8.0]
    assert mapper.flush() == []
    assert [round(T[0, 3]) for _, _, T in store.poses()] == [0, 4, 8]


def test_few_beams_accumulated_give_a_dense_range_image_that_is_true(encoder, opened):
    single = drive(Mapper(config(), encoder, opened()), [0.0], FEW)[0]
    mapper = Mapper(config(distance=4.0, accumulate=4.0), encoder, opened())
    drive(mapper, np.arange(-5.0, 5.1, 0.5), FEW)
    dense = next(s for s in [*map(mapper._store.submap, (2, 3))] if abs(s.T_map_base[0, 3]) < 1.1)
    real = truth(dense.T_map_base, encoder.sidecar.lidar.grid)
    real[real > 55] = np.inf
    valid = dense.panorama.ranges > 0
    assert valid[np.isfinite(real)].mean() > 1.5 * (single.panorama.ranges > 0)[np.isfinite(real)].mean()
    both = valid & np.isfinite(real)
    assert np.median(np.abs(np.log(dense.panorama.ranges[both] / real[both]))) < 0.1


def test_between_keyframes_scans_are_wanted_only_while_the_robot_moves(encoder, opened):
    mapper = Mapper(config(distance=4.0, accumulate=3.0), encoder, opened())
    drive(mapper, [0.0])
    assert not mapper.wants(pose(0.1))
    assert mapper.wants(pose(0.35))
    assert mapper.wants(pose(0.0, 0.0, np.radians(6.0)))


def test_a_submap_that_cannot_be_written_is_tried_again(encoder, opened, monkeypatch):
    store = opened()
    mapper = Mapper(config(distance=4.0, accumulate=2.0), encoder, store)
    drive(mapper, [0.0, 1.0])
    with monkeypatch.context() as broken:
        broken.setattr(store, "add", lambda submap: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            drive(mapper, [2.0])
    assert [s.T_map_base[0, 3] for s in drive(mapper, [3.0])] == [0.0]


# motion --------------------------------------------------------------------------------------------------------------


def moving_cloud(speed: float) -> tuple[PointCloud, Callable[[int], StampedPose]]:
    """A sweep of 0.1 s behind its stamp at `speed` metres a second, in forty steps, and the motion."""
    parts, times = [], []
    for t in (np.arange(40) + 0.5) / 400:
        at = sweep(pose(speed * t), step_deg=1.0).xyz
        sector = np.abs(np.arctan2(at[:, 1], at[:, 0]) - np.pi * (1 - 20 * t)) < np.pi / 40
        parts.append(at[sector])
        times.append(np.full(sector.sum(), t))
    cloud = PointCloud(np.concatenate(parts), 10**9, "lidar", times=np.concatenate(times))

    def motion(stamp: int) -> StampedPose:
        return StampedPose(stamp, pose(speed * (stamp - 10**9) / 1e9))
    return cloud, motion


def test_a_cloud_with_times_is_corrected_for_the_motion_if_it_is_given(encoder, opened):
    cloud, motion = moving_cloud(15.0)
    crooked = Mapper(config(), encoder, opened()).add_scan(cloud, motion(10**9), T_BASE_LIDAR)
    straight = Mapper(config(), encoder, opened()).add_scan(cloud, motion(10**9), T_BASE_LIDAR, motion)
    assert crooked is not None
    assert straight is not None
    places = cKDTree(cloud.xyz + np.outer(15.0 * cloud.times, [1, 0, 0]) + T_BASE_LIDAR[:3, 3])
    assert np.quantile(places.query(crooked.points)[0], 0.9) > 0.1
    assert places.query(straight.points)[0].max() < 0.01


def test_a_cloud_whose_motion_is_unknown_is_refused_and_the_gate_stays_open(encoder, opened):
    cloud, motion = moving_cloud(15.0)
    mapper = Mapper(config(), encoder, opened())

    def unknown(stamp: int) -> StampedPose:
        raise TransformError("no pose")
    with pytest.raises(TransformError, match="cannot be corrected"):
        mapper.add_scan(cloud, motion(10**9), T_BASE_LIDAR, unknown)
    assert mapper.add_scan(cloud, motion(10**9), T_BASE_LIDAR, motion) is not None


@pytest.mark.parametrize("accumulate", [0.0, 3.0])
def test_a_scan_without_returns_is_refused_and_the_next_one_is_mapped(encoder, opened, accumulate):
    mapper = Mapper(config(accumulate=accumulate), encoder, opened())
    empty = PointCloud(np.zeros((0, 3), np.float32), 0, "lidar")
    with pytest.raises(SensorError, match="no return on the model's grid"):
        mapper.add_scan(empty, StampedPose(0, pose(0.0)), T_BASE_LIDAR)
    drive(mapper, [0.0, 4.0])
    mapper.flush()
    assert mapper._store.count() == 2
