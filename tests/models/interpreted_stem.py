"""Run by test_fused_stem.py under Triton's interpreter: the kernels' values and gradients are the plain form's."""

import sys
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from fused_stem_cases import SHAPES, drawn, errors_of, over_bound
from p2be_exp.encodings import level_sums, level_sums_kernel, look_up
from p2be_exp.models import fused_stem, fused_stem_kernel
from p2be_exp.models.fused_stem import fused_conv2d

level_sums._operator = level_sums_kernel.level_sums
fused_stem._operator = fused_stem_kernel.fused_convolution


def check(errors, case):
    assert max(errors.values()) <= 1, (case, errors)


def of_views():
    """Images and a gradient that are not contiguous, a weight that is channels-last."""
    images, table, weight, _ = drawn((4, 3, 9, 8, 5, 4, 3))
    images = images[::2, :, 1:, ::2].transpose(2, 3)
    above = torch.randn(4, 1, 1).expand(2, 4, *images.shape[2:])
    return errors_of(fused_conv2d, images, table, weight.contiguous(memory_format=torch.channels_last), above)


def of_a_look_up():
    """1,000 rows of 7: the gradient of ``embedding`` in float64."""
    _, table, _, _ = drawn((1, 3, 1, 1, 7, 1, 1))
    levels, above = torch.randint(256, (1000,)).to(torch.uint8), torch.randn(1000, 7)
    rows = look_up.look_up(levels, table.requires_grad_(), torch.float32)
    assert torch.equal(rows, table[levels.long()])
    (found,) = torch.autograd.grad(rows, table, above)
    zeros = torch.zeros(256, 7, dtype=torch.float64)
    exact, absolute = (zeros.index_add(0, levels.long(), each.double()) for each in (above, above.abs()))
    return {"table": over_bound(found, exact, absolute, 1000)}


class Largest(TorchDispatchMode):
    """The largest tensor of numbers that an operator gives while it is on (the interpreter copies memory as bytes)."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.is_floating_point():
            self.numel = max(self.numel, result.numel())
        return result


for name, shape in SHAPES.items():
    check(errors_of(fused_conv2d, *drawn(shape)), name)
check(of_views(), "views")
check(of_a_look_up(), "a look-up")

level_sums_kernel._PROGRAMS = 24  # so that a program adds several blocks of pixels
check(errors_of(fused_conv2d, *drawn((2, 3, 13, 11, 5, 4, 3))), "few programs")

images, table, weight, above = drawn((4, 3, 8, 8, 128, 1, 3))
with Largest() as largest:
    fused_conv2d(images, table.requires_grad_(), weight.requires_grad_()).backward(above)
assert 0 < largest.numel < images.numel() * 128, "a tensor as large as the codes"
print("equal")
