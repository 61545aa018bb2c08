# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of every kind, read as one: `contract.Source`, opened by `opening.open_sources`."""
