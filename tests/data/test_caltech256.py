"""Caltech 256: the split of the Feature Pyramid Decoder's code, the archive, and what in it is no picture."""

import hashlib
import inspect
import io
import tarfile
from fractions import Fraction

import pytest
import torch
from torchvision import datasets

from p2be_exp.data import FolderSettings
from p2be_exp.data.caltech256 import Caltech256
from p2be_exp.errors import BadInput
from pictures import picture

SETTINGS = FolderSettings(None, 32, 36, 0, True)
SIZES = {"001.ak47": 20, "056.dog": 39, "198.spider": 59, "257.clutter": 40}

PUBLISHED_SIZES = [
    *(98, 97, 151, 127, 148, 90, 106, 232, 102, 94, 278, 216, 98, 86, 122, 91, 104, 101, 124, 83, 142, 97, 110, 112),
    *(114, 106, 100, 110, 103, 104, 90, 101, 102, 100, 87, 106, 120, 110, 85, 124, 87, 87, 124, 121, 85, 133, 94, 103),
    *(106, 97, 114, 85, 82, 118, 98, 102, 106, 93, 83, 87, 102, 83, 122, 131, 101, 83, 83, 110, 99, 84, 99, 118, 100),
    *(115, 83, 84, 92, 90, 99, 116, 95, 81, 95, 84, 112, 80, 93, 98, 110, 212, 95, 201, 112, 104, 86, 285, 89, 100),
    *(80, 93, 138, 88, 111, 97, 270, 87, 89, 85, 156, 85, 84, 84, 116, 120, 88, 107, 121, 108, 87, 130, 82, 103, 111),
    *(91, 101, 242, 128, 105, 190, 91, 92, 190, 136, 119, 93, 93, 156, 192, 86, 89, 117, 107, 130, 82, 798, 82, 202),
    *(174, 103, 111, 109, 120, 93, 103, 92, 96, 105, 149, 209, 83, 103, 91, 90, 101, 88, 92, 86, 140, 92, 102, 84, 99),
    *(106, 84, 83, 110, 96, 98, 80, 102, 100, 120, 100, 84, 103, 81, 95, 88, 119, 112, 111, 112, 174, 112, 87, 104),
    *(100, 108, 105, 100, 81, 97, 91, 80, 87, 98, 115, 109, 102, 111, 95, 136, 101, 139, 84, 98, 105, 81, 84, 94, 103),
    *(91, 80, 110, 90, 99, 147, 95, 95, 94, 112, 358, 100, 122, 114, 97, 90, 97, 84, 201, 95, 93, 90, 91, 91, 101, 92),
    *(84, 100, 96, 800, 116, 435, 95, 103, 108, 827),
]
"""Pictures of each class of the published archive."""


def write_pictures(home):
    """Four classes named as the published ones; with the file and the folder in them that are no pictures."""
    content = io.BytesIO()
    picture(1).save(content, "JPEG")
    for name, number in SIZES.items():
        (home / name).mkdir(parents=True)
        for k in range(1, number + 1):
            (home / name / f"{name[:3]}_{k:04}.jpg").write_bytes(content.getvalue())
    (home / "198.spider" / "RENAME2").write_text("#!/bin/sh\n")
    (home / "056.dog" / "greg" / "vision309").mkdir(parents=True)


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    write_pictures(tmp_path / "data" / "caltech256" / "256_ObjectCategories")
    monkeypatch.setattr(Caltech256, "num_classes", len(SIZES))
    return tmp_path / "data"


def names(files) -> list[str]:
    return [name.decode() for name in files.files(torch.arange(len(files)))]


