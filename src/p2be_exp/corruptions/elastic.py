"""Elastic transform: an image bent by a random affine map and a smooth random field of displacements."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from p2be_exp.corruptions.blur import Images, to_levels
from p2be_exp.corruptions.draws import Draws
from p2be_exp.system.compiled import compiled

Floats = NDArray[np.float64]

_AFFINE_DRAWS = 6
_TRUNCATE = 3  # the gaussian ends at so many sigma


def elastic_transform(images: Images, constants: tuple[float, float, float], draws: Draws) -> Images:
    """The image under an affine map that moves three points, read at places displaced by a smooth field.

    The constants are alpha and sigma of the field and the largest move of a point's coordinate, all in pixels. Images,
    moves and displacements are float32, as published; places and weights are float64.

    An image's draws 0 to 5 move the points, x before y; then comes one a pixel for the displacement in x, then in y.
    """
    alpha, sigma, reach = constants
    batch, height, width, _ = images.shape
    moves = draws.between(-reach, reach, _AFFINE_DRAWS).reshape(batch, 3, 2)
    x = _read(images / np.float32(255), affine_places(moves, height, width), edge_twice=False)
    noise = draws.between(-1, 1, 2 * height * width, start=_AFFINE_DRAWS).reshape(batch, 2, height, width)
    field = (smooth(noise, sigma) * alpha).astype(np.float32)
    return to_levels(_read(x, np.indices((height, width)) + field[:, ::-1], edge_twice=True))


def affine_places(moves: Floats, height: int, width: int) -> Floats:
    """Where each pixel is read, for the image to move by an affine map: the inverse of that map.

    The map is given by three points and where they go. With the centre (w, h) = (W // 2, H // 2) and s a third of the
    shorter side, rounded down, the points are, in (x, y), (w + s, h + s), (w + s, h - s) and (w - s, h - s).

    Args:
        moves: ``(B, 3, 2)``, how far each point goes in x and in y, in pixels.

    Returns:
        ``(B, 2, H, W)``, row and column.
    """
    w, h, s = width // 2, height // 2, min(height, width) // 3
    points = np.array([(w + s, h + s), (w + s, h - s), (w - s, h - s)], dtype=np.float32)
    moved = (points + moves.astype(np.float32)).astype(np.float64)[..., None, None]
    # The inverse takes the last moved point to the last point, and the differences a and b between neighbouring moved
    # points to those between points, (0, 2s) and (2s, 0).
    ax, ay = (moved[:, 0] - moved[:, 1]).swapaxes(0, 1)
    bx, by = (moved[:, 1] - moved[:, 2]).swapaxes(0, 1)
    determinant = ax * by - ay * bx
    # Points moved onto one line have no inverse: the whole image is then one place.
    unit = np.divide(2 * s, determinant, out=np.zeros_like(determinant), where=determinant != 0)
    right = np.arange(width) - moved[:, 2, 0]
    down = np.arange(height)[:, None] - moved[:, 2, 1]
    rows = (h - s) + unit * (by * right - bx * down)
    columns = (w - s) + unit * (ax * down - ay * right)
    return np.stack([rows, columns], axis=1)


def smooth(fields: Floats, sigma: float) -> Floats:
    """Fields ``(B, 2, H, W)`` under a gaussian of ``sigma`` pixels, cut at 3 sigma, reflected c b a | a b c.

    Such a filter multiplies the cosine transform (DCT-II), term by term: the time does not depend on sigma, which
    reaches most of an image's side.
    """
    gain = _gain(fields.shape[2], sigma)[:, None] * _gain(fields.shape[3], sigma)
    # An image at a time: how lines are grouped into vectors, and so the last bit, could depend on their number.
    return np.stack([fft.idctn(fft.dctn(pair, axes=(1, 2)) * gain, axes=(1, 2), overwrite_x=True) for pair in fields])


@lru_cache
def _gain(length: int, sigma: float) -> Floats:
    """What the gaussian makes of each of the cosines of a line of ``length`` pixels."""
    radius = int(_TRUNCATE * sigma + 0.5)
    if radius == 0:
        return np.ones(length)
    taps = np.arange(-radius, radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    waves = np.cos(np.pi / length * np.arange(length)[:, None] * taps)
    return (waves * weights).sum(axis=1) / weights.sum()


def _read(x: NDArray[np.floating], places: NDArray[np.floating], edge_twice: bool) -> NDArray[np.float32]:
    """Images ``(B, H, W, C)`` at ``places`` ``(B, 2, H, W)`` (row, column), linear between pixels.

    Beyond the edge the image is reflected: c b a | a b c with ``edge_twice``, else c b | a b c.
    """
    out = np.empty_like(x)
    _interpolate(x, places, edge_twice, out)
    return out


@compiled
def _interpolate(x, places, edge_twice, out):
    images, height, width, channels = x.shape
    for image in range(images):
        source = x[image]
        for row in range(height):
            for column in range(width):
                y0, x0 = np.floor(places[image, 0, row, column]), np.floor(places[image, 1, row, column])
                low, right = places[image, 0, row, column] - y0, places[image, 1, row, column] - x0
                high, left = 1 - low, 1 - right
                above, below = _reflected(int(y0), height, edge_twice), _reflected(int(y0) + 1, height, edge_twice)
                west, east = _reflected(int(x0), width, edge_twice), _reflected(int(x0) + 1, width, edge_twice)
                for channel in range(channels):
                    out[image, row, column, channel] = (
                        source[above, west, channel] * high * left
                        + source[above, east, channel] * high * right
                        + source[below, west, channel] * low * left
                        + source[below, east, channel] * low * right
                    )


@compiled
def _reflected(place, length, edge_twice):
    if 0 <= place < length:
        return place
    period = 2 * length if edge_twice else 2 * length - 2
    place %= period
    if place < length:
        return place
    return period - 1 - place if edge_twice else period - place
