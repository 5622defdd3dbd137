"""Adversarial weight perturbation: the loss is taken at the worst weights nearby."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from p2be_exp.errors import BadInput
from p2be_exp.system.collectives import sum_over_ranks, world_size

_TINY = 1e-20  # of the reference code: a gradient of 0 moves nothing


class WeightPerturbation:
    """Moves a network's weights uphill before a batch's loss, and back before the optimizer's step (AWP).

    Each weight tensor of two or more dimensions moves along its own gradient ``g`` of the loss, by a share of its own
    norm: ``w + gamma * |w| * g / |g|``. The gradient of the training loss is then taken there and applied to the
    weights as they were.

    The reference finds the direction by one step of SGD on a copy of the network, and subtracts the perturbation after
    the optimizer's step. The direction is the same without the copy, and the rate of that step cancels; subtracting
    before the optimizer's step differs by weight decay and rounding alone (``w + d - d`` is not always ``w``).

    Args:
        gamma: size of the perturbation, as a share of each tensor's norm; 0 does nothing.
        warmup: number of epochs before it starts.

    Raises:
        BadInput: a negative gamma or warm-up.

    Source: Wu, Xia & Wang 2020, "Adversarial Weight Perturbation Helps Robust Generalization", Eq. 8 and Algorithm 1.
    """

    def __init__(self, gamma: float, warmup: int) -> None:
        for key, value in (("awp_gamma", gamma), ("awp_warmup", warmup)):
            if value < 0:
                raise BadInput(f"{key}={value}: must be 0 or more")
        self.gamma, self.warmup = gamma, warmup
        self._saved: list[tuple[Tensor, Tensor]] = []

    def starts_by(self, epoch: int | Tensor) -> bool:
        """Whether weights are perturbed in an epoch."""
        return self.gamma > 0 and bool(epoch >= self.warmup)

    def ascend(self, model: nn.Module, network: Iterable[nn.Parameter], loss: Callable[[], Tensor]) -> None:
        """Perturb the weights; :meth:`restore` must follow, and is done first where it did not.

        The forward pass is one of training mode, but leaves running statistics as they were. With several processes
        the direction is that of the mean gradient over all of them, so that their weights stay equal.

        Args:
            model: everything whose buffers the forward pass may change.
            network: the parameters of the network; those that are frozen or have one dimension stay as they are. A
                learned table is not among them.
            loss: called once: the loss of the batch as a scalar, scaled so that its mean over processes is that of the
                global batch.
        """
        self.restore()
        weights = [weight for weight in network if weight.requires_grad and weight.dim() >= 2]
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
            for weight, gradient in zip(weights, gradients, strict=True):
                if gradient is not None:
                    self._saved.append((weight, weight.clone()))
                    weight.add_(self._step(weight, sum_over_ranks(gradient) / world_size()))
        torch.clear_autocast_cache()  # which may hold copies of the weights in bfloat16

    def _step(self, weight: Tensor, gradient: Tensor) -> Tensor:
        return self.gamma * weight.norm() / (gradient.norm() + _TINY) * gradient

    @torch.no_grad()
    def restore(self) -> None:
        """Set the weights back, bit for bit; nothing happens where they are not perturbed."""
        for weight, before in self._saved:
            weight.copy_(before)
        self._saved = []
