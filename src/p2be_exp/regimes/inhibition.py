"""Group-wise inhibition: a mask that turns down the places where strong groups of channels speak, and their overlap."""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.regimes.channel_groups import membership


def inhibition_mask(features: Tensor, gradient: Tensor, groups: Tensor, count: int) -> Tensor:
    """What to multiply a feature map by, so that the groups that speak for an image's class are weak where they speak.

    The weight of a channel is the mean of its gradient over the positions. A group whose weights add up to more than 0
    has the map m = sum of weight * channel over its channels, standardised over the positions (population standard
    deviation, plus 1e-8), and the mask sigmoid(-m): 1/2 where m is at its mean, less where it is above. The mask of
    any other group is 1. There is no gradient, and autocast does not apply.

    Args:
        features: ``(B, C, H, W)``.
        gradient: of the same shape, that of the scalar which says how sure the network is of the true classes.
        groups: int64 ``(B, C)``, see :func:`~p2be_exp.regimes.channel_groups.channel_groups`.
        count: K, the number of groups.

    Returns:
        ``(B, C, H, W)`` in (0, 1], float32 (float64 for such features), computed in float64. An image with nan in its
        features or gradient has nan in its mask, other images do not.

    Source: Liu et al., ICCV 2021 (TENET), as in the reference code.
    """
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        weights = membership(groups, count) * gradient.flatten(2).mean(2, dtype=torch.float64)[:, None]
        maps = weights @ features.flatten(2).double()
        deviation = maps.std(2, correction=0, keepdim=True)
        masks = torch.sigmoid((maps.mean(2, keepdim=True) - maps) / (deviation + 1e-8))
        masks = masks.masked_fill(weights.sum(2, keepdim=True) <= 0, 1.0).to(_at_least_float32(features))
        return masks.gather(1, groups[:, :, None].expand(-1, -1, masks.shape[2])).view(features.shape)


def overlap(features: Tensor, groups: Tensor, count: int) -> Tensor:
    """How much the mean maps of an image's groups overlap: the mean over their pairs of the absolute inner product.

    The maps are not normalised: the penalty grows with H * W and with the square of the features. Groups without
    channels make no pairs; an image with fewer than two others counts as 0. Autocast does not apply.

    Args:
        features: ``(B, C, H, W)``, B at least 1.
        groups: int64 ``(B, C)``, see :func:`~p2be_exp.regimes.channel_groups.channel_groups`.
        count: K, the number of groups.

    Returns:
        A scalar, the mean over the images, with its gradient to the features; float32 (float64 for such features),
        computed in float64.

    Source: Liu et al., ICCV 2021 (TENET), as in the reference code.
    """
    with torch.autocast(features.device.type, enabled=False):
        members = membership(groups, count).double()
        sizes = members.sum(2, keepdim=True)
        means = members / sizes.clamp(min=1) @ features.flatten(2).double()
        products = (means @ means.mT).abs().triu(1).sum((1, 2))
        filled = (sizes > 0).sum((1, 2))
        pairs = (filled * (filled - 1) / 2).clamp(min=1)
        return (products / pairs).mean().to(_at_least_float32(features))


def _at_least_float32(features: Tensor) -> torch.dtype:
    return torch.promote_types(features.dtype, torch.float32)
