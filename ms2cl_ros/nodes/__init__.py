# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The two nodes: `submap_mapper` and `place_matcher`."""
