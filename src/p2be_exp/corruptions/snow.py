"""Snow: blurred flakes over an image that is made paler."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2be_exp.corruptions.blur import Images, to_levels
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.motion import blur_along
from p2be_exp.corruptions.zoom import sum_of_zooms


def snow(images: Images, constants: tuple[float, ...], draws: Draws) -> Images:
    """The image mixed with a paler one, plus a layer of flakes, plus the same layer turned by 180 degrees."""
    keep = constants[-1]
    layer = _flakes(images.shape[:3], constants[:-1], draws) / 255
    x = images / 255
    gray = 0.299 * x[..., :1] + 0.587 * x[..., 1:2] + 0.114 * x[..., 2:]
    x = keep * x + (1 - keep) * np.maximum(x, gray * 1.5 + 0.5)
    return to_levels(x + layer + layer[:, ::-1, ::-1])


def _flakes(shape: tuple[int, int, int], constants: tuple[float, ...], draws: Draws) -> NDArray[np.uint8]:
    """Normal noise, magnified, its bright places kept, trailing downwards: uint8 ``(B, H, W, 1)``."""
    mean, deviation, zoom, threshold, radius, sigma = constants
    pixels = shape[1] * shape[2]
    layer = sum_of_zooms((mean + deviation * draws.normal(pixels)).reshape(*shape, 1), (zoom,))
    layer[layer < threshold] = 0
    return blur_along(to_levels(layer), radius, sigma, draws.between(-135, -45, 1, start=pixels)[:, 0])
