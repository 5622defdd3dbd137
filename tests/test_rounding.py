"""The roundings of a CPU that nobody has: what they change, and what every CPU gets exactly."""

import pytest
import torch
from torch.nn import functional as F

from rounding import OtherRounding


def values(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


OPERATIONS = {
    "matmul": lambda x: x @ x.T,
    "sum": lambda x: x.sum(1),
    "mean": lambda x: x.view(-1, 4).mean(1),
    "conv2d": lambda x: F.conv2d(x.view(2, 3, 8, 8), x[:, :27].reshape(2, 3, 3, 3)),
    "softmax": lambda x: x.softmax(1),
    "exp": lambda x: x.exp(),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OPERATIONS)
def test_last_bits_change_with_the_seed_and_not_from_call_to_call(name, dtype):
    given, operation = values(2, 192, dtype=dtype), OPERATIONS[name]
    found = []
    for seed in (1, 1, 2):
        with OtherRounding(seed):
            found.append(operation(given))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=4 * torch.finfo(dtype).eps * found[2].abs().max())


def test_an_image_differs_with_its_place_and_its_batch():
    image, weight = values(1, 3, 8, 8), values(4, 3, 3, 3)
    with OtherRounding(1):
        alone, (first, second) = F.conv2d(image, weight)[0], F.conv2d(image.expand(2, -1, -1, -1), weight)
    assert not torch.equal(first, second)
    assert not torch.equal(first, alone)


def test_a_gradient_is_rounded_too():
    x = values(4, 50).requires_grad_()
    gradients = []
    for seed in (1, 2):
        with OtherRounding(seed):
            gradients.append(torch.autograd.grad((x @ x.T).square().sum(), x)[0])
    assert not torch.equal(*gradients)


def test_what_is_exact_on_every_cpu_stays():
    whole, third = torch.arange(12.0).view(3, 4), torch.full((3,), 1 / 3)
    with OtherRounding(1):
        assert torch.equal(whole @ whole.T, torch.tensor([[14.0, 38, 62], [38, 126, 214], [62, 214, 366]]))
        assert torch.equal(torch.diag(third).sum(1), third)  # one term
        assert torch.equal(torch.diag(third).sum(1, keepdim=True)[:, 0], third)
        assert torch.equal(torch.eye(3) @ third[:, None].expand(3, 2), third[:, None].expand(3, 2))
        assert not torch.zeros(2, 3).mean(1).any()
