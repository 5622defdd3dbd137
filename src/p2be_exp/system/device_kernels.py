"""Operators that a GPU carries out by a Triton kernel, each with a plain form for every other device.

They are operators of ``torch.library``, so that a fake tensor, a compiled program and a counter of launches see one
operator with a known result in place of what is inside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

_LIBRARY = torch.library.Library("p2be_exp", "FRAGMENT")


def kernels_serve(device: torch.device) -> bool:
    """Whether tensors on a device are for the Triton kernels: on NVIDIA GPUs, where Triton works.

    PyTorch brings Triton along for CUDA on Linux; it needs a C compiler and Python's headers. Without them the plain
    forms serve, after a warning.
    """
    return device.type == "cuda" and torch.version.hip is None and _triton_works()


def device_operator(
    schema: str, kernel: str, plain: Callable[..., Tensor], empty: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """Define an operator of one result.

    Args:
        schema: its name and arguments, the first of which is a tensor, as ``torch.library`` writes them.
        kernel: ``module:function`` that starts the kernel; imported at the first call on a GPU, since it needs Triton.
        plain: the same in PyTorch's operators, for the CPU.
        empty: a tensor of the result's shape, type and device.

    Returns:
        The operator, to be called where :func:`kernels_serve`.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, plain, "CPU")
    _LIBRARY.impl(name, _starting(kernel), "CUDA")
    torch.library.register_fake(f"p2be_exp::{name}", empty, lib=_LIBRARY)
    return getattr(torch.ops.p2be_exp, name).default


def _starting(kernel: str) -> Callable[..., Tensor]:
    def start(first: Tensor, *rest: Any) -> Tensor:
        with torch.cuda.device(first.device):  # Triton starts a kernel on the current device
            return _imported(kernel)(first, *rest)

    return start


@cache
def _imported(kernel: str) -> Callable[..., Tensor]:
    module, _, function = kernel.partition(":")
    return getattr(import_module(module), function)


@cache
def _triton_works() -> bool:
    if find_spec("triton") is None:
        return False
    if not torch.cuda.is_available():  # fake tensors, which start no kernel
        return True
    try:
        from triton.runtime import driver

        driver.active.get_current_target()  # builds what starts kernels
    except Exception as error:  # a compiler that fails, a driver that Triton does not know
        reason = str(error).partition("\n")[0]
        warnings.warn(f"Triton does not work here ({reason}): slower operators of PyTorch serve instead", stacklevel=2)
        return False
    return True
