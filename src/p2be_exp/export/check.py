"""Whether an exported classifier says what the one that it was made of says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

TOLERANCE = 1e-4
"""Of the largest logit: float32 sums in another order, through the layers of a network."""


class WrongLogits(RuntimeError):  # noqa: N818  # the name says what is wrong
    """A network or its exported form does not say what it should; nothing is to be written."""


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
        WrongLogits: it is more than :data:`TOLERANCE` of the largest logit, or the model's own are not all finite.
    """
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch in batches:
        images = torch.randint(256, (batch, 3, *size), generator=generator, dtype=torch.uint8)
        expected, found = model(images), exported(images)
        if not expected.isfinite().all():
            raise WrongLogits("its own logits are not all finite numbers; nothing is written")
        difference = (found - expected).abs().max().item()
        if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
            raise WrongLogits(f"the exported logits differ by {difference:g}; nothing is written")
        largest = max(largest, difference)
    return largest
