# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The angular grid: cells by the book, windows, tensors, and both sensors' edges on the same cells."""

import cv2
import numpy as np
import pytest

from ms2cl_ros.core.errors import SensorError
from ms2cl_ros.core.geometry import apply, camera_view, inverse, lidar_view, rotation_z
from ms2cl_ros.core.projection import CameraView, camera_tensor, cut, directions, lidar_tensor, render_ranges
from ms2cl_ros.core.sidecar import CameraInput, LidarInput
from ms2cl_ros.core.types import AngularGrid, CameraModel, RangeImage

GRID = AngularGrid(rows=48, columns=160, elevation_top_deg=5.2, elevation_step_deg=0.4, azimuth_step_deg=0.45)
PAPER = AngularGrid(rows=32, columns=300, elevation_top_deg=3.0, elevation_step_deg=28 / 64, azimuth_step_deg=0.4)
GRIDS = [GRID, GRID.panorama(), PAPER, PAPER.panorama(),
         AngularGrid(40, 500, 15.0, 0.75, 0.7).panorama(), AngularGrid(900, 1000, 90.0, 0.2, 0.02)]


def point(azimuth_deg, elevation_deg, distance=10.0):
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    level = distance * np.cos(elevation)
    return [level * np.cos(azimuth), level * np.sin(azimuth), distance * np.sin(elevation)]


def by_the_book(points, grid, min_range, max_range):
    """One point at a time, in double precision."""
    image = np.zeros((grid.rows, grid.columns), np.float32)
    for x, y, z in points.astype(np.float64):
        distance = np.sqrt(x * x + y * y + z * z)
        azimuth, elevation = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))
        row = int(np.floor((grid.elevation_top_deg - elevation) / grid.elevation_step_deg + 1e-9))
        column = int(np.floor((grid.azimuth_left_deg - azimuth) / grid.azimuth_step_deg + 1e-9))
        if 0 <= row < grid.rows and 0 <= column < grid.columns and min_range <= distance <= max_range and (
                image[row, column] == 0 or distance < image[row, column]):
            image[row, column] = distance
    return image


@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.rows}x{g.columns}")
def test_every_point_falls_in_the_cell_that_double_precision_says(grid):
    rng = np.random.default_rng(2)
    points = rng.normal(size=(20_000, 3)) * (30, 30, 5)
    points = points.astype(np.float32)
    image = render_ranges(points, grid, 2.0, 70.0)
    assert image.grid == grid and image.ranges.dtype == np.float32
    np.testing.assert_allclose(image.ranges, by_the_book(points, grid, 2.0, 70.0), rtol=1e-6)


def test_the_nearest_return_wins_in_any_order():
    ranges = [30.0, 8.0, 50.0]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        points = np.array([point(10.1, 1.1, ranges[i]) for i in order])
        image = render_ranges(points, GRID, 1.0, 100.0).ranges
        assert np.count_nonzero(image) == 1
        assert image.max() == pytest.approx(8.0)


def test_up_is_row_zero_and_left_is_column_zero():
    for corner, cell in ((point(35.9, 5.1), [0, 0]), (point(-35.9, -13.9), [47, 159])):
        assert np.argwhere(render_ranges(np.array([corner]), GRID, 1.0, 100.0).ranges).tolist() == [cell]


def test_points_outside_are_dropped_and_never_moved_to_the_rim():
    outside = [point(36.1, 0), point(-36.1, 0), point(0, 5.3), point(0, -14.1), point(180, 0), point(0, 89),
               point(0, -89), point(0, 0, 0.5), point(0, 0, 101.0), [np.nan, 1, 0], [np.inf, 0, 0], [0, 0, 0],
               [1e30, 0, 0]]
    for points in (np.array(outside), np.zeros((0, 3), np.float32)):
        image = render_ranges(points, GRID, 1.0, 100.0)
        assert image.ranges.shape == (48, 160) and not image.ranges.any()


def test_a_point_on_a_border_belongs_to_the_right_and_lower_cell():
    axis = np.array([[10.0, 0.0, 0.0]])
    assert np.argwhere(render_ranges(axis, GRID, 1.0, 100.0).ranges).tolist() == [[13, 80]]
    assert np.argwhere(render_ranges(axis, GRID.panorama(), 1.0, 100.0).ranges).tolist() == [[13, 400]]
    diagonal = np.array([[10.0, 10.0, 0.0], [-10.0, -10.0, 0.0], [0.0, 10.0, 0.0]])
    columns = np.argwhere(render_ranges(diagonal, GRID.panorama(), 1.0, 100.0).ranges)[:, 1]
    assert columns.tolist() == [200, 300, 700]


