# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every error this package raises on purpose. Each message says what was given, what was expected, what to do."""


class Ms2clError(Exception):
    """Base of all errors raised on purpose; the nodes and the CLI catch this one."""


class ConfigError(Ms2clError):
    """A setting is unknown, of the wrong type or outside its range."""


class SensorError(Ms2clError):
    """A message contradicts itself or carries something that cannot be decoded."""


class TransformError(Ms2clError):
    """A transform or pose is missing at the stamp asked for."""


class ModelError(Ms2clError):
    """An exported model is missing, damaged, or contradicts its sidecar."""


class StoreError(Ms2clError):
    """A map database cannot be opened, read or written, or was made with another model."""


class DataError(Ms2clError):
    """A bag, drive or data set lacks something that was looked for."""
