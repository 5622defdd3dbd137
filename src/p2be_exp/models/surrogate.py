"""Surrogate gradients: what takes the place of the gradient of a table look-up, which has none.

A surrogate is a table of slopes, d code / d level at each level. The forward pass stays that of the model, on the hard
codes of the nearest level; the backward pass multiplies the gradient of the codes by the slopes and sums over the M
values of a code. An attack with such a gradient is Athalye et al.'s BPDA (2018); a result names the surrogate it used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from p2be_exp.encodings import LEVELS, RGB, TableEncoding
from p2be_exp.errors import BadInput
from p2be_exp.models.model_input import check_model_input, to_levels
from p2be_exp.models.stem import phases

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier
    from p2be_exp.models.readers import Reader

Surrogate = Literal["secant", "smooth", "interpolate"]

_GATHER_FROM_M = 16  # on CPU, one thread, 100 images of 32 x 32: M = 16 takes 20 ms either way, M = 64 30 against 65
_CHUNK_BYTES = {"cpu": 4 << 20}  # a few images at a time stay in the cache
_CHUNK_BYTES_ELSEWHERE = 256 << 20


# -- slopes --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def slopes(encoding: TableEncoding, name: Surrogate, radius: int = 8, width: float = 8.0) -> Tensor:
    """The slopes d code / d level of an encoding under a surrogate.

    RGB's slope is 1/255 everywhere under each: its table is a line, so that its gradient is exact.

    Args:
        encoding: gives the table.
        name: ``secant``, the slope of the chord from ``radius`` levels below to ``radius`` levels above, both cut to 0
            and 255; ``smooth``, the differences of neighbouring levels under Gaussian weights; ``interpolate``, the
            slope of the code that runs linearly between the centres of the buckets (of bucketed encodings alone).
        radius: of ``secant``, in levels, 1 or more; the ball's radius, as a rule.
        width: of ``smooth``, the Gaussian's standard deviation in levels, above 0.

    Returns:
        ``(256, M)`` in the table's dtype, without a gradient.

    Raises:
        BadInput: an unknown name, a radius or width out of range, ``interpolate`` for an encoding without buckets.
    """
    if name not in get_args(Surrogate):
        raise BadInput(f"surrogate={name!r}: must be one of {', '.join(get_args(Surrogate))}")
    if name == "secant" and radius < 1:
        raise BadInput(f"surrogate=secant: radius={radius}: must be 1 level or more")
    if name == "smooth" and not width > 0:
        raise BadInput(f"surrogate=smooth: width={width}: must be above 0 levels")
    table = encoding.table()
    if isinstance(encoding, RGB):
        return torch.full_like(table, 1 / 255)
    if name == "interpolate":
        exact = _interpolate(table.double(), _buckets(encoding).to(table.device))
    elif name == "smooth":
        exact = _smooth(table.double(), width)
    else:
        exact = _secant(table.double(), radius)
    return exact.to(table.dtype)


def _secant(table: Tensor, radius: int) -> Tensor:
    levels = torch.arange(LEVELS, device=table.device)
    above, below = (levels + radius).clamp(max=LEVELS - 1), (levels - radius).clamp(min=0)
    return (table[above] - table[below]) / (above - below).unsqueeze(1)


def _smooth(table: Tensor, width: float) -> Tensor:
    """Weighted mean of the 255 differences, each at the middle of its two levels.

    The weights are renormalised at each level: a line keeps its slope up to 0 and 255. Softmax does not underflow, so
    that the narrowest width gives the mean of the two differences at a level.
    """
    levels = torch.arange(LEVELS, device=table.device, dtype=table.dtype)
    distance = levels.unsqueeze(1) - (levels[:-1] + 0.5)
    return torch.softmax(-((distance / width) ** 2) / 2, dim=1) @ table.diff(dim=0)


def _interpolate(table: Tensor, bucket: Tensor) -> Tensor:
    """Slope of the segment between two centres; at a centre the mean of both; beyond the outer centres it goes on.

    (Were the code constant beyond the outer centres, the blackest and whitest pixels would never be attacked.)
    """
    levels = torch.arange(LEVELS, device=table.device, dtype=table.dtype)
    first = torch.searchsorted(bucket, bucket.unique())
    if len(first) == 1:
        return torch.zeros_like(table)
    last = torch.cat([first[1:], first.new_tensor([LEVELS])]) - 1
    centre = (first + last).to(table.dtype) / 2
    segment = table[first].diff(dim=0) / centre.diff().unsqueeze(1)
    left = torch.searchsorted(centre, levels, right=False) - 1  # centre[left] < level <= centre[left + 1]
    right = torch.searchsorted(centre, levels, right=True) - 1  # centre[right] <= level < centre[right + 1]
    left, right = (side.clamp(0, len(segment) - 1) for side in (left, right))
    return (segment[left] + segment[right]) / 2


def _buckets(encoding: TableEncoding) -> Tensor:
    buckets = encoding.buckets()
    if buckets is None:
        raise BadInput(f"surrogate=interpolate: encoding={encoding.name} has no buckets; secant and smooth are for all")
    return buckets


# -- from the gradient of the features to that of the levels -------------------------------------------------------


@torch.no_grad()
def level_gradient(
    gradient: Tensor, levels: Tensor, slopes: Tensor, weight: Tensor, stride: int = 1, padding: int = 0
) -> Tensor:
    """The gradient with respect to the levels, from that with respect to the stem's output.

    Nothing larger than a few images' codes is built: on a CPU a long code's slopes and weight are folded, so that a
    value's gradient is a product of one row of the folded table and the output gradients around it; else the gradient
    of the codes is made for a few images at a time.

    Args:
        gradient: of the features, ``(B, out_channels, H', W')``.
        levels: uint8 ``(B, 3, H, W)``, where it was taken.
        slopes: ``(256, M)``, see :func:`slopes`.
        weight: ``(out_channels, 3M, kh, kw)``.
        stride, padding: of the stem.

    Returns:
        ``(B, 3, H, W)``, in the dtype of the slopes.
    """
    # Full precision, under autocast too: what counts is where it is above, below and exactly 0.
    with torch.autocast(levels.device.type, enabled=False):
        gradient, weight = gradient.to(slopes.dtype), weight.to(slopes.dtype)
        gathers = levels.device.type == "cpu" and slopes.shape[1] >= _GATHER_FROM_M
        return (_gathered if gathers else _through_codes)(gradient, levels, slopes, weight, stride, padding)


def _gathered(gradient: Tensor, levels: Tensor, slopes: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    out_channels, _, kernel_h, kernel_w = weight.shape
    channels, M = levels.shape[1], slopes.shape[1]
    taps = weight.view(out_channels, channels, M, kernel_h, kernel_w).permute(1, 2, 3, 4, 0)
    out = slopes.new_zeros(levels.shape)
    size = (levels.shape[2], levels.shape[3])
    for phase in phases(gradient.permute(0, 2, 3, 1), size, (kernel_h, kernel_w), stride, padding):
        # The windows meet the taps in descending order.
        met = taps[(slice(None), slice(None), *phase.taps)].flip(2, 3)
        folded = slopes @ met.reshape(channels, M, -1)  # (3, 256, taps * out_channels)
        out[phase.pixels] = _products(levels[phase.pixels], phase.windows, folded)
    return out


def _products(levels: Tensor, windows: Tensor, folded: Tensor) -> Tensor:
    """Product of each value's row of the folded table and the window around its pixel, ``(B, 3, H, W)``."""
    height, width = levels.shape[2:]
    out = folded.new_empty(levels.shape)
    for part in _chunks(levels, folded.shape[2] * folded.element_size()):
        rows_around = windows[part].reshape(-1, folded.shape[2])
        for channel in range(levels.shape[1]):
            rows = F.embedding(levels[part, channel].reshape(-1).int(), folded[channel])
            out[part, channel] = (rows * rows_around).sum(1).view(-1, height, width)
    return out


