"""Surrogate gradients: slopes against plain formulas, the gradient against autograd of explicit soft codes."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from grids import in_turn
from p2be_exp.backbones import Backbone, StemShape, build_backbone
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.errors import BadInput
from p2be_exp.models import surrogate
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.models.stem import folded_conv2d
from p2be_exp.models.surrogate import SurrogateClassifier, level_gradient, slopes
from usual import P2BE

NAMES = ["secant", "smooth", "interpolate"]


def p2be(M):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(M)
        return P2BE(M)


ENCODINGS = [RGB(), OneHot(16), Thermometer(20), Thermometer(5), p2be(8), p2be(24)]
PAIRS = [(name, e) for name in NAMES for e in ENCODINGS if not (name == "interpolate" and e.name == "p2be")]


def ids(value):
    return f"{value.name}{value.M}" if hasattr(value, "M") else str(value)


def levels(batch=3, height=9, width=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch, 3, height, width or height), generator=generator).to(torch.uint8)


def small(encoding) -> EncodedClassifier:
    torch.manual_seed(0)
    return EncodedClassifier(copy.deepcopy(encoding), build_backbone("wrn16_1", 10)).eval()


# -- slopes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "radius"), in_turn(ENCODINGS[1:], [1, 3, 8, 255]), ids=ids)
def test_secant_is_the_slope_of_the_chord(encoding, radius):
    table, got = encoding.table().tolist(), slopes(encoding, "secant", radius=radius)
    for k in range(256):
        above, below = min(k + radius, 255), max(k - radius, 0)
        expected = [(a - b) / (above - below) for a, b in zip(table[above], table[below], strict=True)]
        assert got[k].tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("encoding", "width"), in_turn(ENCODINGS[1:], [0.01, 1.0, 8.0]), ids=ids)
def test_smooth_is_the_weighted_mean_of_the_differences(encoding, width):
    table, got = encoding.table().tolist(), slopes(encoding, "smooth", width=width)
    for k in (0, 1, 7, 100, 128, 254, 255):
        nearest = 0.25  # taken out of every exponent: the plain weights of the narrowest width are all 0
        weight = [math.exp(-((k - j - 0.5) ** 2 - nearest) / (2 * width * width)) for j in range(255)]
        for m in range(encoding.M):
            total = sum(w * (table[j + 1][m] - table[j][m]) for j, w in enumerate(weight))
            assert got[k, m].item() == pytest.approx(total / sum(weight), abs=1e-6)


@torch.no_grad()
def test_smooth_is_the_derivative_of_the_smoothed_table():
    """Away from the ends, where no weight is missing."""
    encoding, width, h = p2be(4).double(), 6.0, 1e-4
    table = encoding.table()
    at = torch.arange(256).double()

    def smoothed(x):
        weight = torch.exp(-(((x - at) / width) ** 2) / 2)
        return weight @ table / weight.sum()

    got = slopes(encoding, "smooth", width=width)
    for k in (60, 128, 190):
        torch.testing.assert_close(got[k], (smoothed(k + h) - smoothed(k - h)) / (2 * h), rtol=2e-2, atol=2e-4)


@pytest.mark.parametrize("M", [2, 5, 10, 16, 64, 255, 256])
@pytest.mark.parametrize("cls", [OneHot, Thermometer])
def test_interpolate_runs_between_the_centres_of_the_buckets(cls, M):
    encoding = cls(M)
    table, got = encoding.table().double(), slopes(encoding, "interpolate")
    buckets = [[k for k in range(256) if min(k * M // 255, M - 1) == j] for j in range(M)]
    centres = [sum(b) / len(b) for b in buckets]

    def run(x):  # the piecewise linear code, its outer segments prolonged
        j = max(0, min(M - 2, sum(c <= x for c in centres) - 1))
        here, there = table[buckets[j][0]], table[buckets[j + 1][0]]
        return here + (x - centres[j]) / (centres[j + 1] - centres[j]) * (there - here)

    for k in range(256):
        torch.testing.assert_close(got[k].double(), (run(k + 0.25) - run(k - 0.25)) / 0.5, rtol=0, atol=1e-6)


def test_one_bucket_has_no_slope():
    assert not slopes(OneHot(1), "interpolate").any()


@pytest.mark.parametrize("name", NAMES)
def test_rgb_is_exact(name):
    assert torch.equal(slopes(RGB(), name, radius=3, width=5), torch.full((256, 1), 1 / 255))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encoding", ENCODINGS[:4], ids=ids)
def test_every_level_has_a_slope(name, encoding):
    """So that a gradient is exactly 0 only where the network's is."""
    got = slopes(encoding, name, radius=255 // encoding.M + 1)
    assert got.shape == (256, encoding.M)
    assert not got.requires_grad
    assert got.any(dim=1).all()


def test_slopes_do_not_lose_precision_under_autocast():
    expected = slopes(P2BE(4).double(), "smooth")
    assert expected.dtype == torch.float64
    for encoding in ENCODINGS[1:]:
        expected = slopes(encoding, "smooth")
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(slopes(encoding, "smooth"), expected)


@pytest.mark.parametrize(
    ("encoding", "options", "line"),
    [
        (P2BE(4), {"name": "interpolate"}, "encoding=p2be has no buckets"),
        (
            RGB(),
            {"name": "straight_through"},
            "surrogate='straight_through': must be one of secant, smooth, interpolate",
        ),
        (P2BE(4), {"name": "secant", "radius": 0}, "radius=0: must be 1 level or more"),
        (P2BE(4), {"name": "smooth", "width": 0.0}, "width=0.0: must be above 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(encoding, options, line):
    with pytest.raises(BadInput, match=line) as refused:
        small(encoding).surrogate(**options)
    assert "\n" not in str(refused.value)


# -- gradient ------------------------------------------------------------------------------------------------------


def soft_features(images, values, table, slope, weight, stride, padding):
    """The convolution of codes that follow the slopes, by indexing."""
    k = images.long()
    codes = table[k] + slope[k] * (values - values.detach()).unsqueeze(-1)  # (B, 3, H, W, M)
    return F.conv2d(codes.permute(0, 1, 4, 2, 3).flatten(1, 2), weight, stride=stride, padding=padding)


@pytest.mark.parametrize("gathers", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "M"),
    [(3, 1, 1, 5), (1, 1, 0, 1), (5, 2, 2, 5), (7, 2, 3, 1), (3, 3, 0, 5), (11, 4, 6, 1), (2, 3, 0, 5)],
)
def test_gradient_is_that_of_the_soft_codes(monkeypatch, gathers, kernel, stride, padding, M):
    monkeypatch.setattr(surrogate, "_GATHER_FROM_M", 1 if gathers else 1000)
    monkeypatch.setattr(surrogate, "_CHUNK_BYTES", {"cpu": 20_000})
    generator = torch.Generator().manual_seed(0)
    images = levels(5, 9, 11)
    table, slope = (torch.randn(256, M, generator=generator, dtype=torch.float64) for _ in range(2))
    weight = torch.randn(4, 3 * M, kernel, kernel, generator=generator, dtype=torch.float64)
    values = images.double().requires_grad_()
    features = soft_features(images, values, table, slope, weight, stride, padding)
    above = torch.randn(features.shape, generator=generator, dtype=torch.float64)
    (expected,) = torch.autograd.grad(features, values, above)
    got = level_gradient(above, images, slope, weight, stride, padding)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
    assert level_gradient(above[:0], images[:0], slope, weight, stride, padding).shape == (0, 3, 9, 11)


@pytest.mark.parametrize("M", [4, 32])
def test_no_intermediate_result_is_larger_than_a_chunk(monkeypatch, M):
    monkeypatch.setattr(surrogate, "_CHUNK_BYTES", {"cpu": 100_000})
    images, weight = levels(40, 8), torch.randn(4, 3 * M, 3, 3)
    sizes = []
    embedding = F.embedding
    monkeypatch.setattr(
        F, "embedding", lambda *a: sizes.append((out := embedding(*a)).numel() * out.element_size()) or out
    )
    level_gradient(torch.randn(40, 4, 8, 8), images, torch.randn(256, M), weight, 1, 1)
    assert max(sizes) <= 100_000
    assert len(sizes) > 1


@pytest.mark.parametrize(("name", "encoding"), PAIRS, ids=ids)
def test_gradient_of_the_classifier_to_floats_and_to_parameters(name, encoding):
    model, images = small(encoding).double(), levels()
    floats = (images / 255).double().requires_grad_()
    weight = model.stem.weight
    got = torch.autograd.grad(model.surrogate(name, 5, 6.0)(floats).square().sum(), [floats, weight])
    table, slope = model.encoding.table().double(), slopes(model.encoding, name, 5, 6.0).double()
    features = soft_features(images, floats * 255, table, slope, weight, 1, 1)
    expected = torch.autograd.grad(model.trunk(features).square().sum(), [floats, weight])
    assert expected[0].abs().max() > 1e-3
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_rgb_gets_the_gradient_of_plain_floats():
    model, images = small(RGB()).double(), levels()
    plain = (images.double() / 255).requires_grad_()
    (expected,) = torch.autograd.grad(model.forward_codes(plain).square().sum(), plain)
    floats = (images.double() / 255).requires_grad_()
    for name in NAMES:
        (got,) = torch.autograd.grad(model.surrogate(name)(floats).square().sum(), floats)
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)  # the table is float32


@pytest.mark.parametrize("encoding", [RGB(), Thermometer(4), Thermometer(32)], ids=ids)
def test_gradient_under_autocast(encoding):
    model, floats = small(encoding), (levels() / 255).requires_grad_()
    twin = model.surrogate("secant")
    (expected,) = torch.autograd.grad(twin(floats).sum(), floats)
    with torch.autocast("cpu", torch.bfloat16):
        (got,) = torch.autograd.grad(twin(floats).sum(), floats)
    assert got.dtype == torch.float32
    assert F.cosine_similarity(got.flatten(), expected.flatten(), dim=0) > 0.98


@pytest.mark.parametrize("M", [4, 32])
def test_the_way_to_the_levels_keeps_full_precision_under_autocast(M):
    above, images = torch.randn(2, 4, 8, 8), levels(2, 8)
    slope, weight = torch.randn(256, M), torch.randn(4, 3 * M, 3, 3)
    expected = level_gradient(above, images, slope, weight, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(level_gradient(above, images, slope, weight, 1, 1), expected)
        assert level_gradient(above.bfloat16(), images, slope, weight, 1, 1).dtype == torch.float32


def test_the_slopes_follow_a_table_that_learns():
    model, floats = small(P2BE(8)), (levels() / 255).requires_grad_()
    twin = model.surrogate("secant")
    (before,) = torch.autograd.grad(twin(floats).sum(), floats)
    with torch.no_grad():
        model.encoding.weight.copy_(model.encoding.weight.flip(0))
    (after,) = torch.autograd.grad(twin(floats).sum(), floats)
    (fresh,) = torch.autograd.grad(model.surrogate("secant")(floats).sum(), floats)
    assert torch.equal(after, fresh)
    assert not torch.equal(after, before)


# -- forward -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "encoding"), PAIRS, ids=ids)
def test_the_logits_are_the_models_to_the_bit(name, encoding):
    model, images = small(encoding), levels(4, 16)
    twin = model.surrogate(name)
    expected = model(images)
    off = torch.empty(images.shape).uniform_(-0.49, 0.49, generator=torch.Generator().manual_seed(1))
    shifted = ((images + off) / 255).clamp(0, 1)
    for floats in (images / 255, shifted, shifted.double()):
        assert torch.equal(twin(floats), expected)
        assert torch.equal(twin(floats.requires_grad_()), expected)
    assert torch.equal(twin(images), expected)
    with torch.no_grad():
        assert torch.equal(twin(floats), expected)


def test_the_gradient_has_the_dtype_of_the_images_and_reaches_both_ends():
    model = small(Thermometer(20))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        floats = ((levels().double() - 20) / 200).clamp(0, 1).to(dtype).requires_grad_()
        model.surrogate("secant", 20)(floats).sum().backward()
        assert floats.grad.dtype == dtype
        assert floats.grad[floats == 0].any()
        assert floats.grad[floats == 1].any()


def test_the_twin_shares_mode_and_parameters():
    model = small(P2BE(4))
    twin = model.surrogate("secant")
    assert isinstance(twin, SurrogateClassifier)
    assert not twin.training
    assert {id(p) for p in twin.parameters()} == {id(p) for p in model.parameters()}
    twin.train()
    assert model.training
    assert model.surrogate("secant").training


def test_the_twin_says_what_it_is():
    model = small(P2BE(4))
    assert model.surrogate("secant", 5).extra_repr() == "secant, radius=5"
    assert model.surrogate("smooth", width=2.0).extra_repr() == "smooth, width=2.0"
    assert small(RGB()).surrogate("interpolate").extra_repr() == "interpolate"


# -- the bare model ------------------------------------------------------------------------------------------------


def test_the_bare_model_explains_that_it_has_no_gradient():
    model, floats = small(P2BE(4)), (levels() / 255).requires_grad_()
    with pytest.raises(RuntimeError, match=r"attack model\.surrogate\('secant'\)") as refused:
        model(floats)
    assert "\n" not in str(refused.value)
    with torch.no_grad():
        assert model(floats).shape == (3, 10)


# -- a third-party library -----------------------------------------------------------------------------------------


class Vote(Backbone):
    """A trunk that a few steps of training make certain of bright against dark images."""

    stem = StemShape(out_channels=8)

    def __init__(self):
        super().__init__()
        self.classifier = torch.nn.Linear(8, 2)

    def forward(self, features):
        return self.classifier(features.relu().mean(dim=(2, 3)))


@pytest.fixture(scope="module", params=[RGB(), Thermometer(16), P2BE(16, init="thermometer")], ids=ids)
def trained(request):
    """A classifier that tells images around level 110 from images around level 140."""
    torch.manual_seed(0)
    model = EncodedClassifier(copy.deepcopy(request.param), Vote())
    labels = torch.arange(64) % 2
    images = (110 + 30 * labels.view(-1, 1, 1, 1) + torch.randint(-10, 11, (64, 3, 8, 8))).to(torch.uint8)
    optimizer = torch.optim.Adam([*model.stem.parameters(), *model.trunk.parameters()], 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    model.eval().requires_grad_(False)
    assert (model(images).argmax(1) == labels).float().mean() > 0.95
    return model, images, labels


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_foolbox_attacks_the_twin(trained):
    foolbox = pytest.importorskip("foolbox")
    model, images, labels = trained
    target = foolbox.PyTorchModel(model.surrogate("secant", radius=40), bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(steps=20)
    _, (small_ball, large_ball), success = attack(target, images / 255, labels, epsilons=[1 / 255, 40 / 255])
    assert ((large_ball - images / 255).abs() <= 40 / 255 + 1e-6).all()
    assert ((small_ball - images / 255).abs() <= 1 / 255 + 1e-6).all()
    assert (model(large_ball).argmax(1) == labels).float().mean() < 0.2
    assert success[1].float().mean() > 0.8


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_foolbox_on_the_bare_model_ends_with_our_explanation(trained):
    foolbox = pytest.importorskip("foolbox")
    model, images, labels = trained
    with pytest.raises(RuntimeError, match=r"model\.surrogate\('secant'\)"):
        foolbox.attacks.LinfPGD(steps=2)(
            foolbox.PyTorchModel(model, bounds=(0, 1)), images / 255, labels, epsilons=[0.03]
        )


def test_the_folded_stem_is_what_a_long_code_goes_through():
    """The twin's forward pass is not a slower one: no codes are built."""
    model = small(Thermometer(32))
    images = levels(2)
    expected = model.trunk(folded_conv2d(images, model.encoding.table(), model.stem.weight, 1, 1))
    assert torch.equal(model.surrogate("secant")((images / 255).requires_grad_()), expected)
