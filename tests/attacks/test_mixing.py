"""Mixtures of rows against sums written out, and their way back against plain automatic differentiation."""

import warnings

import pytest
import torch
from torch.nn import functional as F

from p2be_exp.attacks.mixing import mix_rows, products_at


def drawn(count: int = 7, size: int = 5, rows: int = 20, M: int = 3, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(count * size)
    shares = torch.randn(count, size, generator=generator, dtype=torch.float64).softmax(1).to(dtype).requires_grad_()
    choices = torch.randint(rows, (count, size), generator=generator)
    table = torch.randn(rows, M, generator=generator, dtype=torch.float64).to(dtype)
    gradient = torch.randn(count, M, generator=generator, dtype=torch.float64).to(dtype)
    return shares, choices, table, gradient


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize(("size", "M"), [(5, 3), (17, 64), (1, 8), (17, 1), (256, 2)])
def test_sums_and_gradients_are_those_written_out(size, M, index):
    shares, choices, table, gradient = drawn(size=size, rows=256, M=M)
    mixed = mix_rows(shares, choices.to(index), table)
    plain = (shares.unsqueeze(2) * table[choices]).sum(1)
    torch.testing.assert_close(mixed, plain, rtol=0, atol=1e-13)
    of_mixed, of_plain = (torch.autograd.grad(each, shares, gradient)[0] for each in (mixed, plain))
    torch.testing.assert_close(of_mixed, of_plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("M", [1, 3, 64])
def test_sums_and_gradients_are_those_of_embedding_bag_to_the_bit(M):
    shares, choices, table, gradient = drawn(count=300, size=17, rows=256, M=M, dtype=torch.float32)
    plain = F.embedding_bag(choices, table, mode="sum", per_sample_weights=shares)
    mixed = mix_rows(shares, choices.int(), table)
    assert torch.equal(mixed, plain)
    of_mixed, of_plain = (torch.autograd.grad(each, shares, gradient)[0] for each in (mixed, plain))
    assert torch.equal(of_mixed, of_plain)


def test_products_at_a_few_places_are_those_of_all_within_float32():
    _, choices, table, gradient = drawn(count=300, size=17, rows=256, M=64, dtype=torch.float32)
    plain = (gradient @ table.T).gather(1, choices)
    torch.testing.assert_close(products_at(gradient, choices, table), plain, rtol=0, atol=64 * 2**-24 * 10)


def test_equal_rows_have_equal_products():
    _, choices, table, gradient = drawn(count=300, size=17, rows=256, M=50, dtype=torch.float32)
    table[:] = table[0]
    found = products_at(gradient, choices, table)
    assert torch.equal(found, found[:, :1].expand_as(found))


def test_a_value_does_not_hang_on_its_neighbours():
    _, choices, table, gradient = drawn(count=33, size=17, rows=256, M=64, dtype=torch.float32)
    together = products_at(gradient, choices, table)
    assert torch.equal(
        together, torch.cat([products_at(gradient[i, None], choices[i, None], table) for i in range(33)])
    )


def test_no_values():
    shares, choices, table, _ = drawn()
    mixed = mix_rows(shares[:0], choices[:0], table)
    assert torch.autograd.grad(mixed.sum(), shares, allow_unused=True)[0].abs().sum() == 0


def test_nothing_is_said_of_sparse_tensors():
    shares, choices, table, gradient = drawn()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.autograd.grad(mix_rows(shares, choices, table), shares, gradient)
    finally:
        torch.set_warn_always(False)
