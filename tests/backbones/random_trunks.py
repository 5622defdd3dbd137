"""Trunks whose batch norms and biases are not the identity, and stem features for them."""

import torch
from torch import Tensor, nn

from p2be_exp.backbones import Backbone


def randomised(trunk: nn.Module) -> nn.Module:
    """In float64, with random batch norms and biases."""
    torch.manual_seed(1)
    trunk = trunk.double()
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.running_var):
                values.uniform_(0.5, 1.5)
            for values in (module.bias.data, module.running_mean):
                values.uniform_(-0.5, 0.5)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.bias)
    return trunk


def stem_features(trunk: Backbone, batch: int, size: int) -> Tensor:
    """Normal numbers in place of what the stem gives, float64."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, trunk.stem.out_channels, size, size, generator=generator, dtype=torch.float64)


def copy_in_order(source: nn.Module, target: nn.Module) -> None:
    """Copy all parameters and buffers between two networks that register them in the same order."""
    ours, theirs = source.state_dict(), target.state_dict()
    assert [value.shape for value in ours.values()] == [value.shape for value in theirs.values()]
    target.load_state_dict(dict(zip(theirs, ours.values(), strict=True)))


def relative_std(weight: Tensor, std: float) -> float:
    """Deviation of a weight's standard deviation from ``std``, in its standard errors."""
    return abs(weight.std().item() / std - 1) * (2 * weight.numel()) ** 0.5
