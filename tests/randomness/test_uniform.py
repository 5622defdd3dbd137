"""The compiled generator and the tensor arithmetic draw the same numbers."""

import pytest
import torch

from p2be_exp.randomness.draws import ImageRandom
from p2be_exp.randomness.uniform import uniform_of_images


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_they_are_those_of_image_random(dtype):
    images = torch.tensor([4, 0, 2**31 - 1], dtype=dtype)
    drawn = uniform_of_images(images, 2**32 - 1, 7, 99, 5, start=3)
    assert torch.equal(drawn, ImageRandom(2**32 - 1, 7, images, 99).uniform(5, 3))
    assert uniform_of_images(images[:0], 0, 0, 99, 5).shape == (0, 5)
