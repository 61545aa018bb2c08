# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags, KITTI, the demo, evaluation and plots: everything offline, without rclpy."""
