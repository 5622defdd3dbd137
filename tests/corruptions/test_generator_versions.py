"""Sets of an earlier version of the generator: read by name, said to be what they are, never mixed with today's."""

import json

import numpy as np
import pytest
import torch

from p2be_exp.corruptions import make
from p2be_exp.corruptions.make import GENERATOR_VERSION, make_set
from p2be_exp.corruptions.names import SEVERITIES
from p2be_exp.corruptions.published import REPRODUCED
from p2be_exp.corruptions.source import DatasetSource
from p2be_exp.data import ImageSet
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.cifar_c import OfficialCifarC
from p2be_exp.evaluation.corrupted.generated import GeneratedImages
from published_sets import data_module

NAMES = ("frost", "contrast", "jpeg_compression")


def write_version_1(folder, names=NAMES, severities=SEVERITIES):
    """A set as version 1 left it, without frost's textures; its images are gray, so that they are told from today's."""
    source = DatasetSource("cifar10", data_module().test_set(), 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "GENERATOR_VERSION", 1)
        patch.setattr(make, "corrupt", lambda images, *rest, **more: np.full_like(images, 77))
        make_set(source, folder, names, severities)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["identical_to_the_published_file"]  # a key of version 2
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def images(folder, names=NAMES, severities=SEVERITIES, seed=0):
    return GeneratedImages("cifar10", names, severities, seed, folder, workers=1)


def test_a_set_of_version_1_is_read_and_called_so(tmp_path):
    generated = images(write_version_1(tmp_path / "set"))
    assert GENERATOR_VERSION == 2
    assert generated.settings()["generator_version"] == 1
    assert generated.plan.left_out == {"frost": "not in the folder"}
    for name, severity in generated.plan.cells:
        found = torch.cat([batch.images for batch in generated.loader(name, severity, data_module())])
        assert (found == 77).all()


def test_on_the_fly_it_is_the_version_of_now():
    generated = images(None, ("contrast",))
    assert generated.settings()["generator_version"] == GENERATOR_VERSION
    found = torch.cat([batch.images for batch in generated.loader("contrast", 1, data_module())])
    assert (found == 0).all()  # of black images


@pytest.mark.parametrize(
    ("names", "severities", "lacking"),
    [
        (("fog", *NAMES), SEVERITIES, "fog"),
        (("contrast",), (1, 3), "severity 3"),
        (("speckle_noise", "contrast"), (3, 4), "speckle_noise, severity 3, severity 4"),
    ],
)
def test_nothing_of_now_is_added_to_a_set_of_version_1(tmp_path, names, severities, lacking):
    folder = write_version_1(tmp_path / "set", severities=SEVERITIES if "fog" in names else (1, 2))
    with pytest.raises(BadInput) as error:
        images(folder, names, severities)
    assert str(error.value) == (
        f"corruption.dir={folder}: made by version 1 of the generator, lacks {lacking}, and images of two versions are "
        "not mixed; request what it has (corruption.names=[contrast,jpeg_compression]), or make a new set"
    )


@pytest.mark.parametrize("version", [0, 3, None, "1", 1.5, [1]])
def test_a_version_that_is_not_known_is_refused(tmp_path, version):
    folder = write_version_1(tmp_path / "set")
    file = folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "generator_version": version}))
    with pytest.raises(BadInput, match=r"made with generator_version=.*, must be between 1 and 2$"):
        images(folder, ("contrast",))


def test_make_does_not_go_on_with_a_set_of_version_1(tmp_path):
    folder = write_version_1(tmp_path / "set")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(
        BadInput, match=r"holds a set made with other settings \(generator_version=1\); choose another folder"
    ):
        make_set(DatasetSource("cifar10", data_module().test_set(), 12), folder, NAMES, SEVERITIES)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_version_1_did_not_make_contrast_and_jpeg_as_published(tmp_path):
    """Of a part of the test set only the version tells; of a whole set the digest of its file would."""
    folder = write_version_1(tmp_path / "set")
    file = folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "images_of_the_data_set": 10_000}))
    assert images(folder).plan.identical == ()
    assert images(None, NAMES[1:]).plan.identical == NAMES[1:]


DETERMINISTIC = tuple(sorted(REPRODUCED[GENERATOR_VERSION]))


def test_the_published_form_and_images_made_on_the_fly_are_the_same_batches(tmp_path, published):
    data = data_module()
    clean = data.test_set()
    noise = np.random.default_rng(0).integers(256, size=(12, 3, 32, 32)).astype(np.uint8)
    data._sets["test"] = ImageSet(torch.from_numpy(noise), clean.labels, clean.classes, indices=clean.indices)
    folder = tmp_path / "CIFAR-10-C"
    make_set(DatasetSource("cifar10", data.test_set(), 12), folder, DETERMINISTIC, SEVERITIES)
    (folder / "manifest.json").unlink()
    official = OfficialCifarC(published(folder), "cifar10", DETERMINISTIC, SEVERITIES, key="corruption.dir")
    generated = images(None, DETERMINISTIC)
    assert official.plan.cells == generated.plan.cells
    assert len(official.plan.cells) == 8 * 5
    for name, severity in official.plan.cells:
        for one, other in zip(*(each.loader(name, severity, data) for each in (official, generated)), strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)
