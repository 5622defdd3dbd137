"""Clean images to corrupt: of a data set, or of a folder of pictures."""

import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import center_crop, resize

from p2be_exp.corruptions.source import DatasetSource, FolderSource, at_a_time
from p2be_exp.data import FolderSettings, ImageSet, load_dataset
from p2be_exp.data.decoding import TestView
from p2be_exp.data.files import FileSet
from p2be_exp.data.listing import class_names, listed
from p2be_exp.errors import BadInput


def picture(seed, width=20, height=14, mode="RGB"):
    values = np.random.default_rng(seed).integers(256, size=(height, width, 3)).astype(np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "birds"
    for label, name in enumerate(("wren", "auk")):
        (home / name).mkdir(parents=True)
        for number in (2, 0, 1):
            picture(10 * label + number).save(home / name / f"{number}.png")
    (home / "auk" / "notes.txt").write_text("not a picture")
    return home


def test_a_data_set():
    images = torch.randint(256, (9, 3, 5, 7)).to(torch.uint8)
    indices = torch.tensor([3, 1, 4, 15, 9, 2, 6, 5, 35])
    source = DatasetSource("cifar10", ImageSet(images, indices % 4, tuple("abcd"), indices=indices), total=40)
    assert (source.name, source.total, source.size) == ("cifar10", 40, (5, 7))
    assert source.indices.tolist() == indices.tolist()
    assert source.labels.tolist() == (indices % 4).tolist()
    assert np.array_equal(source.read(2, 6), images[2:6].permute(0, 2, 3, 1).numpy())


def test_picture_files_of_a_data_set_have_a_fingerprint(folder):
    files = listed(folder, ("auk", "wren"), TestView(8, 10), "birds/test")
    source = DatasetSource("image_folder", files.subset([1, 4]), total=6)
    assert source.fingerprint == {"test_files": files.subset([1, 4]).digest(), "image_size": 8, "resized": 10}
    in_memory = ImageSet(files.pictures(torch.arange(6)), files.labels, files.classes)
    assert DatasetSource("image_folder", in_memory, total=6).fingerprint == {}
    assert FolderSource(folder).fingerprint == {"test_files": files.digest()}
    assert FolderSource(folder, size=70).fingerprint == {"test_files": files.digest(), "image_size": 70, "resized": 80}


def test_a_folder_in_the_order_of_names(folder):
    source = FolderSource(folder)
    assert (source.name, source.total, source.size) == ("birds", 6, (14, 20))
    assert source.classes == ("auk", "wren")
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.indices.tolist() == [0, 1, 2, 3, 4, 5]
    expected = np.stack([np.asarray(picture(seed)) for seed in (10, 11, 12, 0, 1, 2)])
    assert np.array_equal(source.read(0, 6), expected)
    assert np.array_equal(source.read(2, 4), expected[2:4])


def test_the_first_of_a_folder(folder):
    source = FolderSource(folder, limit=4)
    assert (len(source.labels), source.total) == (4, 6)
    assert np.array_equal(source.read(3, 4), FolderSource(folder).read(3, 4))
    with pytest.raises(BadInput, match="limit_test=7: must be between 1 and 6"):
        FolderSource(folder, limit=7)


def test_pictures_without_classes_are_one_class(folder):
    source = FolderSource(folder / "wren")
    assert (source.labels.tolist(), source.name) == ([0, 0, 0], "wren")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_other_kinds_of_pictures_become_rgb(tmp_path, mode):
    picture(1, mode=mode).save(tmp_path / "one.png")
    read = FolderSource(tmp_path).read(0, 1)
    assert np.array_equal(read[0], np.asarray(Image.open(tmp_path / "one.png").convert("RGB")))
    assert read.shape == (1, 14, 20, 3)


def test_deep_pictures_are_scaled_by_their_depth_or_named(tmp_path):
    levels = np.arange(0, 256, 5, dtype=np.uint8).reshape(4, 13)
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / "0.png")
    Image.fromarray(levels.astype(np.float32)).save(tmp_path / "1.tif")
    source = FolderSource(tmp_path).readable(workers=1)
    assert np.array_equal(source.read(0, 1)[0], np.stack([levels] * 3, axis=-1))
    assert [each.file for each in source.left_out] == [f"{tmp_path.name}/1.tif"]


@pytest.mark.parametrize("shape", [(20, 14), (14, 20), (33, 33), (64, 57), (9, 9), (90, 200)])
@pytest.mark.parametrize(("size", "resized"), [(14, 14), (63, 63), (70, 80)])
def test_size_is_resize_and_center_crop_of_torchvision(tmp_path, shape, size, resized):
    picture(3, *shape).save(tmp_path / "one.png")
    expected = center_crop(resize(Image.open(tmp_path / "one.png"), resized), size)
    assert np.array_equal(FolderSource(tmp_path, size=size).read(0, 1)[0], np.asarray(expected))


def test_no_folder_no_pictures_several_sizes(folder, tmp_path):
    with pytest.raises(BadInput, match=r"folder=.*nothing: no such folder"):
        FolderSource(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"no picture in it; expected FOLDER/CLASS/PICTURE\.png"):
        FolderSource(tmp_path / "empty")
    picture(1, width=21).save(folder / "wren" / "3.png")
    with pytest.raises(BadInput, match=r"wren/3\.png is 21x14, the first picture 20x14; give size="):
        FolderSource(folder)


