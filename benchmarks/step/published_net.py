"""The published method's network and loss, written down plainly: NCHW, a code tensor of floats, no kernel of ours.

Source: Kishida & Nakayama 2022 and their public code for Wide ResNets, which takes rows of the latent table for every
pixel before it takes their signs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.backbones import build_backbone
from p2be_exp.models.model import EncodedClassifier

ENCODINGS = ("rgb", "onehot", "thermometer", "p2be")
ALPHA = 12.0
"""Weight of the divergence."""


class PublishedNet(nn.Module):
    """An encoded image, a convolution, a trunk.

    Args:
        encoding: one of :data:`ENCODINGS`.
        backbone: its name; the trunk is ours, in PyTorch's usual memory format.
        classes: number of classes.
        M: values per pixel and colour; 1 for RGB.
    """

    def __init__(self, encoding: str, backbone: str, classes: int, M: int = 64) -> None:
        super().__init__()
        self.encoding, self.M = encoding, 1 if encoding == "rgb" else M
        self.trunk = build_backbone(backbone, classes)
        shape = self.trunk.stem
        self.conv = nn.Conv2d(
            3 * self.M, shape.out_channels, shape.kernel_size, shape.stride, shape.padding, bias=shape.bias
        )
        self.embedding = nn.Parameter(torch.randn(256, M)) if encoding == "p2be" else None
        codes = torch.eye(M) if encoding == "onehot" else torch.ones(M, M).triu()
        self.register_buffer("codes", codes if encoding in ("onehot", "thermometer") else None)

    def take_weights(self, model: EncodedClassifier) -> None:
        """Those of our network of the same encoding and backbone."""
        self.trunk.load_state_dict(model.trunk.state_dict())
        self.conv.load_state_dict({name: value for name, value in model.stem.state_dict().items() if name != "shift"})
        if self.embedding is not None:
            self.embedding.data.copy_(next(model.encoding.parameters()).data)

    def encode(self, images: Tensor) -> Tensor:
        """Images, float ``(B, 3, H, W)`` in [0, 1], to codes, float ``(B, 3M, H, W)``."""
        if self.encoding == "rgb":
            return images
        if self.embedding is not None:
            rows = F.embedding((images * 255).long(), self.embedding)
            rows = (_Sign.apply(rows) + 1) / 2
        else:
            rows = F.embedding((images * self.M).clamp(0, self.M - 1).long(), self.codes)
        return rows.permute(0, 1, 4, 2, 3).flatten(1, 2)

    def stem(self, images: Tensor) -> Tensor:
        """The features of the first convolution."""
        return self.conv(self.encode(images).contiguous())

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, classes)``."""
        return self.trunk(self.stem(images))

    def smoothness(self) -> Tensor | None:
        """Minus the mean cosine of neighbouring latent rows; None for a table that does not learn."""
        if self.embedding is None:
            return None
        left, right = self.embedding[:-1], self.embedding[1:]
        lengths = left.pow(2).sum(1).sqrt() * right.pow(2).sum(1).sqrt()
        return -((left * right).sum(1) / (lengths + 1e-8)).mean()


class _Sign(torch.autograd.Function):
    """The sign, +1 at 0; backwards the slope of a parabola on either side of 0, both at 0."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        below = ((values > -1) & (values <= 0)) * (2 + 2 * values)
        above = ((values >= 0) & (values < 1)) * (2 - 2 * values)
        return grad * (below + above)


def published_loss(net: PublishedNet, logits: Tensor, labels: Tensor, views: int, lambda_smooth: float = 1.0) -> Tensor:
    """Cross-entropy of the clean view, the divergence of three views, the smoothness of the table.

    Args:
        net: for the table.
        logits: of all views, one view after the other, ``(views * B, classes)``.
        labels: int64 ``(B,)``.
        views: 1 or 3.
        lambda_smooth: weight of the smoothness.
    """
    each = logits.split(len(labels))
    loss = F.cross_entropy(each[0], labels)
    if views > 1:
        probabilities = [F.softmax(view, dim=1) for view in each]
        mixture = torch.clamp(sum(probabilities) / views, 1e-7, 1).log()
        loss = loss + ALPHA * sum(F.kl_div(mixture, p, reduction="batchmean") for p in probabilities) / views
    smoothness = net.smoothness()
    return loss if smoothness is None else loss + lambda_smooth * smoothness