def _through_codes(
    gradient: Tensor, levels: Tensor, slopes: Tensor, weight: Tensor, stride: int, padding: int
) -> Tensor:
    M = slopes.shape[1]
    _, channels, height, width = levels.shape
    weight = weight.contiguous(memory_format=torch.channels_last)
    out = slopes.new_empty(levels.shape)
    for part in _chunks(levels, channels * M * slopes.element_size()):
        size = (len(levels[part]), channels * M, height, width)
        out[part] = _times_slopes(conv2d_input(size, weight, gradient[part], stride, padding), levels[part], slopes)
    return out


@torch.no_grad()
def code_gradient(gradient: Tensor, levels: Tensor, slopes: Tensor) -> Tensor:
    """The gradient with respect to the levels, from that with respect to their codes.

    Args:
        gradient: of the codes, ``(B, 3M, H, W)``.
        levels: uint8 ``(B, 3, H, W)``, where it was taken.
        slopes: ``(256, M)``, see :func:`slopes`.

    Returns:
        ``(B, 3, H, W)``, in the dtype of the slopes.
    """
    out = slopes.new_empty(levels.shape)
    with torch.autocast(levels.device.type, enabled=False):
        for part in _chunks(levels, gradient.shape[1] * slopes.element_size()):
            out[part] = _times_slopes(gradient[part].to(slopes.dtype), levels[part], slopes)
    return out


