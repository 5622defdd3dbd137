"""Where the Triton kernels of codes serve, and what they share."""

from __future__ import annotations

from functools import cache

import torch

from p2be_exp.system.device_kernels import kernels_serve

DTYPES = (torch.float32, torch.bfloat16)
"""What the kernels multiply; they sum in float32."""


def products_serve(device: torch.device) -> bool:
    """Whether a device has kernels, and tensor cores that take bfloat16 and TF32 (compute capability 8 or more)."""
    return kernels_serve(device) and _capable(device)


@cache
def _capable(device: torch.device) -> bool:
    if not torch.cuda.is_available():  # fake tensors, which start no kernel
        return True
    return torch.cuda.get_device_capability(device) >= (8, 0)


def tile(size: int) -> int:
    """The side of a tile that holds so many: a power of two, and no less than a tensor core takes."""
    return max(16, 1 << (size - 1).bit_length())
