# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Maps with the LiDAR and localises the camera in the same map; mapping:=false localises only.

`ros2 launch ms2cl_ros localize.launch.py --show-args` lists the arguments.
"""

from ms2cl_ros.ros.launch_description import describe


def generate_launch_description():
    return describe("localize")
