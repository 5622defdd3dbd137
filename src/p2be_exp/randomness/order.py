"""A random order as a function of its key alone, the same with every version of every library."""

import numpy as np
import torch
from torch import Tensor

# What an order is for. A number each, so that equal seeds of different purposes give unrelated orders.
EPOCH = 0
TRAIN_SPLIT = 1
TEST_SUBSET = 2
CALTECH101_SPLIT = 3


def random_order(n: int, seed: int, *key: int) -> Tensor:
    """A permutation of 0..n-1, int64 `(n,)` on the host, that depends on `(seed, *key)` and nothing else.

    The positions sorted by one random 64-bit word each. NumPy promises that `SeedSequence` and the raw words
    of `PCG64` never change; it promises no such thing of its `permutation`, nor PyTorch of `randperm`: a run
    resumed after an upgrade could go through its images in another order.

    Args:
        n: number of positions.
        seed: 0 or more.
        key: further non-negative numbers, first what the order is for (`EPOCH`, ...).
    """
    words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)).random_raw(n)
    return torch.from_numpy(np.argsort(words, kind="stable"))
