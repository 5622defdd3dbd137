"""The JPEG round trip of the Independent JPEG Group's libjpeg 9, as its default settings make it.

The published CIFAR-10-C and CIFAR-100-C were compressed by this library; libjpeg-turbo, which Pillow comes with today,
gives other levels. The steps of a colour image, with chroma at half the resolution:

1. RGB to YCbCr in fixed point of 16 bits; the last column and row go on to whole squares of 16 pixels.
2. Luma in blocks of 8 x 8, chroma in blocks of 16 x 16, of which a cosine transform keeps the 8 x 8 lowest frequencies:
   since version 7 the library halves the resolution in the transform, instead of averaging pixels before it.
3. Every coefficient rounded to a multiple of its step.
4. The inverse transforms, chroma from 8 x 8 coefficients to 16 x 16 pixels, and YCbCr back to RGB.

What lies between 3 and 4 in a file is lossless and left out.

The library's transforms are factorised, in whole numbers: cosines times 2^13, and after each of the two passes one
shift that rounds. Before that shift nothing is rounded, so that a pass amounts to a product with a matrix of whole
numbers. No sum leaves 32 bits: at most 2^30 on the way there; on the way back too, as neither the levels of a block nor
what rounding to steps of 255 adds to them has a norm above 1024.

Source: ITU-T T.81 (the steps and the tables of its Annex K); C. Loeffler, A. Ligtenberg and G. Moschytz, "Practical
fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989 (the factorisation).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from p2be_exp.system.compiled import compiled

Images = NDArray[np.uint8]
Steps = NDArray[np.int32]

_LUMA_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMA_STEPS = np.full((8, 8), 99)
_CHROMA_STEPS[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

# Left halves of the matrices: a row per frequency, a column per pixel. The right halves mirror them, with the other
# sign where the frequency is odd. An entry is the sum of the constants through which a pixel gets to a coefficient,
# each rounded by itself, and so up to 1.5 off the cosine times 2^13 (and times the root of 2 but in the first row).
_EIGHT = np.array(
    [
        [8192, 8192, 8192, 8192],
        [11363, 9633, 6437, 2260],
        [10703, 4433, -4433, -10703],
        [9633, -2259, -11362, -6436],
        [8192, -8192, -8192, 8192],
        [6437, -11362, 2261, 9633],
        [4433, -10704, 10704, -4433],
        [2260, -6436, 9633, -11363],
    ],
    dtype=np.int32,
)
_SIXTEEN = np.array(
    [
        [8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192],
        [11529, 11086, 10217, 8956, 7350, 5461, 3363, 1135],
        [11363, 9633, 6436, 2260, -2260, -6436, -9633, -11363],
        [11086, 7350, 1136, -5461, -10217, -11529, -8956, -3363],
        [10703, 4433, -4433, -10703, -10703, -4433, 4433, 10703],
        [10217, 1136, -8955, -11086, -3363, 7350, 11529, 5461],
        [9633, -2260, -11363, -6437, 6437, 11363, 2260, -9633],
        [8956, -5461, -11086, 1137, 11530, 3363, -10217, -7350],
    ],
    dtype=np.int32,
)
_SIXTEEN_BACK = np.array(
    [
        [8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192],
        [11529, 11086, 10217, 8956, 7350, 5461, 3363, 1136],
        [11363, 9633, 6437, 2260, -2260, -6437, -9633, -11363],
        [11086, 7350, 1136, -5461, -10217, -11529, -8955, -3363],
        [10703, 4433, -4433, -10703, -10703, -4433, 4433, 10703],
        [10217, 1136, -8955, -11086, -3363, 7349, 11529, 5461],
        [9632, -2260, -11363, -6436, 6436, 11363, 2260, -9632],
        [8956, -5461, -11086, 1137, 11529, 3363, -10217, -7350],
    ],
    dtype=np.int32,
)

_SQUARES = 16
"""Squares of 16 x 16 pixels in work at a time: enough for long inner loops, few enough for a core's own cache."""


def round_trip(images: Images, quality: int) -> Images:
    """Compressed and decompressed, with chroma at half the resolution and steps of 255 at most (a baseline file).

    Args:
        images: uint8 ``(B, H, W, 3)``, RGB.
        quality: 1 to 100, as the library counts.

    Returns:
        uint8 ``(B, H, W, 3)``.
    """
    out = np.empty(images.shape, np.uint8)  # whole in memory, whatever the layout of the images: filled through a view
    rows = (len(images), images.shape[1], 3 * images.shape[2])
    _through_squares(images.reshape(rows), *_steps(quality), out.reshape(rows))
    return out


