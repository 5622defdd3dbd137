"""The registry: every data set is what it says it is, and unknown names are answered with the known ones."""

import pytest

from p2be_exp.config import training_config
from p2be_exp.data import FolderSettings
from p2be_exp.data.registry import dataset_info, fetch_dataset, list_datasets, load_dataset
from p2be_exp.errors import BadInput


def test_the_list_is_sorted_and_every_name_has_its_description():
    known = {name: tuple(dataset_info(name)) for name in list_datasets()}
    assert known == {
        "caltech101": (101, None),
        "cifar10": (10, 32),
        "cifar100": (100, 32),
        "digits": (10, 32),
        "image_folder": (None, None),
        "imagenet": (None, None),
        "mnist": (10, 32),
        "svhn": (10, 32),
    }
    assert list(known) == sorted(known)


@pytest.mark.parametrize("name", list_datasets())
def test_every_data_set_has_its_configuration(name):
    dataset = training_config([f"dataset={name}"]).dataset
    assert dataset.name == name
    assert (FolderSettings.of(dataset) is None) == (dataset_info(name).image_size is not None)
    expected = {"svhn": "crop", "mnist": "crop", "imagenet": "resized_crop", "image_folder": "resized_crop",
                "caltech101": "resized_crop"}.get(name, "flip_crop")  # fmt: skip
    assert dataset.augmentation == expected


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
    with pytest.raises(BadInput, match=r"^dataset=mnits: allowed are caltech101, cifar10, .*, svhn$"):
        ask("mnits")
