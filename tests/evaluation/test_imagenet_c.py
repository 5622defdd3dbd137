"""ImageNet-C in its published layout: decoded as torchvision would, in order, and each broken tree is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import center_crop, resize

from p2be_exp.data import FileSet, ImageDataModule, ImageSet
from p2be_exp.data.decoding import TestView
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.agreement import check_images
from p2be_exp.evaluation.corrupted.imagenet_c import OfficialImageNetC

WNIDS = ("n01440764", "n01443537", "n02119789")
NAMES, SEVERITIES = ("gaussian_noise", "fog"), (1, 4)


def picture(seed: int, size=(224, 224)) -> Image.Image:
    small = np.random.default_rng(seed).integers(256, size=(9, 8, 3)).astype(np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """Two images a class, but three of the last; in the order of creation they are not sorted."""
    for number, name in enumerate(NAMES):
        for severity in SEVERITIES:
            for label, wnid in reversed(list(enumerate(WNIDS))):
                home = tmp_path / "ImageNet-C" / name / str(severity) / wnid
                home.mkdir(parents=True)
                for image in reversed(range(3 if label == 2 else 2)):
                    seed = 1000 * number + 100 * severity + 10 * label + image
                    picture(seed).save(home / f"ILSVRC2012_val_{image:08}.JPEG", quality=85)
    return tmp_path / "ImageNet-C"


def data_module(indices=tuple(range(7)), classes=WNIDS, batch_size=3, side=224) -> ImageDataModule:
    data = ImageDataModule(
        "digits", "nowhere", batch_size=4, eval_batch_size=batch_size, seed=0, limit_train=None, limit_test=None,
        val_size=0, split_seed=0, download=False,
    )  # fmt: skip
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 2])
    indices = torch.tensor(indices)
    data._sets["test"] = ImageSet(torch.zeros(len(indices), 3, side, side, dtype=torch.uint8), labels[indices],
                                  classes, indices=indices)  # fmt: skip
    return data


def opened(folder, names=NAMES, severities=SEVERITIES, **settings):
    return OfficialImageNetC(folder, tuple(names), tuple(severities), workers=0, **settings)


def files_of(folder, name, severity):
    return [file for wnid in WNIDS for file in sorted((folder / name / str(severity) / wnid).iterdir())]


def by_torchvision(file: Path, crop: str) -> torch.Tensor:
    image = Image.open(file).convert("RGB")
    image = resize(image, 256) if crop == "resize" else image
    return torch.from_numpy(np.array(center_crop(image, 224))).permute(2, 0, 1)


@pytest.mark.parametrize("crop", ["center", "resize"])
def test_every_image_as_torchvision_decodes_it(folder, crop):
    official = opened(folder, crop=crop)
    assert official.plan.cells == [(name, severity) for name in NAMES for severity in SEVERITIES]
    for name, severity in official.plan.cells:
        batches = list(official.loader(name, severity, data_module()))
        expected = torch.stack([by_torchvision(file, crop) for file in files_of(folder, name, severity)])
        assert torch.equal(torch.cat([batch.images for batch in batches]), expected)
        assert torch.cat([batch.labels for batch in batches]).tolist() == [0, 0, 1, 1, 2, 2, 2]
        assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(7))
        assert [batch.count for batch in batches] == [3, 3, 1]
    assert torch.equal(
        torch.from_numpy(official.picture(*official.plan.cells[-1], data_module(), position=4).copy()).permute(2, 0, 1),
        expected[4],
    )


def test_the_crops_differ(folder):
    one, other = (opened(folder, crop=crop).picture("fog", 1, data_module(), 0) for crop in ("center", "resize"))
    assert not np.array_equal(one, other)


def test_worker_processes_change_nothing(folder):
    official = OfficialImageNetC(folder, NAMES, SEVERITIES, workers=2)
    mine = torch.cat([batch.images for batch in official.loader("fog", 4, data_module())])
    alone = torch.cat([batch.images for batch in opened(folder).loader("fog", 4, data_module())])
    assert torch.equal(mine, alone)


def test_a_subset_of_the_test_images(folder):
    batches = list(opened(folder).loader("fog", 1, data_module(indices=(1, 4, 6))))
    expected = torch.stack([by_torchvision(file, "center") for file in files_of(folder, "fog", 1)])[[1, 4, 6]]
    assert torch.equal(torch.cat([batch.images for batch in batches]), expected)
    assert batches[0].labels.tolist() == [0, 2, 2]
    assert batches[0].indices.tolist() == [1, 4, 6]


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_count_each_image_once(folder, world_size, monkeypatch):
    data, seen = data_module(), []
    for rank in range(world_size):
        monkeypatch.setattr(data, "placement", lambda rank=rank: (torch.device("cpu"), rank, world_size))
        batches = list(opened(folder).loader("fog", 1, data))
        assert len(batches) == 3
        assert all(len(batch.images) == max(batch.count, 1) for batch in batches)
        seen += [index for batch in batches for index in batch.indices[: batch.count].tolist()]
    assert sorted(seen) == list(range(7))


@pytest.mark.parametrize("crop", ["center", "resize"])
def test_large_images_are_cut_in_the_middle(folder, crop):
    file = files_of(folder, "fog", 1)[0]
    picture(1, size=(301, 260)).save(file)
    assert torch.equal(first_of(opened(folder, crop=crop), data_module()), by_torchvision(file, crop))


def test_a_network_of_another_size_sees_what_was_cut_out_scaled(folder):
    expected = resize(center_crop(Image.open(files_of(folder, "fog", 1)[0]).convert("RGB"), 224), 64)
    shown = first_of(opened(folder), data_module(side=64))
    assert torch.equal(shown, torch.from_numpy(np.array(expected)).permute(2, 0, 1))


def first_of(official, data) -> torch.Tensor:
    return next(iter(official.loader("fog", 1, data))).images[0]


def clean_files(folder, side=224, each=(2, 2, 3), first=0) -> ImageDataModule:
    """A data module whose test set has picture files of the published names."""
    data = data_module(side=side)
    names = [
        f"{wnid}/ILSVRC2012_val_{first + k:08}.jpeg" for wnid, n in zip(WNIDS, each, strict=True) for k in range(n)
    ]
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(each))
    data._sets["test"] = FileSet(
        folder, np.array(names, dtype=np.bytes_), labels, WNIDS, TestView(side, None), "made/test"
    )
    return data


def test_names_are_those_of_the_clean_images(folder, tmp_path):
    assert sum(batch.count for batch in opened(folder).loader("fog", 1, clean_files(tmp_path))) == 7
    with pytest.raises(BadInput) as error:  # of the first cell before it is read
        opened(folder).loader("fog", 1, clean_files(tmp_path, first=1))
    assert str(error.value) == (
        f"corruption.dir={folder}: fog/1 has {WNIDS[0]}/ILSVRC2012_val_00000000.JPEG "
        f"where made/test has {WNIDS[0]}/ILSVRC2012_val_00000001.jpeg"
    )


def test_the_first_cell_alone_is_listed_early(folder, monkeypatch):
    listed, original = [], OfficialImageNetC._listing
    monkeypatch.setattr(OfficialImageNetC, "_listing", lambda self, *cell: listed.append(cell) or original(self, *cell))
    official, data = opened(folder), data_module()
    check_images(data, official)
    assert listed == [("gaussian_noise", 1)]
    for file in files_of(folder, "gaussian_noise", 1):
        file.unlink()
    with pytest.raises(BadInput, match="gaussian_noise/1 has 0 images, not those of digits's test set"):
        check_images(data, opened(folder))


def test_classes_are_sorted_before_their_images_and_hidden_ones_passed_over(folder):
    classes = (WNIDS[0], f"{WNIDS[0]}-b", WNIDS[2])  # "-" comes before "/"
    for name in NAMES:
        for severity in SEVERITIES:
            home = folder / name / str(severity)
            (home / WNIDS[1]).rename(home / classes[1])
    (folder / "fog" / "1" / ".cache").mkdir()
    (folder / "fog" / "1" / WNIDS[0] / ".hidden.JPEG").write_text("no picture")
    batches = list(opened(folder).loader("fog", 1, data_module(classes=classes)))
    files = [file for wnid in classes for file in sorted((folder / "fog" / "1" / wnid).glob("I*"))]
    expected = torch.stack([by_torchvision(file, "center") for file in files])
    assert torch.equal(torch.cat([batch.images for batch in batches]), expected)


# -- broken trees -----------------------------------------------------------------------------------------------------


def test_what_is_missing_is_left_out(folder):
    official = opened(folder, names=("gaussian_noise", "snow", "fog"))
    assert official.plan.left_out == {"snow": "not in the folder"}
    assert official.plan.cells == opened(folder).plan.cells


def remove(path):
    for child in path.iterdir():
        remove(child) if child.is_dir() else child.unlink()
    path.rmdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: remove(f / "fog" / "4"), "fog/4 is missing"),
        (lambda f: [remove(path) for path in (f / "fog" / "4").iterdir()], "fog/4 has no folder of a class"),
        (
            lambda f: remove(f / "fog" / "1" / WNIDS[1]),
            rf"fog/1 does not have the class folders .*\(1 differ, {WNIDS[1]}",
        ),
        (lambda f: [remove(f / name) for name in NAMES], "no corruption in it; expected folders like"),
    ],
)
def test_a_broken_tree_is_named(folder, damage, message):
    damage(folder)
    with pytest.raises(BadInput, match=message) as error:
        opened(folder)
    assert str(error.value).startswith(f"corruption.dir={folder}: ")
    assert "\n" not in str(error.value)


def test_no_folder(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        opened(tmp_path / "nothing")


def test_an_image_that_one_cell_lacks(folder):
    files_of(folder, "fog", 4)[3].unlink()
    official, data = opened(folder), data_module()
    list(official.loader("fog", 1, data))
    with pytest.raises(
        BadInput, match=rf"fog/4 does not have the images .*\(1 differ, {WNIDS[1]}/ILSVRC2012_val_00000001"
    ):
        list(official.loader("fog", 4, data))


def test_other_images_than_the_test_set(folder):
    for name in NAMES:
        for severity in SEVERITIES:
            files_of(folder, name, severity)[0].unlink()
    with pytest.raises(BadInput, match="gaussian_noise/1 has 6 images, not those of digits's test set"):
        list(opened(folder).loader("gaussian_noise", 1, data_module()))


def test_classes_that_the_data_set_has_not(folder):
    with pytest.raises(BadInput, match=f"class {WNIDS[2]} is not in digits"):
        opened(folder).loader("fog", 1, data_module(classes=(*WNIDS[:2], "n99999999")))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", ["truncated", "no image", "small"])
def test_a_damaged_image(folder, workers, damage):
    file = files_of(folder, "fog", 1)[4]
    match damage:
        case "truncated":
            file.write_bytes(file.read_bytes()[:2000])
        case "no image":
            file.write_text("an error page")
        case "small":
            picture(0, size=(224, 200)).save(file)
    messages = {"truncated": "truncated", "no image": "not a picture", "small": "224x200, at least 224x224 is needed"}
    official = OfficialImageNetC(folder, NAMES, SEVERITIES, workers=workers)
    with pytest.raises(BadInput, match=rf"cannot be read \(.*{messages[damage]}.*\)$") as error:
        list(official.loader("fog", 1, data_module()))
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)
