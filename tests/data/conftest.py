"""Small fake CIFAR folders, with torchvision's lists of files and checksums patched to describe them."""

import hashlib
import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100

UNREACHABLE = "http://127.0.0.1:1/archive.tar.gz"  # nothing listens on port 1: refused at once


@dataclass(frozen=True)
class FakeCifar:
    name: str
    root: Path
    published: type[CIFAR10]

    @property
    def folder(self) -> Path:
        return self.root / self.published.base_folder

    def archive(self) -> Path:
        """Pack the folder like the published archive."""
        path = self.root / self.published.filename
        with tarfile.open(path, "w:gz") as archive:
            archive.add(self.folder, arcname=self.folder.name)
        return path


def _batch(rng: np.random.Generator, key: str, num_classes: int, n: int) -> dict:
    data = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
    return {"data": data, key: [int(label) for label in rng.integers(0, num_classes, n)]}


@pytest.fixture(params=["cifar10", "cifar100"])
def fake_cifar(request, tmp_path, monkeypatch) -> FakeCifar:
    """A folder with seven images a file; the address of the archive cannot be reached."""
    published = {"cifar10": CIFAR10, "cifar100": CIFAR100}[request.param]
    num_classes, key = (10, "labels") if request.param == "cifar10" else (100, "fine_labels")
    fake = FakeCifar(request.param, tmp_path, published)
    fake.folder.mkdir()
    rng = np.random.default_rng(0)

    def write(file: str, entry: dict) -> str:
        content = pickle.dumps(entry)
        (fake.folder / file).write_bytes(content)
        return hashlib.md5(content).hexdigest()

    for attribute in ("train_list", "test_list"):
        files = [[file, write(file, _batch(rng, key, num_classes, 7))] for file, _ in getattr(published, attribute)]
        monkeypatch.setattr(published, attribute, files)
    names = {published.meta["key"]: [f"class {number}" for number in range(num_classes)]}
    meta = {**published.meta, "md5": write(published.meta["filename"], names)}
    monkeypatch.setattr(published, "meta", meta)
    monkeypatch.setattr(published, "url", UNREACHABLE)
    monkeypatch.setenv("no_proxy", "*")
    return fake
