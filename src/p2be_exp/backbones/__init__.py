"""Backbones by name."""

from __future__ import annotations

from typing import Any

from p2be_exp.backbones.alexnet import AlexNet
from p2be_exp.backbones.allconv import AllConv
from p2be_exp.backbones.backbone import Backbone, StemShape, staged
from p2be_exp.backbones.densenet import DenseNet
from p2be_exp.backbones.dropout import dropout_images
from p2be_exp.backbones.resnet import ResNet18, ResNet50
from p2be_exp.backbones.resnext import ResNeXt
from p2be_exp.backbones.wide_resnet import WideResNet
from p2be_exp.config.image_sizes import ImageSizes, check_taken
from p2be_exp.registry import built, option

__all__ = [
    "AlexNet",
    "AllConv",
    "Backbone",
    "DenseNet",
    "ImageSizes",
    "ResNeXt",
    "ResNet18",
    "ResNet50",
    "StemShape",
    "WideResNet",
    "build_backbone",
    "check_image_size",
    "dropout_images",
    "image_sizes",
    "list_backbones",
    "size_advice",
    "staged",
]

NAMED = 3
"""Networks of another size that are named."""


def list_backbones() -> list[str]:
    """Names of the backbones that there are."""
    return built("backbone")


def build_backbone(name: str, num_classes: int, **settings: Any) -> Backbone:
    """A freshly initialised backbone; its stem is the model's to build from ``backbone.stem``.

    Args:
        name: one of :func:`list_backbones`.
        num_classes: number of logits.
        settings: further keys of its schema.

    Raises:
        BadInput: it needs torchvision, which cannot be imported.
    """
    return option("backbone", name).build(num_classes=num_classes, **settings)


def image_sizes(name: str) -> ImageSizes:
    """The images that a backbone takes, without building it; any where it does not say."""
    return getattr(option("backbone", name).factory(), "sizes", ImageSizes())


def size_advice(name: str, size: int) -> str | None:
    """What to say of a backbone on square images of another size than it is made for; None where they are near it.

    More than twice or less than half the side counts as another size.

    Args:
        name: one of :func:`list_backbones`.
        size: height and width of the images in pixels.

    >>> size_advice("wrn40_2", 96)
    'wrn40_2 is made for images of 32 x 32: a step at 96 x 96 is the work of 9 such'
    >>> size_advice("wrn40_2", 64)
    """
    made_for = _made_for(name)
    if made_for is None or made_for / 2 <= size <= made_for * 2:
        return None
    others = {other: _made_for(other) for other in list_backbones() if image_sizes(other).admit(size)}
    fitting = [other for other, side in others.items() if side is not None and side / 2 <= size <= side * 2]
    effect = (
        f"a step at {size} x {size} is the work of {(size / made_for) ** 2:.0f} such"
        if size > made_for
        else f"its strides leave little of {size} x {size}"
    )
    some = ", ".join(fitting[:NAMED]) + (f" and {len(fitting) - NAMED} more" if len(fitting) > NAMED else "")
    advice = f"; for these there are {some}" if fitting else ""
    return f"{name} is made for images of {made_for} x {made_for}: {effect}{advice}"


def _made_for(name: str) -> int | None:
    return getattr(option("backbone", name).factory(), "made_for", None)


def check_image_size(name: str, size: int) -> None:
    """Check that a backbone takes square images of a size, before anything is read or built.

    Args:
        name: one of :func:`list_backbones`.
        size: height and width of the images in pixels.

    Raises:
        BadInput: it does not; the message names those that do.

    >>> check_image_size("allconv", 224)
    Traceback (most recent call last):
    ...
    p2be_exp.errors.BadInput: backbone=allconv: takes images of 32 x 32 pixels, not 224 x 224; ...
    """
    check_taken(name, size, {other: image_sizes(other) for other in list_backbones()})
