"""The sign and its approximate gradient against the formulas of spec/p2be.md 1.1."""

import pytest
import torch

from p2be_exp.encodings.sign import approximate_sign, binarize

WEIGHTS = [-3.0, -1.0, -0.999, -0.75, -0.25, -1e-6, 1e-6, 0.25, 0.75, 0.999, 1.0, 3.0]


def slope(w: float) -> float:
    """d(w) of the specification, away from 0."""
    if -1 < w < 0:
        return 2 + 2 * w
    if 0 < w < 1:
        return 2 - 2 * w
    return 0.0


def factor(function, values: list[float], slope_at_zero: float) -> list[float]:
    """The gradient of each output with respect to its input."""
    weight = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(weight, slope_at_zero).sum(), weight)
    return gradient.tolist()


def test_signs_and_bits():
    weight = torch.tensor([-2.0, -1e-30, -0.0, 0.0, 1e-30, 2.0])
    assert approximate_sign(weight, 4.0).tolist() == [-1, -1, 1, 1, 1, 1]
    assert binarize(weight, 4.0).tolist() == [0, 0, 1, 1, 1, 1]


def test_gradient_away_from_zero():
    expected = [slope(w) for w in WEIGHTS]
    assert factor(approximate_sign, WEIGHTS, 4.0) == pytest.approx(expected, abs=1e-15)
    assert factor(binarize, WEIGHTS, 4.0) == pytest.approx([s / 2 for s in expected], abs=1e-15)


@pytest.mark.parametrize(("slope_at_zero", "of_the_bit"), [(4.0, 2.0), (2.0, 1.0)])
def test_gradient_at_exactly_zero_of_the_code_and_of_the_paper(slope_at_zero, of_the_bit):
    assert factor(approximate_sign, [0.0, -0.0], slope_at_zero) == [slope_at_zero] * 2
    assert factor(binarize, [0.0, -0.0], slope_at_zero) == [of_the_bit] * 2


def test_the_gradient_is_multiplied_by_the_one_from_above():
    weight = torch.tensor([-0.5, 0.25, 2.0], requires_grad=True)
    binarize(weight, 4.0).backward(torch.tensor([3.0, -2.0, 7.0]))
    assert weight.grad.tolist() == [3.0 * 0.5 * 1.0, -2.0 * 0.5 * 1.5, 0.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_is_kept(dtype):
    weight = torch.tensor([-0.5, 0.0, 0.5], dtype=dtype, requires_grad=True)
    bits = binarize(weight, 4.0)
    bits.sum().backward()
    assert bits.dtype == weight.grad.dtype == dtype
    assert weight.grad.tolist() == [0.5, 2.0, 0.5]
