"""The published CIFAR-C layout: read right, image by image, and each way in which a folder can be broken is named."""

import hashlib
import json
import os
import re
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
import torch

from p2be_exp.config.schema import AutoCorruptionConfig, CifarCConfig, DatasetConfig, TrainConfig
from p2be_exp.corruptions import digests
from p2be_exp.corruptions.names import SEVERITIES, TEST
from p2be_exp.corruptions.official import tell_generated, why_generated
from p2be_exp.corruptions.published import published_md5
from p2be_exp.corruptions.store import StoredSet
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.cifar_c import OfficialCifarC
from p2be_exp.evaluation.corrupted.source import corrupted_images
from published_sets import BROKEN, LABELS, NAMES, N, change_a_byte, data_module, value_of, write_set


@pytest.fixture
def folder(tmp_path, published):
    """A set whose files are, for the time of a test, the published ones."""
    return published(write_set(tmp_path / "CIFAR-10-C"))


AUTO = AutoCorruptionConfig("auto", names="test", severities=[1], seed=0, frost_dir=None, workers=1)
CIFAR10 = DatasetConfig("cifar10")


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
    picture = official.picture("fog", 3, data_module([2, 7]), position=1)
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
    assert set(NAMES) & set(TEST) <= set(official.plan.identical)
    assert set(official.plan.left_out) == set(TEST) - set(NAMES)
    assert official.plan.left_out["snow"] == "not in the folder"
    assert official.plan.cells == [(name, s) for name in ("gaussian_noise", "fog") for s in SEVERITIES]


def test_the_configuration_finds_the_folder(folder):
    wanted = CifarCConfig("cifar_c", names=["fog"], severities=[2], dir=None)
    config = TrainConfig(corruption=wanted, dataset=CIFAR10, data_dir=str(folder.parent))
    assert corrupted_images(config).plan.cells == [("fog", 2)]
    assert corrupted_images(replace(config, corruption=AUTO)).plan.source == "official"
    with pytest.raises(BadInput, match=r"corruption\.dir=.*CIFAR-100-C: no such folder"):
        corrupted_images(replace(config, dataset=DatasetConfig("cifar100")))


# -- broken folders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_named(folder, case):
    damage, message = BROKEN[case]
    damage(folder)
    with pytest.raises(BadInput, match=message) as error:
        opened(folder)
    assert str(error.value).startswith(f"corruption.dir={folder}: ")
    assert "\n" not in str(error.value)


def test_other_labels_than_the_test_set(folder):
    with pytest.raises(BadInput, match=r"labels\.npy does not have the labels of cifar10's test set"):
        opened(folder).loader("fog", 1, data_module(labels=LABELS[::-1].copy()))


def test_fewer_images_than_the_test_set(folder):
    labels = np.zeros(N + 1, int)
    labels[:N] = LABELS
    with pytest.raises(BadInput, match="12 images per severity, not the test images"):
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
    with pytest.raises(BadInput, match=re.escape("use corruption=generated")):
        opened(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match=r"manifest\.json is damaged"):
        opened(folder)


# -- what is called published is verified -----------------------------------------------------------------------------


def refused(folder) -> str:
    with pytest.raises(BadInput) as error:
        opened(folder)
    return str(error.value)


def test_a_changed_byte_is_refused_with_the_two_ways_on(folder):
    change_a_byte(folder / "fog.npy")
    digest, published = hashlib.md5((folder / "fog.npy").read_bytes()).hexdigest(), published_md5("cifar10", "fog")
    assert refused(folder) == (
        f"corruption.dir={folder}: fog.npy is not the published file (its md5 is {digest}, that one's is {published}); "
        "get the archive again (python -m p2be_exp.corruptions fetch cifar10), "
        f"or use corruption=own corruption.dir={folder}"
    )


def test_the_header_and_the_labels_are_verified_too(folder):
    change_a_byte(folder / "gaussian_noise.npy", 100)  # a blank of the header, now a tab: the same array
    assert np.load(folder / "gaussian_noise.npy").shape == (5 * N, 32, 32, 3)
    assert "gaussian_noise.npy is not the published file" in refused(folder)
    change_a_byte(folder / "gaussian_noise.npy", 100)
    assert opened(folder).plan.cells
    np.save(folder / "labels.npy", np.tile(LABELS, 5))  # of another type
    assert "labels.npy is not the published file" in refused(folder)


def test_somebodys_own_folder_is_refused(tmp_path):
    """Nothing is patched here: no small file has a published digest."""
    folder = write_set(tmp_path / "own")
    assert "labels.npy is not the published file (its md5 is " in refused(folder)
    assert "that one's is c439b113295ed5254878798ffe28fd54)" in refused(folder)


def test_of_another_data_set_no_digest_is_known(folder):
    with pytest.raises(BadInput, match=r"of that one no digest is known\); use corruption=own corruption\.dir="):
        OfficialCifarC(folder, "digits", ("fog",), SEVERITIES, key="corruption.dir")


