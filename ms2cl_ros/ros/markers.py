# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shapes as a MarkerArray, for RViz and Foxglove."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Quaternion, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ms2cl_ros.ros.conversions import header
from ms2cl_ros.tools.scene import Shape

LISTS = {"lines": Marker.LINE_LIST, "points": Marker.SPHERE_LIST}


def marker_array(shapes: Sequence[Shape], stamp_ns: int, map_frame: str) -> MarkerArray:
    """One marker a shape, by its layer's name; arrows are one each. What was shown before is taken away first."""
    out = [Marker(action=Marker.DELETEALL)]
    for shape in shapes:
        if shape.kind == "arrows":
            pairs, colours = shape.xyz.reshape(-1, 2, 3), shape.colours[::2]
            out += [_arrow(shape, i, pair, colour) for i, (pair, colour) in enumerate(zip(pairs, colours))]
        elif len(shape.xyz):
            out.append(_text(shape) if shape.kind == "text" else _list(shape))
    for marker in out:
        marker.header = header(stamp_ns, map_frame)
    return MarkerArray(markers=out)


def _marker(shape: Shape, kind: int, number: int = 0) -> Marker:
    marker = Marker(ns=shape.layer, id=number, type=kind, action=Marker.ADD)
    marker.pose.orientation = Quaternion(w=1.0)
    marker.color = _colour(shape.colours[0])
    return marker


def _list(shape: Shape) -> Marker:
    marker = _marker(shape, LISTS[shape.kind])
    marker.scale = Vector3(x=shape.size, y=shape.size, z=shape.size)
    marker.points = [_point(p) for p in shape.xyz]
    marker.colors = [_colour(c) for c in shape.colours]
    return marker


def _arrow(shape: Shape, number: int, pair: np.ndarray, colour: np.ndarray) -> Marker:
    marker = _marker(shape, Marker.ARROW, number)
    marker.scale = Vector3(x=0.5 * shape.size, y=shape.size, z=1.5 * shape.size)
    marker.points, marker.color = [_point(p) for p in pair], _colour(colour)
    return marker


def _text(shape: Shape) -> Marker:
    marker = _marker(shape, Marker.TEXT_VIEW_FACING)
    marker.pose.position, marker.scale.z, marker.text = _point(shape.xyz[0]), shape.size, shape.text
    return marker


def _point(xyz: np.ndarray) -> Point:
    return Point(x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))


def _colour(rgba: np.ndarray) -> ColorRGBA:
    r, g, b, a = (float(v) for v in rgba)
    return ColorRGBA(r=r, g=g, b=b, a=a)
