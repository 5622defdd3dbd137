"""Published files: local ones first, each checked by md5, missing ones downloaded where that is allowed."""

from __future__ import annotations

import hashlib
import http.client
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from p2be_exp.errors import BadInput

TIMEOUT_SECONDS = 30  # without one, a network that drops packets would hold a run for ever

_BLOCK = 1 << 20
"""Bytes of a file that are read at a time."""


class PublishedFile(NamedTuple):
    """A file as it was published."""

    name: str
    urls: tuple[str, ...]  # the same file at several addresses, tried in this order
    md5: str


def torchvision_dataset(name: str, described: str) -> Any:
    """torchvision's class of a data set, for the addresses and checksums in it.

    Args:
        name: of our data set, for the message.
        described: the class.

    Raises:
        BadInput: torchvision cannot be imported.
    """
    try:
        # Imported here so that beside a broken torchvision other data sets work and this one explains itself.
        import torchvision.datasets as datasets
    except (ImportError, RuntimeError) as error:
        raise BadInput(
            f"dataset={name} needs torchvision, which cannot be imported ({one_line(error)}): "
            "install torch and torchvision together, in one command, or use dataset=digits"
        ) from error
    return getattr(datasets, described)


def fetch_files(name: str, folder: Path, files: Sequence[PublishedFile], download: bool) -> None:
    """Make sure that files which are published one by one are in a folder; those that are present are left unchanged.

    Raises:
        BadInput: some are missing and cannot be had.
    """
    missing = [file for file in files if not (folder / file.name).is_file()]
    if not missing:
        return
    urls = ", ".join(file.urls[0] for file in missing)
    with explained(missing_line(name, [file.name for file in missing], folder, f"put {urls} there")):
        if not download:
            raise NotDownloadedError
        with _filled_or_gone(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for file in missing:
                _download(file, folder)


def fetch_archive(archive: PublishedFile, folder: Path, download: bool) -> Path:
    """The published archive in a folder, checked by md5.

    Raises:
        NotDownloadedError: it is absent and not to be fetched; to be caught by :func:`explained`.
    """
    from torchvision.datasets.utils import check_integrity, download_url

    path = folder / archive.name
    if download:
        with _filled_or_gone(folder), network_timeout(TIMEOUT_SECONDS):
            download_url(archive.urls[0], folder, archive.name, archive.md5)
    if not check_integrity(path, archive.md5):
        raise NotDownloadedError
    return path


@contextmanager
def _filled_or_gone(folder: Path) -> Iterator[None]:
    """Remove a folder that was made in the block and is empty at its end, and those above it that are."""
    above = [each for each in (folder.absolute(), *folder.absolute().parents) if not each.exists()]
    try:
        yield
    finally:
        with suppress(OSError):  # the first that is not empty
            for each in above:
                each.rmdir()


class NotDownloadedError(RuntimeError):
    """Files are missing and were not to be fetched."""


@contextmanager
def explained(help_line: str) -> Iterator[None]:
    """Turn what goes wrong while files are fetched into one line.

    Raises:
        BadInput: the help line, and why nothing came.
    """
    try:
        yield
    except NotDownloadedError as error:
        raise BadInput(f"{help_line} (nothing was downloaded)") from error
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise BadInput(f"{help_line} (download failed: {one_line(error)})") from error


def missing_line(name: str, missing: Sequence[str], folder: Path, how: str) -> str:
    """What is missing, where it was looked for, how to get it."""
    return (
        f"dataset={name}: {', '.join(missing)} not found in {folder}; {how}, "
        "set data_dir to where it is, or use dataset=digits"
    )


def read_checked(path: Path, md5: str) -> bytes:
    """The content of a file, which is the published one.

    Raises:
        BadInput: it is not.
    """
    content = path.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise BadInput(
            f"{path}: truncated or altered, its md5 is {found} and the published file's {md5}; "
            "delete it to have it fetched again, or use dataset=digits"
        )
    return content


def md5_of(path: Path, progress: Callable[[int], None] = lambda length: None) -> str:
    """The md5 of a file that need not fit into memory, as hexadecimal digits.

    Args:
        path: of the file.
        progress: called with the bytes that were read since it was called last.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            progress(len(block))
    return digest.hexdigest()


@contextmanager
def network_timeout(seconds: float) -> Iterator[None]:
    """Limit every wait for the network, also inside code that takes no timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def one_line(error: Exception) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())


def _download(file: PublishedFile, folder: Path) -> None:
    """Fetch a file from the first address that has it; it appears in the folder only once it is whole."""
    from torchvision.datasets.utils import download_url

    with tempfile.TemporaryDirectory(dir=folder) as part, network_timeout(TIMEOUT_SECONDS):
        for url in file.urls:
            try:
                download_url(url, part, file.name, file.md5)
                break
            except (OSError, RuntimeError, http.client.HTTPException):
                if url == file.urls[-1]:
                    raise
        Path(part, file.name).replace(folder / file.name)
