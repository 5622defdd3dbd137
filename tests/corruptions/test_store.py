"""A -C set that was made here is what its manifest says, or is refused; and that is found out once."""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from p2be_exp.corruptions import store
from p2be_exp.corruptions.make import make_set
from p2be_exp.corruptions.store import StoredSet
from p2be_exp.errors import BadInput

NAMES, SEVERITIES = ("gaussian_noise", "contrast"), (2, 5)
CELLS = [(name, severity) for name in NAMES for severity in SEVERITIES]


class Source:
    """Six of nine images of noise."""

    name, total, size, fingerprint = "made_up", 9, (8, 8), {}
    indices = np.array([0, 2, 3, 5, 7, 8])
    labels = indices % 4
    classes, left_out = tuple("abcd"), ()

    def read(self, start, stop):
        return np.random.default_rng(5).integers(256, size=(6, 8, 8, 3)).astype(np.uint8)[start:stop]


@pytest.fixture(autouse=True)
def compared_by_nobody_yet(monkeypatch):
    monkeypatch.setattr(store, "_sound", set())


@pytest.fixture
def folder(tmp_path):
    make_set(Source(), tmp_path / "set", NAMES, SEVERITIES)
    return tmp_path / "set"


def everything(folder):
    """All that a set has: labels, indices, blocks."""
    stored = StoredSet(folder)
    blocks = [np.array(stored.block(name, severity)) for name in NAMES for severity in stored.severities]
    return [stored.names, stored.severities, stored.labels.tolist(), stored.indices.tolist(), blocks]


def flip(file, place, bit=0):
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def test_a_flipped_bit_of_a_picture_is_refused_and_its_file_named(folder):
    flip(folder / "contrast.npy", -1)  # in severity 5, the last one
    stored = StoredSet(folder)
    expected = Source().read(0, 6).shape
    assert stored.block("contrast", 2).shape == stored.block("gaussian_noise", 5).shape == expected
    with pytest.raises(BadInput) as refused:
        stored.block("contrast", 5)
    assert str(refused.value) == (
        f"corruption.dir={folder}: contrast.npy is damaged (severity 5 is not what manifest.json says); "
        "remove it and make it again"
    )


@pytest.mark.parametrize("file", ["contrast.npy", "labels.npy", "indices.npy", "manifest.json"])
def test_any_flipped_bit_is_refused_or_changes_nothing(folder, file, monkeypatch):
    whole, numbers = (folder / file).read_bytes(), random.Random(file)
    expected, refused = everything(folder), []
    for place in numbers.sample(range(len(whole)), min(len(whole), 150)):
        monkeypatch.setattr(store, "_sound", set())
        flip(folder / file, place, numbers.randrange(8))
        try:
            found = everything(folder)
        except BadInput as error:
            refused.append(str(error))
        else:
            np.testing.assert_equal(found, expected)
        (folder / file).write_bytes(whole)
    assert refused
    assert not any("\n" in line for line in refused)


def test_a_file_is_compared_once_and_again_when_it_changed(folder, monkeypatch):
    compared = []
    whole = store.sha256_of
    monkeypatch.setattr(store, "sha256_of", lambda array: compared.append(array.shape) or whole(array))
    for _ in range(3):
        everything(folder)
    blocks = [shape for shape in compared if len(shape) == 4]
    assert len(blocks) == len(CELLS)
    about = (folder / "contrast.npy").stat()
    flip(folder / "contrast.npy", -1)
    os.utime(folder / "contrast.npy", ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    with pytest.raises(BadInput, match=r"contrast\.npy is damaged"):
        everything(folder)
    assert len([shape for shape in compared if len(shape) == 4]) == len(CELLS) + len(SEVERITIES)


def test_a_file_that_was_changed_in_place_and_whose_time_was_put_back_is_compared_again(folder):
    everything(folder)
    before = (folder / "contrast.npy").stat()
    flip(folder / "contrast.npy", -1)
    while (folder / "contrast.npy").stat().st_ctime_ns == before.st_ctime_ns:  # as long as a tick of the clock
        os.utime(folder / "contrast.npy")
    os.utime(folder / "contrast.npy", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BadInput, match=r"contrast\.npy is damaged"):
        everything(folder)


def test_a_file_of_which_the_manifest_knows_nothing_is_refused(folder):
    np.save(folder / "fog.npy", np.load(folder / "contrast.npy"))
    with pytest.raises(BadInput, match=r"fog\.npy: severity 2 is not in manifest\.json"):
        StoredSet(folder).block("fog", 2)


def test_lost_indices_are_missed(folder):
    (folder / "indices.npy").unlink()
    with pytest.raises(BadInput, match=r"indices\.npy is missing"):
        StoredSet(folder)


def test_indices_of_other_images_are_refused(folder):
    np.save(folder / "indices.npy", np.array([0, 2, 3, 5, 6, 8]))
    with pytest.raises(BadInput, match=r"indices\.npy is not what manifest\.json says"):
        StoredSet(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"severities": []},
        {"severities": None},
        {"severities": [5, 2]},
        {"severities": [2, 2]},
        {"severities": [2, 9]},
        {"severities": ["2", "5"]},
        {"severities": [True, 5]},
        {"blocks": None},
        {"blocks": []},
        {"blocks": {"contrast/2": None}},
        {"blocks": {"contrast/2": {"sha256": 1}}},
        {"blocks": {"contrast/2": {}}},
        "[]",
        "null",
        "[" * 100_000,
        "\xff",
    ],
    ids=str,
)
def test_an_odd_manifest_is_damaged(folder, change):
    file = folder / "manifest.json"
    text = change if isinstance(change, str) else json.dumps({**json.loads(file.read_text()), **change})
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=r"manifest\.json is damaged"):
        StoredSet(folder)


def test_a_file_whose_header_ends_too_early_is_refused(folder):
    """The spaces behind the header would be labels."""
    file = folder / "labels.npy"
    content = bytearray(file.read_bytes())
    content[8] -= 16
    file.write_bytes(content)
    with pytest.raises(BadInput, match=r"labels\.npy: truncated, or not an array file"):
        StoredSet(folder)


def test_of_several_threads_that_read_a_block_one_compares_it(folder, monkeypatch):
    compared, reading = [], Barrier(3)
    whole = store.sha256_of

    def sha256_of(block):
        compared.append(len(block))
        return whole(block)

    monkeypatch.setattr(store, "sha256_of", sha256_of)
    stored = StoredSet(folder)
    compared.clear()  # of the indices

    def read(_):
        reading.wait(60)
        return stored.block("contrast", 5).shape

    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(read, range(3))) == {(6, 8, 8, 3)}
    assert compared == [6]
