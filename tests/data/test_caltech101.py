"""Caltech 101: the fixed split, the background left out, the archive unpacked once and whole."""

import hashlib
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from p2be_exp.data import FolderSettings, caltech101
from p2be_exp.data.caltech101 import Caltech101
from p2be_exp.errors import BadInput
from pictures import write_part

SETTINGS = FolderSettings(None, 32, 36, 0, True)
OBJECTS = ("Leopards", "accordion", "yin_yang")


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """Three classes, of which three pictures each are trained on; and the background."""
    home = tmp_path / "data" / "caltech101"
    write_part(home / "101_ObjectCategories", (*OBJECTS, "BACKGROUND_Google"), each=5, ending=".jpg")
    monkeypatch.setattr(Caltech101, "num_classes", 3)
    monkeypatch.setattr(caltech101, "TRAIN_PER_CLASS", 3)
    return tmp_path / "data"


def indices(data_dir):
    return [part.indices.tolist() for part in Caltech101(data_dir, SETTINGS).load()]


def test_the_split_is_fixed_stratified_and_complete(data_dir):
    train, test = Caltech101(data_dir, SETTINGS).load()
    assert (train.name, test.name, train.classes) == ("caltech101/train", "caltech101/test", OBJECTS)
    assert train.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert test.labels.tolist() == [0] * 2 + [1] * 2 + [2] * 2
    assert sorted([*train.indices.tolist(), *test.indices.tolist()]) == list(range(15))
    assert indices(data_dir) == indices(data_dir)
    # Written down when the split was made: it is part of every result on this data set.
    assert test.indices.tolist() == [2, 4, 8, 9, 10, 11]


def test_the_split_is_a_plain_draw_by_words(data_dir):
    train, _ = Caltech101(data_dir, SETTINGS).load()
    for label in range(3):
        words = np.random.PCG64(np.random.SeedSequence(0, spawn_key=(3, label))).random_raw(5)
        drawn = 5 * label + np.argsort(words, kind="stable")[:3]
        assert train.indices[train.labels == label].tolist() == sorted(drawn.tolist())


def test_the_pictures_are_those_of_the_files(data_dir):
    _, test = Caltech101(data_dir, SETTINGS).load()
    names = [name.decode() for name in test.files(torch.arange(len(test)))]
    assert names[0] == f"Leopards/Leopards_{int(test.indices[0])}.jpg"
    assert test.pictures(torch.tensor([0])).shape == (1, 3, 32, 32)


def test_too_few_classes_or_pictures(data_dir):
    home = data_dir / "caltech101" / "101_ObjectCategories"
    for number in (0, 1):
        (home / "yin_yang" / f"yin_yang_{number}.jpg").unlink()
    with pytest.raises(BadInput, match=r"yin_yang: 3 pictures, must be 4 or more$"):
        Caltech101(data_dir, SETTINGS).load()
    (home / "yin_yang").rename(home / ".yin_yang")
    with pytest.raises(BadInput, match=r"dataset=caltech101: \S+ has 2 classes, the published one 3$"):
        Caltech101(data_dir, SETTINGS).load()


def test_the_published_archive_is_unpacked(data_dir, tmp_path, monkeypatch):
    expected, home = indices(data_dir), data_dir / "caltech101"
    inner = tmp_path / "101_ObjectCategories.tar.gz"
    with tarfile.open(inner, "w:gz") as packed:
        packed.add(home / "101_ObjectCategories", arcname="101_ObjectCategories")
    with zipfile.ZipFile(home / "caltech-101.zip", "w") as archive:
        archive.write(inner, "caltech-101/101_ObjectCategories.tar.gz")
    (home / "101_ObjectCategories").rename(tmp_path / "gone")
    with pytest.raises(BadInput, match="nothing was downloaded"):  # it is not the published one
        Caltech101(data_dir, SETTINGS).fetch(download=False)
    md5 = hashlib.md5((home / "caltech-101.zip").read_bytes()).hexdigest()
    monkeypatch.setattr(Caltech101, "archive", Caltech101.archive._replace(md5=md5))
    Caltech101(data_dir, SETTINGS).fetch(download=False)
    assert indices(data_dir) == expected
    assert sorted(path.name for path in home.iterdir()) == ["101_ObjectCategories", "caltech-101.zip"]


@pytest.mark.parametrize(("download", "why"), [(False, "nothing was downloaded"), (True, "download failed: .+")])
def test_missing_pictures_are_explained_in_one_line(tmp_path, monkeypatch, download, why):
    unreachable = Caltech101.archive._replace(urls=("http://127.0.0.1:1/caltech-101.zip",))
    monkeypatch.setattr(Caltech101, "archive", unreachable)
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(BadInput, match=rf"^dataset=caltech101: 101_ObjectCategories not found .*\({why}\)$") as error:
        Caltech101(tmp_path, SETTINGS).fetch(download)
    assert "\n" not in str(error.value)
    assert f"put the zip (http://127.0.0.1:1/caltech-101.zip) into {tmp_path}/caltech101" in str(error.value)
