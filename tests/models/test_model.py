"""The classifier as a whole: what it takes, its two ways in, its size."""

import io

import pytest
import torch

from p2be_exp.backbones import Backbone, StemShape, build_backbone
from p2be_exp.config import training_config
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.models.model import EncodedClassifier, build_model
from p2be_exp.models.model_input import to_levels
from usual import P2BE


def build(*overrides: str, num_classes: int = 10) -> EncodedClassifier:
    torch.manual_seed(0)
    return build_model(training_config(overrides), num_classes)


def small(encoding) -> EncodedClassifier:
    torch.manual_seed(0)
    return EncodedClassifier(encoding, build_backbone("wrn16_1", 10)).eval()


def levels(batch: int = 3, size: int = 16) -> torch.Tensor:
    return torch.randint(256, (batch, 3, size, size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


# -- images --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_level_survives_a_float(dtype):
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_levels((every.double() / 255).to(dtype)), every)


def test_floats_are_taken_to_the_nearest_level_and_clipped():
    floats = torch.tensor([-0.5, 0.49 / 255, 0.51 / 255, 99.49 / 255, 99.51 / 255, 254.6 / 255, 1.7])
    assert to_levels(floats).tolist() == [0, 0, 1, 99, 100, 255, 255]


@pytest.mark.parametrize("encoding", [RGB(), OneHot(16), Thermometer(16), P2BE(16)], ids=lambda e: e.name)
@torch.no_grad()
def test_floats_and_levels_give_the_same_logits(encoding):
    model, images = small(encoding), levels()
    noise = torch.empty(images.shape).uniform_(-0.49, 0.49, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model(((images + noise) / 255).clamp(0, 1)), model(images))
    assert not torch.equal(model(((images + noise * 4) / 255).clamp(0, 1)), model(images))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool])
def test_images_of_another_dtype_are_refused(dtype):
    with pytest.raises(TypeError, match="uint8 levels or floats"):
        small(RGB())(levels().to(dtype))


# -- logits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [RGB(), OneHot(16), Thermometer(5), P2BE(16)], ids=lambda e: e.name)
@torch.no_grad()
def test_forward_of_codes_equals_forward_of_images(encoding):
    model, images = small(encoding).double(), levels()
    torch.testing.assert_close(model.forward_codes(encoding(images)), model(images), rtol=0, atol=1e-10)


@pytest.mark.parametrize("encoding", [RGB(), Thermometer(5), P2BE(16)], ids=lambda e: e.name)
def test_every_way_in_has_the_stems_bias_and_shift(encoding):
    torch.manual_seed(0)
    model = EncodedClassifier(encoding, WithBias(), torch.rand(3 * encoding.M)).double().eval()
    images = levels()
    codes = encoding.table()[images.long()].permute(0, 1, 4, 2, 3).flatten(1, 2).detach()
    shifted = codes - model.stem.shift.view(-1, 1, 1)
    expected = torch.nn.functional.conv2d(shifted, model.stem.weight, model.stem.bias, 2, 3).mean(dim=(2, 3))
    twin = model.surrogate("secant")(images.double().div(255).requires_grad_())
    for logits in (model(images), model.forward_codes(codes), twin):
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-10)


class WithBias(Backbone):
    stem = StemShape(out_channels=4, kernel_size=7, stride=2, padding=3, bias=True)

    def forward(self, features):
        return features.mean(dim=(2, 3))


@torch.no_grad()
def test_the_encoding_the_stem_and_the_trunk_are_what_is_computed():
    model, images = small(Thermometer(9)).double(), levels()
    codes = model.encoding.table()[images.long()].permute(0, 1, 4, 2, 3).flatten(1, 2)
    features = torch.nn.functional.conv2d(codes, model.stem.weight, padding=1)
    torch.testing.assert_close(model(images), model.trunk(features), rtol=0, atol=1e-10)


@torch.no_grad()
def test_an_image_has_the_same_logits_alone_and_in_any_batch():
    model, images = small(P2BE(16)).double(), levels(5)
    together = model(images)
    assert torch.equal(together, model(images))
    assert model(images[:1]).shape == (1, 10)
    alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-10)


def test_training_gives_a_gradient_to_every_parameter():
    model = small(P2BE(16)).train()
    model(levels()).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


# -- traced --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("encoding", [RGB(), P2BE(8), P2BE(16), OneHot(64), Thermometer(16)], ids=lambda e: e.name)
def test_a_trace_has_the_models_logits_and_can_be_saved(encoding):
    model, file = small(encoding), io.BytesIO()
    torch.jit.save(torch.jit.trace(model, levels()), file)
    file.seek(0)
    traced, images = torch.jit.load(file), levels(5)
    torch.testing.assert_close(traced(images), model(images), rtol=1e-4, atol=1e-4)
    twin = torch.jit.trace(model.surrogate("secant"), levels() / 255)
    torch.testing.assert_close(twin(images / 255), model(images), rtol=1e-4, atol=1e-4)


# -- building ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "num_classes", "parameters"),
    [  # the table in spec/backbones.md, from the reference's own models
        ("rgb", 10, 2_243_546),
        ("onehot", 10, 2_270_762),
        ("thermometer", 10, 2_270_762),
        ("p2be", 10, 2_287_146),
        ("rgb", 100, 2_255_156),
        ("onehot", 100, 2_282_372),
        ("thermometer", 100, 2_282_372),
        ("p2be", 100, 2_298_756),
    ],
)
def test_number_of_parameters_of_wrn40_2(encoding, num_classes, parameters):
    model = build(f"encoding={encoding}", "backbone=wrn40_2", num_classes=num_classes)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_the_weights_depend_on_torchs_random_state_alone():
    overrides = ("encoding=p2be", "encoding.M=4", "backbone=wrn16_1")
    first, again = build(*overrides).state_dict(), build(*overrides).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    torch.manual_seed(1)
    other = build_model(training_config(overrides), 10).state_dict()
    assert not torch.equal(first["encoding.weight"], other["encoding.weight"])
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


def test_the_stem_is_the_one_the_backbone_asks_for():
    model = build("encoding=p2be", "encoding.M=8", "backbone=wrn16_1")
    assert model.stem.weight.shape == (16, 24, 3, 3)
    assert (model.stem.stride, model.stem.padding) == (1, 1)
