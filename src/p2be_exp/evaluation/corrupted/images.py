"""What every source of corrupted images can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from p2be_exp.evaluation.measures import Plan

if TYPE_CHECKING:
    from p2be_exp.data import ImageDataModule


class CorruptedImages(ABC):
    """The corrupted test images of a data set.

    Attributes:
        plan: which there are.
    """

    plan: Plan

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides the images, for the settings of a result; no paths, no numbers of workers."""

    @abstractmethod
    def loader(self, name: str, severity: int, data: ImageDataModule) -> Any:
        """The batches of one cell: the images that ``data`` tests on, corrupted.

        Raises:
            BadInput: the corrupted images are not those of the data set.
        """

    @abstractmethod
    def picture(self, name: str, severity: int, data: ImageDataModule, place: int) -> NDArray[np.uint8]:
        """One image of a cell, ``(H, W, 3)``: the one of the ``place``-th image that ``data`` tests on."""
