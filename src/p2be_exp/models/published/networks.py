"""The published networks by name: how each is built, and how the names in its files become the network's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from p2be_exp.backbones.wide_resnet import WideResNet
from p2be_exp.config.published_networks import PUBLISHED_NETWORKS
from p2be_exp.errors import BadInput
from p2be_exp.models.published.bit_resnet import BiTResNet
from p2be_exp.models.published.image_network import ImageNetwork
from p2be_exp.models.published.padded_wide_resnet import PaddedWideResNet
from p2be_exp.models.robustbench import NormalisedNetwork, wide_resnet_names
from p2be_exp.system.suggestions import did_you_mean

Colours = tuple[float, float, float]

_HALF: dict[int, tuple[Colours, Colours]] = dict.fromkeys((10, 100), ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
_CIFAR: dict[int, tuple[Colours, Colours]] = {
    10: ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    100: ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
"""Mean and standard deviation by colour of images in [0, 1], by the number of classes, as in DeepMind's code."""


@dataclass(frozen=True)
class Recipe:
    """How a network is built and read.

    Attributes:
        make: from the number of classes, and mean and deviation where it has them, ``(3, 1, 1)``.
        head: name of the classifier's bias.
        colours: mean and standard deviation of images by number of classes; empty where it does not normalise.
        named: a file's names to the network's, refusing others with a message that begins with the second argument;
            None where they are the same.
    """

    make: Callable[..., ImageNetwork]
    head: str
    colours: Mapping[int, tuple[Colours, Colours]] = field(default_factory=dict)
    named: Callable[[Mapping[str, Tensor], str], dict[str, Tensor]] | None = None

    def normalisation(self, classes: int) -> dict[str, Tensor]:
        """``mean`` and ``std``, ``(3, 1, 1)``, by these names."""
        both = self.colours.get(classes, ())
        return {key: torch.tensor(each).view(3, 1, 1) for key, each in zip(("mean", "std"), both, strict=False)}

    def build(self, classes: int) -> ImageNetwork:
        """The network, freshly initialised, on torch's default device."""
        return self.make(classes, **self.normalisation(classes))


def _wrn34_10(classes: int) -> ImageNetwork:
    return NormalisedNetwork(WideResNet(34, 10, classes))


_ra_wrn70_16 = partial(PaddedWideResNet, stem=96, depths=(30, 31, 10), widths=(216, 432, 864), squeeze=0.25)

RECIPES = {
    "bit_resnet152x2": Recipe(BiTResNet, "head.conv.bias", _HALF),
    "ra_wrn70_16": Recipe(_ra_wrn70_16, "logits.bias", _CIFAR),
    "wrn34_10": Recipe(_wrn34_10, "trunk.classifier.bias", named=wide_resnet_names),
    "wrn70_16_silu": Recipe(PaddedWideResNet, "logits.bias", _CIFAR),
}
"""By the names of :data:`~p2be_exp.config.published_networks.PUBLISHED_NETWORKS`."""


def recipe_of(name: str, key: str = "model.network") -> Recipe:
    """How a network is built and read.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in RECIPES:
        raise BadInput(f"{key}={name}: must be one of {', '.join(RECIPES)}{did_you_mean(name, RECIPES)}")
    return RECIPES[name]


def build_published(name: str, classes: int) -> ImageNetwork:
    """A published network without its weights: freshly initialised.

    Args:
        name: one of :data:`~p2be_exp.config.published_networks.PUBLISHED_NETWORKS`.
        classes: number of logits; it also decides with which data set's mean and deviation images are normalised.

    Raises:
        BadInput: there is none of that name, or it was not published with so many classes.
    """
    recipe = recipe_of(name)
    check_classes(name, classes, f"model.network={name}")
    return recipe.build(classes)


def check_classes(name: str, classes: int, where: str) -> None:
    """Check that a network was published with a number of classes.

    Args:
        name: of the network.
        classes: the number.
        where: with which the message begins.

    Raises:
        BadInput: it was not.
    """
    if classes not in (published := PUBLISHED_NETWORKS[name].classes):
        allowed = " and ".join(f"{each} (CIFAR-{each})" for each in published)
        raise BadInput(f"{where}: {classes} classes; {name} was published with {allowed}")