@pytest.mark.parametrize("grid", [GRID.panorama(), AngularGrid(40, 514, 15.0, 0.75, 0.7)])
def test_the_seam_behind_has_no_gap_where_the_columns_make_a_whole_turn(grid):
    left, right = (render_ranges(np.array([[-10.0, y, 0.0]]), grid, 1.0, 99.0) for y in (1e-6, -1e-6))
    exact = render_ranges(np.array([[-10.0, 0.0, 0.0], [-12.0, -0.0, 0.0]]), grid, 1.0, 99.0)
    if grid.columns * grid.azimuth_step_deg == 360.0:
        assert np.argwhere(left.ranges)[0, 1] == 0
        assert np.argwhere(right.ranges)[0, 1] in (0, grid.columns - 1)
        assert np.argwhere(exact.ranges)[:, 1].tolist() == [0]
    else:
        # 514 columns of 0.7 degrees leave 0.2 degrees behind, which belong to no cell
        assert not left.ranges.any() and not right.ranges.any() and not exact.ranges.any()


def numbered():
    grid = GRID.panorama()
    return RangeImage(np.tile(np.arange(1, 801, dtype=np.float32), (48, 1)), grid)


def test_a_window_straight_ahead_equals_the_grid_rendered_directly():
    points = np.random.default_rng(1).normal(size=(50_000, 3)).astype(np.float32) * (20, 20, 3)
    window = cut(render_ranges(points, GRID.panorama(), 1.0, 100.0), 0.0, 160)
    direct = render_ranges(points, GRID, 1.0, 100.0)
    assert window.grid == GRID
    np.testing.assert_array_equal(window.ranges, direct.ranges)


@pytest.mark.parametrize("heading_deg", [0.45, 45.0, 90.0, 171.0, 180.0, -90.0, -144.9, 359.55, 720.0])
def test_a_window_at_a_heading_equals_the_turned_scan_rendered_straight_ahead(heading_deg):
    rng = np.random.default_rng(1)
    cells = (rng.integers(0, 800, 20_000) + 0.5) * 0.45
    elevations = 5.2 - (rng.integers(0, 48, 20_000) + 0.5) * 0.4
    points = np.array([point(a, e, d) for a, e, d in zip(cells, elevations, rng.uniform(2, 90, 20_000), strict=True)])
    window = cut(render_ranges(points, GRID.panorama(), 1.0, 100.0), np.radians(heading_deg), 160)
    turned = apply(rotation_z(-np.radians(heading_deg)), points)
    np.testing.assert_allclose(window.ranges, render_ranges(turned, GRID, 1.0, 100.0).ranges, rtol=1e-6)


def test_headings_are_rounded_to_the_nearest_column():
    first = [int(cut(numbered(), np.radians(h), 160).ranges[0, 0]) - 1 for h in (0.0, 0.2, 0.25, -0.2, -0.25, 180.0)]
    assert first == [320, 320, 319, 320, 321, 720]
    # an odd window is centred on the middle of a column
    assert cut(numbered(), np.radians(-0.225), 5).ranges[0].tolist() == [399, 400, 401, 402, 403]


@pytest.mark.parametrize(("panorama", "columns"), [
    (RangeImage(np.ones((48, 160), np.float32), GRID), 80), (numbered(), 801), (numbered(), 0)])
def test_a_window_is_only_cut_out_of_a_whole_turn(panorama, columns):
    with pytest.raises(SensorError, match="a panorama has the whole turn of 800"):
        cut(panorama, 0.0, columns)


def lidar_input(grid=GRID, size=(48, 160), channels=("log_range", "range", "valid")):
    mean = tuple({"log_range": 2.5, "range": 0.25, "valid": 0.0}[c] for c in channels)
    std = tuple({"log_range": 0.8, "range": 0.5, "valid": 1.0}[c] for c in channels)
    return LidarInput("lidar.onnx", "", grid, size, channels, mean, std, 2.0, 80.0)


def test_the_lidar_tensor_is_normalised_as_the_contract_says():
    ranges = np.zeros((2, 48, 160), np.float32)
    ranges[1, 3, :4] = [1.0, 20.0, 80.0, 80.5]
    out = lidar_tensor(ranges, lidar_input())
    assert out.shape == (2, 3, 48, 160) and out.dtype == np.float32
    np.testing.assert_allclose(out[1, 0, 3, :4], [(np.log(2) - 2.5) / 0.8, (np.log(20) - 2.5) / 0.8,
                                                  (np.log(80) - 2.5) / 0.8, 0], rtol=1e-6)
    np.testing.assert_allclose(out[1, 1, 3, :4], [(1 / 80 - 0.25) / 0.5, 0.0, 1.5, 0], atol=1e-6)
    assert out[1, 2, 3, :4].tolist() == [1, 1, 1, 0]
    assert not out[0].any() and np.count_nonzero(out[1, 2]) == 3


