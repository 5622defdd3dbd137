"""The stem's two forms against the plain convolution of the plain code tensor."""

import math
import random

import pytest
import torch
from torch.nn import functional as F

from grids import in_turn
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.models import stem
from p2be_exp.models.stem import EncodedConv2d, folded_conv2d
from rounding import OtherRounding
from usual import P2BE

SHAPES = in_turn((1, 3, 5, 7) * 3, (1, 2, 3), (0, 1, 2, 3, 2, 3, 0, 1, 1, 0, 3, 2))  # kernel, stride, padding
FORMS = ["lookup", "folded"]


def plain_conv(images, table, weight, stride, padding, bias=None, shift=None):
    """NCHW codes by indexing, colour by colour, less the shift, and torch's convolution of them."""
    codes = torch.cat([table[images[:, c].long()].permute(0, 3, 1, 2) for c in range(images.shape[1])], dim=1)
    if shift is not None:
        codes = codes - shift[None, :, None, None]
    return F.conv2d(codes.contiguous(), weight, bias, stride=stride, padding=padding)


def random_levels(generator, batch, height, width):
    return torch.randint(256, (batch, 3, height, width), generator=generator).to(torch.uint8)


def module_like(form, table, weight, stride, padding, bias=None, shift=None) -> EncodedConv2d:
    """The module with a given weight and bias, in float64."""
    encoding = RGB() if table.shape[1] == 1 else OneHot(table.shape[1])
    out_channels, _, kernel, _ = weight.shape
    more = {"bias": bias is not None, "shift": shift, "form": form}
    module = EncodedConv2d(encoding, out_channels, kernel, stride, padding, **more).double()
    module.weight.data.copy_(weight)
    if bias is not None:
        module.bias.data.copy_(bias)
    return module


def assert_equals_plain(form, images, M, out_channels, kernel, stride, padding, generator, bias=False, shift=False):
    table = torch.randn(256, M, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(out_channels, 3 * M, kernel, kernel, generator=generator, dtype=torch.float64)
    bias = torch.randn(out_channels, generator=generator, dtype=torch.float64) if bias else None
    shift = torch.randn(3 * M, generator=generator, dtype=torch.float64) if shift else None
    module = module_like(form, table, weight, stride, padding, bias, shift)
    wanted, own = [table, weight.requires_grad_()], [table, module.weight]
    if bias is not None:
        wanted, own = [*wanted, bias.requires_grad_()], [*own, module.bias]
    expected = plain_conv(images, table, weight, stride, padding, bias, shift)
    out = module(images, table)
    assert out.shape == expected.shape
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-9)
    above = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for gradient, gradient_expected in zip(
        torch.autograd.grad(out, own, above), torch.autograd.grad(expected, wanted, above), strict=True
    ):
        torch.testing.assert_close(gradient, gradient_expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), SHAPES)
def test_values_and_gradients_are_those_of_the_plain_form(form, kernel, stride, padding):
    number = SHAPES.index((kernel, stride, padding))
    generator, draw = torch.Generator().manual_seed(number), random.Random(number)
    for _ in range(2):
        least = max(1, kernel - 2 * padding)
        height = draw.randint(least, least + 9)
        width = draw.choice([w for w in range(least, least + 10) if w != height])
        images = random_levels(generator, draw.randint(1, 4), height, width)
        M, out_channels = draw.randint(1, 20), draw.randint(1, 5)
        assert_equals_plain(form, images, M, out_channels, kernel, stride, padding, generator)


# kernel, stride, padding, height, width: alexnet's and resnet50's stems, and what is awkward: strides that leave pixels
# in no window, windows that begin in the padding, kernels smaller than the stride, an image of one window.
IMAGENET_SHAPES = [
    (11, 4, 2, 31, 23),
    (11, 4, 2, 7, 8),
    (11, 4, 0, 27, 14),
    (7, 2, 3, 19, 22),
    (7, 2, 3, 1, 2),
    (2, 5, 0, 13, 12),
    (3, 4, 3, 9, 6),
    (4, 3, 5, 6, 5),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("shape", "bias", "shift"), in_turn(IMAGENET_SHAPES, (True, False, True), (False, True, True)), ids=str
)
def test_other_kernels_and_strides_with_bias_and_shift(form, shape, bias, shift):
    kernel, stride, padding, height, width = shape
    generator = torch.Generator().manual_seed(sum(shape))
    images = random_levels(generator, 2, height, width)
    assert_equals_plain(form, images, 3, 4, kernel, stride, padding, generator, bias, shift)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (11, 4, 2)])
