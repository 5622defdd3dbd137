"""AugMix for a whole batch: three chains of random operations, mixed with each other and with the image.

Source: Hendrycks et al. 2020, "AugMix: A simple data processing method to improve robustness and
uncertainty", with the settings of the reference recipe: width 3, depth 1..3 drawn for each chain,
Dirichlet(1, 1, 1) and Beta(1, 1).
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from p2be_exp.augment.augmix_compiled import views_compiled
from p2be_exp.augment.augmix_operators import chain_images, chain_step, chain_tables, mix, mix_plain
from p2be_exp.augment.operations import (
    NO_OPERATION,
    Operation,
    affine_maps,
    apply_to_all,
    operation_argument,
)
from p2be_exp.augment.view_rounding import Rounding
from p2be_exp.randomness.draws import ImageRandom
from p2be_exp.system.device_kernels import kernels_serve

WIDTH = 3
MAX_DEPTH = 3
MIN_MAGNITUDE = 0.1


@dataclass(frozen=True)
class AugMixParameters:
    """All random parameters of the views of a batch: V views of B images, W = 3 chains, D = 3 steps.

    Attributes:
        operation: int64 ``(V, B, W, D)``, ``Operation`` values; a chain uses the first ``depth`` of its steps.
        magnitude: float64 ``(V, B, W, D)``, the strength of each step.
        negative: bool ``(V, B, W, D)``: rotate, shear or shift in the opposite direction.
        depth: int64 ``(V, B, W)``, 1..3.
        chain_weight: float64 ``(V, B, W)``, the weights of the chains, which sum to 1.
        mix_weight: float64 ``(V, B)``, the weight of the chains against the image itself.
    """

    operation: Tensor
    magnitude: Tensor
    negative: Tensor
    depth: Tensor
    chain_weight: Tensor
    mix_weight: Tensor


class AugMix:
    """Makes AugMix views of a batch of images.

    Every operation returns whole levels; only the mixing is float32, and its result is rounded to levels.

    Args:
        views: V, the number of views; the first views do not depend on it.
        magnitude: the upper bound of an operation's strength, 0.1..10; the lower bound is 0.1 (the paper's severity).
        rounding: "floor" or "nearest".
        buckets: number of buckets of the encoding, or None; for the rounding of mixtures, see
            :class:`~p2be_exp.augment.view_rounding.Rounding`.

    Raises:
        ValueError: an argument outside its range.
    """

    def __init__(
        self,
        magnitude: float,
        views: int = 2,
        rounding: str = "floor",
        buckets: int | None = None,
    ):
        if views < 1:
            raise ValueError(f"views={views}: must be 1 or more")
        if not MIN_MAGNITUDE <= magnitude <= 10:
            raise ValueError(f"magnitude={magnitude}: must be between {MIN_MAGNITUDE} and 10")
        self.views = views
        self.magnitude = magnitude
        self.rounding = Rounding(cast("Any", rounding), buckets)  # it checks the name

    def __call__(self, images: Tensor, random: ImageRandom) -> Tensor:
        """Augment each image V times.

        Args:
            images: uint8 ``(B, 3, H, W)``, levels.
            random: the random numbers of these B images.

        Returns:
            uint8 ``(V, B, 3, H, W)``. The parameters of an image depend only on ``random``'s seed, epoch, image and
            purpose. Between two devices a level may differ by one where their logarithms differ in the last bit.
        """
        return self.apply(images, self.sample(random))

    def sample(self, random: ImageRandom) -> AugMixParameters:
        """Draw the parameters of the views of the images of ``random``."""
        # Each view reads its own 34 draws: three chains of a depth and three steps, then the weights.
        chain_draws = 1 + 3 * MAX_DEPTH
        draws = random.uniform(self.views * (WIDTH * chain_draws + WIDTH + 1))
        draws = draws.unflatten(1, (self.views, -1)).transpose(0, 1)
        chains, weights, mix = draws.split([WIDTH * chain_draws, WIDTH, 1], dim=2)
        chains = chains.unflatten(2, (WIDTH, chain_draws))
        operation, magnitude, sign = chains[..., 1:].unflatten(3, (3, MAX_DEPTH)).unbind(3)
        exponential = -torch.log1p(-weights)  # normalised exponentials are Dirichlet(1, ..., 1)
        return AugMixParameters(
            operation=(operation * len(Operation)).long(),
            magnitude=MIN_MAGNITUDE + (self.magnitude - MIN_MAGNITUDE) * magnitude,
            negative=sign >= 0.5,
            depth=1 + (chains[..., 0] * MAX_DEPTH).long(),
            chain_weight=exponential / exponential.sum(dim=2, keepdim=True),
            mix_weight=mix.squeeze(2),  # Beta(1, 1) is uniform
        )

    def apply(self, images: Tensor, parameters: AugMixParameters) -> Tensor:
        """Generate the views that the parameters describe.

        Args:
            images: uint8 ``(B, 3, H, W)``, levels.
            parameters: for V views of these B images, on their device.

        Returns:
            uint8 ``(V, B, 3, H, W)``.

        Raises:
            ValueError: images that are not uint8 ``(B, 3, H, W)``, or whose number is not B.
        """
        views, batch = parameters.mix_weight.shape
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[:2] != (batch, 3):
            raise ValueError(f"images must be uint8 ({batch}, 3, H, W), not {images.dtype} {tuple(images.shape)}")
        steps = _steps(parameters, (images.shape[-2], images.shape[-1]))
        weights = _weights(parameters)
        if kernels_serve(images.device):
            images = images.contiguous()
            mixture = mix(images, _chains_by_kernels(images, *steps), weights, self.rounding.to, self.rounding.buckets)
        elif images.device.type == "cpu":
            mixture = views_compiled(images, *steps, weights, self.rounding)
        else:
            mixture = mix_plain(images, _chains(images, *steps), weights, self.rounding)
        return mixture.unflatten(0, (views, batch))


def _steps(parameters: AugMixParameters, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """The operations ``(D, V, B, W)`` of all steps, their arguments and their affine maps ``(D, V, B, W, 6)``.

    They are computed at once, since every tensor operation is a launch on a GPU.
    """
    operation, magnitude, negative = (
        each.movedim(3, 0) for each in (parameters.operation, parameters.magnitude, parameters.negative)
    )
    step = torch.arange(MAX_DEPTH, device=operation.device)[:, None, None, None]
    operation = operation.where(step < parameters.depth, NO_OPERATION).contiguous()
    argument = operation_argument(operation, magnitude, negative, size).contiguous()
    return operation, argument, affine_maps(operation, argument, size)


def _weights(parameters: AugMixParameters) -> Tensor:
    """Those of the image and of each chain in a view, which sum to 1: float32 ``(V, B, 1 + W)``."""
    mix_weight = parameters.mix_weight[..., None]
    return torch.cat([1 - mix_weight, mix_weight * parameters.chain_weight], dim=2).float()


def _chains(images: Tensor, operation: Tensor, argument: Tensor, maps: Tensor) -> Tensor:
    """The last levels of all chains, ``(V * B * W, 3, H, W)``: one look-up and one resampling a step."""
    chains = chain_images(images, operation.shape[1], WIDTH)
    for step in range(len(operation)):
        chains = apply_to_all(chains, operation[step].flatten(), argument[step].flatten(), maps[step].flatten(0, 2))
    return chains


def _chains_by_kernels(images: Tensor, operation: Tensor, argument: Tensor, maps: Tensor) -> Tensor:
    """:func:`_chains` in two kernels a step; the first step reads the images themselves."""
    chains = images
    for step in range(len(operation)):
        of_step, argument_of_step = operation[step], argument[step]
        if step:
            of_step, argument_of_step = of_step.view(1, -1, 1), argument_of_step.view(1, -1, 1)
        table = chain_tables(chains, of_step, argument_of_step)
        chains = chain_step(chains, table, of_step, maps[step])
    return chains