def test_the_first_95_percent_of_each_class_by_name_and_the_next_5(data_dir):
    train, test = Caltech256(data_dir, SETTINGS).load()
    assert (train.name, test.name, train.classes) == ("caltech256/train", "caltech256/test", tuple(SIZES))
    assert names(test) == [
        "001.ak47/001_0020.jpg",
        "056.dog/056_0038.jpg",
        *("198.spider/198_0057.jpg", "198.spider/198_0058.jpg"),
        *("257.clutter/257_0039.jpg", "257.clutter/257_0040.jpg"),
    ]
    assert test.labels.tolist() == [0, 1, 2, 2, 3, 3]
    assert names(train) == [f"{name}/{name[:3]}_{k:04}.jpg" for name, n in zip(SIZES, (19, 37, 56, 38), strict=True)
                            for k in range(1, n + 1)]  # fmt: skip
    # Among all pictures: those that are in neither part have their number too.
    assert test.indices.tolist() == [19, 20 + 37, 59 + 56, 59 + 57, 118 + 38, 118 + 39]
    assert test.pictures(torch.tensor([0])).shape == (1, 3, 32, 32)


def test_the_published_classes_give_as_many_test_images_as_the_reference_counts():
    """Its attack script divides by 1,422."""
    assert (len(PUBLISHED_SIZES), sum(PUBLISHED_SIZES)) == (Caltech256.num_classes, 30_607)
    train = test = 0
    for number in PUBLISHED_SIZES:
        first, last = Caltech256("nowhere", SETTINGS)._split_class(torch.arange(number), 0)
        assert torch.cat([first, last]).tolist() == list(range(len(first) + len(last)))
        assert (len(first), len(last)) == (int(number * Fraction("0.95")), int(number * Fraction("0.05")))
        train, test = train + len(first), test + len(last)
    assert (train, test) == (Caltech256.published.train, Caltech256.published.test) == (28_949, 1422)


def test_too_few_classes_or_pictures(data_dir):
    home = data_dir / "caltech256" / "256_ObjectCategories"
    (home / "001.ak47" / "001_0007.jpg").unlink()
    with pytest.raises(BadInput, match=r"001\.ak47: 19 pictures, must be 20 or more$"):
        Caltech256(data_dir, SETTINGS).load()
    (home / "001.ak47").rename(home / ".001.ak47")
    with pytest.raises(BadInput, match=r"dataset=caltech256: \S+ has 3 classes, the published one 4$"):
        Caltech256(data_dir, SETTINGS).load()


def test_the_published_archive_is_unpacked(data_dir, tmp_path, monkeypatch):
    home = data_dir / "caltech256"
    with tarfile.open(home / "256_ObjectCategories.tar", "w") as packed:
        packed.add(home / "256_ObjectCategories", arcname="256_ObjectCategories")
    expected = [names(part) for part in Caltech256(data_dir, SETTINGS).load()]
    (home / "256_ObjectCategories").rename(tmp_path / "gone")
    with pytest.raises(BadInput, match="nothing was downloaded"):  # it is not the published one
        Caltech256(data_dir, SETTINGS).fetch(download=False)
    md5 = hashlib.md5((home / "256_ObjectCategories.tar").read_bytes()).hexdigest()
    monkeypatch.setattr(Caltech256, "archive", Caltech256.archive._replace(md5=md5))
    Caltech256(data_dir, SETTINGS).fetch(download=False)
    assert [names(part) for part in Caltech256(data_dir, SETTINGS).load()] == expected
    assert sorted(path.name for path in home.iterdir()) == ["256_ObjectCategories", "256_ObjectCategories.tar"]


def test_address_and_checksum_are_torchvision_s():
    """Which has them in the source of a method alone."""
    source, archive = inspect.getsource(datasets.Caltech256), Caltech256.archive
    assert all(text in source for text in (*archive.urls, archive.name, archive.md5))


def test_missing_pictures_are_explained_in_one_line(tmp_path):
    with pytest.raises(BadInput, match=r"^dataset=caltech256: 256_ObjectCategories not found in ") as error:
        Caltech256(tmp_path, SETTINGS).fetch(download=False)
    assert f"; put the tar ({Caltech256.archive.urls[0]}) into {tmp_path}/caltech256, " in str(error.value)
    assert str(error.value).endswith("(nothing was downloaded)")
    assert "\n" not in str(error.value)
