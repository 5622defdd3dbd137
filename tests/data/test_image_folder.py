"""Data sets that are folders of pictures: which pictures, in which order, and what is said of a folder that is none."""

import hashlib
from dataclasses import replace

import pytest
import torch

from p2be_exp.config import training_config
from p2be_exp.data import FolderSettings, ImageDataModule, load_dataset, source_class
from p2be_exp.data.listing import listed
from p2be_exp.errors import BadInput
from pictures import LATIN_1, WNIDS, picture, write_imagenet, write_latin_1, write_part

BIRDS = ("auk", "Wren", "owl")


def settings(folder=None, **changed) -> FolderSettings:
    given = {"image_size": 32, "resized": 36, "workers": 0, "resized_crop": True, **changed}
    return FolderSettings(folder=folder, **given)


@pytest.fixture
def birds(tmp_path):
    folder = tmp_path / "birds"
    write_part(folder / "train", BIRDS, each=11, ending=".png")
    write_part(folder / "val", BIRDS, each=2, ending=".webp")
    return folder


def load(folder):
    return load_dataset("image_folder", "nowhere", folder=settings(folder))


def names(files) -> list[str]:
    return [name.decode() for name in files.files(torch.arange(len(files)))]


def test_a_folder_in_the_order_of_names(birds):
    (birds / "train" / "auk" / "notes.txt").write_text("no picture")
    (birds / "train" / "auk" / ".hidden.png").write_text("no picture")
    (birds / "train" / "auk" / "folder.png").mkdir()
    for name in (".git", ".ipynb_checkpoints", "@eaDir", "#recycle", "__MACOSX", "System Volume Information"):
        (birds / "train" / name).mkdir()
    (birds / "train" / "README").write_text("no class")
    picture(1).save(birds / "train" / "owl" / "A.JPEG")
    train, test = load(birds)
    assert train.classes == test.classes == ("Wren", "auk", "owl")
    assert names(test) == [f"{bird}/{bird}_{k}.webp" for bird in ("Wren", "auk", "owl") for k in range(2)]
    owls = [name.removeprefix("owl/") for name in names(train)[22:]]
    assert owls == ["A.JPEG", "owl_0.png", "owl_1.png", "owl_10.png", *(f"owl_{k}.png" for k in range(2, 10))]
    assert train.labels.tolist() == [0] * 11 + [1] * 11 + [2] * 12
    assert (train.name, test.name, train.size) == ("image_folder/train", "image_folder/test", (32, 32))
    assert load(birds)[0].digest() == train.digest()


def test_names_beyond_ascii(tmp_path):
    write_part(tmp_path, ("żuraw", "öster"), each=1, ending=".png")
    files = listed(tmp_path, ("żuraw", "öster"), settings().view, "x")
    assert names(files)[0] == "żuraw/żuraw_0.png"
    assert files.read(torch.arange(2)).kept.all()


def test_names_that_are_no_utf_8(tmp_path):
    train, test = load(write_latin_1(tmp_path))
    assert train.classes == test.classes == LATIN_1
    assert b"caf\xe9/caf\xe9_0.png" in train.files(torch.arange(12)).tolist()
    assert train.read(torch.arange(12)).kept.all()
    other = listed(tmp_path / "train", LATIN_1[::-1], settings().view, "x")
    assert other.digest() != train.digest()  # another order of classes


def test_the_digest_of_other_names_is_as_ever(tmp_path):
    """Noted in the run.json of earlier runs."""
    write_part(tmp_path, ("auk", "öster"), each=1, ending=".png")
    files = listed(tmp_path, ("auk", "öster"), settings().view, "x")
    told = "auk\nöster\n0 auk/auk_0.png\n1 öster/öster_0.png".encode()
    assert files.digest() == hashlib.sha256(told).hexdigest()


def test_test_goes_before_val(birds):
    (birds / "val").rename(birds / "test")
    assert load(birds)[1].folder == birds / "test"
    write_part(birds / "val", BIRDS, each=3)
    assert load(birds)[1].folder == birds / "test"


