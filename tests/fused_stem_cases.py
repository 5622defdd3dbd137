"""Shapes of the fused stem, and its results against the plain form in float64, in units of their bounds.

n terms that are summed in float32, in any order, miss by n * 2 ** -24 of the sum of their absolute values, at most.
"""

import torch
from torch.nn import functional as F

SHAPES = {  # batch, colours, height, width; M, out_channels, kernel
    "odd sizes": (2, 3, 5, 7, 3, 5, 3),
    "one pixel": (1, 3, 1, 1, 1, 1, 3),
    "one row": (1, 3, 1, 6, 2, 3, 3),
    "one column": (2, 3, 7, 1, 16, 4, 3),
    "several tiles of pixels": (2, 3, 11, 13, 20, 17, 3),
    "several tiles of values, the last not full": (1, 3, 4, 3, 70, 2, 3),
    "several tiles of channels": (1, 3, 3, 4, 5, 65, 3),
    "as Wide ResNets have it": (1, 3, 6, 6, 64, 16, 3),
    "5 x 5": (2, 3, 3, 5, 6, 3, 5),
    "1 x 1": (2, 3, 4, 3, 6, 3, 1),
    "one colour": (2, 1, 5, 4, 9, 3, 3),
    "no image": (0, 3, 4, 4, 3, 2, 3),
}


def plain(images, table, weight):
    """The convolution of the codes, NCHW."""
    codes = torch.cat([table[images[:, c].long()].permute(0, 3, 1, 2) for c in range(images.shape[1])], dim=1)
    return F.conv2d(codes, weight, padding=weight.shape[2] // 2)


def with_gradients(convolve, images, table, weight, above):
    table, weight = (each.detach().requires_grad_() for each in (table, weight))
    out = convolve(images, table, weight)
    return [out.detach(), *torch.autograd.grad(out, [table, weight], above)]


def over_bound(found, exact, absolute, terms, unit=2.0**-24):
    """The largest error in units of its bound; the exact value is needed where all terms are zero."""
    error, bound = (found.cpu().double() - exact).abs(), terms * unit * absolute
    assert found.shape == exact.shape
    assert bool((error <= torch.where(bound > 0, torch.inf, 0)).all())
    return (error / bound.clamp(min=1e-300)).amax().item() if error.numel() else 0.0


def drawn(shape):
    batch, colours, height, width, M, out_channels, kernel = shape
    generator = torch.Generator().manual_seed(sum(shape))
    images = torch.randint(256, (batch, colours, height, width), generator=generator).to(torch.uint8)
    table = torch.randn(256, M, generator=generator)
    weight = torch.randn(out_channels, colours * M, kernel, kernel, generator=generator)
    above = torch.randn(batch, out_channels, height, width, generator=generator)
    return images, table, weight, above


def errors_of(convolve, images, table, weight, above, more=(0, 0, 0), unit=2.0**-24):
    """Of output, table's and weight's gradient, in units of their bounds; ``more`` terms for roundings of the input."""
    found = with_gradients(convolve, images, table, weight, above.to(images.device))
    exact_of = [images.cpu(), *(each.cpu().double() for each in (table, weight, above))]
    exact = with_gradients(plain, *exact_of)
    absolute = with_gradients(plain, exact_of[0], *(each.abs() for each in exact_of[1:]))
    pixels, to_one = images[:, :1].numel(), weight[0].numel()
    terms = (to_one + 1, pixels + to_one // table.shape[1] * len(weight) + 2, pixels + 256 + 2)
    return {
        name: over_bound(*three, count + extra, unit)
        for name, *three, count, extra in zip(
            ("output", "table", "weight"), found, exact, absolute, terms, more, strict=True
        )
    }
