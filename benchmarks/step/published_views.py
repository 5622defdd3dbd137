"""The published method's views: one image after another by Pillow, in the processes of a loader."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.augmix import PillowLoop

BORDER = 4
WORKERS = 2


class PillowViews(Dataset):
    """Images flipped and cropped by Pillow; for AugMix with two mixtures each, which stay between the levels.

    Args:
        images: uint8 ``(N, 3, H, W)``, levels.
        labels: int64 ``(N,)``.
        mixtures: of each image beside its clean view.
    """

    def __init__(self, images: Tensor, labels: Tensor, mixtures: int) -> None:
        self.images = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        self.labels = labels.cpu().numpy()
        self.mixtures = mixtures
        self._source: np.random.Generator | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[tuple[Tensor, ...], int]:
        """The views of an image, float32 ``(3, H, W)`` in [0, 1] each, and its label."""
        if self._source is None:  # in the process of the loader, with a seed of its own
            self._source = np.random.default_rng(torch.initial_seed())
            self._augmix = PillowLoop([], self._source)
        image = self._flipped_and_cropped(Image.fromarray(self.images[index]))
        views = [PillowLoop.pixels(image), *(self._augmix.view(image) for _ in range(self.mixtures))]
        return tuple(torch.from_numpy(np.ascontiguousarray(view)) for view in views), int(self.labels[index])

    def _flipped_and_cropped(self, image: Image.Image) -> Image.Image:
        assert self._source is not None
        if self._source.uniform() < 0.5:
            image = ImageOps.mirror(image)
        width, height = image.size
        left, top = (int(offset) for offset in self._source.integers(2 * BORDER + 1, size=2))
        return ImageOps.expand(image, BORDER).crop((left, top, left + width, top + height))


def pillow_loader(views: PillowViews, batch_size: int, device: torch.device, workers: int = WORKERS) -> DataLoader:
    """Shuffled batches ``(views, labels)``, made by ``workers`` processes that stay."""
    return DataLoader(
        views,
        batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )
