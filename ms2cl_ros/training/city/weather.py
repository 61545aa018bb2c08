# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What lies between a sensor and the street: haze, fog, rain and wet ground, the same for camera and LiDAR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Koschmieder: an object is lost in the haze where 5 % of its contrast are left.
LEFT_AT_VISIBILITY = 3.0


@dataclass(frozen=True)
class Air:
    """`extinction`: share of the light lost on a metre (1/m); `rain`: mm an hour; `wet`: 0 (dry ground) to 1."""

    extinction: float = 0.0
    rain: float = 0.0
    wet: float = 0.0

    @property
    def visibility(self) -> float:
        """Metres, inf in clear air."""
        return LEFT_AT_VISIBILITY / self.extinction if self.extinction else np.inf


CLEAR = Air()


def air(rng: np.random.Generator, weather: str) -> Air:
    """The air of a day of `weather`, one of `recipe.WEATHERS`."""
    haze = float(rng.choice([0.0003, 0.0008, 0.002]))
    if weather == "fog":
        return Air(LEFT_AT_VISIBILITY / rng.uniform(60.0, 220.0), 0.0, rng.uniform(0.1, 0.4))
    if weather == "rain":
        rain = rng.uniform(2.0, 20.0)
        # optical extinction by drops, 0.25 R^0.67 per km, and the mist between them
        return Air(haze + 2.5e-4 * rain**0.67 + rng.uniform(0.001, 0.004), rain, rng.uniform(0.6, 1.0))
    return Air(haze)
