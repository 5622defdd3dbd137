"""Batch norms of an attacked network against PyTorch's own.

That the two are equal to the bit, where they are, is seen by ``tests/golden``.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.frozen_norms import frozen_norms


def norm_of(channels: int) -> nn.BatchNorm2d:
    generator = torch.Generator().manual_seed(channels)
    norm = nn.BatchNorm2d(channels, eps=1e-3).eval().requires_grad_(False)
    for each in (norm.running_mean, norm.weight, norm.bias):
        each.copy_(torch.randn(channels, generator=generator))
    norm.running_var.copy_(torch.rand(channels, generator=generator) * 3 + 0.01)
    return norm


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(3, 16, 8, 8), (2, 5, 7, 3), (4, 64, 1, 1)])
def test_outputs_and_gradients_are_pytorchs(shape, memory):
    norm, generator = norm_of(shape[1]), torch.Generator().manual_seed(0)
    features, gradient = (torch.randn(shape, generator=generator) for _ in range(2))
    features = features.contiguous(memory_format=memory).requires_grad_()
    gradient = gradient.contiguous(memory_format=memory)
    plain = F.batch_norm(features, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    with frozen_norms(norm):
        frozen = norm(features)
    assert type(frozen.grad_fn).__name__ == "_FrozenNormBackward"
    torch.testing.assert_close(frozen, plain)
    of_frozen, of_plain = (torch.autograd.grad(each, features, gradient)[0] for each in (frozen, plain))
    torch.testing.assert_close(of_frozen, of_plain)
    assert of_frozen.stride() == of_plain.stride()


def test_an_attacked_network_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    with attacked(model):
        assert type(model(images).grad_fn).__name__ == "_FrozenNormBackward"
    assert "forward" not in vars(model[1])
    before = model[1].running_mean.clone()
    model(images).sum().backward()
    assert not torch.equal(model[1].running_mean, before)
    assert model[1].weight.grad is not None


class Doubled(nn.BatchNorm2d):
    """One whose forward pass is its own."""

    def forward(self, features):
        return 2 * super().forward(features)


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, track_running_stats=False), Doubled(4)]
)
def test_other_norms_answer_as_they_do_alone(norm):
    images = torch.rand(2, 4, 8, 8, requires_grad=True)
    alone = norm.eval()(images)
    with attacked(norm):
        assert torch.equal(norm(images), alone)


def test_a_norm_in_training_learns_its_statistics():
    norm = norm_of(4).train()
    before = norm.running_mean.clone()
    with frozen_norms(norm):
        norm(torch.rand(2, 4, 8, 8, requires_grad=True))
    assert not torch.equal(norm.running_mean, before)
