"""Feature Pyramid Decoder written out from the published formulas, image by image where these are by image.

It knows weights by their names in this project and nothing of its modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

State = Mapping[str, Tensor]


def gram_product(x: Tensor) -> Tensor:
    """``A x / (H W)`` of each image, A = x x^T."""
    found = []
    for image in x:
        rows = image.reshape(len(image), -1)
        found.append((rows @ rows.T @ rows / rows.shape[1]).reshape(image.shape))
    return torch.stack(found)


def denoised(x: Tensor) -> Tensor:
    return gram_product(x) + x


def enlarged(x: Tensor, size: int) -> Tensor:
    """Bilinear, corners not aligned: output pixel p looks at (p + 1/2) h / size - 1/2, and no further than the rim."""
    small = x.shape[2]
    matrix = torch.zeros(size, small, dtype=x.dtype)
    for p in range(size):
        at = max((p + 0.5) * small / size - 0.5, 0.0)
        low, share = int(at), at - int(at)
        matrix[p, low] += 1 - share
        matrix[p, min(low + 1, small - 1)] += share
    return torch.einsum("pi,qj,bcij->bcpq", matrix, matrix, x)


def transposed(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """Each input pixel adds its kernel to the output, of which the padding is cut off."""
    (batch, _, height, width), (_, channels, kernel, _) = x.shape, weight.shape
    sides = [(side - 1) * stride + kernel for side in (height, width)]
    out = x.new_zeros(batch, channels, *sides)
    for i in range(height):
        for j in range(width):
            stamp = torch.einsum("nc,ckpq->nkpq", x[:, :, i, j], weight)
            here = out[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            here += stamp
    cut = slice(padding, -padding or None)
    return out[:, :, cut, cut] + bias[:, None, None]


def normed(state: State, name: str, x: Tensor) -> Tensor:
    """Batch norm in training."""
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    normal = (x - mean) / torch.sqrt(variance + 1e-5)
    return normal * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def bottleneck(state: State, name: str, norm: str, cut: str, stride: int, groups: int, x: Tensor) -> Tensor:
    """1 x 1, 3 x 3, 1 x 1, each with a batch norm; ELU between them and after the sum."""

    def layer(number: int, given: Tensor, **settings) -> Tensor:
        weight = state[f"{name}.conv{number}.weight"]
        return normed(state, f"{name}.{norm}{number}", F.conv2d(given, weight, **settings))

    inner = F.elu(layer(1, x))
    inner = F.elu(layer(2, inner, stride=stride, padding=1, groups=groups))
    if f"{name}.{cut}.0.weight" in state:
        x = normed(state, f"{name}.{cut}.1", F.conv2d(x, state[f"{name}.{cut}.0.weight"], stride=stride))
    return F.elu(layer(3, inner) + x)


class ResNet50:
    """With a stem of 7 x 7 and a max-pool, each of stride 2."""

    blocks = (3, 4, 6, 3)
    strides = (1, 2, 2, 2)
    decoder = ((2, 0), (2, 0), (1, 0))  # stride and padding

    def __init__(self, state: State) -> None:
        self.state = state

    def begin(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.state["stem.weight"], stride=2, padding=3)
        return F.max_pool2d(F.elu(normed(self.state, "trunk.network.bn1", x)), 3, 2, 1)

    def block(self, stage: int, number: int, x: Tensor) -> Tensor:
        name, stride = f"trunk.network.layer{stage + 1}.{number}", self.strides[stage] if number == 0 else 1
        return bottleneck(self.state, name, "bn", "downsample", stride, 1, x)

    def linear(self, x: Tensor) -> Tensor:
        return x @ self.state["trunk.network.fc.weight"].T + self.state["trunk.network.fc.bias"]


class ResNeXt29:
    """With a stem of 3 x 3 and stride 1."""

    blocks = (3, 3, 3)
    strides = (1, 2, 2)
    decoder = ((1, 1), (1, 0), (1, 0))

    def __init__(self, state: State, groups: int = 32) -> None:
        self.state, self.groups = state, groups

    def begin(self, x: Tensor) -> Tensor:
        return F.elu(normed(self.state, "trunk.norm", F.conv2d(x, self.state["stem.weight"], padding=1)))

    def block(self, stage: int, number: int, x: Tensor) -> Tensor:
        name, stride = f"trunk.stages.{stage}.{number}", self.strides[stage] if number == 0 else 1
        return bottleneck(self.state, name, "norm", "shortcut", stride, self.groups, x)

    def linear(self, x: Tensor) -> Tensor:
        return x @ self.state["trunk.classifier.weight"].T + self.state["trunk.classifier.bias"]


def encoded(net, x: Tensor) -> list[Tensor]:
    """The outputs of the stages: denoising is before the first and before the second."""
    x, found = net.begin(x), []
    for stage, blocks in enumerate(net.blocks):
        if stage < 2:
            x = denoised(x)
        for number in range(blocks):
            x = net.block(stage, number, x)
        found.append(x)
    return found


def restored(net, maps: list[Tensor]) -> Tensor:
    """The pyramid from the coarsest map to the finest, one convolution, and the decoder."""
    state = net.state

    def lateral(number: int) -> Tensor:
        name = f"restoration.laterals.{number}"
        return F.conv2d(maps[number], state[f"{name}.weight"], state[f"{name}.bias"])

    found = lateral(len(maps) - 1)
    for number in reversed(range(len(maps) - 1)):
        found = enlarged(found, maps[number].shape[2]) + lateral(number)
    found = F.conv2d(found, state["restoration.smooth.weight"], state["restoration.smooth.bias"], padding=1)
    names = ("layers.0", "layers.1", "last")
    for name, (stride, padding) in zip(names, net.decoder, strict=True):
        weight, bias = (state[f"restoration.decoder.{name}.{each}"] for each in ("weight", "bias"))
        found = transposed(found, weight, bias, stride, padding)
    return found


def both_passes(net, x: Tensor, head: Callable[[Tensor], Tensor] = torch.tanh) -> tuple[Tensor, Tensor]:
    """The restored image and the scores, of codes ``(B, 3M, H, W)`` in training."""
    r = restored(net, encoded(net, x))
    pooled = encoded(net, gram_product(x) + r)[-1].mean((2, 3))
    return r, head(net.linear(pooled))
