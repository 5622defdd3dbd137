"""Which form of the encoded first convolution is taken: the rule, in one place.

=====================  ========================================  =================================================
device                 form                                      why
=====================  ========================================  =================================================
CPU                    ``lookup`` below M = 16, else ``folded``  measured (``benchmarks/stem.py``): with fewer bits
                                                                 the look-up is at least as fast; at M = 16 both are
                                                                 alike for the stems of ResNet-50 and AlexNet; at
                                                                 M = 64 folding is 3 to 4 times as fast for these
                                                                 and adds less than half the memory
GPU                    ``fused`` where :func:`fusible`, else     measured on an H100 (``benchmarks/RESULTS.md``): as
                       ``lookup``                                fast as the look-up by itself; a captured augmix
                                                                 step of P2BE takes 0.95 of the time and 0.84 of the
                                                                 memory
=====================  ========================================  =================================================

``P2BE_STEM=lookup`` in the environment has the look-up everywhere on a GPU. There a table that learns gets its gradient
as a histogram over levels, too (:func:`p2be_exp.encodings.level_sums.level_sums`).
"""

from __future__ import annotations

from typing import Literal

import torch

from p2be_exp.encodings.kernels import DTYPES, products_serve
from p2be_exp.system.gpu_stem import gpu_form

StemForm = Literal["auto", "lookup", "folded", "fused"]

FOLD_FROM_M = 16
"""On a CPU, codes from this length on are folded with the weights."""


def chosen_form(device: torch.device, M: int) -> StemForm:
    """What ``auto`` stands for on a device, for codes of M values; never ``auto`` itself."""
    if device.type == "cpu":
        return "folded" if M >= FOLD_FROM_M else "lookup"
    return "fused" if device.type == "cuda" and gpu_form() == "fused" else "lookup"


def fusible(
    device: torch.device, dtype: torch.dtype, kernel: int, stride: int, padding: int, shifted: bool = False
) -> bool:
    """Whether the fused form takes a convolution; where it does not, the look-up serves.

    Args:
        device: of the images; on a CPU the operator has a plain form, for tests.
        dtype: that the convolution is made in: float32 or bfloat16.
        kernel, stride, padding: a stride of 1 and a padding that keeps the size, as 3 x 3 with padding 1.
        shifted: whether something is subtracted from the codes, whose padding is then no code's.
    """
    keeps_size = stride == 1 and kernel % 2 == 1 and padding == kernel // 2
    return keeps_size and not shifted and dtype in DTYPES and (device.type == "cpu" or products_serve(device))
