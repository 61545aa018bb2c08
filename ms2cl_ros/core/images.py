# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Raw and compressed camera pictures as RGB, without cv_bridge (its binaries break with numpy 2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from ms2cl_ros.core.errors import SensorError
from ms2cl_ros.core.pointcloud2 import octets


class Layout(NamedTuple):
    """Bytes of one sample, samples of one pixel, OpenCV's conversion to RGB (None: it is RGB)."""

    depth: int
    channels: int
    conversion: int | None


# ROS names a Bayer pattern by the first pixels of the first row, OpenCV by the second and third of the second.
BAYER = {"rggb": cv2.COLOR_BayerBG2RGB, "bggr": cv2.COLOR_BayerRG2RGB,
         "gbrg": cv2.COLOR_BayerGR2RGB, "grbg": cv2.COLOR_BayerGB2RGB}
_COLOURS: dict[str, tuple[int, int | None]] = {
    "rgb": (3, None), "bgr": (3, cv2.COLOR_BGR2RGB), "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB), "mono": (1, cv2.COLOR_GRAY2RGB),
    **{f"bayer_{pattern}": (1, code) for pattern, code in BAYER.items()}}
# OpenCV's own type names say nothing of colour; like everything in OpenCV they are taken for BGR.
_OPENCV = {"C1": "mono", "C3": "bgr", "C4": "bgra"}
LAYOUTS = {
    **{f"{name}{8 * depth}": Layout(depth, *colour) for name, colour in _COLOURS.items() for depth in (1, 2)},
    **{f"{8 * depth}U{c}": Layout(depth, *_COLOURS[name]) for c, name in _OPENCV.items() for depth in (1, 2)},
    **dict.fromkeys(("yuv422", "uyvy"), Layout(1, 2, cv2.COLOR_YUV2RGB_UYVY)),
    **dict.fromkeys(("yuv422_yuy2", "yuyv"), Layout(1, 2, cv2.COLOR_YUV2RGB_YUY2)),
}
# A plane of luma over a plane of half its height with the chroma of 2 x 2 pixels.
PLANAR = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB\x60\x82"


def _rows(data: Any, rows: int, used: int, step: int, what: str) -> np.ndarray:
    """(rows, used) uint8: the bytes of the picture without the padding after each row."""
    octet = octets(data)
    if step < used:
        raise SensorError(f"{what}: a row needs {used} bytes, but step is {step}; the driver's sizes are wrong")
    if octet.size != rows * step:
        raise SensorError(f"{what}: {octet.size} bytes of data, but {rows} rows of step {step} are {rows * step}; "
                          "the message was cut short or its sizes are wrong")
    return octet.reshape(rows, step)[:, :used]


def decode_image(data: Any, encoding: str, width: int, height: int, step: int, is_bigendian: bool) -> np.ndarray:
    """The picture of a sensor_msgs/Image as its own (height, width, 3) uint8 array, red first.

    Of 16-bit samples the upper eight bits are kept. Raises SensorError for an unknown encoding, and for sizes that
    contradict each other.
    """
    what = f"{encoding} image of {width} x {height}"
    if width < 1 or height < 1:
        raise SensorError(f"{what}: a picture needs at least one pixel; the driver sent an empty message")
    if encoding in PLANAR:
        if width % 2 or height % 2:
            raise SensorError(f"{what}: this encoding shares colour among 2 x 2 pixels and needs even sizes")
        return cv2.cvtColor(np.ascontiguousarray(_rows(data, height * 3 // 2, width, step, what)), PLANAR[encoding])
    layout = LAYOUTS.get(encoding)
    if layout is None:
        raise SensorError(f"image encoding {encoding!r} cannot be decoded; known are: {', '.join([*LAYOUTS, *PLANAR])}")
    if layout.channels == 2 and width % 2:
        raise SensorError(f"{what}: this encoding shares colour between two pixels and needs an even width")
    rows = _rows(data, height, width * layout.channels * layout.depth, step, what)
    pixels = rows.reshape(height, width, layout.channels, layout.depth)
    samples = np.ascontiguousarray(pixels[..., 0 if is_bigendian else -1])
    if layout.conversion is None:
        return samples.copy()
    return cv2.cvtColor(samples, layout.conversion)


def decode_compressed(data: Any, format: str) -> np.ndarray:
    """The picture of a sensor_msgs/CompressedImage (JPEG or PNG) as (H, W, 3) uint8, red first.

    The orientation flag is ignored: CameraInfo describes the pixels as they are stored. `format` is what
    image_transport writes, such as `jpeg` or `bayer_rggb8; jpeg compressed `.
    Raises SensorError for other kinds (theora, compressedDepth) and for a file that is damaged or cut short:
    OpenCV returns a half-grey picture for the latter.
    """
    octet = octets(data)
    raw = octet.tobytes()
    if raw.startswith(_JPEG):
        kind, complete = "JPEG", _jpeg_is_complete(raw)
    elif raw.startswith(_PNG):
        kind, complete = "PNG", _PNG_END in raw
    else:
        raise SensorError(f"compressed image of format {format!r} and {len(raw)} bytes is neither JPEG nor PNG; "
                          "set the publisher's image_transport format to jpeg or png")
    if not complete:
        raise SensorError(f"the {kind} of {len(raw)} bytes ends before its end marker: the message was cut short")
    source = format.split(";")[0].strip()
    mosaic = source.startswith("bayer_") and source in LAYOUTS
    flags = cv2.IMREAD_GRAYSCALE if mosaic else cv2.IMREAD_COLOR
    try:
        picture = cv2.imdecode(octet, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as e:
        raise SensorError(f"the {kind} of {len(raw)} bytes cannot be decoded: {e}") from e
    if picture is None:
        raise SensorError(f"the {kind} of {len(raw)} bytes is damaged and cannot be decoded")
    if mosaic:
        return cv2.cvtColor(picture, BAYER[source[6:10]])
    # "compressed rgb8": the publisher gave red first to an encoder that expects blue first.
    return picture if "compressed rgb" in format else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _jpeg_is_complete(raw: bytes) -> bool:
    """Whether an end marker follows the picture's own data, not only that of a thumbnail in the header."""
    at = 2
    while at + 4 <= len(raw) and raw[at] == 0xFF:
        if raw[at + 1] == 0xFF:
            at += 1
            continue
        if raw[at + 1] == 0xDA:
            return raw.find(b"\xff\xd9", at) >= 0
        at += 2 + int.from_bytes(raw[at + 2:at + 4], "big")
    return False
