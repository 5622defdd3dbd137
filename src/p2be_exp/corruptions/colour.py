"""Brightness, saturation and contrast: what becomes of a pixel depends on it, and at most on the image's means."""

from __future__ import annotations

import numpy as np

from p2be_exp.corruptions.blur import Images, to_levels
from p2be_exp.corruptions.draws import Draws
from p2be_exp.system.compiled import compiled


def brightness(images: Images, constants: tuple[float], draws: Draws) -> Images:
    """The value of HSV plus c, clipped."""
    return _through_hsv(images, saturation=(1, 0), added_value=constants[0])


def saturate(images: Images, constants: tuple[float, float], draws: Draws) -> Images:
    """The saturation of HSV times c0 plus c1, clipped."""
    return _through_hsv(images, saturation=constants, added_value=0)


def contrast(images: Images, constants: tuple[float], draws: Draws) -> Images:
    """The distance from the mean of the image, channel by channel, times c."""
    mean = np.empty((len(images), 1, 1, 3))
    _sum_in_order(images, np.arange(256) / 255, mean.reshape(-1, 3))
    mean /= images.shape[1] * images.shape[2]
    return to_levels((images / 255 - mean) * constants[0] + mean)


@compiled
def _sum_in_order(images, values, out):
    """The sum of each channel, ``(B, 3)``, a pixel after the other, row by row.

    So NumPy sums over the first two axes of one image. The order is part of the published files: the last bit of a mean
    decides about values that are levels, or a level less, by chance.
    """
    for image in range(len(images)):
        red, green, blue = 0.0, 0.0, 0.0
        for row in range(images.shape[1]):
            for column in range(images.shape[2]):
                red += values[images[image, row, column, 0]]
                green += values[images[image, row, column, 1]]
                blue += values[images[image, row, column, 2]]
        out[image, 0], out[image, 1], out[image, 2] = red, green, blue


def _through_hsv(images: Images, saturation: tuple[float, float], added_value: float) -> Images:
    out = np.empty_like(images)
    _change_hsv(
        images.reshape(-1, 3), float(saturation[0]), float(saturation[1]), float(added_value), out.reshape(-1, 3)
    )
    return out


@compiled
def _change_hsv(pixels, factor, added_saturation, added_value, out):
    """To HSV, the change, back to RGB, for each pixel of ``(N, 3)``.

    The order of every operation is that of scikit-image's ``rgb2hsv`` and ``hsv2rgb``, for truncation makes the last
    bit visible: there and back alone, a fifth of the values end up a level below.
    """
    for pixel in range(len(pixels)):
        red, green, blue = pixels[pixel, 0] / 255, pixels[pixel, 1] / 255, pixels[pixel, 2] / 255
        value = max(red, green, blue)
        spread = value - min(red, green, blue)
        hue, saturation = 0.0, 0.0
        if spread > 0:
            saturation = spread / value
            # Two equal largest channels give the same hue, to the bit, whichever is taken.
            if blue == value:
                sixths = 4 + (red - green) / spread
            elif green == value:
                sixths = 2 + (blue - red) / spread
            else:
                sixths = (green - blue) / spread
            hue = sixths / 6 if sixths >= 0 else sixths / 6 + 1
        saturation = min(max(saturation * factor + added_saturation, 0.0), 1.0)
        value = min(max(value + added_value, 0.0), 1.0)
        sector = np.floor(hue * 6)
        fraction = hue * 6 - sector
        low = value * (1 - saturation)
        falling = value * (1 - fraction * saturation)
        rising = value * (1 - (1 - fraction) * saturation)
        if sector == 1:
            rgb = (falling, value, low)
        elif sector == 2:
            rgb = (low, value, rising)
        elif sector == 3:
            rgb = (low, falling, value)
        elif sector == 4:
            rgb = (rising, low, value)
        elif sector == 5:
            rgb = (value, low, falling)
        else:  # 0, or 6 where a hue just below 1 was rounded
            rgb = (value, rising, low)
        for channel in range(3):
            out[pixel, channel] = np.uint8(min(max(rgb[channel], 0.0), 1.0) * 255)
