"""Which generated images are said to be identical to the published ones, and on what evidence."""

import numpy as np
import pytest

from p2be_exp.corruptions.images import GeneratedImages
from p2be_exp.corruptions.make import GENERATOR_VERSION, make_set
from p2be_exp.corruptions.names import ALL, SEVERITIES, TEST
from p2be_exp.corruptions.published import REPRODUCED, reproduces

DETERMINISTIC = {
    "brightness", "contrast", "defocus_blur", "gaussian_blur", "jpeg_compression", "pixelate", "saturate", "zoom_blur",
}  # fmt: skip


class Source:
    """Images of noise: six test images of a data set that has so many, or more."""

    name, size, fingerprint = "cifar10", (32, 32), {}
    indices = np.arange(6)
    labels = indices % 4
    classes, left_out = tuple("abcd"), ()

    def __init__(self, total=6):
        self.total = total

    def read(self, start, stop):
        return np.random.default_rng(5).integers(256, size=(6, 32, 32, 3)).astype(np.uint8)[start:stop]


def generated(names, dataset="cifar10", severities=SEVERITIES, **places):
    return GeneratedImages(dataset, tuple(names), tuple(severities), seed=0, **places).plan.identical


def test_the_deterministic_ones_are_those_that_have_been_reproduced():
    assert REPRODUCED[2] == DETERMINISTIC
    assert len(REPRODUCED[2] & set(TEST)) == 6
    assert DETERMINISTIC - REPRODUCED[1] == {"contrast", "jpeg_compression"}
    assert not any(reproduces("cifar10", name, version) for name in ALL for version in (0, max(REPRODUCED) + 1))


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "digits", "imagenet"])
def test_on_the_fly_data_set_name_and_version_tell(dataset, monkeypatch):
    names = [name for name in ALL if name != "frost"]
    expected = REPRODUCED[GENERATOR_VERSION] if dataset.startswith("cifar") else set()
    assert set(generated(names, dataset)) == expected
    assert set(generated(names, dataset, severities=[3])) == expected
    monkeypatch.setattr("p2be_exp.corruptions.make.GENERATOR_VERSION", max(REPRODUCED) + 1)
    assert generated(names, dataset) == ()  # nobody has compared what that version makes


def test_of_a_whole_set_the_digests_of_its_files_tell(tmp_path, published):
    names = ("fog", "brightness")
    make_set(Source(), tmp_path, names, SEVERITIES)
    assert generated(names, folder=tmp_path) == ()  # of images of noise
    published(tmp_path)
    assert generated(names, folder=tmp_path) == names


@pytest.mark.parametrize(("total", "severities"), [(6, (1, 5)), (9, SEVERITIES)])
def test_of_a_part_of_a_set_its_generator_tells(tmp_path, total, severities):
    """No digest of a part was published."""
    make_set(Source(total), tmp_path, ("fog", "brightness"), severities)
    assert generated(("fog", "brightness"), severities=severities, folder=tmp_path) == ("brightness",)
