# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DDS settings under which clouds and images arrive.

Fast DDS keeps half a megabyte of shared memory by default, less than one cloud or image; best effort then loses about
half of them between two processes. `config/fastdds.xml` gives it 16 MiB and leaves UDP on, so that processes without
the setting, and other machines, are still heard. Figures: `benchmarks/transport.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ms2cl_ros.core.install import installed

PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
SETTINGS = ("FASTDDS_BUILTIN_TRANSPORTS", *PROFILES)


def environment(current: Mapping[str, str]) -> dict[str, str]:
    """What to add to a process's environment; nothing where the user chose transports or another middleware."""
    if "rmw_fastrtps" not in current.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"):
        return {}
    if any(current.get(name) for name in SETTINGS):
        return {}
    path = str(installed("config/fastdds.xml"))
    return dict.fromkeys(PROFILES, path)