def test_resizing_a_range_image_mixes_no_ranges():
    ranges = np.random.default_rng(0).choice([0.0, 5.0, 60.0], (1, 48, 160)).astype(np.float32)
    out = lidar_tensor(ranges, lidar_input(size=(224, 224), channels=("range",)))[0, 0] * 0.5 + 0.25
    # 0 metres stay 0 in the tensor, which is 0.25 after the normalisation is undone
    assert set(np.unique(out.round(4))) == {0.25, 0.0625, 0.75}
    small = lidar_tensor(ranges, lidar_input(size=(16, 32), channels=("valid",)))[0, 0]
    np.testing.assert_array_equal(small, ranges[0, 1::3, 2::5] > 0)


OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def rotation_y(angle):
    return np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])


def mounted(position, yaw_deg=0.0, pitch_deg=0.0):
    """`T_base_camera` of an optical frame; positive pitch looks down."""
    T = np.eye(4)
    T[:3, :3] = rotation_z(np.radians(yaw_deg))[:3, :3] @ rotation_y(np.radians(pitch_deg)) @ OPTICAL
    T[:3, 3] = position
    return T


PINHOLE = CameraModel(1242, 375, np.array([[721.5, 0, 609.6], [0, 721.5, 172.9], [0, 0, 1]]))
BARREL = CameraModel(1280, 720, np.array([[600.0, 0, 645], [0, 605, 352], [0, 0, 1]]), (-0.3, 0.09, 0.001, -0.001))
FISHEYE = CameraModel(1000, 900, np.array([[320.0, 0, 505], [0, 322, 447], [0, 0, 1]]), (0.02, -0.01, 0.003, -0.001),
                      "equidistant")


def camera_input(grid=GRID, channels=("red", "green", "blue", "valid"), size=None, projection="angular_grid"):
    size = size or (grid.rows, grid.columns)
    mean, std = ((0.5, 0.4, 0.3, 0.0)[:len(channels)], (0.2, 0.25, 0.5, 1.0)[:len(channels)])
    return CameraInput("camera.onnx", "", projection, grid, size, channels, mean, std)


def pixel_rays(camera):
    """(H, W, 3) rays in the optical frame through the middle of each pixel, by OpenCV's own inverse."""
    uv = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), axis=-1).reshape(-1, 1, 2) * 1.0
    D = np.array(camera.distortion or (0.0,) * 4)
    if camera.model == "equidistant":
        theta_d = np.linalg.norm((uv[:, 0] - camera.K[:2, 2]) / np.diag(camera.K)[:2], axis=1)
        theta = theta_d.copy()
        for _ in range(30):
            theta = theta_d / (1 + D[0] * theta**2 + D[1] * theta**4 + D[2] * theta**6 + D[3] * theta**8)
        across = np.sin(theta) / np.maximum(theta_d, 1e-9)
        plane = (uv[:, 0] - camera.K[:2, 2]) / np.diag(camera.K)[:2]
        rays = np.column_stack([plane * across[:, None], np.cos(theta)])
    else:
        plane = cv2.undistortPoints(uv, camera.K, D).reshape(-1, 2)
        rays = np.column_stack([plane, np.ones(len(plane))])
    return rays.reshape(camera.height, camera.width, 3)


def boards(T_base_camera, heading):
    """Two upright boards before the camera, at 6 and 14 m: (centre, half width, half height); their normal and left."""
    ahead, left = rotation_z(heading)[:3, 0], rotation_z(heading)[:3, 1]
    centre = T_base_camera[:3, 3]
    return [(centre + 6 * ahead + 1.3 * left + [0, 0, -0.4], 0.9, 0.5),
            (centre + 14 * ahead - 3.5 * left + [0, 0, -0.6], 2.0, 1.2)], ahead, left


