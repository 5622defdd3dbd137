"""The registry: every data set is what it says it is, and unknown names are answered with the known ones."""

import pytest

from p2be_exp.data.registry import dataset_info, fetch_dataset, list_datasets, load_dataset
from p2be_exp.errors import BadInput


def test_the_list_is_sorted_and_every_name_has_its_description():
    assert list_datasets() == ["cifar10", "cifar100", "digits"]
    assert [dataset_info(name) for name in list_datasets()] == [(10, 32), (100, 32), (10, 32)]


def test_digits_are_as_described(tmp_path):
    check_description("digits", tmp_path / "needs no folder")


def test_cifar_is_as_described(fake_cifar):
    check_description(fake_cifar.name, fake_cifar.root)


def check_description(name, data_dir):
    info = dataset_info(name)
    for part, data in zip(("train", "test"), load_dataset(name, data_dir, download=False), strict=True):
        assert (data.num_classes, *data.images.shape[2:]) == (
            info.num_classes,
            info.image_size,
            info.image_size,
        )
        assert data.name == f"{name}/{part}"


@pytest.mark.parametrize(
    "ask", [dataset_info, lambda name: load_dataset(name, "."), lambda name: fetch_dataset(name, ".")]
)
def test_an_unknown_name_is_answered_with_the_known_ones(ask):
    with pytest.raises(BadInput, match=r"^dataset=mnits: allowed are cifar10, cifar100, digits$"):
        ask("mnits")
