"""Random numbers of one corruption at one severity: a function of seed, data set and image, compiled.

The same counter-based generator as :mod:`p2be_exp.randomness.draws` (Philox4x32-10), for arrays on the host: an image
draws the same numbers in any batch and order, in any thread or process.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from p2be_exp.corruptions.names import ALL
from p2be_exp.randomness.philox import fill_uniform

PURPOSE = 3
"""``Purpose.CORRUPTION`` of :mod:`p2be_exp.randomness.draws`, which imports torch."""

_HALF_STEP = 2.0**-54


class Draws:
    """The random numbers of some images under one corruption at one severity.

    Drawing changes nothing: the same call returns the same numbers, and ``start`` says where in an image's sequence to
    read.

    Args:
        dataset: name of the data set.
        name: of the corruption.
        severity: 1 to 5.
        images: ``(B,)`` integers, the positions of the images in their data set.
        seed: 0 or more.

    >>> draws = Draws("cifar10", "fog", 3, [7, 1])
    >>> bool((draws.uniform(4)[1] == Draws("cifar10", "fog", 3, [1]).uniform(4)[0]).all())
    True
    """

    def __init__(self, dataset: str, name: str, severity: int, images: NDArray[np.integer], seed: int = 0) -> None:
        self._images = np.ascontiguousarray(images, dtype=np.uint64)
        self._key = key_of(dataset, seed)
        self._stream = stream_of(name, severity)

    def __len__(self) -> int:
        return len(self._images)

    def uniform(self, n: int, start: int = 0) -> NDArray[np.float64]:
        """Draws ``start`` to ``start + n - 1`` of every image: ``(B, n)`` in [0, 1), multiples of 2**-53."""
        out = np.empty((len(self), n))
        fill_uniform(self._images, self._stream, PURPOSE, self._key, start, out)
        return out

    def between(self, low: float, high: float, n: int, start: int = 0) -> NDArray[np.float64]:
        """Uniform in [low, high), ``(B, n)``."""
        return low + (high - low) * self.uniform(n, start)

    def integers(self, low: int, high: int, n: int, start: int = 0) -> NDArray[np.int64]:
        """Uniform among low, ..., high - 1, ``(B, n)``."""
        return low + np.floor((high - low) * self.uniform(n, start)).astype(np.int64)

    def normal(self, n: int, start: int = 0) -> NDArray[np.float64]:
        """Standard normal, ``(B, n)``: the normal quantile of a uniform draw, one each."""
        return ndtri(np.maximum(self.uniform(n, start), _HALF_STEP))  # 0 would be minus infinity


def key_of(dataset: str, seed: int) -> int:
    """The 64-bit key of a data set and a seed: the first eight bytes of a SHA-256."""
    text = f"p2be_exp corruptions {dataset} {seed}".encode(errors="surrogateescape")  # a folder's name may be any bytes
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")


def stream_of(name: str, severity: int) -> int:
    """The number of a corruption's stream at a severity; no two share one."""
    return 8 * (ALL.index(name) + 1) + severity
