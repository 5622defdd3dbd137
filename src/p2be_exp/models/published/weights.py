"""Published weights: a file read, compared with the network that it is said to be of, and loaded."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from p2be_exp.errors import BadInput
from p2be_exp.models.published.image_network import ImageNetwork
from p2be_exp.models.published.networks import check_classes, recipe_of
from p2be_exp.models.state_dict_file import add_batch_counts, check_fit, place, read_state_dict


def load_published(name: str, file: str | os.PathLike[str], key: str = "model.weights") -> ImageNetwork:
    """A published network with the weights of a file, in eval mode on the CPU.

    Args:
        name: one of :data:`~p2be_exp.config.published_networks.PUBLISHED_NETWORKS`.
        file: as its authors or RobustBench publish it; ``python -m p2be_exp.published list`` says where.
        key: the option that names the file, for messages.

    Returns:
        Images in [0, 1], ``(B, 3, H, W)``, to logits.

    Raises:
        BadInput: see :func:`read_published`.
    """
    weights = read_published(name, file, key=key)
    network = _without_memory(name, len(weights[recipe_of(name).head]))
    network.load_state_dict(weights, assign=True)
    return network.eval()


def read_published(
    name: str, file: str | os.PathLike[str], classes: int | None = None, key: str = "model.weights"
) -> dict[str, Tensor]:
    """The weights in a file, complete, in float32 and by the names of the network's state dict.

    Several wrappers and prefixes of names are taken off. The normalisation is the file's or, where it has none, the
    network's own; numbers of batches that a file lacks are 0.

    Args:
        name: one of :data:`~p2be_exp.config.published_networks.PUBLISHED_NETWORKS`.
        file: written by ``torch.save``. Nothing in it is executed.
        classes: number of logits that are wanted; None for those of the file.
        key: the option that names the file, for messages.

    Raises:
        BadInput: there is no such network or file; a file that is damaged, of another network, or of another number of
            classes. The message names the file, and the first tensor that is missing or has another shape.
    """
    recipe, where = recipe_of(name), place(key, file)
    whose = "" if recipe.named is None else "in our names: "
    weights = read_state_dict(key, file, f"the weights of {name}")
    no = f"{where}: not the weights of {name}"
    if recipe.named is not None:
        weights = recipe.named(weights, no)
    if (bias := weights.get(recipe.head)) is None or bias.ndim != 1:
        raise BadInput(f"{no} ({whose}{recipe.head} {'is missing' if bias is None else 'has another shape'})")
    check_classes(name, found := len(bias), where)
    if classes is not None and classes != found:
        raise BadInput(f"{where}: {found} classes, but the data set has {classes}")
    network = _without_memory(name, found)
    _complete(weights, network, recipe.normalisation(found))
    check_fit(weights, network, no, whose)
    return {each: value.float() if value.is_floating_point() else value for each, value in weights.items()}


def _without_memory(name: str, classes: int) -> ImageNetwork:
    with torch.device("meta"):
        return recipe_of(name).build(classes)


def _complete(weights: dict[str, Tensor], network: ImageNetwork, normalisation: dict[str, Tensor]) -> None:
    """Add what files may lack, numbers of batches and the normalisation; of the latter the shape is any of three."""
    add_batch_counts(weights, network)
    if not weights.keys() & normalisation.keys():
        weights |= normalisation
    for each in normalisation.keys() & weights.keys():
        if weights[each].numel() == 3:  # one for each colour
            weights[each] = weights[each].reshape(3, 1, 1)
