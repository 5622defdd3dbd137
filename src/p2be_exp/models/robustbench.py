"""Networks of RobustBench's model zoo, from their published files, by this package's own trunks.

RobustBench itself (Croce et al. 2021) need not be installed. A file holds a state dict, often inside another one or
under a prefix of names; its sizes (depth, width, classes) are those of the tensors in it. Nothing in it is executed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from p2be_exp.backbones import Backbone
from p2be_exp.backbones.resnext import ResNeXt
from p2be_exp.backbones.wide_resnet import WideResNet
from p2be_exp.errors import BadInput
from p2be_exp.models.published.image_network import ImageNetwork
from p2be_exp.models.state_dict_file import add_batch_counts, check_fit, place, read_state_dict
from p2be_exp.system.suggestions import did_you_mean

Colours = tuple[float, float, float]

_HALF: Colours = (0.5, 0.5, 0.5)
_CIFAR_MEAN: Colours = (0.4914, 0.4822, 0.4465)
_CIFAR_STD: Colours = (0.2471, 0.2435, 0.2616)


@dataclass(frozen=True)
class _Published:
    """A network of the zoo: its trunk, and what it subtracts from images in [0, 1] and divides them by."""

    trunk: str
    mean: Colours | None = None
    std: Colours | None = None


_ZOO = {
    **dict.fromkeys(
        (
            *("Standard", "Carmon2019Unlabeled", "Sehwag2020Hydra", "Wang2020Improving"),
            *("Zhang2019Theoretically", "Huang2020Self"),
        ),
        _Published("wide_resnet"),
    ),
    "Hendrycks2019Using": _Published("wide_resnet", _HALF, _HALF),
    "Hendrycks2020AugMix_WRN": _Published("wide_resnet", _HALF, _HALF),
    "Hendrycks2020AugMix_ResNeXt": _Published("resnext", _HALF, _HALF),
    "Rice2020Overfitting": _Published("wide_resnet", _CIFAR_MEAN, _CIFAR_STD),
}

_NORMALISATION = {"mu": "mean", "sigma": "std"}
_UNUSED = "sub_block1."
"""Layers that TRADES's code builds, saves and never calls."""

_WIDE_RESNET = {
    r"conv1\.": "stem.",
    r"block([123])\.layer\.(\d+)\.bn([12])\.": "trunk.groups.{0}.{1}.norm{2}.",
    r"block([123])\.layer\.(\d+)\.conv([12])\.": "trunk.groups.{0}.{1}.conv{2}.",
    r"block([123])\.layer\.(\d+)\.convShortcut\.": "trunk.groups.{0}.{1}.shortcut.",
    r"bn1\.": "trunk.norm.",
    r"fc\.": "trunk.classifier.",
}
_RESNEXT = {
    r"conv_1_3x3\.": "stem.",
    r"bn_1\.": "trunk.norm.",
    r"stage_([123])\.(\d+)\.conv_reduce\.": "trunk.stages.{0}.{1}.conv1.",
    r"stage_([123])\.(\d+)\.bn_reduce\.": "trunk.stages.{0}.{1}.norm1.",
    r"stage_([123])\.(\d+)\.conv_conv\.": "trunk.stages.{0}.{1}.conv2.",
    r"stage_([123])\.(\d+)\.bn\.": "trunk.stages.{0}.{1}.norm2.",
    r"stage_([123])\.(\d+)\.conv_expand\.": "trunk.stages.{0}.{1}.conv3.",
    r"stage_([123])\.(\d+)\.bn_expand\.": "trunk.stages.{0}.{1}.norm3.",
    r"stage_([123])\.(\d+)\.downsample\.([01])\.": "trunk.stages.{0}.{1}.shortcut.{2}.",
    r"classifier\.": "trunk.classifier.",
}
"""The layers of a file by a pattern of their names, and our names for them; the group or stage is counted from 1."""


class NormalisedNetwork(ImageNetwork):
    """Images in [0, 1] to logits: normalisation, the first convolution, a trunk.

    Args:
        trunk: with stages; it says which convolution it wants.
        mean, std: by colour, ``(3, 1, 1)``; None for images as they are.
    """

    def __init__(self, trunk: Backbone, mean: Tensor | None = None, std: Tensor | None = None) -> None:
        super().__init__(mean, std)
        shape = trunk.stem
        self.stem = nn.Conv2d(
            3, shape.out_channels, shape.kernel_size, shape.stride, padding=shape.padding, bias=shape.bias
        )
        self.trunk = trunk

    def begin(self, images: Tensor) -> Tensor:
        """See :class:`~p2be_exp.models.published.image_network.ImageNetwork`."""
        return self.trunk.begin(self.stem(self.normalised(images)))

    def stage_modules(self) -> list[nn.Module]:
        """The trunk's."""
        return self.trunk.stage_modules()

    def end(self, features: Tensor) -> Tensor:
        """The trunk's end."""
        return self.trunk.end(features)


