"""Denoising without parameters: what a position has, plus what the Gram matrix of the channels makes of it.

Source: Li, Ding, Luo, Liu, "Enhancing Intrinsic Adversarial Robustness via Feature Pyramid Decoder", CVPR 2020,
arXiv 2005.02552, with the formulas of its authors' code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.models.precision import at_least_float32

_LEAST = 1e-12  # mean square of features that are all but 0, as a black image's may be


def denoise(features: Tensor, relative: bool = False) -> Tensor:
    """``A x / (H W) + x`` of each image, with ``A = x x^T`` the Gram matrix of its channels over its positions.

    Args:
        features: ``(B, C, H, W)``.
        relative: divides A by the mean square of the image's values. Its gain is then C at most, whatever their size;
            else it grows with their square, which is for features that a batch norm has just brought to one size.

    Returns:
        The same shape, float32 or more whatever autocast says.
    """
    return _mixed(features, features, relative)


def non_local_mean(features: Tensor, added: Tensor) -> Tensor:
    """``A x / (H W) + r``: of each image the products of the Gram matrix and its positions, and something added.

    Args:
        features: x, ``(B, C, H, W)``.
        added: r, of the same shape.

    Returns:
        The same shape, float32 or more whatever autocast says.
    """
    return _mixed(features, added)


def _mixed(features: Tensor, added: Tensor, relative: bool = False) -> Tensor:
    """Two products of matrices, 4 C^2 H W operations an image; channels-last."""
    with torch.autocast(features.device.type, enabled=False):
        rows, more = (_rows(at_least_float32(each)) for each in (features, added))
        # A is symmetric, so that (A x)^T = x^T A: a position is a row, as it is in channels-last memory.
        gram = rows.transpose(1, 2) @ rows / rows.shape[1]
        if relative:
            gram = gram / gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(_LEAST).view(-1, 1, 1)
        mixed = torch.baddbmm(more, rows, gram)
        return mixed.unflatten(1, features.shape[2:]).permute(0, 3, 1, 2)


def _rows(features: Tensor) -> Tensor:
    """``(B, H W, C)``; a view where they are channels-last."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)
