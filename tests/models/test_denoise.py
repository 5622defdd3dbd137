"""Denoising: the published formula image by image, its gradient, and its precision."""

import torch

from p2be_exp.models.denoise import denoise, non_local_mean
from pyramid_by_hand import denoised, gram_product


def features(channels=5, height=3, width=4, dtype=torch.float64):
    values = torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (3 * values).to(dtype)


def test_it_is_the_formula_image_by_image():
    for x in (features(), features(1, 1, 7), features(8, 2, 2)):
        torch.testing.assert_close(denoise(x), denoised(x), rtol=1e-12, atol=1e-12)
        r = torch.arange(x.numel(), dtype=x.dtype).view_as(x)
        torch.testing.assert_close(non_local_mean(x, r), gram_product(x) + r, rtol=1e-12, atol=1e-12)
        last = x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(denoise(last), denoised(x), rtol=1e-12, atol=1e-12)


def relative(x):
    """The Gram matrix divided by the mean square."""
    return torch.stack([gram_product(each[None])[0] / (each**2).mean() for each in x]) + x


def test_a_relative_gram_matrix_is_divided_by_the_mean_square():
    x = features()
    found = denoise(x, relative=True)
    torch.testing.assert_close(found, relative(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(denoise(1e6 * x, relative=True), 1e6 * found)
    norms = [each.flatten(1).norm(dim=1) for each in (found, x)]
    assert (norms[0] <= (1 + 5) * norms[1]).all()  # 5 channels


def test_of_a_black_image_there_is_nothing():
    black = torch.zeros(2, 3, 4, 4, requires_grad=True)
    found = denoise(black, relative=True)
    found.sum().backward()
    assert not found.any()
    assert torch.equal(black.grad, torch.ones_like(black))


def test_the_gradient_is_the_formulas():
    x = features().requires_grad_()
    weights = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)
    pairs = ((denoise, denoised), (lambda given: denoise(given, relative=True), relative))
    for pair in pairs:
        (found,), (expected,) = (torch.autograd.grad((each(x) * weights).sum(), x) for each in pair)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_gain_grows_with_the_square_of_the_activations():
    x = features()
    torch.testing.assert_close(denoise(10 * x) - 10 * x, 1000 * (denoise(x) - x))


def test_under_autocast_it_is_in_float32():
    x = features(64, 8, 8, torch.float32)
    expected = denoise(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = denoise(x)
        rounded = denoise(x.bfloat16())
    assert torch.equal(found, expected)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, denoised(x.bfloat16().float()), rtol=1e-5, atol=1e-5)


def test_it_leaves_its_input_and_its_layout():
    x = features().contiguous(memory_format=torch.channels_last)
    before = x.clone()
    found = denoise(x)
    assert torch.equal(x, before)
    assert found.is_contiguous(memory_format=torch.channels_last)
