"""State dicts in files that others published: read as weights alone, unwrapped, and compared with a network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from p2be_exp.errors import BadInput
from p2be_exp.system.paths import user_path
from p2be_exp.system.saved_file import Damaged, not_a_number, read_saved

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "model.", "0.")
"""Those of ``DataParallel``, of a wrapper with a normalisation, of a ``Sequential``; a file may have all three."""


def read_state_dict(key: str, file: str | os.PathLike[str], expected: str) -> dict[str, Tensor]:
    """The state dict in a file, which may be inside other dictionaries, without the prefixes of its names.

    Args:
        key: the option that names the file, for messages.
        file: written by ``torch.save``, in any of its formats. Nothing in it is executed.
        expected: what is expected, for messages.

    Raises:
        BadInput: no such file; one that is damaged, or no state dict; weights that are not numbers.
    """
    where = place(key, file)
    saved = _read(key, file, f"{where}: no such file; expected {expected}")
    for wrapper in _WRAPPERS:
        if isinstance(saved, Mapping) and isinstance(saved.get(wrapper), Mapping):
            saved = saved[wrapper]
    if not isinstance(saved, Mapping) or not all(isinstance(each, Tensor) for each in saved.values()):
        raise BadInput(f"{where}: not a state dict, which has a tensor for each name")
    weights = {str(name): value.detach() for name, value in saved.items()}
    for prefix in _PREFIXES:
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    if wrong := not_a_number(weights):
        raise BadInput(f"{where}: {wrong}")
    return weights


def place(key: str, file: str | os.PathLike[str]) -> str:
    """``KEY=FILE``, with which messages about a file begin."""
    return f"{key}={os.fspath(file)}"


def _read(key: str, file: str | os.PathLike[str], missing: str) -> Any:
    path, where = user_path(key, file), place(key, file)
    if not path.is_file():
        raise BadInput(missing)
    try:
        return read_saved(path, zipped=False)  # some are of the time before zip files
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror})") from error
    except Damaged as error:
        record = f" ({error.record})" if error.record else ""
        raise BadInput(f"{where}: not a weights-only file that PyTorch can read, or damaged{record}") from error


def add_batch_counts(weights: dict[str, Tensor], network: nn.Module) -> None:
    """Add the numbers of batches that batch norms have seen, which older files lack and an evaluation does not read."""
    for key in network.state_dict():
        if key.endswith("num_batches_tracked"):
            weights.setdefault(key, torch.tensor(0))


def check_fit(weights: Mapping[str, Tensor], network: nn.Module, no: str, whose: str = "") -> None:
    """Check that a state dict has the names and shapes of a network.

    Args:
        weights: by the network's names.
        network: on any device.
        no: with which the message begins: the place, and what the file is not.
        whose: before a name in the message, where the names are not the file's.

    Raises:
        BadInput: a name is missing, another is there, or a tensor has another shape.
    """
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    if different := sorted(shapes.keys() ^ weights.keys()):
        missing = sorted(shapes.keys() - weights.keys())
        told = f"{missing[0]} is missing" if missing else f"{different[0]} is not one of its names"
        raise BadInput(f"{no} ({whose}{told})")
    for key, shape in shapes.items():
        if (found := tuple(weights[key].shape)) != shape:
            raise BadInput(f"{no} ({whose}{key} is {found}, not {shape})")
