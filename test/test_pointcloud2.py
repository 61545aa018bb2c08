# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PointCloud2 bytes of every layout, and of broken ones."""

import array
from types import SimpleNamespace

import numpy as np
import pytest

from ms2cl_ros.core.errors import SensorError
from ms2cl_ros.core.pointcloud2 import DATATYPES, decode

FLOAT32, FLOAT64, UINT8, UINT16, INT16 = 7, 8, 2, 4, 3
XYZ = np.array([[1.5, -2.25, 3.0], [4.0, 5.5, -6.75], [0.125, 8.0, 9.0], [10.0, 11.0, 12.0], [1, 2, 3], [4, 5, 6]])


def field(name, offset, datatype=FLOAT32, count=1):
    return SimpleNamespace(name=name, offset=offset, datatype=datatype, count=count)


def packed(dtype_fields, values, point_step, order="<"):
    """Bytes of points laid out by (name, offset, datatype) with 0xAB as padding."""
    cloud = np.full((len(XYZ), point_step), 0xAB, np.uint8)
    for name, offset, datatype in dtype_fields:
        column = np.asarray(values[name]).astype(order + DATATYPES[datatype])
        cloud[:, offset:offset + column.itemsize] = column[:, None].view(np.uint8)
    return cloud.tobytes()


PLAIN = [("x", 0, FLOAT32), ("y", 4, FLOAT32), ("z", 8, FLOAT32)]
VALUES = {"x": XYZ[:, 0], "y": XYZ[:, 1], "z": XYZ[:, 2], "ring": np.arange(6), "intensity": np.arange(6) * 1.5,
          "time": np.arange(6) * 0.01}


def read(layout, point_step, order="<", width=6, height=1, data=None):
    data = packed(layout, VALUES, point_step, order) if data is None else data
    return decode(data, [field(*f) for f in layout], width, height, point_step, width * point_step, order == ">")


def check(columns):
    np.testing.assert_array_equal(np.stack([columns[a] for a in "xyz"], axis=1), XYZ)


@pytest.mark.parametrize("order", ["<", ">"])
def test_any_field_order_padding_and_extra_fields_are_read_in_either_byte_order(order):
    layout = [("ring", 1, UINT16), ("z", 8, FLOAT32), ("time", 30, FLOAT64), ("x", 17, FLOAT32), ("y", 4, FLOAT32),
              ("intensity", 22, FLOAT32)]
    columns = read(layout, 48, order)
    check(columns)
    np.testing.assert_array_equal(columns["ring"], np.arange(6))
    np.testing.assert_array_equal(columns["intensity"], VALUES["intensity"].astype(np.float32))
    np.testing.assert_array_equal(columns["time"], VALUES["time"])
    assert all(c.dtype.isnative for c in columns.values())


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_datatype_keeps_its_values_and_type(datatype, order):
    columns = read([*PLAIN, ("ring", 12, datatype)], 24, order)
    np.testing.assert_array_equal(columns["ring"], np.arange(6))
    assert columns["ring"].dtype == np.dtype(DATATYPES[datatype])


def test_coordinates_may_be_doubles():
    check(read([("x", 0, FLOAT64), ("y", 8, FLOAT64), ("z", 16, FLOAT64)], 24))


def test_an_organised_cloud_with_padded_rows_is_flattened_row_by_row():
    rows = np.frombuffer(packed(PLAIN, VALUES, 12), np.uint8).reshape(2, 36)
    data = np.pad(rows, ((0, 0), (0, 7)), constant_values=0xCD).tobytes()
    check(decode(data, [field(*f) for f in PLAIN], 3, 2, 12, 43, False))


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda b: array.array("B", b),
                                  lambda b: np.frombuffer(b, np.uint8)])
def test_all_holders_of_bytes_do(wrap):
    check(read(PLAIN, 12, data=wrap(packed(PLAIN, VALUES, 12))))


def test_a_field_of_several_numbers_becomes_a_row_each():
    data = np.zeros(4, np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("normal", "<f4", 3)]))
    data["normal"] = np.arange(12).reshape(4, 3)
    fields = [field("x", 0), field("y", 4), field("z", 8), field("normal", 12, FLOAT32, 3)]
    columns = decode(data.tobytes(), fields, 4, 1, 24, 96, False)
    np.testing.assert_array_equal(columns["normal"], np.arange(12).reshape(4, 3))


def test_a_count_of_zero_means_one_and_nameless_or_repeated_fields_are_padding():
    layout = [*PLAIN, ("ring", 12, UINT8)]
    fields = [field(n, o, d, 0) for n, o, d in layout] + [field("", 13, UINT8, 3), field("_", 14, UINT8),
                                                          field("_", 15, UINT8)]
    columns = decode(packed(layout, VALUES, 16), fields, 6, 1, 16, 96, False)
    check(columns)
    assert set(columns) == {"x", "y", "z", "ring", "_"}


@pytest.mark.parametrize(("width", "height"), [(0, 1), (0, 0), (5, 0)])
def test_an_empty_cloud_has_empty_columns(width, height):
    columns = decode(b"", [field(*f) for f in PLAIN], width, height, 12, 12 * width, False)
    assert all(columns[a].shape == (0,) for a in "xyz")


@pytest.mark.parametrize(("change", "reason"), [
    ({"data": b"\0" * 71}, "71 bytes, but 1 rows of 72"),
    ({"row_step": 60}, "row_step is 60 bytes, but 6 points of 12 bytes need 72"),
    ({"row_step": 0}, "row_step is 0"),
    ({"point_step": 11, "row_step": 66}, "'z' ends at byte 12, but point_step is 11"),
    ({"fields": [field("x", 0, 9), field("y", 4), field("z", 8)]}, "'x' has datatype 9"),
    ({"fields": [field("x", 0), field("z", 8)]}, "no single 'y' per point; its fields are: x, z"),
    ({"fields": []}, "its fields are: none"),
    ({"fields": [field("x", 0, FLOAT32, 3), field("y", 4), field("z", 8)]}, "no single 'x'"),
    ({"data": [0] * 72}, "message data is a list"),
])
def test_a_cloud_that_contradicts_itself_is_refused_with_the_reason(change, reason):
    good = {"data": packed(PLAIN, VALUES, 12), "fields": [field(*f) for f in PLAIN], "width": 6, "height": 1,
            "point_step": 12, "row_step": 72, "is_bigendian": False}
    decode(**good)
    with pytest.raises(SensorError, match=reason):
        decode(**{**good, **change})


def test_the_columns_equal_those_of_sensor_msgs_py():
    point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2")
    from sensor_msgs.msg import PointCloud2, PointField
    layout = [("ring", 0, UINT16), ("z", 4, FLOAT32), ("x", 8, FLOAT32), ("y", 12, FLOAT32), ("i", 18, INT16)]
    message = PointCloud2(width=6, height=1, point_step=20, row_step=120, is_bigendian=False)
    message.fields = [PointField(name=n, offset=o, datatype=d, count=1) for n, o, d in layout]
    message.data = array.array("B", packed(layout, {**VALUES, "i": np.arange(6)}, 20))
    theirs = point_cloud2.read_points(message)
    ours = decode(message.data, message.fields, 6, 1, 20, 120, False)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])
