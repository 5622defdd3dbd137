"""Clean images to corrupt: of a data set, or of a folder of pictures."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import center_crop, resize

from p2be_exp.corruptions.source import DatasetSource, FolderSource
from p2be_exp.data import ImageSet
from p2be_exp.data.decoding import TestView
from p2be_exp.data.image_folder import listed
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
    assert DatasetSource("image_folder", in_memory, total=6).fingerprint == FolderSource(folder).fingerprint == {}


def test_a_folder_in_the_order_of_names(folder):
    source = FolderSource(folder)
    assert (source.name, source.total, source.size) == ("birds", 6, (14, 20))
    assert source.classes == ["auk", "wren"]
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.indices.tolist() == [0, 1, 2, 3, 4, 5]
    expected = np.stack([np.asarray(picture(seed)) for seed in (10, 11, 12, 0, 1, 2)])
    assert np.array_equal(source.read(0, 6), expected)
    assert np.array_equal(source.read(2, 4), expected[2:4])


def test_the_first_of_a_folder(folder):
    source = FolderSource(folder, limit=4)
    assert (len(source.labels), source.total) == (4, 6)
    assert np.array_equal(source.read(3, 4), FolderSource(folder).read(3, 4))
    with pytest.raises(BadInput, match="limit_test=7: allowed are 1 to 6"):
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


@pytest.mark.parametrize("shape", [(20, 14), (14, 20), (33, 33), (64, 57), (9, 9)])
def test_size_is_resize_and_center_crop_of_torchvision(tmp_path, shape):
    picture(3, *shape).save(tmp_path / "one.png")
    expected = center_crop(resize(Image.open(tmp_path / "one.png"), 16), 14)
    assert np.array_equal(FolderSource(tmp_path, size=14).read(0, 1)[0], np.asarray(expected))


def test_no_folder_no_pictures_several_sizes_damaged(folder, tmp_path):
    with pytest.raises(BadInput, match=r"folder=.*nothing: no such folder"):
        FolderSource(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"no picture in it; wanted is FOLDER/CLASS/PICTURE\.png"):
        FolderSource(tmp_path / "empty")
    picture(1, width=21).save(folder / "wren" / "3.png")
    with pytest.raises(BadInput, match=r"3\.png is 21x14, the first picture 20x14; give size="):
        FolderSource(folder)
    (folder / "wren" / "3.png").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"3\.png: not a picture"):
        FolderSource(folder)
    whole = (folder / "wren" / "2.png").read_bytes()
    (folder / "wren" / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"3\.png: damaged"):
        FolderSource(folder).read(0, 7)
