"""The published CIFAR-C layout: read right, image by image, and each way in which a folder can be broken is named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from p2be_exp.corruptions.images import OfficialCifarC, corrupted_images
from p2be_exp.corruptions.names import ALL, SEVERITIES, TEST
from p2be_exp.corruptions.store import StoredSet
from p2be_exp.data import ImageDataModule, ImageSet
from p2be_exp.errors import BadInput

N = 12
LABELS = np.arange(N) * 5 % 10
NAMES = ("gaussian_noise", "fog", "spatter")


def data_module(indices=None, labels=LABELS, size=(32, 32), batch_size=5) -> ImageDataModule:
    """A data module whose test set is made up: image i has the label `labels[i]`."""
    data = ImageDataModule(
        "cifar10", "nowhere", batch_size=4, eval_batch_size=batch_size, seed=0, limit_train=None, limit_test=None,
        val_size=0, split_seed=0, download=False,
    )  # fmt: skip
    indices = torch.arange(N) if indices is None else torch.tensor(indices)
    data._sets["test"] = ImageSet(
        torch.zeros(len(indices), 3, *size, dtype=torch.uint8),
        torch.from_numpy(labels)[indices],
        tuple("0123456789"),
        indices=indices,
    )
    return data


def value_of(name: str, severity: int, image: int) -> int:
    """The first value of an image of the made-up set: another for every image of every cell."""
    return (ALL.index(name) * 61 + severity * 17 + image) % 256


def write_set(folder: Path, names=NAMES) -> Path:
    """A folder like the published one, of N images: images of noise that begin with a value that tells who they are."""
    folder.mkdir()
    for name in names:
        images = np.random.default_rng(ALL.index(name)).integers(256, size=(5 * N, 32, 32, 3)).astype(np.uint8)
        for severity in SEVERITIES:
            for image in range(N):
                images[(severity - 1) * N + image, 0, 0, 0] = value_of(name, severity, image)
        np.save(folder / f"{name}.npy", images)
    np.save(folder / "labels.npy", np.tile(LABELS, 5).astype(np.uint8))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_set(tmp_path / "CIFAR-10-C")


def opened(folder, names=NAMES, severities=SEVERITIES):
    return OfficialCifarC(folder, "cifar10", tuple(names), tuple(severities), key="corruption.dir")


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_every_image_of_every_cell(folder, batch_size):
    official, data = opened(folder), data_module(batch_size=batch_size)
    for name, severity in official.plan.cells:
        batches = list(official.loader(name, severity, data))
        assert [batch.global_count for batch in batches] == [batch.count for batch in batches]
        images = torch.cat([batch.images for batch in batches])
        expected = np.load(folder / f"{name}.npy")[(severity - 1) * N : severity * N]
        assert torch.equal(images, torch.from_numpy(expected).permute(0, 3, 1, 2))
        assert images.is_contiguous()
        assert images[:, 0, 0, 0].tolist() == [value_of(name, severity, image) for image in range(N)]
        assert torch.cat([batch.labels for batch in batches]).tolist() == LABELS.tolist()
        assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(N))
        assert len(official.loader(name, severity, data)) == len(batches) == -(-N // batch_size)


def test_a_subset_of_the_test_images(folder):
    chosen = [1, 4, 5, 11]
    loader = opened(folder).loader("fog", 4, data_module(chosen, batch_size=3))
    batches = list(loader)
    images = torch.cat([batch.images for batch in batches])
    assert images[:, 0, 0, 0].tolist() == [value_of("fog", 4, image) for image in chosen]
    assert torch.cat([batch.indices for batch in batches]).tolist() == chosen
    assert torch.cat([batch.labels for batch in batches]).tolist() == LABELS[chosen].tolist()


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_every_batch_and_count_each_image_once(folder, world_size, monkeypatch):
    data, seen = data_module(batch_size=5), []
    for rank in range(world_size):
        placement = (torch.device("cpu"), rank, world_size)
        monkeypatch.setattr(data, "placement", lambda placement=placement: placement)
        batches = list(opened(folder).loader("fog", 2, data))
        assert len(batches) == 3
        for batch in batches:
            assert len(batch.images) == max(batch.count, 1)  # a rank without an image still takes part
            assert batch.scale == pytest.approx(batch.count * world_size / batch.global_count)
            seen += batch.indices[: batch.count].tolist()
            assert batch.images[:, 0, 0, 0].tolist() == [value_of("fog", 2, i) for i in batch.indices.tolist()]
    assert sorted(seen) == list(range(N))


def test_one_picture(folder):
    official = opened(folder)
    picture = official.picture("fog", 3, data_module([2, 7]), place=1)
    assert np.array_equal(picture, np.load(folder / "fog.npy")[2 * N + 7])


def test_the_files_are_mapped_and_not_read(folder):
    block = StoredSet(folder).block("fog", 2)
    base = block
    while not isinstance(base, np.memmap):
        base = base.base
    assert not block.flags.owndata
    assert not block.flags.writeable


def test_the_plan_says_what_is_missing(folder):
    official = opened(folder, names=TEST)
    assert official.plan.source == "official"
    assert set(official.plan.left_out) == set(TEST) - set(NAMES)
    assert official.plan.left_out["snow"] == "not in the folder"
    assert official.plan.cells == [(name, s) for name in ("gaussian_noise", "fog") for s in SEVERITIES]


def test_the_configuration_finds_the_folder(folder):
    wanted = {"name": "cifar_c", "names": ["fog"], "severities": [2], "dir": None}
    config = {"corruption": wanted, "dataset": {"name": "cifar10"}, "data_dir": str(folder.parent)}
    assert corrupted_images(config).plan.cells == [("fog", 2)]
    auto = {"name": "auto", "names": "test", "severities": [1], "seed": 0, "frost_dir": None, "workers": 1}
    assert corrupted_images({**config, "corruption": auto}).plan.source == "official"
    with pytest.raises(BadInput, match=r"corruption\.dir=.*CIFAR-100-C: no such folder"):
        corrupted_images({**config, "dataset": {"name": "cifar100"}})


# -- broken folders ---------------------------------------------------------------------------------------------------


def save(file):
    def write(array):
        np.save(file, array)

    return write


def truncate(folder):
    content = (folder / "fog.npy").read_bytes()
    (folder / "fog.npy").write_bytes(content[: len(content) // 2])


def cut_header(folder):
    (folder / "fog.npy").write_bytes(b"\x93NUMPY\x01")


def not_an_array(folder):
    (folder / "fog.npy").write_bytes(b"an error page")


def objects(folder):
    np.save(folder / "fog.npy", np.array([{}], dtype=object), allow_pickle=True)


BROKEN = {
    "no labels": (lambda f: (f / "labels.npy").unlink(), r"labels\.npy is missing"),
    "float labels": (lambda f: np.save(f / "labels.npy", np.tile(LABELS, 5) / 2), r"labels\.npy is float64 \(60,\)"),
    "labels 2-d": (lambda f: np.save(f / "labels.npy", np.zeros((60, 2), int)), r"labels\.npy is int64 \(60, 2\)"),
    "labels of no five": (lambda f: np.save(f / "labels.npy", np.zeros(59, int)), r"labels\.npy is int64 \(59,\)"),
    "labels by image": (
        lambda f: np.save(f / "labels.npy", np.repeat(LABELS, 5)), r"labels\.npy differs between severities"
    ),
    "labels cut": (lambda f: (f / "labels.npy").write_bytes(b""), r"labels\.npy: truncated"),
    "truncated": (truncate, r"fog\.npy: truncated, or not an array"),
    "header cut": (cut_header, r"fog\.npy: truncated, or not an array"),
    "no array": (not_an_array, r"fog\.npy: truncated, or not an array"),
    "objects": (objects, r"fog\.npy: truncated, or not an array"),
    "float": (lambda f: np.save(f / "fog.npy", np.zeros((60, 32, 32, 3), np.float32)), r"fog\.npy: float32 \(60, 32"),
    "channels first": (
        lambda f: np.save(f / "fog.npy", np.zeros((60, 3, 32, 32), np.uint8)),
        r"fog\.npy: uint8 \(60, 3, 32, 32\), wanted is uint8 \(60, H, W, 3\)",
    ),
    "gray": (lambda f: np.save(f / "fog.npy", np.zeros((60, 32, 32), np.uint8)), r"fog\.npy: uint8 \(60, 32, 32\)"),
    "short": (lambda f: np.save(f / "fog.npy", np.zeros((48, 32, 32, 3), np.uint8)), r"fog\.npy: 48 images.*60"),
    "other size": (lambda f: np.save(f / "fog.npy", np.zeros((60, 16, 16, 3), np.uint8)), r"fog\.npy: images of 16x16"),
    "empty": (lambda f: [(f / f"{name}.npy").unlink() for name in NAMES], r"no corruption in it"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_named(folder, case):
    damage, message = BROKEN[case]
    damage(folder)
    with pytest.raises(BadInput, match=message) as error:
        opened(folder)
    assert str(error.value).startswith(f"corruption.dir={folder}: ")
    assert "\n" not in str(error.value)


def test_other_labels_than_the_test_set(folder):
    with pytest.raises(BadInput, match=r"labels\.npy has other labels than cifar10's test set"):
        opened(folder).loader("fog", 1, data_module(labels=LABELS[::-1].copy()))


def test_fewer_images_than_the_test_set(folder):
    labels = np.zeros(N + 1, int)
    labels[:N] = LABELS
    with pytest.raises(BadInput, match="12 images a severity, not those that are tested on"):
        opened(folder).loader("fog", 1, data_module(list(range(N + 1)), labels=labels))


def test_images_of_another_size_than_the_test_set(folder):
    with pytest.raises(BadInput, match="images of 32x32, cifar10 has 16x16"):
        opened(folder).loader("fog", 1, data_module(size=(16, 16)))


def test_no_folder(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        opened(tmp_path / "nothing")


def test_a_set_made_here_is_not_the_published_one(folder):
    manifest = {"severities": [1, 2, 3, 4, 5], "blocks": {}, "dataset": "cifar10", "seed": 0}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=re.escape("corruption=generated takes it")):
        opened(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match=r"manifest\.json is damaged"):
        opened(folder)
