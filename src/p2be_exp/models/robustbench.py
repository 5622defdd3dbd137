"""Networks of RobustBench's model zoo, from their published files, by this package's own trunks.

RobustBench itself (Croce et al. 2021) need not be installed. A file holds a state dict, often inside another one or
under a prefix of names; its sizes (depth, width, classes) are those of the tensors in it. Nothing in it is executed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from p2be_exp.backbones import Backbone
from p2be_exp.backbones.resnext import ResNeXt
from p2be_exp.backbones.wide_resnet import WideResNet
from p2be_exp.errors import BadInput
from p2be_exp.system.paths import user_path
from p2be_exp.system.saved_file import Damaged, not_a_number, read_saved
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

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "model.")
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


class NormalisedNetwork(nn.Module):
    """Images in [0, 1] to logits: normalisation, the first convolution, a trunk.

    Args:
        trunk: says which convolution it wants.
        mean, std: by colour, ``(3, 1, 1)``; None for images as they are.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, trunk: Backbone, mean: Tensor | None = None, std: Tensor | None = None) -> None:
        super().__init__()
        shape = trunk.stem
        self.stem = nn.Conv2d(
            3, shape.out_channels, shape.kernel_size, shape.stride, padding=shape.padding, bias=shape.bias
        )
        self.trunk = trunk
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, classes)``."""
        if self.mean is not None and self.std is not None:
            images = (images - self.mean) / self.std
        return self.trunk(self.stem(images))


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
    published, where = _ZOO[name], f"file={os.fspath(file)}"
    weights = _unwrapped(_read(file, where), where)
    named = dict(_renamed(weights, _WIDE_RESNET if published.trunk == "wide_resnet" else _RESNEXT, name, where))
    network = _network(named, published, name, where)
    _fill_in(named, network, published)
    _check(named, network, name, where)
    network.load_state_dict(named, assign=True)
    return network.eval()


def _read(file: str | os.PathLike[str], where: str) -> Any:
    path = user_path("file", file)
    if not path.is_file():
        raise BadInput(f"{where}: no such file; expected one that RobustBench publishes")
    try:
        return read_saved(path, zipped=False)  # some are of the time before zip files
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror})") from error
    except Damaged as error:
        record = f" ({error.record})" if error.record else ""
        raise BadInput(f"{where}: not a weights-only file that PyTorch can read, or damaged{record}") from error


def _unwrapped(saved: Any, where: str) -> dict[str, Tensor]:
    """The state dict in what a file holds, without prefixes of its names."""
    for wrapper in _WRAPPERS:
        if isinstance(saved, Mapping) and isinstance(saved.get(wrapper), Mapping):
            saved = saved[wrapper]
    if not isinstance(saved, Mapping) or not all(isinstance(each, Tensor) for each in saved.values()):
        raise BadInput(f"{where}: not a state dict, which has a tensor for each name")
    weights = {str(name): value for name, value in saved.items()}
    for prefix in _PREFIXES:
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    if wrong := not_a_number(weights):
        raise BadInput(f"{where}: {wrong}")
    return weights


def _renamed(
    weights: Mapping[str, Tensor], layers: Mapping[str, str], name: str, where: str
) -> Iterator[tuple[str, Tensor]]:
    """The tensors by our names."""
    for key, value in weights.items():
        if key.startswith(_UNUSED):
            continue
        if key in _NORMALISATION:
            yield _NORMALISATION[key], value.reshape(-1, 1, 1).float()
            continue
        found = next(((match, ours) for each, ours in layers.items() if (match := re.match(each, key))), None)
        if found is None:
            raise BadInput(f"{where}: not the weights of {name} ({key} is not one of its names)")
        match, ours = found
        group, *rest = match.groups() or ("1",)
        yield (
            ours.format(int(group) - 1, *rest) + key[match.end() :],
            value.float() if value.is_floating_point() else value,
        )


def _network(named: Mapping[str, Tensor], published: _Published, name: str, where: str) -> NormalisedNetwork:
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
        raise BadInput(f"{where}: not the weights of {name} ({missing})") from error


def _fill_in(named: dict[str, Tensor], network: NormalisedNetwork, published: _Published) -> None:
    """What files may lack: the normalisation, and the number of batches of a batch norm, which nothing here reads."""
    if published.mean is not None and published.std is not None and not {"mean", "std"} & set(named):
        named["mean"], named["std"] = (torch.tensor(each).view(3, 1, 1) for each in (published.mean, published.std))
    for key in network.state_dict():
        if key.endswith("num_batches_tracked"):
            named.setdefault(key, torch.tensor(0))


def _check(named: Mapping[str, Tensor], network: NormalisedNetwork, name: str, where: str) -> None:
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    if different := sorted(shapes.keys() ^ named.keys()):
        state = "is missing" if different[0] in shapes else "is not one of its names"
        raise BadInput(f"{where}: not the weights of {name} (in our names: {different[0]} {state})")
    for key, shape in shapes.items():
        if tuple(named[key].shape) != shape:
            raise BadInput(f"{where}: not the weights of {name} (in our names: {key} is {tuple(named[key].shape)})")