def test_imagenet(tmp_path):
    write_imagenet(tmp_path)
    for folder in (None, tmp_path / "imagenet"):
        train, test = load_dataset("imagenet", tmp_path, folder=settings(folder))
        assert (len(train), len(test), train.classes) == (24, 9, WNIDS)
        assert test.folder == tmp_path / "imagenet" / "val"
    assert (source_class("imagenet").num_classes, source_class("imagenet").image_size) == (None, None)


def move(folder, one, other):
    (folder / one).rename(folder / other)


BROKEN = {
    "no holdout": (lambda f: move(f, "val", "holdout"), r"no folder \S*/val; expected \S*/train/CLASS/"),
    "no train": (lambda f: move(f, "train", "training"), r"no folder \S*/train; expected"),
    "renamed": (lambda f: move(f, "val/owl", "val/Owl"), r"different classes \(2 are in only one of them, Owl first\)"),
    "a class less": (
        lambda f: move(f, "val/owl", "owl"),
        r"different classes \(1 are in only one of them, owl first\)",
    ),
    "empty": (lambda f: [path.unlink() for path in (f / "val" / "owl").iterdir()], r"val/owl: no picture in it"),
    "no classes": (lambda f: [move(f, f"val/{bird}", bird) for bird in BIRDS], r"val has no folder of a class"),
}


def test_one_class_is_nothing_to_train_on(birds):
    """It ended with 0 % error, whatever the pictures."""
    for part in ("train", "val"):
        for bird in ("auk", "owl"):
            (birds / part / bird).rename(birds / f"{part}_{bird}")
    told = r"^dataset=image_folder: \S*/train has only one class, Wren; two or more are needed$"
    with pytest.raises(BadInput, match=told):
        load(birds)
    assert module(birds, test_only=True).num_classes == 1  # to look at, or to make a -C set of
    (birds / "train_owl").rename(birds / "train" / "owl")
    with pytest.raises(BadInput, match=r"different classes \(1 are in only one of them, owl first\)"):
        load(birds)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_folder_that_is_none_is_explained(birds, broken):
    break_it, message = BROKEN[broken]
    break_it(birds)
    with pytest.raises(BadInput, match=message) as error:
        load(birds)
    assert "\n" not in str(error.value)


def test_imagenet_that_is_not_there_is_explained(tmp_path):
    wanted = r"expected \S*/train/WNID/\*\.JPEG and \S*/val/WNID/\*\.JPEG; set data_dir or dataset\.dir"
    with pytest.raises(BadInput, match=rf"^dataset=imagenet: no folder \S*/imagenet; {wanted}"):
        load_dataset("imagenet", tmp_path, folder=settings())


def test_where_are_the_pictures():
    with pytest.raises(BadInput, match=r"^dataset\.dir is required: the folder of the pictures, with train/"):
        load(None)


def test_the_configuration_makes_the_settings():
    changed = ["dataset=imagenet", "dataset.image_size=64", "dataset.resized=72", "dataset.workers=3"]
    dataset = training_config(changed).dataset
    assert FolderSettings.of(dataset) == FolderSettings(None, 64, 72, 3, True, timeout=300)
    dataset = replace(dataset, augmentation="flip_crop", dir="~/x", workers=None)
    found = FolderSettings.of(dataset)
    assert (found.resized_crop, found.workers, found.folder.name) == (False, None, "x")
    assert "~" not in str(found.folder)
    assert FolderSettings.of(training_config([]).dataset) is None


# -- the data module --------------------------------------------------------------------------------------------------


def module(home, /, **changed) -> ImageDataModule:
    given = {"batch_size": 4, "eval_batch_size": 5, "seed": 3, "limit_train": None, "limit_test": None, "val_size": 0,
             "split_seed": 0, "download": False, "folder": settings(home), **changed}  # fmt: skip
    data = ImageDataModule("image_folder", "nowhere", **given)
    data.prepare_data()
    data.setup()
    return data


