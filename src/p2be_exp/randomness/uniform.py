"""Many random numbers of the images of a batch: compiled on the host, a kernel on a GPU, equal on both."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from p2be_exp.randomness.draws import ImageRandom
from p2be_exp.randomness.philox import fill_uniform


def uniform_of_images(images: Tensor, seed: int, stream: int | Tensor, purpose: int, n: int, start: int = 0) -> Tensor:
    """Draws ``start`` to ``start + n - 1`` of every image; for few draws :class:`ImageRandom` does as well.

    Args:
        images: ``(B,)`` integers, their positions in the data set. Numbers are generated on their device.
        seed: 0 or more.
        stream: the epoch of :class:`ImageRandom`, or a tensor that holds it.
        purpose: a :class:`~p2be_exp.randomness.draws.Purpose`.
        n: number of draws per image.
        start: first draw.

    Returns:
        float64 ``(B, n)`` in [0, 1), multiples of 2**-53, equal to those of :class:`ImageRandom` to the bit.
    """
    if images.device.type != "cpu":
        return ImageRandom(seed, stream, images, purpose).uniform(n, start)
    out = np.empty((len(images), n))
    fill_uniform(np.ascontiguousarray(images.numpy(), dtype=np.uint64), int(stream), int(purpose), seed, start, out)
    return torch.from_numpy(out)
