# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sheets of pairs on the angular grid, colour above range: districts by weather, alone or beside recorded drives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ms2cl_ros.core.config import SensorsConfig
from ms2cl_ros.core.geometry import apply, lidar_view
from ms2cl_ros.core.projection import cut, render_ranges
from ms2cl_ros.core.types import AngularGrid
from ms2cl_ros.training.city.camera import CellCamera, camera_spec
from ms2cl_ros.training.city.city import build_city
from ms2cl_ros.training.city.drive import scene_at
from ms2cl_ros.training.city.lidar import facing, lidar_spec, sweep
from ms2cl_ros.training.city.light import daylight
from ms2cl_ros.training.city.passes import DrivePass, drive_poses
from ms2cl_ros.training.city.recipe import Day, Recipe

NEAR, FAR = 2.0, 90.0
SHOWN = {"residential": "summer", "old_town": "spring", "arterial": "summer", "park": "autumn"}
WEATHERS = ("fair", "overcast", "low_sun")
# Metres round the block, between the places chosen from, and how far a view should go straight on.
LENGTH, STEP, STRAIGHT, SPEED = 700.0, 10.0, 50.0, 8.0
_TITLE, _GAP, _INK, _PAPER = 24, 4, (30, 30, 30), 255


@dataclass(frozen=True)
class Pair:
    """`image`: (rows, columns, 3) uint8 red first; `ranges`: (rows, columns) float32 metres, 0 = nothing."""

    title: str
    image: np.ndarray
    ranges: np.ndarray


def districts(camera: AngularGrid, lidar: AngularGrid, seed: int = 4,
              assets: tuple[str, ...] = ()) -> list[list[Pair]]:
    """A column of pairs for each of four districts, one for each of three weathers, each at another place."""
    return [_district(camera, lidar, name, season, seed, assets) for name, season in SHOWN.items()]


def _district(camera: AngularGrid, lidar: AngularGrid, name: str, season: str, seed: int,
              assets: tuple[str, ...]) -> list[Pair]:
    city, spec = build_city(Recipe(seed, "block", LENGTH, 0.0, name, assets)), lidar_spec(64)
    eye, limits, out = CellCamera(camera_spec(0.5), camera), SensorsConfig(), []
    for number, weather in enumerate(WEATHERS):
        rng = np.random.default_rng([seed, 13, number])
        drive = DrivePass(day=Day(number, season, weather))
        travelled, poses = drive_poses(city, drive, STEP)
        k = _straightest(poses, number)
        scene, light = scene_at(city, drive, poses[k], travelled[k] / SPEED), daylight(rng, weather, season)
        swept = sweep(scene, facing(spec, lidar), poses[k], rng, air=light.air)[:, :3]
        view = apply(lidar_view(spec.T_base_lidar()), swept)
        whole = render_ranges(view, lidar.panorama(), limits.min_range, limits.max_range)
        title = f"{name}, {weather}".replace("_", " ")
        out.append(Pair(title, eye(scene, light, poses[k], rng), cut(whole, 0.0, lidar.columns).ranges))
    return out


def _straightest(poses: np.ndarray, third: int) -> int:
    """Of a drive's first, second or last third, the pose after which the street turns least."""
    ahead = np.concatenate([poses, poses])[:, :2, 0]
    turns = 1 - np.einsum("ni,ni->n", ahead[: len(poses)], ahead[int(STRAIGHT / STEP) :][: len(poses)])
    first, last = (len(poses) * k // len(WEATHERS) for k in (third, third + 1))
    return first + int(np.argmin(turns[first:last]))


def colour_ranges(ranges: np.ndarray) -> np.ndarray:
    """(rows, columns, 3) uint8 red first: near red, far blue, nothing black."""
    share = (np.log(np.clip(ranges, NEAR, FAR)) - np.log(NEAR)) / np.log(FAR / NEAR)
    colours = cv2.applyColorMap((255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1].copy()
    colours[ranges <= 0] = 0
    return colours


def sheet(columns: Sequence[Sequence[Pair]], scale: int = 3) -> np.ndarray:
    """One picture of all pairs, each under its title. uint8 RGB."""
    strips = [np.concatenate([_tile(pair, scale) for pair in column]) for column in columns]
    height = max(len(strip) for strip in strips)
    padded = [cv2.copyMakeBorder(strip, 0, height - len(strip), 2 * _GAP, 0, cv2.BORDER_CONSTANT, value=(_PAPER,) * 3)
              for strip in strips]
    return np.concatenate(padded, 1)[:, 2 * _GAP :]


def _tile(pair: Pair, scale: int) -> np.ndarray:
    width = pair.image.shape[1] * scale
    head, gap = np.full((_TITLE, width, 3), _PAPER, np.uint8), np.full((_GAP, width, 3), _PAPER, np.uint8)
    cv2.putText(head, pair.title, (2, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    # the picture is smoothed as pictures are, ranges are never mixed
    looks = [cv2.resize(look, (look.shape[1] * scale, look.shape[0] * scale), interpolation=how)
             for look, how in ((pair.image, cv2.INTER_CUBIC), (colour_ranges(pair.ranges), cv2.INTER_NEAREST))]
    return np.concatenate([head, looks[0], gap[: _GAP // 2], looks[1], gap])
