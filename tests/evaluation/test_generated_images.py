"""Which generated images are said to be identical to the published ones, and on what evidence."""

import json

import numpy as np
import pytest

from p2be_exp.corruptions import probe
from p2be_exp.corruptions.make import GENERATOR_VERSION, make_set
from p2be_exp.corruptions.names import ALL, SEVERITIES, TEST
from p2be_exp.corruptions.published import REPRODUCED, reproduces
from p2be_exp.corruptions.store import sha256_of
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.generated import GeneratedImages
from published_sets import change_a_byte

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
def test_of_a_part_of_a_set_nothing_tells(tmp_path, total, severities):
    """No digest of a part was published, and what the manifest says of its maker anybody can write."""
    make_set(Source(total), tmp_path, ("fog", "brightness"), severities)
    assert generated(("fog", "brightness"), severities=severities, folder=tmp_path) == ()
    assert generated(("fog", "contrast"), severities=severities, folder=tmp_path) == ("contrast",)  # on the fly


def test_a_manifest_that_denies_that_the_set_is_whole_makes_nothing_identical(tmp_path):
    make_set(Source(), tmp_path, ("brightness",), SEVERITIES)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for images in (7, None, "6", [6]):
        (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"images_of_the_data_set": images}))
        assert generated(("brightness",), folder=tmp_path) == ()


def test_images_in_another_order_are_not_the_published_ones(tmp_path, published):
    """The file may be the published one, but the blocks are read as those of other images."""
    make_set(Source(), tmp_path, ("brightness",), SEVERITIES)
    published(tmp_path)
    assert generated(("brightness",), folder=tmp_path) == ("brightness",)
    indices = np.array([4, 1, 2, 3, 0, 5])
    np.save(tmp_path / "indices.npy", indices)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"indices_sha256": sha256_of(indices)}))
    assert generated(("brightness",), folder=tmp_path) == ()


def test_a_file_that_was_the_published_one_and_is_changed_is_refused_when_it_is_read(tmp_path, published):
    """Also where the manifest was written for the changed file beforehand."""
    make_set(Source(), tmp_path, ("brightness",), SEVERITIES)
    published(tmp_path)
    before, manifest = (tmp_path / "brightness.npy").read_bytes(), json.loads((tmp_path / "manifest.json").read_text())
    change_a_byte(tmp_path / "brightness.npy")
    block = np.load(tmp_path / "brightness.npy")[-6:]
    manifest["blocks"]["brightness/5"]["sha256"] = sha256_of(block)
    changed = (tmp_path / "brightness.npy").read_bytes()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "brightness.npy").write_bytes(before)
    images = GeneratedImages("cifar10", ("brightness",), SEVERITIES, 0, tmp_path)
    assert images.plan.identical == ("brightness",)
    (tmp_path / "brightness.npy").write_bytes(changed)
    with pytest.raises(BadInput, match=r"brightness\.npy has changed since the evaluation began$"):
        images.stored.block("brightness", 5)


def test_an_installation_that_rounds_otherwise_makes_nothing_identical(monkeypatch):
    """As with other packages or another processor: one level of the few images that are tried is enough."""
    honest = probe.corrupt

    def corrupt(images, name, *rest, **more):
        made = honest(images, name, *rest, **more)
        made[-1, -1, -1, -1] ^= name == "pixelate"
        return made

    monkeypatch.setattr(probe, "corrupt", corrupt)
    probe.makes_as_published.cache_clear()
    try:
        assert generated(("brightness", "pixelate")) == ("brightness",)
    finally:
        probe.makes_as_published.cache_clear()


def test_all_that_has_been_reproduced_is_tried():
    assert set(probe.MADE_AS_PUBLISHED) == DETERMINISTIC
    assert not any(probe.makes_as_published(name) for name in ALL if name not in DETERMINISTIC)