@lru_cache
def _steps(quality: int) -> tuple[Steps, Steps]:
    """The steps of luma and of chroma, ``(8, 8)`` each, (down, right)."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (np.clip((table * percent + 50) // 100, 1, 255) for table in (_LUMA_STEPS, _CHROMA_STEPS))
    return luma.astype(np.int32), chroma.astype(np.int32)


def _transform(half: NDArray[np.int32], lanes: int) -> Callable[..., None]:
    """One pass of the transform: N lines of pixels to 8 of coefficients.

    The pass reads lines that lie side by side and writes them N lines apart, so that the second pass, along the other
    axis, finds its lines side by side in turn. These distances are constants for the compiler, which makes a few vector
    instructions of the loops within the lanes.

    Args:
        half: ``(8, N / 2)``.
        lanes: length of a line.

    Returns:
        A compiled function of lines, place for the result and shift.
    """
    n, middle = 2 * half.shape[1], half.shape[1]

    @compiled
    def transform(x, out, shift):
        for lane in range(lanes):
            for k in range(0, 8, 2):
                even, odd = np.int64(1) << (shift - 1), np.int64(1) << (shift - 1)
                for j in range(middle):
                    left, right = x[j * lanes + lane], x[(n - 1 - j) * lanes + lane]
                    even += half[k, j] * (left + right)
                    odd += half[k + 1, j] * (left - right)
                out[k * n * lanes + lane] = np.int32(even) >> shift
                out[(k + 1) * n * lanes + lane] = np.int32(odd) >> shift

    return transform


def _inverse(half: NDArray[np.int32], lanes: int) -> Callable[..., None]:
    """One pass back, from 8 lines of coefficients, N lines apart, to N of pixels, side by side."""
    n, middle = 2 * half.shape[1], half.shape[1]

    @compiled
    def inverse(x, out, shift):
        for lane in range(lanes):
            for j in range(middle):
                even, odd = np.int64(1) << (shift - 1), np.int64(0)
                for k in range(0, 8, 2):
                    even += half[k, j] * x[k * n * lanes + lane]
                    odd += half[k + 1, j] * x[(k + 1) * n * lanes + lane]
                out[j * lanes + lane] = np.int32(even + odd) >> shift
                out[(n - 1 - j) * lanes + lane] = np.int32(even - odd) >> shift

    return inverse


_luma_pass, _luma_pass_back = _transform(_EIGHT, 4 * _SQUARES), _inverse(_EIGHT, 4 * _SQUARES)
_chroma_pass, _chroma_pass_back = _transform(_SIXTEEN, 2 * _SQUARES), _inverse(_SIXTEEN_BACK, 2 * _SQUARES)


@compiled
def _through_squares(images, luma_steps, chroma_steps, out):
    """All squares of all images, ``(B, H, 3 W)``, some at a time: side by side in the last axis of luma and chroma.

    A square is four blocks of luma, each ``(down, right)``, and two of chroma.
    """
    down, right = (images.shape[1] + 15) // 16, (images.shape[2] // 3 + 15) // 16
    luma, chroma = np.zeros((8, 8, 4 * _SQUARES), np.int32), np.zeros((16, 16, 2 * _SQUARES), np.int32)
    lines, coefficients = np.empty(chroma.size, np.int32), np.empty(chroma.size, np.int32)
    for first in range(0, len(images) * down * right, _SQUARES):
        some = range(min(_SQUARES, len(images) * down * right - first))
        for square in some:
            image, place = (first + square) // (down * right), (first + square) % (down * right)
            _to_ycc(images[image], 16 * (place // right), 16 * (place % right), luma, chroma, square)
        _luma_there_and_back(luma.reshape(-1), luma_steps, lines, coefficients)
        _chroma_there_and_back(chroma.reshape(-1), chroma_steps, lines, coefficients)
        for square in some:
            image, place = (first + square) // (down * right), (first + square) % (down * right)
            _to_rgb(luma, chroma, square, 16 * (place // right), 16 * (place % right), out[image])


@compiled
def _luma_there_and_back(pixels, steps, lines, coefficients):
    """Blocks of 8 x 8 to multiples of the steps and back, in place; the last two arguments are for work."""
    lanes = 4 * _SQUARES
    for row in range(8):
        _luma_pass(pixels[row * 8 * lanes :], lines[row * lanes :], 11)
    for column in range(8):
        _luma_pass(lines[column * 8 * lanes :], coefficients[column * lanes :], 15)
        for row in range(8):
            _quantise(coefficients[(row * 8 + column) * lanes :][:lanes], steps[row, column])
        _luma_pass_back(coefficients[column * lanes :], lines[column * 8 * lanes :], 11)
    for row in range(8):
        _luma_pass_back(lines[row * lanes :], pixels[row * 8 * lanes :], 18)


@compiled
def _chroma_there_and_back(pixels, steps, lines, coefficients):
    """The same for blocks of 16 x 16."""
    lanes = 2 * _SQUARES
    for row in range(16):
        _chroma_pass(pixels[row * 16 * lanes :], lines[row * lanes :], 11)
    for column in range(8):
        _chroma_pass(lines[column * 16 * lanes :], coefficients[column * lanes :], 17)
        for row in range(8):
            _quantise(coefficients[(row * 16 + column) * lanes :][:lanes], steps[row, column])
        _chroma_pass_back(coefficients[column * lanes :], lines[column * 16 * lanes :], 11)
    for row in range(16):
        _chroma_pass_back(lines[row * lanes :], pixels[row * 16 * lanes :], 18)


@compiled
def _quantise(coefficients, step):
    """From 8 times its size to the next multiple of the step; half a step goes away from 0."""
    for lane in range(len(coefficients)):
        steps = np.int32((abs(coefficients[lane]) + 4 * step) / (8.0 * step)) * step
        coefficients[lane] = steps if coefficients[lane] > 0 else -steps


@compiled
def _to_ycc(image, top, left, luma, chroma, square):
    """One square of an image, ``(H, 3 W)``, 128 subtracted; beyond the edge its last row and column go on."""
    rgb, ycc = np.empty((3, 16), np.int32), np.empty((3, 16), np.int32)
    width = min(16, image.shape[1] // 3 - left)
    for i in range(16):
        row = image[min(top + i, image.shape[0] - 1), 3 * left :]
        for j in range(width):
            rgb[0, j], rgb[1, j], rgb[2, j] = row[3 * j], row[3 * j + 1], row[3 * j + 2]
        for j in range(width, 16):
            rgb[0, j], rgb[1, j], rgb[2, j] = rgb[0, width - 1], rgb[1, width - 1], rgb[2, width - 1]
        for j in range(16):
            red, green, blue = rgb[0, j], rgb[1, j], rgb[2, j]
            ycc[0, j] = (np.int32(19595 * red + 38470 * green + 7471 * blue + 32768) >> 16) - 128
            # A half is rounded up above and down here.
            ycc[1, j] = np.int32(-11058 * red - 21710 * green + 32768 * blue + 32767) >> 16
            ycc[2, j] = np.int32(32768 * red - 27439 * green - 5329 * blue + 32767) >> 16
        block = 4 * square + 2 * (i >> 3)
        for j in range(8):
            luma[i & 7, j, block], luma[i & 7, j, block + 1] = ycc[0, j], ycc[0, j + 8]
        for j in range(16):
            chroma[i, j, 2 * square] = ycc[1, j]
            chroma[i, j, 2 * square + 1] = ycc[2, j]


@compiled
def _to_rgb(luma, chroma, square, top, left, image):
    """One square, as much of it as lies inside the image."""
    ycc, rgb = np.empty((3, 16), np.int32), np.empty((3, 16), np.uint8)
    for i in range(min(16, image.shape[0] - top)):
        block = 4 * square + 2 * (i >> 3)
        for j in range(8):
            ycc[0, j], ycc[0, j + 8] = luma[i & 7, j, block], luma[i & 7, j, block + 1]
        for j in range(16):
            ycc[1, j] = chroma[i, j, 2 * square]
            ycc[2, j] = chroma[i, j, 2 * square + 1]
        for j in range(16):
            light, blue, red = _limited(ycc[0, j]), _limited(ycc[1, j]) - 128, _limited(ycc[2, j]) - 128
            rgb[0, j] = _level(light + (np.int32(91881 * red + 32768) >> 16))
            rgb[1, j] = _level(light + (np.int32(-22553 * blue - 46802 * red + 32768) >> 16))
            rgb[2, j] = _level(light + (np.int32(116130 * blue + 32768) >> 16))
        row = image[top + i, 3 * left :]
        for j in range(min(16, len(row) // 3)):
            row[3 * j], row[3 * j + 1], row[3 * j + 2] = rgb[0, j], rgb[1, j], rgb[2, j]


@compiled
def _limited(sample):
    """The level of a sample around 0; the library looks it up in a table of 1024, which goes round."""
    return _level(((sample + 512) & 1023) - 384)


@compiled
def _level(value):
    return min(max(np.int32(value), np.int32(0)), np.int32(255))
