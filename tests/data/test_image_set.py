"""An image set refuses what is not labelled levels, and keeps each image's identity."""

import pytest
import torch

from p2be_exp.data.images import ImageSet
from p2be_exp.errors import BadInput


def make(n=6, num_classes=3, **changed) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    arguments = {
        "images": torch.randint(0, 256, (n, 3, 4, 5), dtype=torch.uint8, generator=generator),
        "labels": torch.arange(n) % num_classes,
        "classes": tuple("abcdefgh"[:num_classes]),
        "name": "toy/train",
    }
    return ImageSet(**{**arguments, **changed})


def test_a_good_set_knows_its_size_and_numbers_its_images():
    data = make()
    assert (len(data), data.num_classes, data.num_bytes) == (6, 3, 6 * 3 * 4 * 5)
    assert data.indices.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"images": torch.zeros(6, 3, 4, 5)},
            r"images must be uint8 \(N, 3, H, W\), found float32 \(6, 3, 4, 5\)",
        ),
        ({"images": torch.zeros(6, 1, 4, 5, dtype=torch.uint8)}, r"found uint8 \(6, 1, 4, 5\)"),
        ({"images": torch.zeros(6, 3, 4, dtype=torch.uint8)}, r"found uint8 \(6, 3, 4\)"),
        ({"images": torch.zeros(0, 3, 4, 5, dtype=torch.uint8)}, "no images"),
        ({"labels": torch.zeros(6)}, r"labels must be int64 \(6,\), found float32 \(6,\)"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, r"found int64 \(5,\)"),
        ({"labels": torch.tensor([0, 1, 2, 3, 0, 0])}, r"labels from 0 to 3, must be between 0 and 2"),
        ({"labels": torch.tensor([0, 1, 2, -1, 0, 0])}, r"labels from -1 to 2, must be between 0 and 2"),
        ({"indices": torch.zeros(5, dtype=torch.int64)}, r"indices must be int64 \(6,\)"),
    ],
)
def test_anything_else_is_refused_by_name_in_one_line(changed, message):
    with pytest.raises(BadInput, match=message) as error:
        make(**changed)
    assert str(error.value).startswith("toy/train: ")
    assert "\n" not in str(error.value)


def test_subsets_of_subsets_keep_the_original_positions():
    data = make()
    once = data.subset([5, 1, 3])
    twice = once.subset(torch.tensor([2, 0]))
    assert once.indices.tolist() == [5, 1, 3]
    assert twice.indices.tolist() == [3, 5]
    assert torch.equal(twice.images, data.images[[3, 5]])
    assert torch.equal(twice.labels, data.labels[[3, 5]])
    assert (twice.classes, twice.name) == (data.classes, data.name)


def test_a_subset_is_a_copy():
    data = make()
    before = data.images.clone()
    data.subset(range(6)).images.zero_()
    assert torch.equal(data.images, before)


def test_moving_keeps_everything():
    moved = make().subset([4, 2]).to(torch.device("cpu"))
    assert moved.indices.tolist() == [4, 2]
    assert moved.device == torch.device("cpu")