def test_a_batch_without_images(form, kernel, stride, padding):
    images = torch.zeros(0, 3, 33, 21, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    assert_equals_plain(form, images, 2, 5, kernel, stride, padding, generator, bias=True, shift=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "view",
    [
        lambda images: images.transpose(2, 3),
        lambda images: images[::2, :, 1:, ::2],
        lambda images: images.flip(3).contiguous(memory_format=torch.channels_last),
        lambda images: images[:, :1].expand(-1, 3, -1, -1),
    ],
    ids=["transposed", "sliced", "channels-last", "expanded"],
)
def test_images_that_are_not_contiguous(form, view):
    generator = torch.Generator().manual_seed(0)
    images = view(random_levels(generator, 4, 9, 7))
    assert_equals_plain(form, images, 5, 3, kernel=3, stride=1, padding=1, generator=generator)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_that_is_not_contiguous_and_weight_that_is_channels_last(form):
    generator = torch.Generator().manual_seed(0)
    images = random_levels(generator, 2, 5, 6)
    table = torch.randn(256, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 12, 3, 3, generator=generator, dtype=torch.float64)
    module = module_like(form, table, weight, 1, 1).to(memory_format=torch.channels_last)
    weight.requires_grad_()
    expected = plain_conv(images, table, weight, 1, 1).mean(dim=(2, 3)).sum(0)  # an expanded gradient comes back
    out = module(images, table).mean(dim=(2, 3)).sum(0)
    above = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    for got, want in zip(
        torch.autograd.grad(out, [table, module.weight], above),
        torch.autograd.grad(expected, [table, weight], above),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("images_a_chunk", "chunks"), [(1, 7), (2, 4), (3, 3), (7, 1), (50, 1)])
def test_the_backward_in_chunks_of_images(monkeypatch, images_a_chunk, chunks):
    height, width, kernel, out_channels = 5, 6, 3, 2
    monkeypatch.setattr(stem, "_CHUNK_BYTES", images_a_chunk * height * width * kernel**2 * out_channels * 8)
    counted = []
    index_add = torch.Tensor.index_add_

    def counting(self, dim, index, source):
        counted.append(len(source))
        return index_add(self, dim, index, source)

    monkeypatch.setattr(torch.Tensor, "index_add_", counting)
    generator = torch.Generator().manual_seed(0)
    images = random_levels(generator, 7, height, width)
    assert_equals_plain("folded", images, 3, out_channels, kernel, stride=1, padding=1, generator=generator)
    assert len(counted) == 3 * chunks  # one for each colour of each chunk
    assert sum(counted) == 3 * 7 * height * width


def test_a_chunk_is_never_smaller_than_an_image(monkeypatch):
    monkeypatch.setattr(stem, "_CHUNK_BYTES", 1)
    generator = torch.Generator().manual_seed(0)
    images = random_levels(generator, 3, 4, 5)
    assert_equals_plain("folded", images, 2, 2, kernel=3, stride=2, padding=1, generator=generator)


@pytest.mark.parametrize("encoding", [RGB(), OneHot(16), Thermometer(16), P2BE(16)], ids=lambda e: e.name)
def test_both_forms_with_the_encodings_own_tables(encoding):
    images = random_levels(torch.Generator().manual_seed(0), 2, 8, 6)
    module = EncodedConv2d(encoding, 4)
    table = encoding.table()
    expected = plain_conv(images, table, module.weight, 1, 1)
    for form in FORMS:
        module.form = form
        torch.testing.assert_close(module(images, table), expected, rtol=0, atol=1e-5)


def test_folded_takes_any_number_of_colours():
    generator = torch.Generator().manual_seed(0)
    images = random_levels(generator, 2, 5, 4)[:, :1]
    table = torch.randn(256, 3, generator=generator, dtype=torch.float64)
    weight = torch.randn(2, 3, 3, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        folded_conv2d(images, table, weight, 1, 1), plain_conv(images, table, weight, 1, 1), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("shifted", [False, True])
def test_folded_gives_the_same_bits_whether_a_gradient_is_wanted_or_not(shifted):
    """It takes the same products of matrices, even where another one would round in another way."""
    generator = torch.Generator().manual_seed(0)
    images = random_levels(generator, 2, 5, 4)
    encoding, weight = P2BE(20), torch.randn(4, 60, 3, 3, generator=generator, requires_grad=True)
    shift = torch.rand(60) if shifted else None
    with OtherRounding(0):
        out = folded_conv2d(images, encoding.table(), weight, 1, 1, None, shift)
        with torch.no_grad():
            assert torch.equal(folded_conv2d(images, encoding.table(), weight, 1, 1, None, shift), out)


@pytest.mark.parametrize(("M", "folds"), [(1, False), (15, False), (16, True), (64, True)])
def test_auto_folds_on_the_cpu_from_m_16(monkeypatch, M, folds):
    called = []
    original = stem.folded_conv2d
    monkeypatch.setattr(stem, "folded_conv2d", lambda *arguments: called.append(1) or original(*arguments))
    encoding = P2BE(M)
    images = random_levels(torch.Generator().manual_seed(0), 1, 4, 4)
    EncodedConv2d(encoding, 2, form="auto")(images, encoding.table())
    assert bool(called) == folds


@pytest.mark.parametrize("form", FORMS)
def test_the_output_is_channels_last(form):
    encoding = OneHot(8)
    images = random_levels(torch.Generator().manual_seed(0), 2, 6, 5)
    out = EncodedConv2d(encoding, 4, form=form)(images, encoding.table())
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "shifted"), [(3, 1, 1, False), (7, 2, 3, True), (11, 4, 2, False), (11, 4, 2, True)]
)
def test_convolving_codes_equals_the_forward_of_their_images(form, kernel, stride, padding, shifted):
    encoding = Thermometer(12)
    images = random_levels(torch.Generator().manual_seed(0), 2, 9, 10)
    shift = torch.rand(36) if shifted else None
    module = EncodedConv2d(encoding, 4, kernel, stride, padding, bias=True, shift=shift, form=form).double()
    codes = encoding.double()(images)
    torch.testing.assert_close(module.convolve(codes), module(images, encoding.table()), rtol=0, atol=1e-12)


