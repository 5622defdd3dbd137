"""From the maps of a network's stages back to what it read: a feature pyramid and a decoder, without activations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.backbones.backbone import init_convolutions
from p2be_exp.models.precision import at_least_float32

_WIDTHS = (64, 16)  # channels between the layers of the decoder; further ones keep the last


class Restoration(nn.Module):
    """A pyramid over the maps of all stages, and a decoder of its finest map.

    Each map goes through a 1 x 1 convolution to ``width`` channels; from the coarsest on, what there is so far is
    enlarged to the next map (bilinear, corners not aligned) and added to it. A 3 x 3 convolution follows on the finest
    alone, then :class:`Decoder`. Convolutions have biases. Their weights start from N(0, 2 / (k k out)), as those of
    the residual networks do; biases and transposed convolutions start as PyTorch's.

    Args:
        channels: of the maps, finest first.
        out_channels: of what is restored.
        width: of the pyramid.
        halvings: how often the image was halved up to the finest map.

    Source: Li et al. 2020 (arXiv 2005.02552), the authors' code.
    """

    def __init__(self, channels: Sequence[int], out_channels: int, width: int, halvings: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(each, width, 1) for each in channels)
        self.smooth = nn.Conv2d(width, width, 3, padding=1)
        self.decoder = Decoder(width, out_channels, halvings)
        init_convolutions(self)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps ``(B, C, h, w)``, finest first, to ``(B, out_channels, H, W)``, float32 or more, without bounds."""
        *finer, coarsest = zip(self.laterals, maps, strict=True)
        lateral, found = coarsest
        found = lateral(found)
        for lateral, each in reversed(finer):
            found = F.interpolate(found, size=each.shape[2:], mode="bilinear", align_corners=False) + lateral(each)
        return self.decoder(self.smooth(found))


class Decoder(nn.Module):
    """Transposed convolutions to the size of the image, and a last one of 1 x 1.

    Each halving is undone by one of kernel 2 and stride 2, and there are two at least: a second one of 1 x 1 keeps the
    size. Where nothing was halved, two of kernel 2 and stride 1 make the side one less and one more.

    Args:
        width: channels of what it reads.
        out_channels: of what it gives.
        halvings: 0 or more.
    """

    def __init__(self, width: int, out_channels: int, halvings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (kernel, stride, padding) in enumerate(_shapes(halvings)):
            channels = _WIDTHS[min(number, len(_WIDTHS) - 1)]
            layers.append(nn.ConvTranspose2d(width, channels, kernel, stride=stride, padding=padding))
            width = channels
        self.layers = nn.Sequential(*layers)
        self.last = nn.ConvTranspose2d(width, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width, h, w)`` to ``(B, out_channels, H, W)``.

        The last layer is in full precision under autocast, too: bf16 has too few bits to tell the brighter levels of
        RGB apart.
        """
        features = at_least_float32(self.layers(features))
        with torch.autocast(features.device.type, enabled=False):
            return self.last(features)


def _shapes(halvings: int) -> list[tuple[int, int, int]]:
    """Kernel, stride and padding of the layers before the last."""
    if halvings == 0:
        return [(2, 1, 1), (2, 1, 0)]
    return [(2, 2, 0)] * halvings + [(1, 1, 0)] * (halvings == 1)