def cast(origin, rays, scene):
    """`(distance, on a board)` of rays (..., 3) in the base frame: boards in front of a 40 m sphere around 0."""
    shapes, normal, left = scene
    rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    b = rays @ origin
    nearest = -b + np.sqrt(b * b - origin @ origin + 40.0 ** 2)
    bright = np.zeros(rays.shape[:-1], bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        for centre, half_width, half_height in shapes:
            distance = ((centre - origin) @ normal) / (rays @ normal)
            offset = origin + distance[..., None] * rays - centre
            hit = ((distance > 0) & (distance < nearest) & (np.abs(offset @ left) < half_width)
                   & (np.abs(offset[..., 2]) < half_height))
            nearest, bright = np.where(hit, distance, nearest), bright | hit
    return nearest, bright


MOUNTS = {"ahead": ((0.27, 0.06, 1.65), 0.0, 0.0), "left": ((0.1, 0.4, 1.4), 75.0, 0.0),
          "right_and_down": ((-0.2, -0.3, 1.5), -110.0, 6.0), "up": ((0.5, 0.0, 1.2), 10.0, -5.0)}


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("camera", [PINHOLE, BARREL, FISHEYE], ids=["pinhole", "barrel", "fisheye"])
def test_depth_edges_fall_on_image_edges_within_one_cell(camera, mount):
    T_base_camera = mounted(*MOUNTS[mount])
    T_base_lidar = mounted((0.0, 0.0, 1.73), 40.0, 3.0)
    T_view_camera, heading = camera_view(T_base_camera)
    scene = boards(T_base_camera, heading)

    _, bright = cast(T_base_camera[:3, 3], pixel_rays(camera) @ T_base_camera[:3, :3].T, scene)
    picture = np.where(bright[..., None], np.uint8([250, 220, 30]), np.uint8([20, 20, 60]))
    cells, valid = CameraView(camera, T_view_camera, camera_input())(picture)
    seen = cells[..., 1] > 120

    around = directions(AngularGrid(280, 900, 22.0, 0.15, 0.12)).reshape(-1, 3) @ rotation_z(heading)[:3, :3].T
    distance, _ = cast(T_base_lidar[:3, 3], around, scene)
    cloud = apply(inverse(T_base_lidar), T_base_lidar[:3, 3] + around * distance[:, None])
    points = apply(T_view_camera @ inverse(T_base_camera) @ T_base_lidar, cloud)
    near = render_ranges(points, GRID, 1.0, 100.0).ranges
    near = (near > 0) & (near < 25.0)

    kernel = np.ones((3, 3), np.uint8)
    whole = valid & (cv2.erode(valid.astype(np.uint8), kernel) > 0)
    grown, shrunk = cv2.dilate(seen.astype(np.uint8), kernel) > 0, cv2.erode(seen.astype(np.uint8), kernel) > 0
    assert seen.sum() > 400 and shrunk.sum() > 200
    assert not (near & ~grown & whole).any(), "a depth edge lies outside the image edge by more than a cell"
    assert not (shrunk & ~near & whole).any(), "a depth edge lies inside the image edge by more than a cell"


def test_far_things_fall_on_the_same_cells_from_lidar_and_camera_however_both_are_mounted():
    T_base_lidar, T_base_camera = mounted((0, 0, 1.7), 30.0, 8.0), mounted((0.3, 0.5, 1.5), -80.0, 4.0)
    T_view_camera, heading = camera_view(T_base_camera)
    target = rotation_z(heading)[:3, :3] @ np.array(point(11.9, -2.2, 1e5))
    seen = apply(T_view_camera @ inverse(T_base_camera), target[None])
    scanned = apply(lidar_view(T_base_lidar) @ inverse(T_base_lidar), target[None])
    window = cut(render_ranges(scanned, GRID.panorama(), 1.0, 1e6), heading, GRID.columns)
    expected = np.argwhere(render_ranges(seen, GRID, 1.0, 1e6).ranges)
    # -80 degrees is no whole number of columns: the window may be half a column off
    assert np.abs(np.argwhere(window.ranges) - expected).max() <= 1
    assert np.argwhere(window.ranges)[0, 0] == expected[0, 0]


def test_cells_the_camera_does_not_see_are_black_and_not_valid():
    narrow = CameraModel(400, 375, np.array([[721.5, 0, 200], [0, 721.5, 172.9], [0, 0, 1]]))
    view = CameraView(narrow, camera_view(mounted((0, 0, 1)))[0], camera_input())
    cells, valid = view(np.full((375, 400, 3), 200, np.uint8))
    half = np.degrees(np.arctan(200 / 721.5)) / 0.45
    assert valid[20].sum() == pytest.approx(2 * half, abs=1.5)
    assert (cells[valid] == 200).all() and not cells[~valid].any()


def test_a_camera_tilted_down_loses_the_upper_cells():
    T_view_camera, _ = camera_view(mounted((0, 0, 1), 0.0, 15.0))
    _, valid = CameraView(PINHOLE, T_view_camera, camera_input())(np.zeros((375, 1242, 3), np.uint8))
    # the picture's top row is 13.5 degrees above the axis
    assert not valid[15, 80] and valid[20, 80] and valid[47, 80]


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_fine_stripes_become_grey_and_a_step_stays_where_it_is_at_any_resolution(scale):
    width, height = int(1240 * scale), int(376 * scale)
    K = np.array([[720.0 * scale, 0, (width - 1) / 2], [0, 720.0 * scale, (height - 1) / 2], [0, 0, 1]])
    view = CameraView(CameraModel(width, height, K), camera_view(mounted((0, 0, 1)))[0], camera_input())
    period = max(1, round(scale))
    stripes = np.zeros((height, width, 3), np.uint8)
    stripes[:, np.arange(width) // period % 2 == 1] = 255
    cells, valid = view(stripes)
    if scale >= 1.0:
        assert np.abs(cells[valid].astype(int) - 128).max() < 60
        assert cells[valid].std() < 25
    step = np.zeros((height, width, 3), np.uint8)
    step[:, : width // 2] = 255
    cells, _ = view(step)
    assert (cells[5:40, 40:79] >= 250).all() and (cells[5:40, 81:120] <= 5).all()


def test_a_picture_of_another_size_than_its_camera_model_is_refused_with_both():
    for spec in (camera_input(), camera_input(None, ("red", "green", "blue"), (224, 224), "whole_image")):
        view = CameraView(PINHOLE, camera_view(mounted((0, 0, 1)))[0], spec)
        with pytest.raises(SensorError, match="the picture is 640 x 480, but its CameraInfo describes 1242 x 375"):
            view(np.zeros((480, 640, 3), np.uint8))


def test_a_camera_that_sees_nothing_of_the_grid_is_refused():
    with pytest.raises(SensorError, match="sees no cell"):
        CameraView(PINHOLE, camera_view(mounted((0, 0, 1), 0.0, 60.0))[0], camera_input())


def test_the_camera_tensor_is_normalised_and_zero_where_nothing_is_seen():
    rgb = np.full((2, 48, 160, 3), (255, 51, 0), np.uint8)
    valid = np.ones((2, 48, 160), bool)
    valid[0, :, :10] = False
    out = camera_tensor(rgb, valid, camera_input())
    assert out.shape == (2, 4, 48, 160) and out.dtype == np.float32
    np.testing.assert_allclose(out[1, :, 0, 0], [2.5, -0.8, -0.6, 1.0], rtol=1e-6)
    assert not out[0, :, :, :10].any()
    assert camera_tensor(rgb, valid, camera_input(size=(224, 224))).shape == (2, 4, 224, 224)


def test_the_papers_plain_way_is_a_matter_of_configuration():
    # 64 x 900 over +3 to -25 degrees, of that rows 0 to 31 and the middle 300 columns, resized to 224 x 224
    assert PAPER.turn_columns == 900
    points = np.array([point(0.2, 2.9, 10.0), point(59.9, -10.9, 20.0), point(0.2, -11.1, 30.0), point(61.0, 0, 40.0)])
    window = cut(render_ranges(points, PAPER.panorama(), 1.0, 50.0), 0.0, PAPER.columns).ranges
    assert {tuple(i): window[tuple(i)].round(3) for i in np.argwhere(window)} == {(0, 149): 10.0, (31, 0): 20.0}
    three = LidarInput("l", "", PAPER, (224, 224), ("range",) * 3, (0.0,) * 3, (1.0,) * 3, 1.0, 50.0)
    tensor = lidar_tensor(window[None], three)
    assert tensor.shape == (1, 3, 224, 224)
    np.testing.assert_allclose(np.unique(tensor), [0.0, 0.2, 0.4], atol=1e-6)
    np.testing.assert_array_equal(tensor[0, 0], tensor[0, 2])

    whole = camera_input(None, ("red", "green", "blue"), (224, 224), "whole_image")
    picture = np.where(np.arange(1242)[:, None] < 621, 0, np.uint8([255, 128, 0])) * np.ones((375, 1, 1), np.uint8)
    cells, valid = CameraView(PINHOLE, camera_view(mounted((0, 0, 1)))[0], whole)(picture)
    assert cells.shape == (224, 224, 3) and valid.all() and valid.shape == (224, 224)
    assert not cells[:, :111].any() and (cells[:, 113:] == (255, 128, 0)).all()
    assert camera_tensor(cells[None], valid[None], whole).shape == (1, 3, 224, 224)
