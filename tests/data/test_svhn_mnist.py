"""SVHN and MNIST: made files in the published formats, read as torchvision reads them, checked, fetched, missed."""

import gzip
import hashlib
import shutil
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision.datasets import MNIST, SVHN

from p2be_exp.data import fetching
from p2be_exp.data.mnist import Mnist
from p2be_exp.data.svhn import Svhn
from p2be_exp.errors import BadInput

UNREACHABLE = "http://127.0.0.1:1/"  # nothing listens on port 1: refused at once
SETS = {"svhn": Svhn, "mnist": Mnist}


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


@pytest.fixture
def made_svhn(tmp_path, monkeypatch):
    """Nine training and seven test images; digit 0 has label 10."""
    folder, rng = tmp_path / "svhn", np.random.default_rng(0)
    folder.mkdir()
    published = {}
    for part, n in (("train", 9), ("test", 7)):
        file = folder / f"{part}_32x32.mat"
        labels = (np.arange(n) % 10 + 2).reshape(n, 1).astype(np.uint8)
        savemat(file, {"X": rng.integers(256, size=(32, 32, 3, n)).astype(np.uint8), "y": labels})
        published[part] = [UNREACHABLE + file.name, file.name, md5(file)]
    monkeypatch.setattr(SVHN, "split_list", published)
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path


@pytest.fixture
def made_mnist(tmp_path, monkeypatch):
    """Nine training and seven test images, compressed."""
    folder, rng = tmp_path / "MNIST" / "raw", np.random.default_rng(0)
    folder.mkdir(parents=True)
    resources = []
    for part, n in (("train", 9), ("t10k", 7)):
        for kind, array in (
            ("images-idx3", rng.integers(256, size=(n, 28, 28)).astype(np.uint8)),
            ("labels-idx1", (np.arange(n) % 10).astype(np.uint8)),
        ):
            file = folder / f"{part}-{kind}-ubyte.gz"
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            file.write_bytes(gzip.compress(header + array.tobytes()))
            resources.append((file.name, md5(file)))
    monkeypatch.setattr(MNIST, "resources", resources)
    monkeypatch.setattr(MNIST, "mirrors", [UNREACHABLE + path for path in ("", "mirror/", "mirror/two/")])
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path


@pytest.fixture(params=["svhn", "mnist"])
def made(request):
    """The name of a data set, its source, its data folder and the files in it."""
    root = request.getfixturevalue(f"made_{request.param}")
    return request.param, SETS[request.param](root), root, sorted(path for path in root.rglob("*") if path.is_file())


def test_svhn_is_what_torchvision_reads(made_svhn):
    for part, found in zip(("train", "test"), Svhn(made_svhn).load(), strict=True):
        theirs = SVHN(made_svhn / "svhn", split=part)
        assert np.array_equal(found.images.numpy(), theirs.data)
        assert found.labels.tolist() == theirs.labels.tolist()
        assert (found.name, found.classes) == (f"svhn/{part}", tuple("0123456789"))
    assert Svhn(made_svhn).load()[0].labels.tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_mnist_is_what_torchvision_reads_with_a_black_border(made_mnist):
    for file in (made_mnist / "MNIST" / "raw").iterdir():
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))  # torchvision reads these
    for part, found in zip((True, False), Mnist(made_mnist).load(), strict=True):
        theirs = MNIST(made_mnist, train=part)
        assert found.images.shape == (len(theirs), 3, 32, 32)
        for channel in range(3):
            assert torch.equal(found.images[:, channel, 2:30, 2:30], theirs.data)
        assert int(found.images.sum()) == 3 * int(theirs.data.long().sum())
        assert found.labels.tolist() == theirs.targets.tolist()


def test_every_damaged_file_is_named(made):
    _, source, _, files = made
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        with pytest.raises(BadInput, match=r"truncated or altered.*dataset=digits") as error:
            source.load()
        assert str(error.value).startswith(f"{file}: ")
        file.write_bytes(whole)


@pytest.mark.parametrize(("download", "why"), [(False, "nothing was downloaded"), (True, "download failed: .+")])
def test_missing_files_are_explained_in_one_line(made, download, why):
    name, source, _, files = made
    files[0].unlink()
    with pytest.raises(BadInput, match=rf"\({why}\)$") as error:
        source.fetch(download)
    message = str(error.value)
    for part in (f"dataset={name}: ", files[0].name, str(files[0].parent), "data_dir", UNREACHABLE, "dataset=digits"):
        assert part in message
    assert "\n" not in message
    assert sorted(files[0].parent.iterdir()) == files[1:]  # and nothing half done


def test_loading_whole_local_files_needs_no_network(made, monkeypatch):
    _, source, _, files = made
    monkeypatch.setattr(socket, "socket", lambda *args, **kwargs: pytest.fail("the network was used"))
    source.fetch(download=True)
    files[-1].unlink()
    with pytest.raises(BadInput, match="nothing was downloaded"):
        source.load()


def test_missing_files_are_downloaded_whole_from_the_first_address_that_has_them(made, monkeypatch, tmp_path):
    name, source, _, files = made
    expected, _ = source.load()
    elsewhere, asked = tmp_path / "elsewhere", []
    elsewhere.mkdir()
    files[0].rename(elsewhere / files[0].name)

    def download_url(url, folder, filename, checksum):
        asked.append(url)
        if name == "mnist" and "mirror" not in url:
            raise OSError("gone")
        assert socket.getdefaulttimeout() == fetching.TIMEOUT_SECONDS
        assert md5(elsewhere / filename) == checksum
        assert not files[0].exists()
        shutil.copy(elsewhere / filename, folder)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download_url)
    before = files[1].stat().st_mtime_ns
    source.fetch(download=True)
    assert torch.equal(source.load()[0].images, expected.images)
    assert files[1].stat().st_mtime_ns == before
    assert len(asked) == (2 if name == "mnist" else 1)
    assert sorted(files[0].parent.iterdir()) == files


def test_something_else_in_a_file_is_refused(made_svhn, made_mnist, monkeypatch):
    file = made_svhn / "svhn" / "train_32x32.mat"
    savemat(file, {"X": np.zeros((28, 28, 3, 2), np.uint8), "y": np.ones((2, 1))})
    monkeypatch.setitem(SVHN.split_list, "train", [UNREACHABLE, file.name, md5(file)])
    with pytest.raises(BadInput, match=r"train_32x32\.mat: images of shape \(28, 28, 3, 2\), expected"):
        Svhn(made_svhn).load()
    file = made_mnist / "MNIST" / "raw" / MNIST.resources[0][0]
    for content, message in (
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 9, 28, 28) + b"abc", "not an idx file"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 1, 4, 4) + bytes(16), r"images of shape \(1, 4, 4\)"),
    ):
        file.write_bytes(gzip.compress(content))
        monkeypatch.setattr(MNIST, "resources", [(file.name, md5(file)), *MNIST.resources[1:]])
        with pytest.raises(BadInput, match=message):
            Mnist(made_mnist).load()


def test_a_broken_torchvision_is_explained(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "torchvision.datasets", None)
    for name, source in SETS.items():
        with pytest.raises(BadInput, match=rf"dataset={name} needs torchvision.*in one command"):
            source(tmp_path).fetch(download=False)
