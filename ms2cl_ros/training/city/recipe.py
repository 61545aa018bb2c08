# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What to build and when to look at it: the recipe of a city, and a day in it."""

from __future__ import annotations

from dataclasses import dataclass

from ms2cl_ros.core.errors import ConfigError

DISTRICTS = ("residential", "old_town", "arterial", "park", "industrial", "country", "mixed")
SEASONS = ("spring", "summer", "autumn", "winter")
GENERATED = ("block", "eight", "there_and_back")
# More metres than any route has.
WHOLE = 1e9
WEATHERS = ("fair", "overcast", "low_sun", "fog", "rain")


@dataclass(frozen=True)
class Recipe:
    """A city; the same recipe gives the same city.

    `route`: "block", "eight", "there_and_back", "kitti:NN" or the path of a pose file (KITTI or TUM). `length`: metres
    driven along it (round the block); `start`: where on a given route these metres begin. `assets`: folders with
    meshes and photographs. `wildness`: 0 (as in life) to 1 (every texture and colour drawn at random).
    """

    seed: int = 1
    route: str = "block"
    length: float = 400.0
    start: float = 0.0
    district: str = "mixed"
    assets: tuple[str, ...] = ()
    wildness: float = 0.0

    def check(self) -> None:
        """Raises ConfigError for what makes no city."""
        if self.seed < 0:
            raise ConfigError(f"seed {self.seed} was given; a city's seed is 0 or more")
        _among("district", self.district, DISTRICTS)
        if not self.length > 0 or not self.start >= 0:
            raise ConfigError(f"length ({self.length}) must be positive and start ({self.start}) 0 or more metres")
        if not 0 <= self.wildness <= 1:
            raise ConfigError(f"wildness {self.wildness} was given; it goes from 0 to 1")


@dataclass(frozen=True)
class Day:
    """A day in a city. `number`: whose parked cars and traffic; `car_change`: share of the parking bays that differ
    from day 0; `traffic`: how many move, 1 as in life."""

    number: int = 0
    season: str = "summer"
    weather: str = "fair"
    car_change: float = 0.3
    traffic: float = 1.0

    def check(self) -> None:
        """Raises ConfigError for what makes no day."""
        _among("season", self.season, SEASONS)
        _among("weather", self.weather, WEATHERS)
        if self.number < 0 or not 0 <= self.car_change <= 1 or not self.traffic >= 0:
            raise ConfigError(
                f"a day's number ({self.number}) and traffic ({self.traffic}) must be 0 or more,"
                f" car_change ({self.car_change}) from 0 to 1"
            )


def _among(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ConfigError(f"no {what} {given!r} is known; there are {', '.join(known)}")
