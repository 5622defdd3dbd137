"""Noisy feature mixup: the features of each image mixed with those of a partner, then noise on their elements."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import Tensor

from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.randomness.uniform import uniform_of_images
from p2be_exp.regimes.regime import When

VIEWS = 3
_READER_BITS = 30  # draws that the features of a reader have: one for each view and element
_HALF = 2.0**26  # a draw of 53 bits is taken apart into two numbers, of 26 bits and of 27


@dataclass(frozen=True)
class MixedBatch:
    """What is drawn once per batch; the same in every process and after a resume.

    Attributes:
        layer: where features are mixed: 0 for what the readers give, k for the output of stage k.
        own_share: lambda, the share of the image itself in the mixture.
        multiplicative, additive: strength of either noise in each view, in (0, 1), before the levels of the
            configuration.
    """

    layer: int
    own_share: float
    multiplicative: tuple[float, ...]
    additive: tuple[float, ...]


def draw_batch(seed: int, when: When, layers: int, alpha: float) -> MixedBatch:
    """What is drawn once per batch: the layer uniformly, lambda from Beta(alpha, alpha), strengths from Beta(2, 5).

    Args:
        seed: of the training.
        when: the position of the batch in it.
        layers: number of places, of which one is chosen.
        alpha: 0 for no mixing (lambda is 1).
    """
    random = ImageRandom(seed, when.epoch, torch.tensor([when.step]), Purpose.MIXED_BATCH)
    layer, share, *strengths = random.uniform(2 + 2 * VIEWS)[0].tolist()
    strengths = betaincinv(2, 5, strengths).tolist()
    own_share = float(betaincinv(alpha, alpha, share)) if alpha > 0 else 1.0
    return MixedBatch(int(layer * layers), own_share, tuple(strengths[:VIEWS]), tuple(strengths[VIEWS:]))


def draw_partners(seed: int, epoch: int | Tensor, images: Tensor) -> Tensor:
    """A random permutation of the images of a batch: the place of each one's partner, int64 ``(B,)``.

    Which image is whose partner depends on the images of the batch, not on their order; an image may be its own.

    Args:
        seed: of the training.
        epoch: from 0.
        images: ``(B,)`` integers, their positions in the training set.
    """
    keys = ImageRandom(seed, epoch, images, Purpose.MIXING_PARTNER).uniform(2)
    one, other = keys.argsort(dim=0, stable=True).unbind(1)
    return torch.empty_like(one).scatter_(0, one, other)


@dataclass(frozen=True)
class FeatureNoise:
    """Noise on the elements of feature maps: ``f * (1 + multiplicative * B1 * U) + additive * i * B2 * N``.

    U is uniform in (-1, 1) and N standard normal, drawn for each element; B1 and B2 are the strengths that the batch
    has drawn for the view, i is its number from 1. Each of the two is switched off at elements of its own.

    Attributes:
        multiplicative, additive: levels of the two noises; 0 for none.
        off: share of the elements at which a noise is switched off.
    """

    multiplicative: float
    additive: float
    off: float

    def __call__(self, features: Tensor, drawn: MixedBatch, random: ElementRandom, reader: int = 0) -> Tensor:
        """Features ``(3 * B, ...)``, all images of a view before those of the next, with noise; dtype and shape stay.

        Args:
            features: of the views of B images.
            drawn: what the batch has drawn.
            random: the random numbers of the B images.
            reader: number of the reader that the features are of, from 0.
        """
        if not self.multiplicative and not self.additive:
            return features
        uniform, normal = random.elements(features.shape[1:], self.off, reader)
        strengths = zip(drawn.multiplicative, drawn.additive, strict=True)
        for view, (multiplicative, additive) in enumerate(strengths):
            uniform[view] *= self.multiplicative * multiplicative
            normal[view] *= self.additive * (view + 1) * additive
        precise = torch.promote_types(features.dtype, torch.float32)
        factors, offsets = (1 + uniform.flatten(0, 1)).to(precise), normal.flatten(0, 1).to(precise)
        return (features.to(precise) * factors + offsets).to(features.dtype)


@dataclass(frozen=True)
class ElementRandom:
    """The random numbers of the elements of feature maps: a function of seed, epoch, image, view and element.

    Attributes:
        seed: of the training.
        epoch: from 0.
        images: ``(B,)`` integers, their positions in the training set; numbers are generated on their device.
    """

    seed: int
    epoch: int | Tensor
    images: Tensor

    def elements(self, shape: torch.Size, off: float, reader: int = 0) -> tuple[Tensor, Tensor]:
        """A number in (-1, 1) and a standard normal one for each element, both 0 where they are switched off.

        Args:
            shape: of one image's features in one view.
            off: probability of either to be switched off.
            reader: number of the reader that the features are of, from 0; another one has other numbers.

        Returns:
            Both float64 ``(3, B, *shape)``; each view is channels-last.
        """
        # All views by one call: on a GPU its many small kernels cost more than what they compute.
        n, start = VIEWS * shape.numel(), reader << _READER_BITS
        draws = uniform_of_images(self.images, self.seed, self.epoch, Purpose.FEATURE_NOISE, n, start)
        draws = draws.view(-1, VIEWS, *shape[1:], shape[0]).transpose(0, 1).contiguous().movedim(-1, 2) * _HALF
        whole = draws.floor()
        first, second = (whole + 0.5) / _HALF, draws - whole + 2.0**-28  # both inside (0, 1)
        uniform = 2 * _rescaled(first, off) - 1
        normal = torch.special.ndtri(_rescaled(second, off))
        return uniform.masked_fill_(first < off, 0.0), normal.masked_fill_(second < off, 0.0)


def _rescaled(draws: Tensor, off: float) -> Tensor:
    """Uniform in (0, 1) where a draw is at least ``off``; anything in (0, 1) elsewhere."""
    return ((draws - off) / max(1 - off, 2.0**-28)).clamp(2.0**-28, 1 - 2.0**-28)
