# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The stages in data-flow order, without ROS: numpy in, frozen dataclasses out."""
