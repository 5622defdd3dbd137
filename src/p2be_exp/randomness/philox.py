"""The counter-based generator of :mod:`p2be_exp.randomness.draws`, compiled, for arrays on the host."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2be_exp.system.compiled import compiled


def fill_uniform(
    images: NDArray[np.uint64], stream: int, purpose: int, key: int, start: int, out: NDArray[np.float64]
) -> None:
    """Fill ``out`` with draws ``start``, ``start + 1``, ... of every image, uniform in [0, 1), multiples of 2**-53.

    Args:
        images: ``(B,)``, the first word of the counter, below 2**32.
        stream: the second word (an epoch, a corruption's severity, a restart).
        purpose: the third word; the fourth counts the blocks of two draws.
        key: 64 bits.
        start: 0 or more.
        out: ``(B, n)``.

    Source: Philox4x32-10, Salmon et al. 2011; equal to :class:`~p2be_exp.randomness.draws.ImageRandom` to the bit.
    """
    words = np.uint64(stream), np.uint64(purpose), np.uint64(key & 0xFFFFFFFF), np.uint64(key >> 32)
    _fill(images, *words, start, out)


@compiled
def _fill(images, stream, purpose, key0, key1, start, out):
    """Philox4x32-10 with the counter (image, stream, purpose, block): two draws of 53 bits per block."""
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
            position = 2 * block - start
            if position >= 0:
                out[image, position] = np.float64(((c0 >> five) << twenty_six) + (c1 >> six)) * 2.0**-53
            if position + 1 < n:
                out[image, position + 1] = np.float64(((c2 >> five) << twenty_six) + (c3 >> six)) * 2.0**-53
