"""A random order as a function of its key only, independent of library versions."""

import numpy as np
import torch
from torch import Tensor

# The purpose of an order. Distinct numbers, so that equal seeds give unrelated orders for different purposes.
EPOCH = 0
TRAIN_SPLIT = 1
TEST_SUBSET = 2
CALTECH101_SPLIT = 3


def random_order(n: int, seed: int, *key: int) -> Tensor:
    """A permutation of 0..n-1, int64 ``(n,)`` on the host, that depends on ``(seed, *key)`` and nothing else.

    Positions are sorted by one random 64-bit word each. NumPy guarantees that ``SeedSequence`` and the raw words
    of ``PCG64`` never change; there is no such guarantee for its ``permutation`` or PyTorch's ``randperm``: a run
    resumed after an upgrade could go through its images in a different order.

    Args:
        n: number of positions.
        seed: 0 or more.
        key: further non-negative numbers, the first being the purpose (``EPOCH``, ...).
    """
    words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)).random_raw(n)
    return torch.from_numpy(np.argsort(words, kind="stable"))
