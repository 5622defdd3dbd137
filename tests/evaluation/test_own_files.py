"""Anybody's own files: taken for what they are, whole, and of the images that are tested on."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from p2be_exp.config.schema import DatasetConfig, OwnConfig, TrainConfig
from p2be_exp.corruptions.names import SEVERITIES
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.own_files import OwnFiles
from p2be_exp.evaluation.corrupted.source import corrupted_images
from published_sets import BROKEN, LABELS, NAMES, N, change_a_byte, data_module, value_of, write_set


@pytest.fixture
def folder(tmp_path):
    return write_set(tmp_path / "mine")


def opened(folder, names=NAMES, dataset="digits"):
    return OwnFiles(folder, dataset, tuple(names), SEVERITIES, key="corruption.dir")


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_every_image_of_every_cell(folder):
    own, data = opened(folder), data_module()
    for name, severity in own.plan.cells:
        images = torch.cat([batch.images for batch in own.loader(name, severity, data)])
        assert images[:, 0, 0, 0].tolist() == [value_of(name, severity, image) for image in range(N)]
    assert np.array_equal(own.picture("fog", 3, data, position=7), np.load(folder / "fog.npy")[2 * N + 7])


def test_the_plan_and_the_settings(folder):
    own = opened(folder, ("snow", "fog"))
    assert (own.plan.source, own.plan.identical) == ("own", ())
    assert own.plan.left_out == {"snow": "not in the folder"}
    assert own.settings() == {
        "name": "own",
        "names": ["snow", "fog"],
        "severities": [1, 2, 3, 4, 5],
        "files": {name: sha256(folder / f"{name}.npy") for name in ("labels", "fog")},
    }
    change_a_byte(folder / "spatter.npy")  # which is not used
    assert opened(folder, ("snow", "fog")).settings() == own.settings()
    change_a_byte(folder / "fog.npy")
    assert opened(folder, ("snow", "fog")).settings() != own.settings()


def test_the_configuration_names_the_folder(folder):
    wanted = OwnConfig("own", names=["fog"], severities=[2], dir=str(folder))
    config = TrainConfig(corruption=wanted, dataset=DatasetConfig("cifar10"), data_dir="nowhere")
    own = corrupted_images(config)
    assert (own.plan.source, own.plan.dataset, own.plan.cells) == ("own", "cifar10", [("fog", 2)])
    with pytest.raises(BadInput, match=r"^corruption\.dir: required by corruption=own; a folder"):
        corrupted_images(replace(config, corruption=replace(wanted, dir=None)))


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_named(folder, case):
    damage, message = BROKEN[case]
    damage(folder)
    with pytest.raises(BadInput, match=message) as error:
        opened(folder)
    assert str(error.value).startswith(f"corruption.dir={folder}: ")
    assert "\n" not in str(error.value)


def test_other_labels_than_the_test_set(folder):
    with pytest.raises(BadInput, match=r"labels\.npy does not have the labels of cifar10's test set"):
        opened(folder).loader("fog", 1, data_module(labels=LABELS[::-1].copy()))


@pytest.mark.parametrize("indices", [list(range(N)), [2, 3, 7]])
def test_another_number_of_images_than_the_test_set(folder, indices):
    """Labels that agree as far as they go do not make it the same test set, also where a part of it is tested on."""
    with pytest.raises(BadInput, match=rf"{N} images per severity, cifar10's test set has 13"):
        opened(folder).loader("fog", 1, data_module(indices, total=13))


def test_a_part_of_the_test_set_says_which(folder):
    np.save(folder / "indices.npy", np.arange(N) + 1)
    labels = np.concatenate([[0], LABELS])
    own = opened(folder)
    loader = own.loader("fog", 2, data_module([1, 4, 12], labels, total=13))
    images = torch.cat([batch.images for batch in loader])
    assert images[:, 0, 0, 0].tolist() == [value_of("fog", 2, image) for image in (0, 3, 11)]
    assert own.settings()["files"]["indices"] == sha256(folder / "indices.npy")
    with pytest.raises(BadInput, match="not the test images"):
        own.loader("fog", 2, data_module([0, 4], labels, total=13))


def test_a_file_that_changes_during_an_evaluation(folder):
    loader = opened(folder).loader("fog", 1, data_module())
    assert len(list(loader)) == 3
    change_a_byte(folder / "fog.npy")
    with pytest.raises(BadInput, match=r"fog\.npy has changed since the evaluation began"):
        list(loader)


def test_a_set_made_here_is_not_ones_own(folder):
    manifest = {"severities": [1, 2, 3, 4, 5], "blocks": {}, "dataset": "cifar10", "seed": 0}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match="a set made by this package, with a manifest; use corruption=generated"):
        opened(folder)
