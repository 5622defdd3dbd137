"""The grid search of MixedNUTS: which transform of the robust logits, and which weight, without any training.

Source: Bai et al., TMLR 2024 (arXiv 2402.02263); grids, percentiles and the way in which margins are measured are those
of ``calc_spca.py`` and ``configs/spca_initial_guess.yaml`` of github.com/Bai-YT/MixedNUTS.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from p2be_exp.models.nuts import LARGEST, RobustTransform, signed_power, standardised

_HIGHEST_MARGIN = 1 - 1e-9  # a required margin of 1 could be met by rounding alone
_ELEMENTS = 2**22  # of the largest tensor: 32 MB
_SAME = 1e-9  # relative difference up to which two required margins are one, however a CPU rounds


@dataclass(frozen=True)
class Grid:
    """Values that are tried: s at equal ratios, c and p at equal distances, ends included.

    Attributes:
        s, c, p: lowest and highest value.
        points: how many of each.
    """

    s: tuple[float, float]
    c: tuple[float, float]
    p: tuple[float, float]
    points: int = 8

    def scales(self) -> list[float]:
        """The values of s, rising."""
        low, high = self.s
        return [low * (high / low) ** share for share in self._shares()]

    def shifts(self) -> list[float]:
        """The values of c, rising."""
        return [self.c[0] + (self.c[1] - self.c[0]) * share for share in self._shares()]

    def powers(self) -> list[float]:
        """The values of p, rising."""
        return [self.p[0] + (self.p[1] - self.p[0]) * share for share in self._shares()]

    def _shares(self) -> Iterator[float]:
        return (number / max(self.points - 1, 1) for number in range(self.points))


CIFAR10_GRID = Grid(s=(0.05, 5.0), c=(-1.1, 0.0), p=(1.0, 4.0))
"""The published one. Its published optimum, s 5, c -1.1, p 4, lies in a corner."""

CIFAR100_GRID = Grid(s=(0.05, 4.0), c=(-2.5, 0.0), p=(1.0, 4.0))
"""The one of the published s 0.6116, c -2.1429, p 3.5714; the authors' file has -0.4 as highest c, which gives no such
c."""

IMAGENET_GRID = Grid(s=(0.01, 0.2), c=(-2.0, 0.0), p=(2.0, 3.0))
"""The published one, of s 0.0235, c -0.2857, p 2.7143."""


@dataclass(frozen=True)
class Calibration:
    """What a search found.

    Attributes:
        s, c, p: of the transform.
        q: the margin that is asked for: so large is that of ``beta`` percent of the attacked images.
        alpha: weight of the robust part, 1 / (1 + q): with a margin of q or more it has its way, whatever the accurate
            part says.
        surrogate_alpha: weight of the robust part in what an attack climbs, see :func:`surrogate_weight`.
        share: of the wrong clean images, those with a margin of q or more, which the accurate part cannot put right.
        changed: images, clean and attacked, whose class is another after the transform.
        clean_wrong, attacked_right: numbers of images.
    """

    s: float
    c: float
    p: float
    q: float
    alpha: float
    surrogate_alpha: float
    share: float
    changed: int
    clean_wrong: int
    attacked_right: int
    classes: int = LARGEST

    @property
    def transform(self) -> RobustTransform:
        """The transform that was found."""
        return RobustTransform(self.s, self.c, self.p, self.classes)


def calibrate(
    clean_wrong: Tensor,
    attacked_right: Tensor,
    grid: Grid = CIFAR10_GRID,
    beta: float = 98.5,
    surrogate_beta: float = 95.0,
    classes: int = LARGEST,
) -> Calibration:
    """The transform for which the fewest wrong clean images are as sure as the attacked images that are right.

    A margin is the highest probability minus the second of an image's transformed logits, whichever class has it. The
    margin q that is asked for is the (100 - beta) percentile of the margins of the attacked images, linear between
    two of them, and 1 - 1e-9 at most.

    Of several transforms with the fewest such images, the one with the largest q is taken, as it leaves the accurate
    part the largest say (the authors take a 1 - alpha that is not tiny, by hand). Of those with the same q, to a
    relative 1e-9: the smallest s, then the largest c, then the smallest p, which change the logits least.

    Args:
        clean_wrong: the robust part's logits ``(N, K)`` of clean images that it gets wrong, float.
        attacked_right: of attacked images that it gets right, ``(M, K)``. The attack is on the robust part alone.
        grid: what is tried.
        beta: percent of the attacked images that have to have the margin. Published: 98.5 for CIFAR, 99 for ImageNet.
        surrogate_beta: the same for :func:`surrogate_weight`.
        classes: see :func:`~p2be_exp.models.nuts.standardised`.

    Returns:
        Computed in float64 on the CPU, so that it is the same for every device.

    Raises:
        ValueError: there is no such image, fewer than two classes, or a logit that is not finite.
    """
    clean, attacked = _checked("clean_wrong", clean_wrong), _checked("attacked_right", attacked_right)
    if clean.shape[1] != attacked.shape[1]:
        raise ValueError(f"clean_wrong has {clean.shape[1]} classes, attacked_right {attacked.shape[1]}")
    z_clean, z_attacked = standardised(clean, classes), standardised(attacked, classes)
    scales = grid.scales()
    # The order of the axes, together with that of the values, is the order of preference.
    tried = list(itertools.product(reversed(grid.shifts()), grid.powers()))
    required, sure = torch.empty(2, len(scales), len(tried), dtype=torch.float64)
    for place, (c, p) in enumerate(tried):
        margins = _margins(signed_power(z_attacked, c, p), scales)
        q = margins.quantile((100 - beta) / 100, dim=1).clamp(max=_HIGHEST_MARGIN)
        required[:, place] = q
        sure[:, place] = (_margins(signed_power(z_clean, c, p), scales) >= q[:, None]).sum(1)
    fewest = sure == sure.min()
    largest = required[fewest].max()
    chosen = int((fewest & (required >= largest * (1 - _SAME))).flatten().nonzero()[0])
    s, (c, p) = scales[chosen // len(tried)], tried[chosen % len(tried)]
    q_found = required.flatten()[chosen].item()
    both, transform = torch.cat([clean, attacked]), RobustTransform(s, c, p, classes)
    return Calibration(
        s=s,
        c=c,
        p=p,
        q=q_found,
        alpha=1 / (1 + q_found),
        surrogate_alpha=surrogate_weight(attacked, surrogate_beta),
        share=sure.flatten()[chosen].item() / len(clean),
        changed=int((transform(both).argmax(1) != both.argmax(1)).sum()),
        clean_wrong=len(clean),
        attacked_right=len(attacked),
        classes=classes,
    )


def surrogate_weight(attacked_right: Tensor, beta: float = 95.0) -> float:
    """1 / (1 + q) with q the (100 - beta) percentile of the margins of softmax(h), h the logits as they are.

    It is the weight that a mixture without transforms would have.

    Args:
        attacked_right: see :func:`calibrate`.
        beta: in percent. Published: 95 for CIFAR-10 and ImageNet (weights 0.957 and 0.907), 93.5 for CIFAR-100 (0.971).

    Raises:
        ValueError: see :func:`calibrate`.
    """
    margins = _margins(_checked("attacked_right", attacked_right), [1.0])
    return 1 / (1 + margins.quantile((100 - beta) / 100).item())


def _checked(name: str, logits: Tensor) -> Tensor:
    if logits.dim() != 2 or not len(logits) or logits.shape[1] < 2:
        raise ValueError(f"{name} has the shape {tuple(logits.shape)}: one image or more, two classes or more")
    if not logits.isfinite().all():
        raise ValueError(f"{name} has logits that are not finite")
    return logits.detach().cpu().double()


def _margins(logits: Tensor, scales: list[float]) -> Tensor:
    """Highest minus second probability of ``scale * logits``: ``(N, K)`` to ``(scales, N)``."""
    factors = torch.tensor(scales, dtype=logits.dtype)[:, None, None]
    rows = max(1, _ELEMENTS // (len(scales) * logits.shape[1]))
    two = [(factors * some).softmax(2).topk(2, dim=2).values for some in logits.split(rows)]
    return torch.cat([first - second for first, second in (each.unbind(2) for each in two)], dim=1)
