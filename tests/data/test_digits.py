"""The embedded digits: the same images, levels and split on every machine."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from p2be_exp.data import digits


@pytest.fixture(scope="module")
def loaded():
    return digits.Digits("needs no folder").load()


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def test_sizes_types_and_range(loaded):
    train, test = loaded
    assert train.images.shape == (1297, 3, 32, 32)
    assert test.images.shape == (500, 3, 32, 32)
    assert train.classes == tuple("0123456789")
    assert (int(train.images.min()), int(train.images.max())) == (0, 255)
    assert torch.equal(train.images[:, 0], train.images[:, 1])
    assert torch.equal(train.images[:, 0], train.images[:, 2])


def test_the_split_is_stratified_and_covers_every_image_once():
    labels = load_digits().target
    train, test = digits.split_indices(labels)
    assert sorted([*train, *test]) == list(range(1797))
    shares = np.bincount(labels[test]) / np.bincount(labels)
    assert np.abs(shares - 500 / 1797).max() < 0.01


def test_the_split_never_changes():
    train, test = digits.split_indices(load_digits().target)
    assert sha256(train.astype("<i8")) == "129d07f326e38c61da9274b05560708e6e7df0b3afe0ee923626af4b2220f655"
    assert sha256(test.astype("<i8")) == "76793c845d9ee44a8d8545c142e8bf261a31a7566acaf830f5c2a76de19ad5d7"


def test_the_levels_never_change(loaded):
    train, test = (sha256(part.images.numpy()) for part in loaded)
    assert train == "413452df901af46b69d4361ee64b03a7c08d82cb522f822c9624e80301154866"
    assert test == "29b376190bd27d9664da068dccd11e7541ec7321f21625a950f31c209ef80d17"


def test_every_value_has_its_level():
    values = np.repeat(np.arange(17.0), 64).reshape(17, 8, 8)
    levels = digits.to_levels(values)[:, 0]
    assert levels.amin((1, 2)).equal(levels.amax((1, 2)))
    assert levels[:, 0, 0].tolist() == [round(value * 255 / 16) for value in range(17)]


def test_upscaling_agrees_with_pil():
    values = load_digits().images[:20]
    ours = digits.to_levels(values)[:, 0].numpy()
    for image, mine in zip(values, ours, strict=True):
        theirs = Image.fromarray((image * 255 / 16).astype(np.float32)).resize((32, 32), Image.Resampling.BILINEAR)
        assert np.array_equal(np.rint(np.asarray(theirs)), mine)
