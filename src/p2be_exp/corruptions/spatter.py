"""Spatter: drops of water, or of mud, on the lens."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from p2be_exp.corruptions.blur import Images, to_levels
from p2be_exp.corruptions.draws import Draws

WATER = np.array([175, 238, 238])
"""RGB levels: pale turquoise."""

MUD = np.array([63, 42, 20])
"""RGB levels: brown."""

_FARTHEST = 20  # pixels from a drop's edge; beyond, it all looks the same
_RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float32)


def spatter(images: Images, constants: tuple[float, float, float, float, float, int], draws: Draws) -> Images:
    """Drops where a smoothed field of normal noise is high.

    The constants: mean and standard deviation of the noise, sigma of its gaussian, the height from which it is a drop,
    the strength of water or the sigma of mud's rim, 0 for water and 1 for mud. Computed in float32, as published.
    """
    mean, deviation, sigma, threshold, look, is_mud = constants
    shape = images.shape[:3]
    liquid = (mean + deviation * draws.normal(shape[1] * shape[2])).reshape(shape)
    liquid = ndimage.gaussian_filter(liquid, (0, sigma, sigma), mode="nearest", truncate=4.0)
    liquid[liquid < threshold] = 0
    x = images / np.float32(255)
    if is_mud:
        cover = mud_cover(liquid > threshold, look)[..., None]
        return to_levels(x * (1 - cover) + cover * (MUD / 255).astype(np.float32))
    layers = (liquid * 255).astype(np.uint8)
    cover = np.stack([water_cover(layer, look) for layer in layers])[..., None]
    return to_levels(x + cover * (WATER / 255).astype(np.float32))


def mud_cover(drops: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    """How much of each pixel is mud, 0 or 0.8 to 1, from where there are drops; both ``(B, H, W)``."""
    cover = ndimage.gaussian_filter(drops.astype(np.float32), (0, sigma, sigma), mode="nearest", truncate=4.0)
    cover[cover < 0.8] = 0
    return cover


def water_cover(layer: NDArray[np.uint8], strength: float) -> NDArray[np.float32]:
    """How much light water adds to each pixel of one image, 0 to ``strength``, from its thickness; both ``(H, W)``.

    Thickness, seen as a relief that is lit from one side: the distance to the nearest edge in it, filtered.
    """
    no_edge = 255 - cv2.Canny(layer, 50, 150)
    distance = np.minimum(cv2.distanceTransform(no_edge, cv2.DIST_L2, 5), _FARTHEST)
    relief = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    relief = cv2.blur(cv2.filter2D(relief, cv2.CV_8U, _RELIEF), (3, 3))
    cover = layer * relief.astype(np.float32)
    largest = cover.max()
    if largest > 0:  # no drop, or none that the relief leaves: no water
        cover /= largest  # type: ignore[misc]  # float32, which the product's type does not say
    return cover * np.float32(strength)
