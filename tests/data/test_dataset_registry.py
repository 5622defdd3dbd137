"""The registry: every data set is what it says it is, and unknown names are answered with the known ones."""

import subprocess
import sys

import pytest

from p2be_exp.config import training_config
from p2be_exp.data import DataSource, FolderSettings, data_source, list_datasets, load_dataset, source_class
from p2be_exp.errors import BadInput


def test_the_list_is_sorted_and_every_name_has_its_description():
    known = {name: (source_class(name).num_classes, source_class(name).image_size) for name in list_datasets()}
    assert known == {
        "caltech101": (101, None),
        "caltech256": (257, None),
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
def test_every_data_set_is_a_source_of_its_own_name(name):
    assert issubclass(source_class(name), DataSource)
    assert source_class(name).name == name


def test_what_is_known_of_a_data_set_is_known_without_pytorch():
    code = (
        "import sys; from p2be_exp.data import list_datasets, source_class; "
        "print([source_class(name).name for name in list_datasets()], 'torch' in sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == f"{list_datasets()} False\n"


def test_picture_files_need_their_settings(tmp_path):
    with pytest.raises(ValueError, match="imagenet is a data set of picture files: it needs its FolderSettings"):
        data_source("imagenet", tmp_path)


def test_nothing_there_and_nothing_to_be_downloaded(tmp_path):
    source = data_source("svhn", tmp_path)
    source.check(download=True)
    with pytest.raises(BadInput, match=rf"^dataset=svhn: no {tmp_path}/svhn; .* \(nothing was downloaded\)$"):
        source.check(download=False)
    (tmp_path / "svhn").mkdir()
    source.check(download=False)  # what is in it is another question
    data_source("digits", tmp_path / "needs no folder").check(download=False)


@pytest.mark.parametrize("name", list_datasets())
def test_every_data_set_has_its_configuration(name):
    dataset = training_config([f"dataset={name}"]).dataset
    assert dataset.name == name
    assert (FolderSettings.of(dataset) is None) == (source_class(name).image_size is not None)
    expected = {"svhn": "crop", "mnist": "crop", "imagenet": "resized_crop", "image_folder": "resized_crop",
                "caltech101": "resized_crop", "caltech256": "resized_crop"}.get(name, "flip_crop")  # fmt: skip
    assert dataset.augmentation == expected


def test_digits_are_as_described(tmp_path):
    check_description("digits", tmp_path / "needs no folder")


def test_cifar_is_as_described(fake_cifar):
    check_description(fake_cifar.name, fake_cifar.root)


def check_description(name, data_dir):
    known = source_class(name)
    for part, data in zip(("train", "test"), load_dataset(name, data_dir, download=False), strict=True):
        assert (data.num_classes, *data.images.shape[2:]) == (
            known.num_classes,
            known.image_size,
            known.image_size,
        )
        assert data.name == f"{name}/{part}"


@pytest.mark.parametrize(
    "ask", [source_class, lambda name: load_dataset(name, "."), lambda name: data_source(name, ".")]
)
def test_an_unknown_name_is_answered_with_the_known_ones(ask):
    with pytest.raises(BadInput, match=r"^dataset=mnits: .*caltech101, caltech256, cifar10, .*, svhn$"):
        ask("mnits")
