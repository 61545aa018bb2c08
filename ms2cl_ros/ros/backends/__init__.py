# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters to SLAM and localisation back ends, one file each, all off by default (`backends.names`)."""
