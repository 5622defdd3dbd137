"""Checks that an exported classifier gives the logits of its original."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

TOLERANCE = 1e-4
"""Relative to the largest logit: float32 sums in a different order, through the layers of a network."""


class WrongLogits(RuntimeError):  # noqa: N818  # the name says what is wrong
    """The logits of a network or of its exported form are wrong; nothing must be written."""


@torch.no_grad()
def largest_difference(
    exported: Callable[[Tensor], Tensor], model: nn.Module, size: tuple[int, int], batches: Sequence[int]
) -> float:
    """The largest difference between logits, on random images of all levels.

    Args:
        exported: uint8 images to logits.
        model: the original.
        size: height and width of the images.
        batches: the batch sizes to try.

    Raises:
        WrongLogits: it exceeds :data:`TOLERANCE` times the largest logit, or the model's own logits are not finite.
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