def test_convolve_gives_a_gradient_to_the_codes():
    codes = torch.rand(2, 6, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    module = EncodedConv2d(OneHot(2), 3).double()
    (gradient,) = torch.autograd.grad(module.convolve(codes).sum(), codes)
    (expected,) = torch.autograd.grad(F.conv2d(codes, module.weight, padding=1).sum(), codes)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


def under_bf16(encoding, form):
    """Output and gradient of the weight with and without autocast."""
    images = random_levels(torch.Generator().manual_seed(0), 4, 16, 16)
    module = EncodedConv2d(encoding, 4, form=form)
    outputs = []
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = module(images, encoding.table())
        (gradient,) = torch.autograd.grad(out.float().square().sum(), module.weight)
        outputs.append((out, gradient))
    return outputs


@pytest.mark.parametrize(("encoding", "form"), [(RGB(), "lookup"), (RGB(), "folded"), (Thermometer(16), "folded")])
def test_under_autocast_what_bf16_would_harm_stays_float32(encoding, form):
    (out, gradient), (expected, gradient_expected) = under_bf16(encoding, form)
    assert torch.equal(out, expected)
    assert torch.equal(gradient, gradient_expected)


def test_under_autocast_codes_that_a_shift_made_real_stay_float32():
    images = random_levels(torch.Generator().manual_seed(0), 2, 8, 8)
    encoding = Thermometer(2)
    module = EncodedConv2d(encoding, 4, shift=torch.rand(6), bias=True, form="lookup")
    with torch.autocast("cpu", torch.bfloat16):
        out = module(images, encoding.table())
    assert torch.equal(out, module(images, encoding.table()))


def test_under_autocast_binary_codes_are_convolved_in_bf16():
    (out, gradient), (expected, gradient_expected) = under_bf16(Thermometer(16), "lookup")
    assert out.dtype == torch.bfloat16
    assert gradient.dtype == torch.float32
    # 8 significant bits of weight and output.
    torch.testing.assert_close(out.float(), expected, rtol=2**-7, atol=2**-7 * expected.abs().max().item())
    torch.testing.assert_close(gradient, gradient_expected, rtol=0.02, atol=0.02 * gradient.abs().max().item())


@pytest.mark.parametrize(("M", "out_channels", "kernel"), [(64, 16, 3), (1, 64, 7), (64, 64, 1)])
def test_initial_weights(M, out_channels, kernel):
    # spec/backbones.md: N(0, 2 / (kh * kw * out_channels)), whatever the number of input channels.
    torch.manual_seed(0)
    weight = EncodedConv2d(P2BE(M), out_channels, kernel).weight.detach()
    assert weight.shape == (out_channels, 3 * M, kernel, kernel)
    std = math.sqrt(2 / (kernel * kernel * out_channels))
    n = weight.numel()
    assert abs(weight.mean().item()) < 5 * std / math.sqrt(n)
    assert abs(weight.std().item() / std - 1) < 5 / math.sqrt(2 * n)


@pytest.mark.parametrize(("M", "kernel"), [(64, 3), (1, 11)])
def test_initial_bias_and_weights_as_pytorchs(M, kernel):
    # torch.nn.Conv2d's documentation: uniform within the square root of 1 / (in_channels * kh * kw), both.
    torch.manual_seed(0)
    stem = EncodedConv2d(P2BE(M), 96, kernel, bias=True, init="pytorch")
    bound = 1 / math.sqrt(3 * M * kernel**2)
    for values in (stem.weight.detach(), stem.bias.detach()):
        assert 0.9 * bound < values.max() <= bound
        assert -bound <= values.min() < -0.9 * bound
    assert abs(stem.weight.std().item() / bound * math.sqrt(3) - 1) < 0.03


def test_a_shift_is_kept_with_the_weights_and_none_is_not():
    assert list(EncodedConv2d(RGB(), 2, bias=True, shift=torch.rand(3)).state_dict()) == ["weight", "bias", "shift"]
    assert list(EncodedConv2d(RGB(), 2).state_dict()) == ["weight"]


def test_the_encoding_is_not_the_stems():
    assert [name for name, _ in EncodedConv2d(P2BE(4), 2).named_parameters()] == ["weight"]


def test_under_autocast_relaxed_codes_stay_float32():
    codes = torch.rand(2, 3 * 16, 8, 8)
    module = EncodedConv2d(Thermometer(16), 4)
    with torch.autocast("cpu", torch.bfloat16):
        out = module.convolve(codes)
    assert torch.equal(out, module.convolve(codes))
