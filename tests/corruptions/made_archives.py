"""Small archives in the place of the published CIFAR-10-C and CIFAR-100-C, with the tables of digests to match."""

import hashlib
import io
import tarfile
from dataclasses import dataclass, field

import numpy as np

from p2be_exp.corruptions import ALL
from p2be_exp.corruptions.official import OFFICIAL_FOLDERS
from p2be_exp.corruptions.published import ARCHIVES, FILES, Archive


@dataclass
class MadeArchive:
    """Twenty files of a few hundred bytes, as an archive of the published layout.

    Attributes:
        dataset: in whose place it is.
        files: their contents by name.
        content: the archive.
    """

    dataset: str
    files: dict[str, bytes] = field(default_factory=dict)
    content: bytes = b""

    @property
    def name(self) -> str:
        """Of the folder in it."""
        return OFFICIAL_FOLDERS[self.dataset]


def made_archive(dataset: str, monkeypatch) -> MadeArchive:
    """Make an archive, and have it be the published one until the test ends; nobody serves it."""
    made = MadeArchive(dataset)
    rng = np.random.default_rng(len(dataset))
    for name in (*ALL, "labels"):
        content = io.BytesIO()
        np.save(content, rng.integers(256, size=int(rng.integers(100, 900))).astype(np.uint8))
        made.files[f"{name}.npy"] = content.getvalue()
    digests = {file.removesuffix(".npy"): md5(content) for file, content in made.files.items()}
    monkeypatch.setitem(FILES, dataset, digests)
    made.content = tar_of({f"{made.name}/{file}": content for file, content in made.files.items()}, made.name)
    published(made, monkeypatch, "http://127.0.0.1:1/file.tar")  # nothing listens on port 1
    return made


def published(made: MadeArchive, monkeypatch, url: str) -> None:
    """Have an archive's content be the published one, to be had at an address."""
    archive = Archive(f"{made.name}.tar", url, len(made.content), md5(made.content))
    monkeypatch.setitem(ARCHIVES, made.dataset, archive)


def tar_of(files: dict[str, bytes | tarfile.TarInfo], *folders: str) -> bytes:
    """A tar file of these contents, or members without one, by their names in it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder in folders:
            member = tarfile.TarInfo(folder)
            member.type = tarfile.DIRTYPE
            tar.addfile(member)
        for name, inside in files.items():
            member = inside if isinstance(inside, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.name = name
            if isinstance(inside, bytes):
                member.size = len(inside)
                tar.addfile(member, io.BytesIO(inside))
            else:
                tar.addfile(member)
    return content.getvalue()


def md5(content: bytes) -> str:
    """The md5 of a content."""
    return hashlib.md5(content).hexdigest()
