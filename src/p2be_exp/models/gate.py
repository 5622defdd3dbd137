"""The gate of an adaptive mixture: a small network on features of both parts that gives each image its own weight.

Source: Bai, Anderson, Kim, Sojoudi, "Improving the Accuracy-Robustness Trade-Off of Classifiers via Adaptive
Smoothing", SIMODS 2024, arXiv 2301.12554, with network and constants of the authors' code (its mixing network 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.backbones.batch_norm import norm_and_activation
from p2be_exp.models.precision import at_least_float32
from p2be_exp.models.ranks_norm import norm_over_ranks, std_mean_over_ranks

WIDTHS = (64, 128, 256)
"""Channels of the three layers: 2.8 million parameters for two ResNet-18; the published network has four times as many
channels."""

TRAINING_STD, TRAINING_MEAN = 2.0, 0.4
"""What gamma is scaled and shifted by while the gate trains, in every published configuration."""

_CLAMP = 0.6  # standard deviations from the mean of a batch
_NEVER = -1e30  # stands for the logarithm of 0, whose gradient would be nan


class GateBlock(nn.Module):
    """Two 3 x 3 convolutions, each after batch norm and ReLU.

    The shortcut carries the input after its batch norm and ReLU even where it is the identity, as in the reference
    code; usually it is the input itself that is added there.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H / stride, W / stride)``."""
        convolved = not isinstance(self.shortcut, nn.Identity)
        active = norm_and_activation(self.norm1, F.relu, features, convolved=convolved)
        inner = norm_and_activation(self.norm2, F.relu, self.conv1(active), convolved=True)
        return self.conv2(inner) + self.shortcut(active)


class MixingNetwork(nn.Module):
    """Two feature maps of each part to one number an image.

    The first maps go through a layer of two blocks, the second ones through a 1 x 1 convolution; their sum goes through
    the other layers, each of which halves height and width. PyTorch's default initialisation.

    Args:
        channels: of the first and the second map of each part.
        widths: channels of the layers, at least one.
    """

    def __init__(self, channels: Sequence[tuple[int, int]], widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        first, second = (sum(each) for each in zip(*channels, strict=True))
        self.layers = nn.ModuleList(
            nn.Sequential(GateBlock(in_channels, out_channels, 2), GateBlock(out_channels, out_channels, 1))
            for in_channels, out_channels in zip([first, *widths[:-1]], widths, strict=True)
        )
        self.project = nn.Conv2d(second, widths[0], 1, bias=False)
        self.linear = nn.Linear(widths[-1], 1, bias=False)

    def forward(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """First and second maps ``(B, C, H, W)``, one a part, to ``(B, 1)``; those of different sizes are pooled."""
        features = self.layers[0](torch.cat(_of_one_size(first), dim=1))
        features, projected = _of_one_size([features, self.project(torch.cat(_of_one_size(second), dim=1))])
        features = features + projected
        for layer in self.layers[1:]:
            features = layer(features)
        return self.linear(features.mean(dim=(2, 3)))


class Gate(nn.Module):
    """gamma and alpha of each image: the network's output, standardised over the training images, and its sigmoid.

    In train mode the network's outputs are clamped to 0.6 standard deviations (unbiased) from their mean over the
    batch, through which no gradient flows; then gamma is their batch norm (no affine parameters, momentum 0.01), times
    ``gate_std`` plus ``gate_mean``. The batch is that of all processes together. In eval mode nothing is clamped, so
    that gamma spreads wider.

    Args:
        channels, widths: see :class:`MixingNetwork`.
        alpha_low, alpha_high: alpha is ``alpha_low + (alpha_high - alpha_low) * sigmoid(gamma)``.
        gate_std, gate_mean: of gamma as deployed.

    Attributes:
        network: the :class:`MixingNetwork`.
        norm: the batch norm.
        alpha_low, alpha_high, gate_std, gate_mean: buffers, so that a checkpoint holds what is deployed.

    Raises:
        ValueError: not ``0 <= alpha_low <= alpha_high <= 1``, or a ``gate_std`` that is not above 0.
    """

    alpha_low: Tensor
    alpha_high: Tensor
    gate_std: Tensor
    gate_mean: Tensor

    def __init__(
        self,
        channels: Sequence[tuple[int, int]],
        alpha_low: float,
        alpha_high: float,
        gate_std: float,
        gate_mean: float,
        widths: Sequence[int] = WIDTHS,
    ) -> None:
        super().__init__()
        if not 0 <= alpha_low <= alpha_high <= 1:
            raise ValueError(f"alpha_low={alpha_low}, alpha_high={alpha_high}: 0 <= alpha_low <= alpha_high <= 1")
        if not gate_std > 0:
            raise ValueError(f"gate_std={gate_std}: above 0")
        self.network = MixingNetwork(channels, widths)
        self.norm = nn.BatchNorm1d(1, eps=1e-5, momentum=0.01, affine=False)
        constants = {"alpha_low": alpha_low, "alpha_high": alpha_high, "gate_std": gate_std, "gate_mean": gate_mean}
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(float(value)))
        self._calibrated, self._counted = True, True

    @contextmanager
    def uncalibrated(self, counted: bool = True) -> Iterator[None]:
        """Within it gamma has the training's constants, and alpha the range 0 to 1: what is trained and what the
        training attacks, whatever the mode. Evaluation never uses it.

        Args:
            counted: False where this process has no image of its own in a batch of all processes: the images that it
                has instead take no part in the standardisation.
        """
        before, self._calibrated, self._counted = (self._calibrated, self._counted), False, counted
        try:
            yield
        finally:
            self._calibrated, self._counted = before

    def forward(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The weights of a batch of images.

        Args:
            first, second: maps ``(B, C, H, W)`` of the first and the second stage, one a part in the order of
                ``channels``.

        Returns:
            gamma and alpha, each ``(B,)``, in float32 or better. Far from 0 gamma tells what alpha has rounded away:
            see :meth:`log_weights`.

        Raises:
            ValueError: a batch of one image in train mode, which has no spread.
        """
        if self.training and len(first[0]) < 2:
            raise ValueError("a gate cannot train on a batch of one image: its outputs are standardised over the batch")
        raw = self.network(first, second)
        with torch.autocast(raw.device.type, enabled=False):
            gamma = self._standardised(at_least_float32(raw))
            low, high = self._range()
            return gamma, low + (high - low) * gamma.sigmoid()

    def log_weights(self, gamma: Tensor) -> tuple[Tensor, Tensor]:
        """log(1 - alpha) and log alpha, ``(B,)`` each, finite with their gradients where alpha has rounded to 0 or 1.

        In float32 alpha is 1 from a gamma of 17 on if its range goes to 1; the gradient of log(1 - alpha) is then nan.

        Args:
            gamma: as :meth:`forward` gives it, in the same state of :meth:`uncalibrated`.
        """
        low, high = self._range()
        return _log_affine(1 - high, high - low, -gamma), _log_affine(low, high - low, gamma)

    def _standardised(self, raw: Tensor) -> Tensor:
        if self.training:
            deviation, mean = std_mean_over_ranks(raw, self._counted)
            raw = raw.clamp(mean - _CLAMP * deviation, mean + _CLAMP * deviation)
            standardised = norm_over_ranks(self.norm, raw, self._counted).squeeze(1)
        else:
            standardised = self.norm(raw).squeeze(1)
        if self._calibrated:
            return standardised * self.gate_std + self.gate_mean
        return standardised * TRAINING_STD + TRAINING_MEAN

    def _range(self) -> tuple[Tensor, Tensor]:
        if self._calibrated:
            return self.alpha_low, self.alpha_high
        return torch.zeros_like(self.alpha_low), torch.ones_like(self.alpha_high)


def _of_one_size(maps: Sequence[Tensor]) -> list[Tensor]:
    """Average-pooled to the smallest height and width among them."""
    size = min(each.shape[2] for each in maps), min(each.shape[3] for each in maps)
    return [each if each.shape[2:] == size else F.adaptive_avg_pool2d(each, size) for each in maps]


def _log_affine(offset: Tensor, factor: Tensor, gamma: Tensor) -> Tensor:
    """``log(offset + factor * sigmoid(gamma))``; the two numbers may be 0."""
    log_offset, log_factor = (torch.where(each > 0, each.log(), _NEVER) for each in (offset, factor))
    return torch.logaddexp(log_offset, log_factor + F.logsigmoid(gamma))
