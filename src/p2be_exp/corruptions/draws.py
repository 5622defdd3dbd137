"""Random numbers of one corruption at one severity: a function of seed, data set and image, compiled.

The same counter-based generator as :mod:`p2be_exp.randomness` (Philox4x32-10), for arrays on the host: an image draws
the same numbers in any batch and order, in any thread or process.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ndtri

from p2be_exp.corruptions.names import ALL

PURPOSE = 3
"""``Purpose.CORRUPTION`` of :mod:`p2be_exp.randomness`, which imports torch."""

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
        key = np.uint64(self._key & 0xFFFFFFFF), np.uint64(self._key >> 32)
        _fill(self._images, np.uint64(self._stream), np.uint64(PURPOSE), *key, start, out)
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
    return int.from_bytes(hashlib.sha256(f"p2be_exp corruptions {dataset} {seed}".encode()).digest()[:8], "little")


def stream_of(name: str, severity: int) -> int:
    """The number of a corruption's stream at a severity; no two share one."""
    return 8 * (ALL.index(name) + 1) + severity


@njit(nogil=True, cache=True)
def _fill(images, stream, purpose, key0, key1, start, out):
    """Philox4x32-10 with the counter (image, stream, purpose, block): two draws of 53 bits a block."""
    word = np.uint64(0xFFFFFFFF)
    shift, five, six, twenty_six = np.uint64(32), np.uint64(5), np.uint64(6), np.uint64(26)
    multiplier0, multiplier1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
    weyl0, weyl1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
    n = out.shape[1]
    for image in range(out.shape[0]):
        for block in range(start // 2, (start + n + 1) // 2):
            c0, c1, c2, c3 = images[image] & word, stream, purpose, np.uint64(block)
            k0, k1 = key0, key1
            for _ in range(10):
                product0, product1 = c0 * multiplier0, c2 * multiplier1
                c0, c2 = (product1 >> shift) ^ c1 ^ k0, (product0 >> shift) ^ c3 ^ k1
                c1, c3 = product1 & word, product0 & word
                k0, k1 = (k0 + weyl0) & word, (k1 + weyl1) & word
            place = 2 * block - start
            if place >= 0:
                out[image, place] = np.float64(((c0 >> five) << twenty_six) + (c1 >> six)) * 2.0**-53
            if place + 1 < n:
                out[image, place + 1] = np.float64(((c2 >> five) << twenty_six) + (c3 >> six)) * 2.0**-53
