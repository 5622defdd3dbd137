"""Batch norm and the activation behind it: which form is taken, the rule in one place.

===========================  ===================================  ====================================================
device                       form                                 why
===========================  ===================================  ====================================================
CPU                          PyTorch's two operators              the reference
GPU, captured training step  Triton kernels where                 measured on an H100: a step of WRN-40-2 takes 0.75
                             :func:`fusible`, else PyTorch's      to 0.77 of the time (``benchmarks/RESULTS.md``)
GPU, elsewhere               PyTorch's two operators              there the GPU waits for Python, which takes longer
                                                                  to start Triton's kernels: 1.4 times for the layer
===========================  ===================================  ====================================================

``P2BE_BATCH_NORM=plain`` or ``fused`` in the environment has one of them everywhere on a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import functional as F

from p2be_exp.backbones.activation import Activation
from p2be_exp.backbones.fused_batch_norm import DTYPES, fused_batch_norm_relu
from p2be_exp.system.device_kernels import kernels_serve
from p2be_exp.system.gpu_batch_norm import fuses_batch_norms


def norm_and_activation(
    norm: nn.BatchNorm2d, activation: Activation, features: Tensor, *, convolved: bool = False
) -> Tensor:
    """``activation(norm(features))``, on a GPU as one function where that is asked for.

    Args:
        norm: a batch norm; its statistics are updated in train mode.
        activation: see :func:`~p2be_exp.backbones.activation.activation_function`.
        features: ``(B, C, H, W)``.
        convolved: whether convolutions alone read the result. The fused form then gives it in the type to which
            autocast would cast it next.

    Returns:
        The same shape.
    """
    device = features.device.type
    if not torch.compiler.is_compiling() and _wanted(device) and fusible(norm, activation, features):
        lowered = convolved and torch.is_autocast_enabled(device)
        return fused_batch_norm_relu(norm, features, torch.get_autocast_dtype(device) if lowered else None)
    return activation(norm(features))


def _wanted(device: str) -> bool:
    return device == "cuda" and fuses_batch_norms()


def fusible(norm: nn.Module, activation: Activation, features: Tensor) -> bool:
    """Whether the fused form takes these; where it does not, PyTorch's operators serve.

    It takes a plain :class:`torch.nn.BatchNorm2d` as it is by default (a synchronised one has statistics of all ranks),
    in float32, that nobody has hooked into; a ReLU; and features in channels-last memory.
    Traces and the transforms of ``torch.func`` get PyTorch's, too, and compilers, which fuse by themselves.
    """
    if torch.jit.is_tracing() or is_functorch_wrapped_tensor(features):
        return False
    if type(norm) is not nn.BatchNorm2d or activation is not F.relu or norm._forward_hooks or norm._forward_pre_hooks:
        return False
    parts = (norm.weight, norm.running_mean, norm.running_var)
    whole = norm.momentum is not None and all(each is not None and each.dtype == torch.float32 for each in parts)
    enough = features.numel() > features.shape[1] if norm.training else features.numel() > 0
    laid_out = features.dtype in DTYPES and features.is_contiguous(memory_format=torch.channels_last)
    return whole and enough and laid_out and (features.device.type == "cpu" or kernels_serve(features.device))
