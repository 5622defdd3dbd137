"""The interface of a source of corrupted images."""

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
        plan: the images that it provides.
    """

    plan: Plan

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What determines the images, for the settings of a result; neither paths nor numbers of workers."""

    @abstractmethod
    def loader(self, name: str, severity: int, data: ImageDataModule) -> Any:
        """The batches of one cell: the images that ``data`` tests on, corrupted.

        Raises:
            BadInput: the corrupted images are not those of the data set.
        """

    @abstractmethod
    def picture(self, name: str, severity: int, data: ImageDataModule, position: int) -> NDArray[np.uint8]:
        """One image of a cell, ``(H, W, 3)``: the image at a position in the test images of ``data``."""
