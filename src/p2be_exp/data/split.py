"""Which images are trained on, held out for validation, and tested: a function of `split_seed` alone.

Never of a run's seed: runs that differ in their seed see, hold out and test the same images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.errors import BadInput
from p2be_exp.randomness.order import TEST_SUBSET, TRAIN_SPLIT, random_order


def split_train(n: int, val_size: int, limit_train: int | None, split_seed: int) -> tuple[Tensor, Tensor]:
    """Positions of the images to train on and of those held out, int64, both ascending and disjoint.

    The held-out images are the end of one random order of all n, the images trained on the beginning of what
    is left: a larger `limit_train` only adds images, and moves no held-out one.

    Args:
        n: number of training images of the data set.
        val_size: number of images to hold out; 0 holds out none.
        limit_train: number of images to train on; None is all that are left.
        split_seed: seed of the order.

    Raises:
        BadInput: `dataset.val_size` or `limit_train` asks for images that do not exist.
    """
    _check("dataset.val_size", val_size, 0, n - 1, f"{n} training images")
    left = n - val_size
    keep = left if limit_train is None else limit_train
    _check("limit_train", keep, 1, left, f"{n} training images, {val_size} of them held out")
    order = random_order(n, split_seed, TRAIN_SPLIT)
    return order[:keep].sort().values, order[left:].sort().values


def limit_test(n: int, limit: int | None, split_seed: int) -> Tensor:
    """Positions of the test images to use, int64, ascending: the order of the test set.

    Args:
        n: number of test images of the data set.
        limit: number of images to use; None is all. A larger limit only adds images.
        split_seed: seed of the choice.

    Raises:
        BadInput: `limit_test` asks for images that do not exist.
    """
    if limit is None:
        return torch.arange(n)
    _check("limit_test", limit, 1, n, f"{n} test images")
    return random_order(n, split_seed, TEST_SUBSET)[:limit].sort().values


def _check(key: str, value: int, low: int, high: int, there_are: str) -> None:
    if not low <= value <= high:
        raise BadInput(f"{key}={value}: must be between {low} and {high} (there are {there_are})")
