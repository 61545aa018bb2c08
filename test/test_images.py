# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Raw encodings with known answers, compressed pictures, and broken ones of both."""

import array

import cv2
import numpy as np
import pytest

from ms2cl_ros.core.errors import SensorError
from ms2cl_ros.core.images import LAYOUTS, decode_compressed, decode_image

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
COLOUR = (200, 120, 40)
# The channel of each pixel of the 2 x 2 pattern, first row first
PATTERNS = {"rggb": (0, 1, 1, 2), "bggr": (2, 1, 1, 0), "gbrg": (1, 2, 0, 1), "grbg": (1, 0, 2, 1)}


def raw(samples, encoding, step=None, is_bigendian=False):
    rows = np.ascontiguousarray(samples).view(np.uint8).reshape(len(samples), -1)
    step = rows.shape[1] if step is None else step
    padded = np.full((len(rows), step), 0xEE, np.uint8)
    padded[:, :rows.shape[1]] = rows
    return decode_image(padded.tobytes(), encoding, samples.shape[1], len(samples), step, is_bigendian)


def alpha(rgb):
    return np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 7, np.uint8)], axis=2)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(("encoding", "samples"), [
    ("rgb8", RGB), ("bgr8", RGB[..., ::-1]), ("rgba8", alpha(RGB)), ("bgra8", alpha(RGB[..., ::-1])),
    ("8UC3", RGB[..., ::-1]), ("8UC4", alpha(RGB[..., ::-1]))])
