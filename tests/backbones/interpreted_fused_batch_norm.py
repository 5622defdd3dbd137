"""Run by test_fused_batch_norm.py under Triton's interpreter: the kernels' values, gradients and running statistics."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from batch_norm_cases import SHAPES, drawn, errors_of
from p2be_exp.backbones import fused_batch_norm, fused_batch_norm_kernel
from p2be_exp.backbones.fused_batch_norm import fused_batch_norm_relu

fused_batch_norm._statistics = fused_batch_norm_kernel.statistics
fused_batch_norm._normalise = fused_batch_norm_kernel.normalise
fused_batch_norm._sums = fused_batch_norm_kernel.sums
fused_batch_norm._to_rows = fused_batch_norm_kernel.to_rows


def check(case, shape):
    for training in (True, False):
        norm, features, above = drawn(shape)
        errors = errors_of(fused_batch_norm_relu, norm.train(training), features, above)
        assert max(errors.values()) <= 1, (case, training, errors)


for name, shape in SHAPES.items():
    check(name, shape)

fused_batch_norm_kernel._VALUES = 128  # so that there are several programs, and each goes over several tiles
for most in (256, 3, 1):
    fused_batch_norm_kernel._MOST_PARTS = most
    check(f"{most} parts", SHAPES["several tiles of rows, the last not full"])
    check(f"{most} parts", SHAPES["a mean far from 0"])

norm, features, above = drawn(SHAPES["odd sizes"])
features[1, 2, 3, 1] = torch.nan
assert fused_batch_norm_relu(norm, features)[:, 2].isnan().all()
norm, features, above = drawn(SHAPES["odd sizes"])
strided = torch.randn(3, 5, 1, 1).expand(3, 5, 7, 3)  # as of a mean over all positions
errors = errors_of(fused_batch_norm_relu, norm, features, strided)
assert max(errors.values()) <= 1, errors
print("equal")
