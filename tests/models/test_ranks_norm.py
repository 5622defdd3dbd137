"""The batch norm of a gate on two ranks, against PyTorch's on the values of both."""

import torch
from torch import nn

from p2be_exp.models.ranks_norm import norm_over_ranks, std_mean_over_ranks
from two_ranks import on_two_ranks

VALUES = torch.tensor([0.3, -2.0, 5.0, 1.5, 0.2, 4.0, -7.0], dtype=torch.float64).unsqueeze(1)
FACTORS = torch.tensor([1.0, 2.0, -3.0, 0.5, 4.0, 0.0, 0.0], dtype=torch.float64).unsqueeze(1)
SHARES = {"uneven": [slice(0, 3), slice(3, 5)], "second has none": [slice(0, 5), slice(5, 7)]}


def norm_of() -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(1, momentum=0.01, affine=False).double()
    norm.running_mean.fill_(0.5)
    norm.running_var.fill_(2.0)
    return norm


def standardised(share: slice, counted: bool):
    """Deviation, mean, what a norm as Lightning makes it on GPUs gives, its gradient, and its statistics."""
    norm, values = nn.SyncBatchNorm.convert_sync_batchnorm(norm_of()), VALUES[share].clone().requires_grad_()
    found = norm_over_ranks(norm, values, counted)
    (gradient,) = torch.autograd.grad((FACTORS[share] * found.sin()).sum(), values)
    return std_mean_over_ranks(values, counted), found.detach(), gradient, dict(norm.state_dict())


def on_a_rank(rank: int):
    found = {name: standardised(shares[rank], rank == 0 or name == "uneven") for name, shares in SHARES.items()}
    return found, standardised(SHARES["uneven"][rank], counted=False)


def test_two_ranks_are_one(tmp_path):
    first, second = (ended.value for ended in on_two_ranks(tmp_path, on_a_rank))
    norm, values = norm_of(), VALUES[:5].clone().requires_grad_()
    expected = norm(values)
    (gradient,) = torch.autograd.grad((FACTORS[:5] * expected.sin()).sum(), values)
    for name in SHARES:
        one, other = first[0][name], second[0][name]
        for each in (one, other):
            torch.testing.assert_close(each[0], torch.std_mean(VALUES[:5]))
            torch.testing.assert_close(each[3], dict(norm.state_dict()))
        torch.testing.assert_close(torch.cat([one[1], other[1]])[:5], expected.detach())
        torch.testing.assert_close(torch.cat([one[2], other[2]])[:5], gradient)
    assert second[0]["second has none"][2].tolist() == [[0], [0]]


def test_without_a_counted_value_the_statistics_stay(tmp_path):
    (first, second) = (ended.value[1] for ended in on_two_ranks(tmp_path, on_a_rank))
    for each in (first, second):
        assert each[1].isfinite().all()
        assert (each[3]["running_mean"].item(), each[3]["running_var"].item()) == (0.5, 2.0)


def test_in_one_process_it_is_pytorchs_to_the_bit():
    values = VALUES.float()
    for counted in (True, False):
        norm, plain = norm_of().float(), norm_of().float()
        assert torch.equal(norm_over_ranks(norm, values, counted), plain(values))
        assert torch.equal(norm.running_var, plain.running_var)
        assert std_mean_over_ranks(values, counted) == torch.std_mean(values)