def test_files_that_are_not_used_are_not_verified(folder):
    change_a_byte(folder / "spatter.npy")
    assert opened(folder, names=("fog",)).plan.cells == [("fog", severity) for severity in SEVERITIES]
    assert "spatter.npy is not the published file" in refused(folder)


def test_a_file_that_changes_during_an_evaluation(folder):
    loader = opened(folder).loader("fog", 1, data_module())
    assert len(list(loader)) == 3
    change_a_byte(folder / "fog.npy")
    with pytest.raises(BadInput, match=r"fog\.npy is not the published file"):
        list(loader)


def test_files_that_would_change_what_the_others_mean(folder):
    np.save(folder / "indices.npy", np.arange(N)[::-1])
    assert "indices.npy is in no published set" in refused(folder)


def test_a_file_that_cannot_be_read(folder, monkeypatch):
    def refuse(file, algorithm):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(digests, "file_digest", refuse)
    assert refused(folder).startswith(f"corruption.dir={folder}: labels.npy cannot be read (Permission denied); get")


def test_each_file_is_read_once(folder, monkeypatch):
    read = []
    monkeypatch.setattr(digests, "_known", {})
    monkeypatch.setattr(digests, "SETTLED_SECONDS", float("-inf"))  # the files have just been written
    whole = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda stream, how: read.append(stream.name) or whole(stream, how))
    official, data = opened(folder), data_module()
    opened(folder)
    for cell in official.plan.cells:
        list(official.loader(*cell, data))
    assert len(read) == len({*read}) == 1 + len(NAMES)


def test_results_say_that_the_files_were_verified(folder):
    assert opened(folder, names=("fog",)).settings() == {
        "name": "cifar_c", "names": ["fog"], "severities": [1, 2, 3, 4, 5], "verified": "md5",
    }  # fmt: skip


# -- auto -------------------------------------------------------------------------------------------------------------


def why(folder, dataset="cifar10", **changes):
    return why_generated(replace(AUTO, **changes), dataset, folder.parent)


def test_auto_generates_where_a_file_is_not_the_published_one(folder):
    config = TrainConfig(corruption=AUTO, dataset=CIFAR10, data_dir=str(folder.parent))
    assert why(folder) is None
    change_a_byte(folder / "fog.npy")
    assert corrupted_images(config).plan.source == "generated"
    assert why(folder).startswith(f"{folder}: fog.npy is not the published file (its md5 is ")
    assert why(folder, names=["gaussian_noise"]) is None  # what would not be used does not count
    assert why(folder, name="generated") is None


@pytest.mark.parametrize("case", BROKEN)
def test_auto_takes_no_broken_folder(folder, case):
    BROKEN[case][0](folder)
    assert str(folder) in why(folder)


def test_auto_says_what_is_missing(folder):
    assert why(folder, "cifar100") == f"no {folder.parent / 'CIFAR-100-C'}"
    assert why(folder, names=["snow"]) == f"none of the corruptions in {folder}"
    assert why(folder, "digits") is None  # nothing was published of it


def test_auto_takes_no_set_made_here(folder):
    (folder / "manifest.json").write_text("{}")
    assert why(folder) == f"{folder}: manifest.json is in no published set"


def test_why_auto_generates_is_said_in_one_line(folder, capsys):
    config = TrainConfig(dataset=CIFAR10, data_dir=str(folder.parent))
    tell_generated(AUTO, config)
    assert capsys.readouterr().out == ""
    change_a_byte(folder / "fog.npy")
    tell_generated(AUTO, config)
    line, end = capsys.readouterr().out.split("\n")
    assert end == ""
    assert line.startswith(f"corruption=auto: generated, not the published files ({folder}: fog.npy is not the ")


def test_a_file_that_is_not_used_may_be_anything(folder, tmp_path):
    """Beside a download that broke off, ``auto`` takes what is whole."""
    (folder / "spatter.npy").write_bytes(b"the beginning of a file")
    assert opened(folder, ["fog"]).plan.cells == [("fog", severity) for severity in SEVERITIES]
    config = TrainConfig(dataset=CIFAR10, data_dir=str(tmp_path), corruption=replace(AUTO, names=["fog"]))
    assert corrupted_images(config).plan.source == "official"
    with pytest.raises(BadInput, match=r"spatter\.npy"):
        opened(folder, ["fog", "spatter"])
    nothing = opened(folder, ["snow"]).plan
    assert (nothing.cells, nothing.left_out) == ([], {"snow": "not in the folder"})


def test_a_pipe_is_not_waited_for(folder, tmp_path):
    (folder / "labels.npy").unlink()
    os.mkfifo(folder / "labels.npy")
    writer = Thread(target=lambda: (folder / "labels.npy").open("wb").close())  # else who reads it waits for ever
    writer.start()
    assert why_generated(replace(AUTO, names=["fog"]), "cifar10", tmp_path) == f"{folder}: labels.npy is missing"
    reader = os.open(folder / "labels.npy", os.O_RDONLY | os.O_NONBLOCK)
    writer.join()  # however late it comes, there is a reader
    os.close(reader)
