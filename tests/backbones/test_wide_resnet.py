"""The Wide ResNet's trunk against a plain functional transcription of spec/backbones.md with the same weights."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from p2be_exp.backbones import WideResNet


def norm(features, weights, name, train):
    """Batch norm by its formula; in training over batch and positions with the biased variance."""
    if train:
        mean = features.mean(dim=(0, 2, 3))
        variance = ((features - mean.view(1, -1, 1, 1)) ** 2).mean(dim=(0, 2, 3))
    else:
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    scaled = (features - mean.view(1, -1, 1, 1)) / (variance.view(1, -1, 1, 1) + 1e-5).sqrt()
    return scaled * weights[f"{name}.weight"].view(1, -1, 1, 1) + weights[f"{name}.bias"].view(1, -1, 1, 1)


def plain_trunk(features, weights, blocks, widths, train):
    """Pre-activation blocks; only where the width changes the shortcut is a convolution, of the normalised input."""
    width = 16
    for group, (out_width, stride) in enumerate(zip(widths, (1, 2, 2), strict=True)):
        for block in range(blocks):
            name, step = f"groups.{group}.{block}", stride if block == 0 else 1
            active = norm(features, weights, f"{name}.norm1", train).relu()
            inner = F.conv2d(active, weights[f"{name}.conv1.weight"], stride=step, padding=1)
            inner = norm(inner, weights, f"{name}.norm2", train).relu()
            inner = F.conv2d(inner, weights[f"{name}.conv2.weight"], padding=1)
            if width != out_width:
                shortcut = F.conv2d(active, weights[f"{name}.shortcut.weight"], stride=step)
            else:
                shortcut = features
            features, width = shortcut + inner, out_width
    features = norm(features, weights, "norm", train).relu()
    pooled = F.avg_pool2d(features, features.shape[-1]).flatten(1)
    return pooled @ weights["classifier.weight"].T + weights["classifier.bias"]


def random_trunk(depth, widen, num_classes):
    """In float64, with batch norms that are not the identity."""
    torch.manual_seed(0)
    trunk = WideResNet(depth, widen, num_classes).double()
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.running_var):
                values.uniform_(0.5, 1.5)
            for values in (module.bias.data, module.running_mean):
                values.uniform_(-0.5, 0.5)
    nn.init.normal_(trunk.classifier.bias)
    return trunk


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    ("depth", "widen", "blocks", "widths", "size"),
    [(40, 2, 6, (32, 64, 128), 16), (16, 1, 2, (16, 32, 64), 32), (10, 3, 1, (48, 96, 192), 8)],
    ids=["wrn40_2", "wrn16_1", "wrn10_3"],
)
def test_forward(depth, widen, blocks, widths, size, train):
    trunk = random_trunk(depth, widen, 7).train(train)
    features = torch.randn(2, 16, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = {name: value.clone() for name, value in trunk.state_dict().items()}
    expected = plain_trunk(features, weights, blocks, widths, train)
    torch.testing.assert_close(trunk(features), expected, rtol=1e-9, atol=1e-9)


def test_every_weight_is_used_by_the_transcription():
    weights = set(random_trunk(16, 1, 7).state_dict())
    used = set()

    class Noting(dict):
        def __getitem__(self, name):
            used.add(name)
            return super().__getitem__(name)

    trunk = random_trunk(16, 1, 7)
    plain_trunk(torch.randn(1, 16, 8, 8, dtype=torch.float64), Noting(trunk.state_dict()), 2, (16, 32, 64), False)
    assert {name for name in weights if "num_batches" not in name} == used


def test_images_of_other_sizes():
    trunk = WideResNet(10, 1, 4).eval()
    assert trunk(torch.randn(1, 16, 7, 12)).shape == (1, 4)


def test_initialisation():
    # spec/backbones.md: convolutions N(0, 2 / (kh * kw * out_channels)); batch norms 1 and 0; linear bias 0.
    torch.manual_seed(0)
    for name, module in WideResNet(40, 2, 100).named_modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            weight = module.weight.detach()
            kernel_h, kernel_w = module.kernel_size
            std = math.sqrt(2 / (kernel_h * kernel_w * module.out_channels))
            assert abs(weight.std().item() / std - 1) < 5 / math.sqrt(2 * weight.numel()), name
            assert abs(weight.mean().item()) < 5 * std / math.sqrt(weight.numel()), name
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
        elif isinstance(module, nn.Linear):
            assert (module.bias == 0).all()
            # PyTorch's default: uniform within 1 / sqrt(in_features).
            assert 0.95 < module.weight.abs().max().item() * math.sqrt(module.in_features) <= 1


@pytest.mark.parametrize("depth", [39, 12, 41])
def test_a_depth_that_is_no_6n_plus_4_is_refused(depth):
    with pytest.raises(ValueError, match=f"depth={depth}"):
        WideResNet(depth, 1, 10)
