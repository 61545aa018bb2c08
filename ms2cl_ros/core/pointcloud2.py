# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The bytes of a sensor_msgs/PointCloud2 as one array per field, whatever the sensor's layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ms2cl_ros.core.errors import SensorError

# sensor_msgs/PointField: INT8 = 1 ... FLOAT64 = 8
DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def octets(data: Any) -> np.ndarray:
    """(n,) uint8 over the memory of bytes, bytearray, memoryview, array.array or ndarray; raises SensorError."""
    try:
        if isinstance(data, np.ndarray):
            data = np.ascontiguousarray(data)
        return np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8)
    except (TypeError, ValueError) as e:
        raise SensorError(f"message data is a {type(data).__name__}; give bytes, array.array or a uint8 ndarray") from e


# bytes; numpy's own limit is an error of another kind
LONGEST_POINT = 1 << 20


def _layout(fields: Sequence[Any], point_step: int, is_bigendian: bool) -> np.dtype:
    """The structured dtype of one point; the first field of a name counts (PCL repeats names for padding)."""
    order = ">" if is_bigendian else "<"
    columns: dict[str, tuple[Any, int]] = {}
    for field in fields:
        name, offset, count = str(field.name), int(field.offset), max(int(field.count), 1)
        if field.datatype not in DATATYPES:
            raise SensorError(f"point field '{name}' has datatype {field.datatype}; known are 1 (INT8) to 8 (FLOAT64)")
        scalar = np.dtype(order + DATATYPES[field.datatype])
        end = offset + scalar.itemsize * count
        if end > point_step:
            raise SensorError(f"point field '{name}' ends at byte {end}, but point_step is {point_step}; "
                              "the driver's field offsets or point_step are wrong")
        if name:
            columns.setdefault(name, ((scalar, (count,)) if count > 1 else scalar, offset))
    for axis in "xyz":
        if axis not in columns or isinstance(columns[axis][0], tuple):
            raise SensorError(f"the cloud has no single '{axis}' per point; its fields are: "
                              f"{', '.join(columns) or 'none'}; set the driver to publish x, y and z")
    return np.dtype({"names": list(columns), "formats": [c[0] for c in columns.values()],
                     "offsets": [c[1] for c in columns.values()], "itemsize": point_step})


def decode(data: Any, fields: Sequence[Any], width: int, height: int, point_step: int, row_step: int,
           is_bigendian: bool) -> dict[str, np.ndarray]:
    """Every field by its name: (width * height,) in the field's own dtype and native byte order.

    A field of `count` > 1 is (width * height, count). Rows of organised clouds follow one another. Without padding
    between rows the arrays share the message's memory: copy before changing them.
    Raises SensorError when the sizes contradict each other, a datatype is unknown, or x, y or z is missing.
    """
    octet = octets(data)
    if point_step > LONGEST_POINT:
        raise SensorError(f"point_step is {point_step} bytes, and no point is as long; the driver's sizes are wrong")
    layout = _layout(fields, point_step, is_bigendian)
    if row_step < width * point_step:
        raise SensorError(f"row_step is {row_step} bytes, but {width} points of {point_step} bytes need "
                          f"{width * point_step}; the driver must set row_step = width * point_step or more")
    if octet.size < height * row_step:
        raise SensorError(f"the cloud has {octet.size} bytes, but {height} rows of {row_step} bytes are "
                          f"{height * row_step}; the message was cut short or its sizes are wrong")
    if width * height == 0:
        points = np.zeros((0, 0), layout)
    else:
        points = np.ndarray((height, width), layout, octet, strides=(row_step, point_step))
    out = {}
    for name in layout.names or ():
        column = points[name]
        column = column.reshape(points.size, *column.shape[2:])
        out[name] = column.astype(column.dtype.newbyteorder("="), copy=False)
    return out
