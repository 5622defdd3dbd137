"""Pixelation and JPEG compression: the image through a filter or a codec and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.jpeg import round_trip

Images = NDArray[np.uint8]


def pixelate(images: Images, constants: tuple[float], draws: Draws) -> Images:
    """By Pillow, down to c times the pixels of each side, rounded down, and up again, both by averages over boxes."""
    height, width = images.shape[1:3]
    few = (int(width * constants[0]), int(height * constants[0]))
    out = np.empty_like(images)
    for image, result in zip(images, out, strict=True):
        coarse = Image.fromarray(image).resize(few, Image.Resampling.BOX)
        result[...] = coarse.resize((width, height), Image.Resampling.BOX)
    return out


def jpeg_compression(images: Images, constants: tuple[int], draws: Draws) -> Images:
    """Saved as a JPEG of quality c, chroma of half the resolution, and read again, by libjpeg 9 as in the published."""
    return round_trip(images, constants[0])