# -- listed as a data set lists them -----------------------------------------------------------------------------------


def litter(folder):
    """What editors, disk stations and archives leave among pictures; and pictures of less usual endings."""
    for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX", "lost+found"):
        (folder / name / "wren").mkdir(parents=True)
        picture(99).save(folder / name / "0.png")
    (folder / "auk" / "._0.png").write_bytes(b"resource fork")
    (folder / "auk" / "@eaDir").mkdir()
    (folder / "auk" / "folder.png").mkdir()
    for number, ending in enumerate((".gif", ".jfif", ".jpe", ".tga", ".PNM")):
        picture(50 + number).save(folder / "wren" / f"more{ending}", {".jfif": "JPEG", ".PNM": "PPM"}.get(ending))


@pytest.mark.parametrize("size", [None, 70])
def test_a_folder_is_listed_as_a_data_set_lists_it(folder, tmp_path, size):
    litter(folder)
    settings = FolderSettings(folder=tmp_path / "data", image_size=70, resized=80, workers=0, resized_crop=False)
    for part in ("train", "test"):
        shutil.copytree(folder, tmp_path / "data" / part)
    _, test = load_dataset("image_folder", "nowhere", folder=settings)
    source = FolderSource(folder, size).readable(workers=2)
    assert source.left_out == ()
    assert source.classes == test.classes == ("auk", "wren")
    assert source.labels.tolist() == test.labels.tolist() == [0] * 3 + [1] * 8
    assert source.indices.tolist() == test.indices.tolist()
    assert source.fingerprint["test_files"] == test.digest()
    if size is not None:
        assert np.array_equal(source.read(0, 11), DatasetSource("image_folder", test, 11).read(0, 11))


def test_a_class_without_pictures_is_refused_as_by_a_data_set(folder):
    (folder / "owl").mkdir()
    told = re.escape(f"{folder / 'owl'}: no picture in it; expected {folder}/CLASS/PICTURE.jpg (or .png, ...)")
    with pytest.raises(BadInput, match=told):
        FolderSource(folder)
    with pytest.raises(BadInput, match=told):
        listed(folder, class_names(folder), TestView(8, 10), "birds")


def test_pictures_beside_hidden_folders_are_one_class(folder):
    (folder / "wren" / ".ipynb_checkpoints").mkdir()
    source = FolderSource(folder / "wren")
    assert (source.classes, source.labels.tolist(), source.name) == (("wren",), [0, 0, 0], "wren")


# -- what cannot be read -----------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(folder):
    """Two of seven pictures cannot be read: one has no header, one ends too early."""
    whole = (folder / "wren" / "2.png").read_bytes()
    (folder / "auk" / "1.png").write_bytes(b"nothing")
    (folder / "wren" / "3.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.mark.parametrize("size", [None, 14])
def test_what_cannot_be_read_is_left_out_named_and_counted(damaged, capsys, size):
    source = FolderSource(damaged, size).readable(workers=2)
    assert [(each.index, each.file) for each in source.left_out] == [(1, "auk/1.png"), (6, "wren/3.png")]
    assert source.left_out[0].reason == "not a picture"
    assert (source.indices.tolist(), source.labels.tolist()) == ([0, 2, 3, 4, 5], [0, 0, 1, 1, 1])
    assert (source.total, len(source.read(0, 5))) == (7, 5)
    told = capsys.readouterr().err
    assert told.startswith(
        "warning: birds: 2 of 7 images cannot be read and are left out: auk/1.png (not a picture); wren/3.png ("
    )
    assert told.count("\n") == 1


@pytest.mark.parametrize(("size", "most"), [((700, 800), 1), ((40, 30), 416)])
def test_few_large_pictures_are_in_memory_at_a_time(tmp_path, monkeypatch, size, most):
    """32 photographs of 12 megapixels, on every thread, were more than a gigabyte each."""
    for number in range(3):
        picture(number, *size).save(tmp_path / f"{number}.png")
    asked, read = [], FileSet.read
    monkeypatch.setattr(FileSet, "read", lambda self, places: asked.append(len(places)) or read(self, places))
    FolderSource(tmp_path).readable(workers=1)
    assert asked == [min(most, 3)] * (3 // min(most, 3))
    assert at_a_time(size) == most


def test_what_is_not_asked_for_is_not_looked_at(damaged, capsys):
    source = FolderSource(damaged, limit=1).readable(workers=1)
    assert (source.indices.tolist(), source.left_out, capsys.readouterr().err) == ([0], (), "")


def test_the_first_that_can_be_read_tells_the_size(damaged):
    (damaged / "auk" / "0.png").write_bytes(b"nothing")
    assert FolderSource(damaged).size == (14, 20)


@pytest.mark.parametrize("size", [None, 14])
def test_none_can_be_read(folder, size):
    for file in folder.rglob("*.png"):
        file.write_bytes(b"nothing")
    told = r"birds: none of the 6 images can be read: auk/0\.png \(not a picture\); .*; and 3 more"
    with pytest.raises(BadInput, match=told):
        FolderSource(folder, size).readable(workers=1)
