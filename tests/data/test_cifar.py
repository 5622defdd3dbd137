"""CIFAR files: read exactly, checked before they are unpickled, fetched when allowed, missed in one line."""

import functools
import hashlib
import http.server
import pickle
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from commandline import TINY, evaluate_clean, refusal, train
from p2be_exp.data import data_source, fetching
from p2be_exp.errors import BadInput


def rewrite(fake, monkeypatch, **changed):
    """Change the entries of the first training file, and the published checksum with it."""
    file = fake.published.train_list[0][0]
    entry = pickle.loads((fake.folder / file).read_bytes())
    content = pickle.dumps({**entry, **changed})
    (fake.folder / file).write_bytes(content)
    files = [[file, hashlib.md5(content).hexdigest()], *fake.published.train_list[1:]]
    monkeypatch.setattr(fake.published, "train_list", files)
    return fake.folder / file, entry


@pytest.fixture
def server(tmp_path_factory):
    """A web server on this machine; yields its folder and its address."""
    folder = tmp_path_factory.mktemp("server")
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_reads_what_torchvision_reads(fake_cifar):
    for training, ours in zip((True, False), data_source(fake_cifar.name, fake_cifar.root).load(), strict=True):
        theirs = fake_cifar.published(fake_cifar.root, train=training)
        assert np.array_equal(ours.images.permute(0, 2, 3, 1).numpy(), theirs.data)
        assert ours.labels.tolist() == theirs.targets
        assert list(ours.classes) == theirs.classes
        assert ours.indices.tolist() == list(range(len(theirs)))


def test_the_home_folder_may_be_abbreviated(fake_cifar, monkeypatch):
    monkeypatch.setenv("HOME", str(fake_cifar.root))
    train, _ = data_source(fake_cifar.name, "~").load()
    assert len(train) == 7 * len(fake_cifar.published.train_list)


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"\x00" + content[1:], lambda _: b""])
@pytest.mark.parametrize("which", ["train_list", "test_list", "meta"])
def test_a_damaged_file_is_named(fake_cifar, which, damage):
    described = getattr(fake_cifar.published, which)
    path = fake_cifar.folder / (described["filename"] if which == "meta" else described[-1][0])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadInput, match=r"truncated or altered.*dataset=digits") as error:
        data_source(fake_cifar.name, fake_cifar.root).load()
    assert str(error.value).startswith(f"{path}: ")


def test_nothing_unchecked_is_unpickled(fake_cifar):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("an altered file was unpickled",)

    (fake_cifar.folder / fake_cifar.published.train_list[0][0]).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInput, match="truncated or altered"):
        data_source(fake_cifar.name, fake_cifar.root).load()


def test_labels_outside_the_classes_are_refused(fake_cifar, monkeypatch):
    key = "fine_labels" if fake_cifar.name == "cifar100" else "labels"
    path, _ = rewrite(fake_cifar, monkeypatch, **{key: [0, 1, 2, 3, 4, 5, 100]})
    with pytest.raises(BadInput, match=r"labels from 0 to 100, must be between 0 and (9|99)$") as error:
        data_source(fake_cifar.name, fake_cifar.root).load()
    assert str(path) in str(error.value)


def test_images_of_another_size_are_refused(fake_cifar, monkeypatch):
    path, _ = rewrite(fake_cifar, monkeypatch, data=np.zeros((7, 100), np.uint8))
    with pytest.raises(BadInput, match=r"shape \(7, 100\), expected \(N, 3072\)") as error:
        data_source(fake_cifar.name, fake_cifar.root).load()
    assert str(path) in str(error.value)


def test_another_number_of_labels_is_refused(fake_cifar, monkeypatch):
    path, entry = rewrite(fake_cifar, monkeypatch, data=np.zeros((6, 3072), np.uint8))
    assert len(entry["data"]) == 7
    with pytest.raises(BadInput, match=r"labels must be int64 \(6,\), found int64 \(7,\)") as error:
        data_source(fake_cifar.name, fake_cifar.root).load()
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("download", "why"), [(False, "nothing was downloaded"), (True, "download failed: .+")])
def test_missing_files_are_explained_in_one_line(fake_cifar, download, why):
    missing = fake_cifar.published.test_list[0][0]
    (fake_cifar.folder / missing).unlink()
    with pytest.raises(BadInput, match=rf"\({why}\)$") as error:
        data_source(fake_cifar.name, fake_cifar.root).fetch(download)
    message = str(error.value)
    for part in (f"dataset={fake_cifar.name}", missing, str(fake_cifar.folder), "data_dir", "dataset=digits"):
        assert part in message
    assert fake_cifar.published.url in message
    assert "\n" not in message


def test_loading_never_downloads(fake_cifar, monkeypatch):
    (fake_cifar.folder / fake_cifar.published.test_list[0][0]).unlink()
    monkeypatch.setattr(socket, "socket", lambda *args, **kwargs: pytest.fail("the network was used"))
    with pytest.raises(BadInput, match="nothing was downloaded"):
        data_source(fake_cifar.name, fake_cifar.root).load()


