"""What a backbone is: the shape of its first convolution, and a trunk from its features to logits, often in stages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from p2be_exp.config.image_sizes import ImageSizes

STAGE_METHODS = ("begin", "stage_modules", "end")
"""What a backbone with stages defines."""


@dataclass(frozen=True)
class StemShape:
    """The first convolution of a network; its input channels are the encoding's.

    Attributes:
        out_channels, kernel_size, stride, padding, bias: those of the convolution.
        init: of its weight, see :class:`~p2be_exp.models.stem.EncodedConv2d`.
    """

    out_channels: int
    kernel_size: int = 3
    stride: int = 1
    padding: int = 1
    bias: bool = False
    init: Literal["he", "pytorch"] = "he"


class Backbone(nn.Module):
    """The trunk of a network; the model puts the stem that it asks for in front.

    A subclass has stages if it defines :meth:`begin`, :meth:`stage_modules` and :meth:`end`; then it leaves ``forward``
    alone, so that whoever takes the network apart computes what the network computes. Or it defines ``forward``.

    Attributes:
        stem: the first convolution that the trunk expects. A class attribute, or set before ``forward``.
        sizes: the images that the network takes; a class attribute, so that it is known before anything is built.
        made_for: height and width in pixels of the images that it was designed for; None where it does not say.
        activated: whether what enters a stage has been normalised and activated. In networks whose blocks begin with
            that, it is a sum of any size.
    """

    stem: StemShape
    sizes: ImageSizes = ImageSizes()
    made_for: int | None = None
    activated: bool = True

    def begin(self, features: Tensor) -> Tensor:
        """Stem features ``(B, stem.out_channels, H, W)`` to the input of the first stage."""
        raise _without_stages(self)

    def stage_modules(self) -> list[nn.Module]:
        """The stages in their order, two or more, each a module of one input and one output ``(B, C, H, W)``.

        None of them overwrites its input. Their parameters are the network's; the modules may be made by the call.
        """
        raise _without_stages(self)

    def end(self, features: Tensor) -> Tensor:
        """Output of the last stage to logits ``(B, classes)``."""
        raise _without_stages(self)

    def forward(self, features: Tensor) -> Tensor:
        """Stem features ``(B, stem.out_channels, H, W)`` to logits ``(B, classes)``."""
        features = self.begin(features)
        for stage in self.stage_modules():
            features = stage(features)
        return self.end(features)


def staged(backbone: Backbone | type[Backbone]) -> bool:
    """Whether a backbone can be taken apart: its ``forward`` is ``begin``, the stages one after the other, and ``end``.

    A class that derives from a staged one and writes a ``forward`` of its own counts as not staged: its stages are no
    longer all that it computes.

    Args:
        backbone: a network, or its class.
    """
    cls = backbone if isinstance(backbone, type) else type(backbone)
    defined = all(getattr(cls, method) is not getattr(Backbone, method) for method in STAGE_METHODS)
    return defined and cls.forward is Backbone.forward


def _without_stages(backbone: Backbone) -> NotImplementedError:
    return NotImplementedError(
        f"{type(backbone).__name__} has no stages: it does not define {', '.join(STAGE_METHODS)}"
    )


def init_convolutions(module: nn.Module) -> None:
    """Draw every convolution's weight from N(0, 2 / (kh * kw * out_channels)), as AugMix's and P2BE's networks do.

    With groups the full number of output channels counts. Batch norms keep 1 and 0; biases of convolutions keep
    PyTorch's default; linear biases become 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            kernel_h, kernel_w = layer.kernel_size
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (kernel_h * kernel_w * layer.out_channels)))
        elif isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