def test_limits_and_splits_decode_nothing(birds, monkeypatch):
    monkeypatch.setattr("p2be_exp.data.files.open_picture", lambda file: pytest.fail(f"{file} was opened"))
    data = module(birds, limit_train=10, val_size=5, limit_test=4)
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    assert [len(each.data) for each in loaders] == [10, 5, 4]
    assert not set(loaders[0].indices.tolist()) & set(loaders[1].indices.tolist())
    assert (data.num_classes, data.image_size, data.total_test) == (3, 32, 6)
    assert data.image_size == 32


def test_the_test_pictures_alone(birds):
    both = module(birds)
    for file in (birds / "train").rglob("*.png"):
        file.unlink()
    remove_folders(birds / "train")
    with pytest.raises(BadInput, match=r"no folder .*train"):
        module(birds)
    alone = module(birds, test_only=True, val_size=1000)
    assert alone.files_digest() == both.files_digest()
    assert (alone.classes, alone.num_classes, alone.total_test) == (both.classes, 3, 6)
    assert list(alone.digests()) == ["test"]


def remove_folders(folder):
    for child in folder.iterdir():
        child.rmdir()
    folder.rmdir()


def test_training_images_are_cropped_and_the_others_are_not(birds):
    data = module(birds, val_size=5)
    train, val, test = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    assert (train.crop_seed, val.crop_seed, test.crop_seed) == (3, None, None)
    assert (train.shuffle_seed, val.shuffle_seed, train.keep_workers, test.keep_workers) == (3, None, True, False)
    plain = module(birds, folder=settings(birds, resized_crop=False)).train_dataloader()
    assert plain.crop_seed is None  # what it is instead happens on the device


def test_the_cores_are_shared_by_the_processes_of_a_machine(birds, monkeypatch):
    monkeypatch.setattr("p2be_exp.data.module.usable_cpus", lambda: 9)
    data = module(birds, folder=settings(birds, workers=None))
    assert data.test_dataloader().workers == 9

    class FourDevices:
        num_devices, global_rank, world_size = 4, 1, 8

        class strategy:  # noqa: N801
            root_device = torch.device("cpu")

    data.trainer = FourDevices
    assert (data.test_dataloader().workers, data.test_dataloader().rank) == (2, 1)
    assert module(birds, folder=settings(birds, workers=0)).test_dataloader().workers == 0


def test_a_digest_where_there_are_files(birds):
    digest = module(birds).files_digest()
    assert digest == module(birds, seed=9, limit_train=3).files_digest()
    assert digest != module(birds, limit_test=3).files_digest()
    digits = ImageDataModule("digits", ".", **{"batch_size": 4, "eval_batch_size": 5, "seed": 3, "limit_train": 5,
                             "limit_test": 5, "val_size": 0, "split_seed": 0, "download": False})  # fmt: skip
    digits.setup()
    assert digits.files_digest() is None
    assert digits.digests() == digits.fingerprint(torch.arange(3)) == {}


def test_a_digest_a_split(birds):
    data = module(birds, val_size=5)
    digests = data.digests()
    assert digests["test"] == data.files_digest()
    assert len(set(digests.values())) == 3
    assert digests["train"] != module(birds, val_size=5, split_seed=1).digests()["train"]


def test_a_fingerprint_of_pictures_whether_they_are_used_or_not(birds):
    whole, some = module(birds), module(birds, limit_test=2)
    assert some.fingerprint(torch.arange(6)) == whole.test_set().fingerprint()
    assert some.fingerprint(some.test_set().indices) == some.test_set().fingerprint()
    assert some.fingerprint(torch.tensor([1, 4])) == whole.test_set().subset([1, 4]).fingerprint()
    assert some.fingerprint(torch.arange(9)) == some.fingerprint(torch.arange(6))