def test_whole_local_files_need_no_network(fake_cifar, monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *args, **kwargs: pytest.fail("the network was used"))
    data_source(fake_cifar.name, fake_cifar.root).fetch(download=True)


def test_a_local_archive_is_unpacked_without_a_download(fake_cifar, monkeypatch):
    expected, _ = data_source(fake_cifar.name, fake_cifar.root).load()
    archive = fake_cifar.archive()
    monkeypatch.setattr(fake_cifar.published, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    for file in fake_cifar.folder.iterdir():
        file.unlink()
    data_source(fake_cifar.name, fake_cifar.root).fetch(download=False)
    found, _ = data_source(fake_cifar.name, fake_cifar.root).load()
    assert torch.equal(found.images, expected.images)
    assert sorted(path.name for path in fake_cifar.root.iterdir()) == sorted([archive.name, fake_cifar.folder.name])


def test_missing_files_are_downloaded_and_local_ones_left_alone(fake_cifar, server, monkeypatch, tmp_path):
    expected, _ = data_source(fake_cifar.name, fake_cifar.root).load()
    folder, address = server
    archive = fake_cifar.archive()
    monkeypatch.setattr(fake_cifar.published, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(fake_cifar.published, "url", f"{address}/{archive.name}")
    archive.rename(folder / archive.name)
    (fake_cifar.folder / fake_cifar.published.train_list[0][0]).unlink()
    kept = fake_cifar.folder / fake_cifar.published.test_list[0][0]
    before = kept.stat().st_mtime_ns, kept.stat().st_ino
    data_source(fake_cifar.name, fake_cifar.root).fetch(download=True)
    found, _ = data_source(fake_cifar.name, fake_cifar.root).load()
    assert torch.equal(found.images, expected.images)
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == before


def test_a_download_of_something_else_is_refused(fake_cifar, server, monkeypatch):
    folder, address = server
    (folder / "archive.tar.gz").write_bytes(b"not the published archive")
    monkeypatch.setattr(fake_cifar.published, "url", f"{address}/archive.tar.gz")
    missing = fake_cifar.folder / fake_cifar.published.test_list[0][0]
    missing.unlink()
    with pytest.raises(BadInput, match=r"download failed: .*corrupted"):
        data_source(fake_cifar.name, fake_cifar.root).fetch(download=True)
    assert not missing.exists()


def test_a_download_waits_for_the_network_only_so_long(fake_cifar, monkeypatch):
    waits = []
    monkeypatch.setattr(
        "torchvision.datasets.utils.download_url", lambda *args: waits.append(socket.getdefaulttimeout())
    )
    (fake_cifar.folder / fake_cifar.published.test_list[0][0]).unlink()
    before = socket.getdefaulttimeout()
    with pytest.raises(BadInput):
        data_source(fake_cifar.name, fake_cifar.root).fetch(download=True)
    assert waits == [fetching.TIMEOUT_SECONDS]
    assert socket.getdefaulttimeout() == before


def test_a_broken_torchvision_is_explained(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(BadInput, match=r"dataset=cifar10 needs torchvision.*in one command"):
        data_source("cifar10", tmp_path).fetch(download=False)


def test_a_run_whose_published_data_moved(fake_cifar, tmp_path, monkeypatch):
    """It finds them from another folder, where P2BE_DATA_DIR or data_dir= says; and never begins to download."""
    monkeypatch.delenv("P2BE_DATA_DIR", raising=False)
    data = tmp_path / "work" / "data"
    data.mkdir(parents=True)
    fake_cifar.folder.rename(data / fake_cifar.folder.name)
    monkeypatch.chdir(tmp_path / "work")
    small = ("batch_size=8", "limit_train=7", "limit_test=5", "epochs=1", "hydra.run.dir=run")
    outcome = train(*TINY, f"dataset={fake_cifar.name}", *small)
    assert outcome.code == 0, outcome.err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run, limit = "../work/run", "limit_test=5"
    assert evaluate_clean(f"run={run}", limit, "name=there").code == 0
    moved = data.rename(tmp_path / "moved")
    assert "data_dir" in refusal(evaluate_clean(f"run={run}", limit, "name=gone"))
    assert "data_dir" in refusal(train(f"resume={run}"))
    assert evaluate_clean(f"run={run}", limit, "name=key", "data_dir=../moved").code == 0
    assert train(f"resume={run}", "data_dir=../moved").code == 0
    monkeypatch.setenv("P2BE_DATA_DIR", str(moved))
    assert evaluate_clean(f"run={run}", limit, "name=variable").code == 0
    assert train(f"resume={run}").code == 0
    assert list(Path().iterdir()) == []


def test_a_download_that_fails_leaves_no_folder(fake_cifar, tmp_path):
    with pytest.raises(BadInput, match="download failed"):
        data_source(fake_cifar.name, tmp_path / "new" / "data").fetch(download=True)
    assert not (tmp_path / "new").exists()
