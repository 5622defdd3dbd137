"""Constants are made once, and fake ones are not found by real calls."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from p2be_exp.system.device_constants import kept_on_device


def test_constants_are_made_once_for_each_key_and_mode():
    made = []

    @kept_on_device
    def ones(n, device):
        made.append(n)
        return torch.ones(n, device=device)

    cpu = torch.device("cpu")
    first = ones(3, cpu)
    assert ones(3, cpu) is first
    assert ones(2, cpu).shape == (2,)
    assert made == [3, 2]
    with FakeTensorMode():
        fake = ones(3, cpu)
        assert ones(3, cpu) is fake
    with FakeTensorMode():
        assert ones(3, cpu) is not fake
    assert torch.equal(ones(3, cpu), first)
    assert made == [3, 2, 3, 3, 3]
