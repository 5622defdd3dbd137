"""Groups of similar channels of a feature map, for each image by itself: k-medoids, all images at once."""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.randomness.draws import ImageRandom

MOST_ROUNDS = 50
SETTLED = 1e-4
"""Squared sum of the distances that the centres of an image moved, below which its groups are final."""
TIE = 1e-6
"""How much farther than the nearest channel, relative to its squared distance, one is still as near to a mean."""
_NUMBERS_ON_A_CPU = 2**19  # of the maps in float64 held at a time: 4 MiB, near to what a cache holds
_NUMBERS_ELSEWHERE = 2**25  # 256 MiB: 256 maps of 512 x 16 x 16


def first_centres(random: ImageRandom, channels: int, groups: int) -> Tensor:
    """Distinct random channels for each image: those of its smallest numbers among one for each channel.

    Args:
        random: of the images whose channels are grouped, with ``Purpose.TENET_GROUPS``.
        channels: C.
        groups: K.

    Returns:
        int64 ``(B, K)``, on the device of the images.

    Raises:
        ValueError: K not in 1..C.
    """
    if not 1 <= groups <= channels:
        raise ValueError(f"groups={groups} is not in 1..{channels}, the number of channels")
    return random.uniform(channels).argsort(dim=1, stable=True)[:, :groups]


def channel_groups(features: Tensor, centres: Tensor) -> Tensor:
    """Assign every channel of an image to one of K groups of channels that are near to each other.

    A round assigns each channel to the nearest centre, in squared Euclidean distance (the lowest group of equally near
    ones); then each group in turn takes as its centre the channel nearest to its mean that no group before it took in
    this round (the lowest channel of those within 1e-6 of the smallest distance: the members of a pair are always
    equally near). A group without members takes the lowest channel not yet taken. An image is done once its centres
    moved by less than 0.01 in all, or after 50 rounds; its groups are the last that were assigned. They depend on
    nothing but its own map and first centres. There is no gradient, and autocast does not apply.

    Means and distances are in float64: the mean of a pair is then in its middle, whatever else is in the map.

    Args:
        features: ``(B, C, H, W)``, or with any other shape behind C. Maps with nan end too, in any groups.
        centres: int64 ``(B, K)``, K distinct channels of each image (:func:`first_centres`).

    Returns:
        int64 ``(B, C)``, values 0..K-1; a group may be empty.

    Source: Liu et al., ICCV 2021 (TENET), as in the reference code, but for the ties in a group's next centre, which
    there the last bit decides.
    """
    maps = features.detach().flatten(2)
    numbers = _NUMBERS_ON_A_CPU if maps.device.type == "cpu" else _NUMBERS_ELSEWHERE
    images = max(1, numbers // maps.shape[1:].numel())
    with torch.no_grad(), torch.autocast(maps.device.type, enabled=False):
        parts = zip(maps.split(images), centres.split(images), strict=True)
        return torch.cat([_groups(part.double(), first) for part, first in parts])


def membership(groups: Tensor, count: int) -> Tensor:
    """Which channels are in each group: bool ``(B, K, C)`` for groups ``(B, C)`` of values 0..K-1, K = ``count``."""
    return groups[:, None, :] == torch.arange(count, device=groups.device)[:, None]


def _groups(maps: Tensor, centres: Tensor) -> Tensor:
    """:func:`channel_groups` of as many images as fit: maps ``(B, C, D)`` in float64."""
    groups = torch.zeros(maps.shape[:2], dtype=torch.int64, device=maps.device)
    running = torch.ones(len(maps), 1, dtype=torch.bool, device=maps.device)
    for _ in range(MOST_ROUNDS):
        to_centres = _distances(_rows(maps, centres), maps)
        groups = torch.where(running, to_centres.argmin(1), groups)
        following = _next_centres(groups, centres.shape[1], maps)
        moved = to_centres.gather(2, following[:, :, None]).squeeze(2).masked_fill(following == centres, 0.0).sum(1)
        running = running & ~(moved.square() < SETTLED)[:, None]  # nan runs on
        centres = following  # of an image that is done too: nobody asks any more
        if not running.any():  # the one wait for the device in a round
            break
    return groups


def _next_centres(groups: Tensor, count: int, maps: Tensor) -> Tensor:
    """For each group in turn the channel nearest to its mean among those not taken: ``(B, K)``."""
    members = membership(groups, count)
    size = members.sum(2, keepdim=True)
    means = members.to(maps.dtype) @ maps / size
    # To the mean of no channels all are equally near.
    squares = _distances(means, maps).square().masked_fill(size == 0, 0.0)
    taken = torch.zeros_like(groups, dtype=torch.bool)
    chosen = []
    for to_mean in squares.unbind(1):
        left = to_mean.masked_fill(taken, torch.inf)
        nearest = left <= left.amin(1, keepdim=True) * (1 + TIE)
        chosen.append(nearest.to(torch.uint8).argmax(1, keepdim=True))  # the first of them
        taken = taken.scatter(1, chosen[-1], True)
    return torch.cat(chosen, 1)


def _distances(points: Tensor, maps: Tensor) -> Tensor:
    """Euclidean distances ``(B, K, C)`` of all channels to K points ``(B, K, D)``.

    They are sums of squared differences, each made in the same way: equal channels are equally far from a point, and a
    channel is at distance 0 from itself. A product of matrices would be faster and have neither.
    """
    return torch.cdist(points, maps, compute_mode="donot_use_mm_for_euclid_dist")


def _rows(maps: Tensor, channels: Tensor) -> Tensor:
    """The maps of some channels of each image: ``(B, K, D)`` for channels ``(B, K)``."""
    return maps.gather(1, channels[:, :, None].expand(-1, -1, maps.shape[2]))
