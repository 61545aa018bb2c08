# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plays a rosbag2 to both nodes.

`ros2 launch ms2cl_ros replay.launch.py --show-args` lists the arguments.
"""

from ms2cl_ros.ros.launch_description import describe


def generate_launch_description():
    return describe("replay")
