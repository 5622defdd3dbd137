"""The weights of a shared network: tensors alone, read once, and compared with their checksum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from p2be_exp.errors import BadInput
from p2be_exp.runs.shared import WEIGHTS, SharedWeights
from p2be_exp.system.foreign_files import open_file

if TYPE_CHECKING:
    from torch import Tensor


def check_safetensors(where: str) -> None:
    """Check that the package that reads and writes the weights is installed.

    Args:
        where: the option and its value, for the message.

    Raises:
        BadInput: it is not.
    """
    try:
        import safetensors.torch  # noqa: F401
    except ImportError as error:
        raise BadInput(f"{where}: safetensors is not installed; pip install 'p2be-exp[hub]'") from error


def read_weights(folder: Path, expected: SharedWeights, where: str) -> dict[str, Tensor]:
    """The tensors of a shared network, on the CPU, by their names in the model.

    Args:
        folder: of the network.
        expected: what its ``config.json`` says of them.
        where: the option and its value, for messages.

    Raises:
        BadInput: the file is missing, cannot be read, is not the one that ``config.json`` was written for, or holds
            something else than numbers.
    """
    check_safetensors(where)
    place = f"{where}: {WEIGHTS}"
    try:
        with open_file(folder / WEIGHTS) as stream:
            size = os.fstat(stream.fileno()).st_size
            content = stream.read() if size == expected.bytes else b""
    except FileNotFoundError as error:
        raise BadInput(f"{where}: no {WEIGHTS}") from error
    except OSError as error:
        raise BadInput(f"{place} cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        raise BadInput(f"{place} is damaged, or not the file that config.json was written for (SHA-256)")
    return tensors_of(content, place)


def tensors_of(content: bytes, place: str) -> dict[str, Tensor]:
    """The tensors in the bytes of a ``.safetensors`` file: a JSON header, then numbers; there is nothing to execute.

    The library refuses a header that does not cover the bytes exactly once, so that no tensor is larger than the file.

    Raises:
        BadInput: it is damaged, or holds something else than the numbers of networks.
    """
    import torch
    from safetensors.torch import load

    from p2be_exp.system.saved_file import not_a_number

    kinds = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    try:
        tensors = load(content)
    except Exception as error:  # of the library's own kind, ValueError, KeyError of a type that PyTorch lacks
        raise BadInput(f"{place} is damaged (not a safetensors file)") from error
    if odd := next((name for name, each in tensors.items() if each.dtype not in kinds), None):
        raise BadInput(f"{place}: {odd[:60]} is {tensors[odd].dtype}, which no network here has")
    if wrong := not_a_number(tensors):
        raise BadInput(f"{place}: {wrong}")
    return tensors


def as_bytes(weights: Mapping[str, Tensor]) -> bytes:
    """The bytes of a ``.safetensors`` file; the same for the same weights."""
    from safetensors.torch import save

    # Each tensor gets memory of its own: the format has no tensors that share it.
    return save({name: value.detach().cpu().clone().contiguous() for name, value in sorted(weights.items())})
