"""Shapes of batch norms, and the fused form's results beside PyTorch's two operators in float64."""

import copy

import torch
from torch import nn

SHAPES = {  # batch, channels, height, width; then mean over standard deviation
    "odd sizes": (3, 5, 7, 3, 0),
    "one image": (1, 16, 4, 4, 0),
    "few values a channel": (2, 3, 2, 1, 0),
    "one channel": (2, 1, 5, 3, 0),
    "as Wide ResNets have it": (4, 32, 8, 8, 0.5),
    "several tiles of channels, the last not full": (2, 130, 3, 3, -1),
    "several tiles of rows, the last not full": (5, 20, 9, 7, 1),
    "a mean far from 0": (4, 12, 6, 6, 1000),
}


def drawn(shape):
    """A batch norm in train mode that has seen something, features and a gradient, channels-last."""
    batch, channels, height, width, offset = shape
    generator = torch.Generator().manual_seed(sum(shape[:4]))
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.normal_(generator=generator)
        norm.bias.normal_(generator=generator)
        norm.running_mean.normal_(generator=generator).add_(offset)
        norm.running_var.uniform_(0.5, 2, generator=generator)
        norm.num_batches_tracked.fill_(7)
    features, above = (torch.randn(batch, channels, height, width, generator=generator) for _ in range(2))
    laid_out = (each.contiguous(memory_format=torch.channels_last) for each in (features + offset, above))
    return norm, *laid_out


def results(function, norm, features, above):
    """Output, gradients of features, weight and bias, and running statistics of a copy of the batch norm."""
    norm, features = copy.deepcopy(norm), features.detach().requires_grad_()
    out = function(norm, features)
    gradients = torch.autograd.grad(out, [features, norm.weight, norm.bias], above.to(out.dtype))
    return dict(zip(NAMES, [out.detach(), *gradients, *norm.buffers()], strict=True))


NAMES = ("output", "features", "weight", "bias", "running mean", "running variance", "batches")


def plain(norm, features):
    return norm(features).relu()


def errors_of(fused, norm, features, above, terms=1):
    """The largest error of each result over its largest value, in units of 5e-6 or of what the mean's rounding makes.

    Where the ReLU's argument is as near to 0 as a rounding error, no gradient comes from above.

    Args:
        fused: ``fused(norm, features)``.
        norm, features, above: see :func:`drawn`; on any device, above is changed.
        terms: factor of the bound.
    """
    exact = copy.deepcopy(norm).cpu().double()
    wide = features.detach().cpu().double()
    relative = wide.mean().abs().item() / wide.std().item()
    bound = terms * (5e-6 + 4 * 2.0**-24 * relative)
    before = copy.deepcopy(exact)(wide)
    above = above * (before.abs() > 100 * bound).to(above)
    found = results(fused, norm, features, above)
    wanted = results(plain, exact, wide, above.cpu().double())
    assert found["batches"].item() == wanted["batches"].item()
    return {
        name: ((found[name].cpu().double() - wanted[name]).abs().max() / (bound * wanted[name].abs().max())).item()
        for name in NAMES
    }
