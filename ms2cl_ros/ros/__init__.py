# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Between ROS messages and the core: parameters, conversions, transforms, diagnostics."""