def list_robustbench() -> list[str]:
    """Names of the networks that :func:`load_robustbench` knows, as RobustBench has them."""
    return sorted(_ZOO)


def load_robustbench(name: str, file: str | os.PathLike[str]) -> NormalisedNetwork:
    """A network of RobustBench's zoo from its published file, for CIFAR-10 or CIFAR-100, in eval mode on the CPU.

    Args:
        name: as RobustBench has it, one of :func:`list_robustbench`: it decides the kind of trunk and, where the file
            has none of its own (``mu``, ``sigma``), the normalisation.
        file: as RobustBench publishes it: ``NAME.pt``.

    Returns:
        Images in [0, 1], ``(B, 3, 32, 32)``, to logits: for :func:`p2be_exp.benchmark`.

    Raises:
        BadInput: an unknown name; no such file; a file that is damaged, or has other names and shapes.
    """
    if name not in _ZOO:
        hint = did_you_mean(name, list(_ZOO))
        raise BadInput(f"{name}: not known here; available: {', '.join(list_robustbench())}{hint}")
    published, no = _ZOO[name], f"{place('file', file)}: not the weights of {name}"
    weights = read_state_dict("file", file, "one that RobustBench publishes")
    named = dict(_renamed(weights, _WIDE_RESNET if published.trunk == "wide_resnet" else _RESNEXT, no))
    network = _network(named, published, no)
    _fill_in(named, network, published)
    check_fit(named, network, no, "in our names: ")
    network.load_state_dict(named, assign=True)
    return network.eval()


def wide_resnet_names(weights: Mapping[str, Tensor], no: str) -> dict[str, Tensor]:
    """The tensors of a Wide ResNet in RobustBench's layout, which is TRADES's, by the names of ours.

    Args:
        weights: by the names of the file.
        no: with which the message begins: the place, and what the file is not.

    Raises:
        BadInput: another name.
    """
    return dict(_renamed(weights, _WIDE_RESNET, no))


def _renamed(weights: Mapping[str, Tensor], layers: Mapping[str, str], no: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors by our names."""
    for key, value in weights.items():
        if key.startswith(_UNUSED):
            continue
        if key in _NORMALISATION:
            yield _NORMALISATION[key], value.reshape(-1, 1, 1).float()
            continue
        found = next(((match, ours) for each, ours in layers.items() if (match := re.match(each, key))), None)
        if found is None:
            raise BadInput(f"{no} ({key} is not one of its names)")
        match, ours = found
        group, *rest = match.groups() or ("1",)
        yield (
            ours.format(int(group) - 1, *rest) + key[match.end() :],
            value.float() if value.is_floating_point() else value,
        )


def _network(named: Mapping[str, Tensor], published: _Published, no: str) -> NormalisedNetwork:
    """The network of the sizes that the tensors have, without memory of its own."""
    try:
        classes = len(named["trunk.classifier.bias"])
        with torch.device("meta"):
            if published.trunk == "resnext":
                inner, width = named["trunk.stages.0.0.conv2.weight"].shape[:2]
                trunk: Backbone = ResNeXt(inner // width, width, classes)
            else:
                blocks = len({key.split(".")[3] for key in named if key.startswith("trunk.groups.0.")})
                widen = len(named["trunk.groups.0.0.conv1.weight"]) // 16
                trunk = WideResNet(6 * blocks + 4, widen, classes)
            normalised = published.mean is not None or "mean" in named
            empty = torch.empty(3, 1, 1) if normalised else None
            return NormalisedNetwork(trunk, empty, empty)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        missing = f"{error.args[0]} is missing" if isinstance(error, KeyError) else "its shapes do not fit"
        raise BadInput(f"{no} ({missing})") from error


def _fill_in(named: dict[str, Tensor], network: NormalisedNetwork, published: _Published) -> None:
    """What files may lack: the normalisation, and the numbers of batches of batch norms."""
    if published.mean is not None and published.std is not None and not {"mean", "std"} & set(named):
        named["mean"], named["std"] = (torch.tensor(each).view(3, 1, 1) for each in (published.mean, published.std))
    add_batch_counts(named, network)
