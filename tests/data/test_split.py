"""Splits and limits: disjoint, nested, in order, and moved by nothing but the split's own seed."""

import itertools

import pytest
import torch

from p2be_exp.data.split import limit_test, split_train
from p2be_exp.errors import BadInput


def as_set(positions) -> set[int]:
    return set(positions.tolist())


def test_by_default_every_image_is_trained_on_in_its_place():
    train, val = split_train(50, 0, None, 0)
    assert train.equal(torch.arange(50))
    assert val.shape == (0,)
    assert limit_test(50, None, 0).equal(torch.arange(50))


@pytest.mark.parametrize(("val_size", "limit"), [(0, 10), (7, None), (7, 10), (49, 1), (7, 43)])
def test_parts_have_their_sizes_and_do_not_overlap(val_size, limit):
    train, val = split_train(50, val_size, limit, 3)
    assert len(val) == val_size
    assert len(train) == (50 - val_size if limit is None else limit)
    assert not as_set(train) & as_set(val)
    assert as_set(train) | as_set(val) <= set(range(50))
    assert len(as_set(train)) == len(train)


def test_all_parts_are_ascending():
    for positions in (*split_train(50, 7, 20, 3), limit_test(50, 20, 3)):
        assert positions.equal(positions.sort().values)


def test_a_larger_limit_only_adds_images():
    trains = [as_set(split_train(50, 7, limit, 3)[0]) for limit in (1, 10, 20, 43)]
    tests = [as_set(limit_test(50, limit, 3)) for limit in (1, 10, 20, 50)]
    for nested in (trains, tests):
        assert all(small < large for small, large in itertools.pairwise(nested))


def test_the_held_out_images_do_not_move_with_the_limit_and_grow_with_their_size():
    held_out = [split_train(50, 7, limit, 3)[1] for limit in (None, 1, 20)]
    assert all(val.equal(held_out[0]) for val in held_out)
    assert as_set(held_out[0]) < as_set(split_train(50, 9, None, 3)[1])


def test_another_split_seed_chooses_other_images():
    assert as_set(split_train(50, 7, 10, 0)[0]) != as_set(split_train(50, 7, 10, 1)[0])
    assert as_set(split_train(50, 7, 10, 0)[1]) != as_set(split_train(50, 7, 10, 1)[1])
    assert as_set(limit_test(50, 10, 0)) != as_set(limit_test(50, 10, 1))


def test_choices_never_change():
    assert [part.tolist() for part in split_train(20, 3, 5, 0)] == [[1, 12, 14, 15, 16], [4, 9, 10]]
    assert limit_test(20, 5, 0).tolist() == [1, 4, 9, 10, 19]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: split_train(50, 50, None, 0), r"dataset\.val_size=50: must be between 0 and 49"),
        (lambda: split_train(50, -1, None, 0), r"dataset\.val_size=-1: must be between 0 and 49"),
        (lambda: split_train(50, 0, 51, 0), "limit_train=51: must be between 1 and 50"),
        (lambda: split_train(50, 7, 44, 0), "limit_train=44: must be between 1 and 43 .*7 of them held out"),
        (lambda: split_train(50, 0, 0, 0), "limit_train=0: must be between 1 and 50"),
        (lambda: limit_test(50, 51, 0), "limit_test=51: must be between 1 and 50"),
        (lambda: limit_test(50, 0, 0), "limit_test=0: must be between 1 and 50"),
    ],
)
def test_impossible_numbers_are_refused_by_key_value_and_range(ask, message):
    with pytest.raises(BadInput, match=f"^{message}"):
        ask()
