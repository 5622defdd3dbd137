"""Random orders: permutations that depend on their whole key, uniform, and pinned across versions."""

import itertools

import torch

from p2be_exp.randomness.order import EPOCH, TEST_SUBSET, TRAIN_SPLIT, random_order


def test_an_order_is_a_permutation():
    for n in (1, 2, 7, 1000):
        order = random_order(n, 3, EPOCH, 5)
        assert order.dtype == torch.int64
        assert order.sort().values.equal(torch.arange(n))


def test_every_part_of_the_key_counts():
    keys = [
        (0, EPOCH, 0),
        (1, EPOCH, 0),
        (0, EPOCH, 1),
        (0, TRAIN_SPLIT),
        (0, TEST_SUBSET),
        (2**40, EPOCH, 0),
    ]
    orders = [random_order(100, *key) for key in keys]
    assert all(not a.equal(b) for a, b in itertools.combinations(orders, 2))
    assert random_order(100, 1, EPOCH, 0).equal(orders[1])


def test_orders_never_change():
    assert random_order(8, 0, EPOCH, 0).tolist() == [7, 2, 0, 4, 3, 5, 6, 1]
    assert random_order(8, 1, EPOCH, 0).tolist() == [2, 6, 3, 5, 0, 1, 4, 7]


def test_all_orders_are_about_equally_frequent():
    counts = torch.zeros(4, 4, 4)
    for epoch in range(2400):
        counts[tuple(random_order(4, 0, EPOCH, epoch)[:3])] += 1
    counts = counts[counts > 0]
    assert len(counts) == 24
    # 100 expected of each; the statistic is chi-square with 23 degrees of freedom: above 49.7 once in 1000.
    assert ((counts - 100) ** 2 / 100).sum() < 49.7
