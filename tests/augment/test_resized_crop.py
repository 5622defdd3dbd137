"""Boxes of random resized crops, against torchvision's own code fed with the same draws."""

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from p2be_exp.augment.resized_crop import DRAWS, RATIO, SCALE, TRIES, crop_box

SIZES = [(375, 500), (500, 375), (224, 224), (60, 400), (900, 70), (8, 8), (1, 1), (3, 200), (13, 7)]  # height, width


def torchvisions(draws, height, width, monkeypatch):
    """Box by torchvision, which draws an area and a ratio a try, and a place only where the crop fits."""
    tries = iter(np.asarray(draws[1:]).reshape(TRIES, 4))
    state = {}

    def uniform_(self, low, high):
        if not state.get("rest"):
            state["try"] = next(tries)
            state["rest"] = [state["try"][0], state["try"][1]]
        share = state["rest"].pop(0)
        return torch.tensor([float(low) + (float(high) - float(low)) * share], dtype=torch.float64)

    def randint(low, high, size):
        state["places"] = state.get("places", 1) + 1
        return torch.tensor([low + int((high - low) * state["try"][state["places"]])])

    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "uniform_", uniform_)
        patched.setattr(torch, "randint", randint)
        return RandomResizedCrop.get_params(torch.empty(3, height, width), list(SCALE), list(RATIO))


@pytest.mark.parametrize("size", SIZES)
def test_a_box_is_torchvisions(size, monkeypatch):
    source = np.random.default_rng(sum(size))
    for _ in range(40):
        draws = source.random(DRAWS)
        assert crop_box(draws, *size)[:4] == torchvisions(draws, *size, monkeypatch)


def test_what_no_try_fits_into_is_cut_in_the_middle(monkeypatch):
    largest = np.ones(DRAWS) * 0.999
    for size, box in {(62, 400): (0, 158, 62, 83), (900, 71): (402, 0, 95, 71), (400, 400): None}.items():
        found = crop_box(largest, *size)[:4]
        assert found == torchvisions(largest, *size, monkeypatch)
        assert box is None or found == box


def test_half_are_flipped_and_every_box_is_inside():
    source = np.random.default_rng(0)
    boxes = [crop_box(source.random(DRAWS), 300, 400) for _ in range(2000)]
    assert 900 < sum(box.flip for box in boxes) < 1100
    assert all(0 <= box.top <= 300 - box.height and 0 <= box.left <= 400 - box.width for box in boxes)
    areas = np.array([box.height * box.width for box in boxes]) / (300 * 400)
    assert areas.min() == pytest.approx(SCALE[0], abs=0.01)
    assert areas.max() <= 1
    ratios = np.array([box.width / box.height for box in boxes])
    assert RATIO[0] * 0.98 < ratios.min() < ratios.max() < RATIO[1] * 1.02
