"""Caltech 256: 30,607 pictures of 256 kinds of objects and of clutter, the 257th class, from 80 to 827 of each.

G. Griffin, A. Holub, P. Perona, "Caltech-256 Object Category Dataset", 2007. There is no published split. Here it is
that of the Feature Pyramid Decoder's reference code (G. Li et al., CVPR 2020), in which clutter is a class like the
others: of each class, in the order of the files' names, the first 95 % to train on and the next 5 % to test on. Both
are rounded down, so that the last picture of most classes is in neither part.

Two things in the archive are no pictures: the file `198.spider/RENAME2` and the folder `056.dog/greg`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2be_exp.data.caltech import CaltechSource
from p2be_exp.data.fetching import PublishedFile
from p2be_exp.data.source import Size

if TYPE_CHECKING:
    from torch import Tensor

TRAIN_PERCENT = 95
TEST_PERCENT = 5


class Caltech256(CaltechSource):
    name = "caltech256"
    published = Size(28_949, 1_422, classes=257, side=224)
    num_classes = published.classes
    paths = ("caltech256",)
    archive = PublishedFile(
        "256_ObjectCategories.tar",
        ("https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar",),
        "67b4f42ca05d46448c6bb8ecd2220f6d",
    )
    pictures = "256_ObjectCategories"

    def _fewest(self) -> int:
        return 100 // TEST_PERCENT

    def _split_class(self, positions: Tensor, label: int) -> tuple[Tensor, Tensor]:
        """The first 95 %, and the 5 % after them."""
        train, test = (len(positions) * percent // 100 for percent in (TRAIN_PERCENT, TEST_PERCENT))
        return positions[:train], positions[train : train + test]
