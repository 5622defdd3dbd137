"""Which form of the encoded first convolution is taken: the rule, and nothing but the rule.

========  ==========================================  ==========================================================
device    form                                        why
========  ==========================================  ==========================================================
CPU       ``lookup`` below M = 16, else ``folded``    measured (``benchmarks/stem.py``): with fewer bits the look-up
                                                      is at least as fast; at M = 16 both are alike for the stems of
                                                      ResNet-50 and AlexNet; at M = 64 folding is 3 to 4 times as
                                                      fast for these and adds less than half the memory
GPU       ``lookup``                                  measured in a whole training step on one H100, against no
                                                      other form
GPU,      ``fused`` where the kernel takes the shape  not yet measured on a GPU: ``python benchmarks/stem.py
P2BE_STEM (:func:`fusible`), else ``lookup`` with     --device cuda`` compares all forms. Where it is faster, this
=fused    the table's gradient as a histogram         becomes the row above, and the variable goes
========  ==========================================  ==========================================================
"""

from __future__ import annotations

from typing import Literal

import torch

from p2be_exp.encodings import kernels

StemForm = Literal["auto", "lookup", "folded", "fused"]

FOLD_FROM_M = 16
"""On a CPU, codes from this length on are folded with the weights."""


def chosen_form(device: torch.device, M: int) -> StemForm:
    """What ``auto`` stands for on a device, for codes of M values; never ``auto`` itself."""
    if device.type == "cpu":
        return "folded" if M >= FOLD_FROM_M else "lookup"
    return "fused" if kernels.asked_for(device) else "lookup"


def fusible(
    device: torch.device, dtype: torch.dtype, kernel: int, stride: int, padding: int, shifted: bool = False
) -> bool:
    """Whether the fused form takes a convolution; where it does not, the look-up serves.

    Args:
        device: of the images.
        dtype: that the convolution is made in: float32 or bfloat16.
        kernel, stride, padding: one step wide, and keeping the size, as 3 x 3 with padding 1.
        shifted: whether something is subtracted from the codes, whose padding is then no code's.
    """
    keeps_size = stride == 1 and kernel % 2 == 1 and padding == kernel // 2
    return keeps_size and not shifted and dtype in kernels.DTYPES and kernels.usable(device)
