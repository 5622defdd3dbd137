"""The image sizes that networks accept, known before a network is imported, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from p2be_exp.errors import BadInput


@dataclass(frozen=True)
class ImageSizes:
    """The height and width of the images that a network accepts, in pixels.

    Attributes:
        least: smallest.
        most: largest; None for no bound.
    """

    least: int = 1
    most: int | None = None

    def admit(self, size: int) -> bool:
        """Whether images of ``size`` x ``size`` are accepted."""
        return size >= self.least and (self.most is None or size <= self.most)

    def __str__(self) -> str:
        least = f"{self.least} x {self.least}"
        if self.most is None:
            return f"{least} or more"
        return least if self.most == self.least else f"{least} to {self.most} x {self.most}"


TAKEN = {
    "alexnet": ImageSizes(least=63),
    "allconv": ImageSizes(least=32, most=32),
    **dict.fromkeys(("densenet40_12", "densenet40_24", "densenet_bc_100_12"), ImageSizes(least=8)),
    "resnet18": ImageSizes(least=9),  # 8 x 8 leaves one position, too few to train on one image
    "resnet50": ImageSizes(least=64),
    **dict.fromkeys(("resnext29_32x4d", "resnext29_4x32d", "wrn16_1", "wrn40_2"), ImageSizes(least=8)),
}
"""The sizes that the backbones of this package accept.

The classes have them too (``sizes``), but importing a class takes PyTorch; a test compares the two.
"""


def check_taken(name: str, size: int, taken: Mapping[str, ImageSizes]) -> None:
    """Check that a backbone accepts square images of a size.

    Args:
        name: of the backbone.
        size: height and width of the images in pixels.
        taken: the accepted sizes by backbone.

    Raises:
        BadInput: it does not; the message names the backbones that do.
    """
    if taken[name].admit(size):
        return
    others = [other for other in sorted(taken) if taken[other].admit(size)]
    advice = f"{size} x {size} is for {', '.join(others)}" if others else "no backbone takes these"
    raise BadInput(f"backbone={name}: takes images of {taken[name]} pixels, not {size} x {size}; {advice}")
