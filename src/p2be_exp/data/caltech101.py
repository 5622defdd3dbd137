"""Caltech 101: 8,677 pictures of 101 kinds of objects, from 31 to 800 of each; the background pictures are left out.

L. Fei-Fei et al., "Learning Generative Visual Models from Few Training Examples", 2004. There is no published split.
Here 30 pictures of each class, drawn once, are the training set and all others the test set: the usual number for this
data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2be_exp.data.caltech import CaltechSource
from p2be_exp.data.fetching import PublishedFile

if TYPE_CHECKING:
    from torch import Tensor

TRAIN_PER_CLASS = 30
SPLIT_SEED = 0  # of the one fixed split; never a run's seed, nor its split_seed


class Caltech101(CaltechSource):
    name = "caltech101"
    num_classes = 101
    paths = ("caltech101",)
    archive = PublishedFile(
        "caltech-101.zip",
        ("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
        "3138e1922a9193bfa496528edbbc45d0",
    )
    inner = "caltech-101/101_ObjectCategories.tar.gz"
    pictures = "101_ObjectCategories"
    left_out = ("BACKGROUND_Google",)

    def _fewest(self) -> int:
        return TRAIN_PER_CLASS + 1

    def _split_class(self, positions: Tensor, label: int) -> tuple[Tensor, Tensor]:
        """:data:`TRAIN_PER_CLASS` pictures, drawn once; and all others."""
        from p2be_exp.randomness.order import CALTECH101_SPLIT, random_order

        order = random_order(len(positions), SPLIT_SEED, CALTECH101_SPLIT, label)
        return positions[order[:TRAIN_PER_CLASS]], positions[order[TRAIN_PER_CLASS:]]
