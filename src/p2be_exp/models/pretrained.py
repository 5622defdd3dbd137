"""Weights that torchvision publishes for ImageNet, for the backbones that are torchvision's: read, checked, loaded.

They expect images with ImageNet's mean subtracted, divided by its standard deviation, and padded with zeros after that.
RGB codes are levels / 255: so the stem divides its weight by the standard deviation and subtracts the mean from the
codes (:class:`~p2be_exp.models.stem.EncodedConv2d`'s ``shift``), which is the same function, borders included.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from p2be_exp.backbones.torchvision_models import torchvision_models
from p2be_exp.config.schema import BackboneConfig
from p2be_exp.encodings import RGB, TableEncoding
from p2be_exp.errors import BadInput
from p2be_exp.models.weights_file import weights_file
from p2be_exp.system.saved_file import Damaged, not_a_number, read_saved

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier
    from p2be_exp.models.model import EncodedClassifier

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's training images by colour, of values in [0, 1], as torchvision's weights use it."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""Their standard deviation, likewise."""

_LAYERS = {"alexnet": ("features.0", "classifier.6"), "resnet50": ("conv1", "fc")}  # stem and classifier
PRETRAINABLE = tuple(_LAYERS)
"""Backbones with a key ``weights``."""


@dataclass(frozen=True)
class PretrainedWeights:
    """A file of weights, whose names and shapes have been checked.

    Attributes:
        path: the file.
        trunk: by torchvision's names, without stem and classifier.
        stem: ``weight`` ``(out_channels, 3, kh, kw)`` and, where there is one, ``bias``.
        classifier: by torchvision's names.
        classes: rows of the classifier.
    """

    path: str
    trunk: dict[str, Tensor]
    stem: dict[str, Tensor]
    classifier: dict[str, Tensor]
    classes: int


def stem_shift(encoding: TableEncoding) -> Tensor | None:
    """What the stem subtracts from the codes where weights are loaded: the mean of RGB; None for other encodings."""
    return torch.tensor(IMAGENET_MEAN) if isinstance(encoding, RGB) else None


def read_weights(backbone: BackboneConfig) -> PretrainedWeights | None:
    """The weights that a configuration's ``backbone`` group names; None where it names none.

    Raises:
        BadInput: no such file; not a state dict of this network, or weights that are no numbers; a record that does not
            match its checksum; a file named as a published one that is another.
    """
    name = backbone.name
    if name not in PRETRAINABLE or backbone.weights is None:
        return None
    where, path = f"backbone.weights={backbone.weights}", weights_file(name, backbone.weights)
    try:
        _check_published(path, name, where)
        found = read_saved(path, zipped=False)  # torchvision's older ones are no zip files
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror})") from error
    except Damaged as error:
        record = f" ({error.record})" if error.record else ""
        raise BadInput(f"{where}: not a weights-only file that PyTorch can read, or damaged{record}") from error
    stem, classifier = _LAYERS[name]
    _check(found, name, classifier, where)
    if wrong := not_a_number(found):
        raise BadInput(f"{where}: {wrong}")
    parts: dict[str, dict[str, Tensor]] = {"trunk": {}, "stem": {}, "classifier": {}}
    for key, value in found.items():
        layer, _, parameter = key.rpartition(".")
        if layer == stem:
            parts["stem"][parameter] = value
        else:
            parts["classifier" if layer == classifier else "trunk"][key] = value
    return PretrainedWeights(str(path), **parts, classes=len(found[f"{classifier}.bias"]))


def _check_published(path: Path, name: str, where: str) -> None:
    """Check a file that has the name of one of torchvision's: such a name ends in 8 digits of the file's SHA-256."""
    published = {weights.url.rpartition("/")[2] for weights in torchvision_models(name).get_model_weights(name)}
    if path.name not in published:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(path.stem.rpartition("-")[2]):
        raise BadInput(
            f"{where}: truncated or altered, its SHA-256 begins with {digest[:8]}; "
            "fetch it again, or give it another name if it is one of your own"
        )


def _check(found: Any, name: str, classifier: str, where: str) -> None:
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise BadInput(f"{where}: not a state dict, which has a tensor for each name")
    models = torchvision_models(name)
    with torch.device("meta"):  # names and shapes alone
        network = getattr(models, name)(weights=None)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    # The older of the published files do not count batches.
    missing = [key for key in shapes if key not in found and not key.endswith("num_batches_tracked")]
    unknown = [key for key in found if key not in shapes]
    if missing or unknown:
        example = f"{missing[0]} is missing" if missing else f"{unknown[0]} is not one of its names"
        raise BadInput(f"{where}: not a state dict of torchvision's {name} ({example})")
    for key, value in found.items():
        shape, expected = tuple(value.shape), shapes[key]
        own_classes = key.rpartition(".")[0] == classifier and shape[1:] == expected[1:]
        if shape != expected and not (own_classes and len(shape) == len(expected)):
            raise BadInput(f"{where}: {key} has shape {shape}, torchvision's {name} has {expected}")
    if len(found[f"{classifier}.weight"]) != len(found[f"{classifier}.bias"]):
        raise BadInput(f"{where}: weight and bias of {classifier} have different numbers of classes")


@torch.no_grad()
def load_weights(model: Classifier, weights: PretrainedWeights) -> str:
    """Load what fits: the trunk, the stem where the encoding is RGB, the classifier where the classes are as many.

    Args:
        model: a plain one, freshly built from the same configuration, so that its stem is shifted where it has to be.
        weights: of the model's backbone.

    Returns:
        What was loaded and what starts fresh, for people.
    """
    model = cast("EncodedClassifier", model)
    network = cast("torch.nn.Module", model.trunk.network)
    classes = network.state_dict()[next(iter(weights.classifier))].shape[0]
    loaded, fresh = ["trunk"], []
    if model.stem.shift is not None:
        std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
        model.stem.weight.copy_(weights.stem["weight"] / std)
        if model.stem.bias is not None:
            model.stem.bias.copy_(weights.stem["bias"])
        loaded.append("stem")
    else:
        fresh.append(f"stem (it reads {model.encoding.name} codes)")
    own = dict(weights.trunk)
    if classes == weights.classes:
        own.update(weights.classifier)
        loaded.append("classifier")
    else:
        fresh.append(f"classifier ({classes} classes, the file has {weights.classes})")
    network.load_state_dict({**network.state_dict(), **own})
    starts = f"; fresh: {', '.join(fresh)}" if fresh else ""
    return f"{', '.join(loaded)} from {weights.path}{starts}"
