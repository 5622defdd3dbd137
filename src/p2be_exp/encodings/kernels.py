"""Where the Triton kernels of look-ups can run, and what their launches share."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os

import torch
from torch import Tensor

from p2be_exp.system.gpu_stem import gpu_form

DTYPES = (torch.float32, torch.bfloat16)
"""What the kernels multiply; they sum in float32."""


@functools.cache
def usable(device: torch.device) -> bool:
    """Whether the kernels run there: Triton is installed, and it is an NVIDIA GPU of compute capability 8 or more.

    Triton's interpreter (``TRITON_INTERPRET=1`` before the first import of Triton) takes a CPU, too, for tests.
    """
    if importlib.util.find_spec("triton") is None:
        return False
    if device.type == "cpu":
        return os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def asked_for(device: torch.device) -> bool:
    """Whether a GPU is to take the kernels without being told so by an argument, and can."""
    return device.type == "cuda" and gpu_form() == "fused" and usable(device)


def tile(size: int) -> int:
    """The side of a tile that holds so many: a power of two, and no less than a tensor core takes."""
    return max(16, 1 << (size - 1).bit_length())


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """A kernel is launched on the current GPU, which need not be the tensor's."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
