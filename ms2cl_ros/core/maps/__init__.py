# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The map on disk: the contract (`store`), SQLite and PostgreSQL behind it, a robot's cache of a shared map."""
