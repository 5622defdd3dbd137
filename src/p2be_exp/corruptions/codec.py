"""Pixelation and JPEG compression: the image through one of Pillow's filters or codecs and back."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from p2be_exp.corruptions.draws import Draws

Images = NDArray[np.uint8]


def pixelate(images: Images, constants: tuple[float], draws: Draws) -> Images:
    """Down to c times the pixels of each side, rounded down, and up again, both by averages over boxes."""
    height, width = images.shape[1:3]
    few = (int(width * constants[0]), int(height * constants[0]))
    out = np.empty_like(images)
    for image, result in zip(images, out, strict=True):
        coarse = Image.fromarray(image).resize(few, Image.Resampling.BOX)
        result[...] = coarse.resize((width, height), Image.Resampling.BOX)
    return out


def jpeg_compression(images: Images, constants: tuple[int], draws: Draws) -> Images:
    """Saved as a JPEG of quality c, Pillow's other settings (chroma of half the resolution), and read again."""
    out = np.empty_like(images)
    for image, result in zip(images, out, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=constants[0])
        result[...] = Image.open(file)
    return out
