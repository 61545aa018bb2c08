# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The reader of compact drives, under the name that training calls it by."""

from __future__ import annotations

from ms2cl_ros.tools.compact import Frame, drive_folders, read_drive, read_scan

__all__ = ["Frame", "drive_folders", "read_drive", "read_scan"]
