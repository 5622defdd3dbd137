"""The learned table: its bits, its initialisations, what learns and what does not."""

import pytest
import torch

from p2be_exp.encodings.smoothness import smoothness_mean, smoothness_sum
from usual import P2BE


def test_the_table_holds_the_signs_of_the_latent_table():
    torch.manual_seed(0)
    encoding = P2BE(M=7)
    latent = encoding.weight.detach()
    expected = [[1.0 if value >= 0 else 0.0 for value in row] for row in latent.tolist()]
    assert encoding.table().tolist() == expected


def test_normal_initialisation():
    torch.manual_seed(0)
    latent = P2BE(M=64).weight.detach()
    assert latent.shape == (256, 64)
    # 16,384 draws: five standard errors of the mean and of the standard deviation.
    assert abs(latent.mean().item()) < 5 / 128
    assert abs(latent.std().item() - 1) < 5 / 128 / 2**0.5


@pytest.mark.parametrize("M", [1, 10, 64, 128])
@pytest.mark.parametrize("init", ["onehot", "thermometer"])
def test_initialisation_from_codes(init, M):
    # spec/p2be.md 1.1: row k takes the code of floor(k * M / 256), minus 0.5.
    expected = []
    for k in range(256):
        j = k * M // 256
        code = [float(m == j) if init == "onehot" else float(m >= j) for m in range(M)]
        expected.append([bit - 0.5 for bit in code])
    assert P2BE(M=M, init=init).weight.tolist() == expected


def test_the_rows_of_an_initialisation_are_those_of_nearest_interpolation():
    # Torch's own nearest interpolation of the M x M table, the way the reference stretches it.
    code = torch.ones(10, 10).triu()
    stretched = torch.nn.functional.interpolate(code.T[None], size=256, mode="nearest")[0].T
    assert torch.equal(P2BE(M=10, init="thermometer").weight.detach(), stretched - 0.5)


@pytest.mark.parametrize("slope_at_zero", [2.0, 4.0])
def test_gradient_of_the_table_at_zero(slope_at_zero):
    encoding = P2BE(M=2, slope_at_zero=slope_at_zero)
    encoding.weight.data.zero_()
    encoding.table().sum().backward()
    assert (encoding.weight.grad == slope_at_zero / 2).all()


def test_the_gradient_of_a_row_counts_every_pixel_that_has_its_level():
    torch.manual_seed(0)
    encoding = P2BE(M=3)
    encoding.weight.data.fill_(0.5)  # gradient of the bit: 0.5 * (2 - 2 * 0.5)
    images = torch.tensor([7, 7, 9, 255], dtype=torch.uint8).view(1, 1, 2, 2).repeat(2, 3, 1, 1)
    encoding(images).sum().backward()
    expected = torch.zeros(256)
    for value in images.flatten().tolist():
        expected[value] += 0.5
    assert torch.equal(encoding.weight.grad, expected[:, None].expand(256, 3))


@pytest.mark.parametrize(("name", "form"), [("mean", smoothness_mean), ("sum", smoothness_sum)])
def test_smoothness_is_that_of_the_latent_table(name, form):
    torch.manual_seed(0)
    encoding = P2BE(M=5, smoothness=name)
    assert encoding.smoothness().item() == form(encoding.weight).item()
    encoding.smoothness().backward()
    assert encoding.weight.grad.abs().sum() > 0


def test_a_fixed_table_gets_no_gradient_and_stays_in_the_checkpoint():
    encoding = P2BE(M=4, fixed=True)
    assert not encoding.table().requires_grad
    assert not encoding.smoothness().requires_grad
    assert [name for name, _ in encoding.named_parameters()] == ["weight"]
    assert list(encoding.state_dict()) == ["weight"]
