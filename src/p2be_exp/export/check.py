"""Whether an exported classifier says what the one that it was made of says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

TOLERANCE = 1e-4
"""Of the largest logit: float32 sums in another order, through the layers of a network."""


@torch.no_grad()
def largest_difference(
    exported: Callable[[Tensor], Tensor], model: nn.Module, size: tuple[int, int], batches: Sequence[int]
) -> float:
    """The largest difference of a logit, on random images of every level.

    Args:
        exported: uint8 images to logits.
        model: the same, and right.
        size: height and width of the images.
        batches: numbers of images to ask for.

    Raises:
        RuntimeError: it is more than :data:`TOLERANCE` of the largest logit.
    """
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch in batches:
        images = torch.randint(256, (batch, 3, *size), generator=generator, dtype=torch.uint8)
        expected, found = model(images), exported(images)
        difference = (found - expected).abs().max().item()
        if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
            raise RuntimeError(f"the exported logits differ by {difference:g}; nothing is written")
        largest = max(largest, difference)
    return largest