def _times_slopes(codes: Tensor, levels: Tensor, slopes: Tensor) -> Tensor:
    """Gradient of codes ``(b, 3M, H, W)`` times the slopes at the levels, summed over M: ``(b, 3, H, W)``."""
    rows = F.embedding(levels.permute(0, 2, 3, 1).int(), slopes)  # (b, H, W, 3, M)
    products = codes.permute(0, 2, 3, 1).unflatten(3, (levels.shape[1], slopes.shape[1])) * rows
    return products.sum(4).permute(0, 3, 1, 2)


def _chunks(levels: Tensor, bytes_a_pixel: int) -> list[slice]:
    """Slices of the batch whose largest intermediate result stays small."""
    most = _CHUNK_BYTES.get(levels.device.type, _CHUNK_BYTES_ELSEWHERE)
    size = max(1, most // max(1, levels.shape[2] * levels.shape[3] * bytes_a_pixel))
    return [slice(start, start + size) for start in range(0, len(levels), size)]


class _LevelGradient(torch.autograd.Function):
    """A reader's features as they are; their gradient goes on to the images (in [0, 1]: 255 times a level's) as well.

    The reader's weights are arguments so that the graph notices where they are changed before the way back.
    """

    @staticmethod
    def forward(
        ctx, images: Tensor, features: Tensor, levels: Tensor, slopes: Tensor, reader: Reader, *weights: Tensor
    ) -> Tensor:
        ctx.save_for_backward(levels, slopes, *weights)
        ctx.dtype, ctx.reader = images.dtype, reader
        return features.view_as(features)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        levels, slopes, *weights = ctx.saved_tensors
        of_images = ctx.reader.level_gradient(gradient, levels, slopes).mul_(255).to(ctx.dtype)
        return of_images, gradient, None, None, None, *[None] * len(weights)


class SurrogateClassifier(nn.Module):
    """A model's differentiable twin: its logits to the bit, and a surrogate gradient to the images.

    It shares the model's parameters and its mode: the slopes are those of the table at the time of the call. Where the
    logits of a model hide the way, as behind the tanh of a Feature Pyramid Decoder, the gradient goes around what hides
    it (:meth:`~p2be_exp.models.classifier.Classifier.twin_body`).

    Args:
        model: the classifier.
        name, radius, width: see :func:`slopes`.

    Raises:
        BadInput: see :func:`slopes`.
    """

    def __init__(self, model: Classifier, name: Surrogate, radius: int = 8, width: float = 8.0) -> None:
        super().__init__()
        for encoding in model.encodings:
            slopes(encoding, name, radius, width)  # refuses what cannot be
        self.model, self.name, self.radius, self.width = model, name, radius, width
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        """Images to logits.

        Args:
            images: floats in [0, 1] (taken to the nearest level) or uint8 levels, ``(B, 3, H, W)``. Floats get the
                gradient of the logits at the nearest level, by the slopes, times 255; those a hair outside [0, 1] too.

        Returns:
            Logits, float ``(B, classes)``, equal to the model's.

        Raises:
            BadInput: anything else: see :func:`~p2be_exp.models.model_input.check_model_input`.
        """
        if not (getattr(images, "requires_grad", False) and torch.is_grad_enabled()):
            return self.model(images)  # which checks them
        check_model_input(images)
        model, levels = self.model, to_levels(images)
        features = []
        for reader, read in zip(model.readers, model.read(levels), strict=True):
            slope = slopes(reader.encoding, self.name, self.radius, self.width)
            features.append(_LevelGradient.apply(images, read, levels, slope, reader, *reader.weights))
        return model.twin_body(*features)

    def extra_repr(self) -> str:
        of = {"secant": f", radius={self.radius}", "smooth": f", width={self.width}"}
        return self.name + of.get(self.name, "")
