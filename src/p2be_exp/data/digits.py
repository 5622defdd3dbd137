"""The digits that scikit-learn carries inside itself: a data set that needs neither files nor a network.

1,797 real handwritten digits of 8 x 8 pixels with values 0..16: E. Alpaydin and C. Kaynak, "Optical
Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from p2be_exp.data.source import LevelSource, Size

if TYPE_CHECKING:
    from torch import Tensor

    from p2be_exp.data.images import ImageSet

SPLIT_STATE = 0  # of the one fixed split into train and test; never a run's seed


class Digits(LevelSource):
    name = "digits"
    published = Size(1297, 500, classes=10, side=32)

    def fetch(self, download: bool) -> None:
        """Nothing: there are no files."""

    def load(self) -> tuple[ImageSet, ImageSet]:
        """The 1,297 training and 500 test images, uint8 `(N, 3, 32, 32)`, three equal channels.

        The data set comes without a split of its own. The 500 test images are drawn once, stratified by class,
        and are the same on every machine; both parts keep the published order.
        """
        import torch

        # Imported here because it takes about a second that the other data sets need not pay.
        from sklearn.datasets import load_digits

        from p2be_exp.data.images import ImageSet

        published = load_digits()
        images, labels = to_levels(published.images), torch.from_numpy(published.target).long()
        classes = tuple(str(name) for name in published.target_names)
        train, test = (torch.from_numpy(part) for part in split_indices(published.target))
        return (
            ImageSet(images[train], labels[train], classes, "digits/train"),
            ImageSet(images[test], labels[test], classes, "digits/test"),
        )


def split_indices(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the test images among the published ones, both ascending."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(labels)), test_size=Digits.published.test, stratify=labels, random_state=SPLIT_STATE
    )
    return np.sort(train), np.sort(test)


def to_levels(values: np.ndarray) -> Tensor:
    """Published images `(N, 8, 8)` with values 0..16 as levels, uint8 `(N, 3, 32, 32)`.

    Value v is level v * 255 / 16. Bilinear upscaling (PIL's convention of pixel centres:
    `align_corners=False`), then one rounding to the nearest level, halves to even. Every number before the
    rounding is a multiple of 1/1024 below 256, hence exact in float32: the levels are the same everywhere.
    """
    import torch

    levels = torch.from_numpy(values).float().unsqueeze(1) * 255 / 16
    size = (Digits.published.side, Digits.published.side)
    grey = torch.nn.functional.interpolate(levels, size=size, mode="bilinear", align_corners=False)
    return grey.round().to(torch.uint8).repeat(1, 3, 1, 1)
