# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the files that ship with the package lie: in a source checkout, a colcon workspace or a pip prefix."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ms2cl_ros.core.errors import DataError


def roots() -> list[Path]:
    """Folders that may hold `models/`, `config/`, `launch/`: the checkout first, then install spaces."""
    spaces = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    shares = [p / "share" / "ms2cl_ros" for p in [*spaces, Path(sys.prefix)]]
    checkout = Path(__file__).resolve().parents[2]
    return [checkout, *shares] if (checkout / "package.xml").exists() else shares


def installed(relative: str) -> Path:
    """Path of a shipped file or folder such as `config/ms2cl.yaml`; raises DataError naming where it looked."""
    places = [root / relative for root in roots()]
    for place in places:
        if place.exists():
            return place
    raise DataError(f"{relative} is not installed; looked at: {', '.join(map(str, places))}")
