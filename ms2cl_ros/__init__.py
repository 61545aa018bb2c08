# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera finds its place in a LiDAR map: MS2-CL for ROS 2."""

__version__ = "0.1.0"
