"""Cases of the fused stem and of its histogram against float64; a program that runs them by Triton's interpreter.

Every result is held against the plain form in float64, in units of its bound: n terms summed in float32 in any order
miss by n * 2 ** -24 of the sum of their absolute values, at most.
"""

import json
import sys
import unittest.mock

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from p2be_exp.encodings import encode, kernels, level_sums
from p2be_exp.models.fused_stem import fused_conv2d
from p2be_exp.models.stem import EncodedConv2d
from usual import P2BE

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


def few_programs():
    """A program that adds several blocks of pixels."""
    before, level_sums._PROGRAMS = level_sums._PROGRAMS, 24
    try:
        return errors_of(fused_conv2d, *drawn((2, 3, 13, 11, 5, 4, 3)))
    finally:
        level_sums._PROGRAMS = before


def views():
    """Images and a gradient that are not contiguous, a weight that is channels-last."""
    images, table, weight, _ = drawn((4, 3, 9, 8, 5, 4, 3))
    images = images[::2, :, 1:, ::2].transpose(2, 3)
    above = torch.randn(4, 1, 1).expand(2, 4, *images.shape[2:])
    return errors_of(fused_conv2d, images, table, weight.contiguous(memory_format=torch.channels_last), above)


def histogram_of_a_look_up():
    """Codes of images where the kernels are asked for: the same bits, and the table's gradient in float64's bound."""
    images, table, _, _ = drawn((4, 3, 9, 10, 7, 1, 1))
    plain_codes = encode(images, table)
    above = torch.randn(plain_codes.shape, generator=torch.Generator().manual_seed(0))
    rows = above.permute(0, 2, 3, 1).reshape(-1, 7)
    levels = images.permute(0, 2, 3, 1).flatten().long()
    exact, absolute = (torch.zeros(256, 7).double().index_add_(0, levels, each.double()) for each in (rows, rows.abs()))
    with unittest.mock.patch.object(kernels, "asked_for", return_value=True):
        codes = encode(images, table.requires_grad_())
    assert type(codes.grad_fn.next_functions[0][0].next_functions[0][0]).__name__ == "_LookUpBackward"
    assert torch.equal(codes, plain_codes)
    (found,) = torch.autograd.grad(codes, table, above)
    return {"table": over_bound(found, exact, absolute, len(levels))}


class Largest(TorchDispatchMode):
    """The largest tensor of numbers that an operator gives while it is on (the interpreter copies memory as bytes)."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.is_floating_point():
            self.numel = max(self.numel, result.numel())
        return result


def module():
    """``form="fused"`` of the module: it does fuse, has its bias, and makes no tensor of the codes' size."""
    encoding, images = P2BE(128), drawn((4, 3, 8, 8, 1, 1, 3))[0]
    stem = EncodedConv2d(encoding, 1, bias=True, form="fused")
    with Largest() as largest:
        out = stem(images, encoding.table())
        out.square().sum().backward()
    found = [out.detach(), encoding.weight.grad, stem.weight.grad, stem.bias.grad]
    for each in (encoding, stem):
        each.zero_grad()
    stem.form = "lookup"
    expected = stem(images, encoding.table())
    expected.square().sum().backward()
    for got, want in zip(found, [expected, encoding.weight.grad, stem.weight.grad, stem.bias.grad], strict=True):
        torch.testing.assert_close(got, want.detach(), rtol=1e-4, atol=1e-4 * want.abs().max().item())
    return {"largest tensor over codes": largest.numel / (images.numel() * 128)}


def what_is_not_fused():
    """Strides, paddings and types that the kernel does not take are looked up, with the same result."""
    images, table, _, _ = drawn((1, 3, 7, 6, 4, 1, 3))
    for settings in ({"stride": 2}, {"padding": 0}, {"kernel_size": 2, "padding": 1}, {"shift": torch.rand(12)}):
        stem = EncodedConv2d(P2BE(4), 2, **settings, form="fused")
        assert not stem._fusible(images, table)
        got, stem.form = stem(images, table), "lookup"
        assert torch.equal(got, stem(images, table))
    stem = EncodedConv2d(P2BE(4), 2, form="fused")
    assert stem._fusible(images, table)
    assert not stem.double()._fusible(images, table.double())
    with torch.autocast("cpu", torch.float16):
        assert not stem.float()._fusible(images, table)
    return {}


def main():
    """Print, as JSON, the errors of every case in units of their bounds."""
    results = {name: errors_of(fused_conv2d, *drawn(shape)) for name, shape in SHAPES.items()}
    for case in (few_programs, views, histogram_of_a_look_up, module, what_is_not_fused):
        results[case.__name__] = case()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