def test_colour_comes_out_red_first_without_the_padding(encoding, samples, padding):
    np.testing.assert_array_equal(raw(samples, encoding, samples.shape[1] * samples.shape[2] + padding), RGB)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_fills_all_three_channels(encoding):
    np.testing.assert_array_equal(raw(RGB[..., 0], encoding), np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
def test_the_upper_bits_of_16_bit_samples_are_kept_in_either_byte_order(encoding, order):
    samples = (RGB[..., 0].astype(np.uint16) * 256 + 99).astype(order + "u2")
    out = raw(samples, encoding, step=17, is_bigendian=order == ">")
    np.testing.assert_array_equal(out, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_bayer_mosaic_gives_back_the_colour_it_was_made_of(pattern, depth):
    cell = np.array([COLOUR[c] for c in PATTERNS[pattern]]).reshape(2, 2)
    mosaic = np.tile(cell, (4, 5)) * (257 if depth == 2 else 1)
    out = raw(mosaic.astype(f"<u{depth}"), f"bayer_{pattern}{8 * depth}")
    assert out.shape == (8, 10, 3)
    np.testing.assert_array_equal(out, np.broadcast_to(np.uint8(COLOUR), out.shape))


@pytest.mark.parametrize(("encodings", "luma_first"), [(("yuv422", "uyvy"), False), (("yuv422_yuy2", "yuyv"), True)])
def test_yuv422_gives_back_red_on_the_left_and_blue_on_the_right(encodings, luma_first):
    # BT.601, studio range: red is Y 81 U 90 V 240, blue is Y 41 U 240 V 110
    red, blue = ([81, 90, 81, 240], [41, 240, 41, 110])
    pairs = np.array([red, red, blue], np.uint8)
    pairs = pairs if luma_first else pairs[:, [1, 0, 3, 2]]
    samples = np.tile(pairs.reshape(1, 6, 2), (4, 1, 1))
    for encoding in encodings:
        out = raw(samples, encoding, step=16).astype(int)
        assert np.abs(out[:, :4] - (255, 0, 0)).max() <= 3
        assert np.abs(out[:, 4:] - (0, 0, 255)).max() <= 3


@pytest.mark.parametrize(("encoding", "chroma"), [("nv12", (90, 240)), ("nv21", (240, 90))])
def test_planar_yuv_gives_back_red(encoding, chroma):
    data = bytes([81] * 24) + bytes(chroma) * 6
    out = decode_image(data, encoding, 6, 4, 6, False).astype(int)
    assert out.shape == (4, 6, 3) and np.abs(out - (255, 0, 0)).max() <= 3


def test_the_picture_does_not_share_memory_with_the_message():
    data = np.ascontiguousarray(RGB).reshape(-1).copy()
    out = decode_image(data, "rgb8", 6, 4, 18, False)
    data[:] = 0
    np.testing.assert_array_equal(out, RGB)


@pytest.mark.parametrize(("arguments", "reason"), [
    ((b"\0" * 71, "rgb8", 6, 4, 18), "71 bytes of data, but 4 rows of step 18 are 72"),
    ((b"\0" * 73, "rgb8", 6, 4, 18), "73 bytes of data"),
    ((b"\0" * 68, "rgb8", 6, 4, 17), "a row needs 18 bytes, but step is 17"),
    ((b"\0" * 72, "mono16", 6, 4, 6), "a row needs 12 bytes, but step is 6"),
    ((b"", "rgb8", 0, 0, 0), "at least one pixel"),
    ((b"\0" * 40, "yuv422", 5, 4, 10), "even width"),
    ((b"\0" * 30, "nv12", 5, 4, 5), "even sizes"),
])
def test_sizes_that_contradict_the_data_are_refused_with_both_numbers(arguments, reason):
    with pytest.raises(SensorError, match=reason):
        decode_image(*arguments, False)


def test_an_unknown_encoding_is_refused_with_the_known_ones():
    with pytest.raises(SensorError, match="'32FC1' cannot be decoded") as e:
        decode_image(b"\0" * 96, "32FC1", 6, 4, 24, False)
    assert all(name in str(e.value) for name in [*LAYOUTS, "nv12"])


SMOOTH = cv2.resize(RGB, (96, 64), interpolation=cv2.INTER_CUBIC)


def encoded(rgb, extension=".jpg"):
    bgr = rgb[..., ::-1] if rgb.ndim == 3 else rgb
    return cv2.imencode(extension, np.ascontiguousarray(bgr), [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()


@pytest.mark.parametrize("format", ["png", "rgb8; png compressed bgr8", "bgr8; png compressed ", ""])
def test_png_is_lossless_and_red_first_whatever_the_format_string(format):
    np.testing.assert_array_equal(decode_compressed(encoded(SMOOTH, ".png"), format), SMOOTH)


@pytest.mark.parametrize("format", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bgr8;jpeg compressed bgr8"])
@pytest.mark.parametrize("wrap", [bytes, lambda b: array.array("B", b), lambda b: np.frombuffer(b, np.uint8)])
def test_jpeg_is_red_first_from_any_holder(format, wrap):
    out = decode_compressed(wrap(encoded(SMOOTH)), format)
    assert np.abs(out.astype(int) - SMOOTH).mean() < 3.0


def test_a_publisher_that_compressed_red_first_is_understood():
    swapped = encoded(SMOOTH[..., ::-1], ".png")
    np.testing.assert_array_equal(decode_compressed(swapped, "rgb8; png compressed rgb8"), SMOOTH)


def test_grey_and_16_bit_png_become_rgb():
    grey = SMOOTH[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode_compressed(encoded(grey, ".png"), "mono8; png compressed "), expected)
    deep = decode_compressed(encoded(grey.astype(np.uint16) * 257, ".png"), "mono16; png compressed ")
    np.testing.assert_array_equal(deep, expected)


def test_a_compressed_bayer_mosaic_is_given_its_colours():
    mosaic = np.tile(np.array([[COLOUR[0], COLOUR[1]], [COLOUR[1], COLOUR[2]]], np.uint8), (8, 8))
    out = decode_compressed(encoded(mosaic, ".png"), "bayer_rggb8; png compressed ")
    np.testing.assert_array_equal(out, np.broadcast_to(np.uint8(COLOUR), out.shape))


def exif(orientation, thumbnail=b""):
    entry = b"\x12\x01\x03\0\x01\0\0\0" + orientation.to_bytes(4, "little")
    body = b"Exif\0\0" + b"II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0" + thumbnail
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


def test_the_orientation_flag_is_ignored():
    jpeg = encoded(SMOOTH)
    turned = jpeg[:2] + exif(6) + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (96, 64, 3)
    np.testing.assert_array_equal(decode_compressed(turned, "jpeg"), decode_compressed(jpeg, "jpeg"))


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_truncated_picture_is_refused_with_the_reason(extension, share):
    data = encoded(SMOOTH, extension)
    with pytest.raises(SensorError, match="cut short"):
        decode_compressed(data[:int(len(data) * share)], "jpeg")


def test_a_truncated_jpeg_is_refused_though_its_thumbnail_is_whole():
    data = encoded(SMOOTH)
    data = data[:2] + exif(1, encoded(SMOOTH[:8, :8])) + data[2:]
    assert decode_compressed(data, "jpeg").shape == (64, 96, 3)
    with pytest.raises(SensorError, match="cut short"):
        decode_compressed(data[:-100], "jpeg")


def test_bytes_after_the_end_of_a_jpeg_do_no_harm():
    assert decode_compressed(encoded(SMOOTH) + b"\0" * 1000, "jpeg").shape == (64, 96, 3)


@pytest.mark.parametrize(("data", "format"), [(b"", "jpeg"), (b"\0" * 64, "32FC1; compressedDepth png"),
                                              (b"OggS" + b"\0" * 64, "theora")])
def test_what_is_neither_jpeg_nor_png_is_refused(data, format):
    with pytest.raises(SensorError, match="neither JPEG nor PNG"):
        decode_compressed(data, format)


def test_a_png_with_damaged_contents_is_refused():
    data = bytearray(encoded(SMOOTH, ".png"))
    data[16:24] = b"\0" * 8
    with pytest.raises(SensorError, match="PNG"):
        decode_compressed(bytes(data), "png")
