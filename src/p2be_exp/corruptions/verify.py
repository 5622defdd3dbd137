"""Whether the files in a folder are the published CIFAR-10-C or CIFAR-100-C, file by file, by md5."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from p2be_exp.corruptions.names import ALL
from p2be_exp.corruptions.official import FOREIGN, OFFICIAL_FOLDERS
from p2be_exp.corruptions.published import ARCHIVES, published_md5
from p2be_exp.data.fetching import md5_of, one_line
from p2be_exp.errors import BadInput

PUBLISHED = "published"
OTHER = "other digest"
MISSING = "missing"
UNKNOWN = "no such published file"
UNREADABLE = "cannot be read"

NAMES = ("labels", *ALL)
"""The published files, without ``.npy``."""


class Verdict(NamedTuple):
    """What a file is."""

    file: str
    verdict: str  # one of those above
    note: str = ""  # why, or what else it is


class Verdicts(NamedTuple):
    """What the files of a folder are.

    Attributes:
        dataset: the data set whose files they were compared with.
        files: the twenty published ones first, then every other ``.npy``, and what a set made here has beside them.
    """

    dataset: str
    files: tuple[Verdict, ...]

    @property
    def published(self) -> int:
        """How many are as they were published."""
        return sum(each.verdict == PUBLISHED for each in self.files)

    @property
    def complete(self) -> bool:
        """Whether all twenty are as published, and an evaluation would take them so; other files do not count."""
        return self.published == len(NAMES) and not any(each.file in FOREIGN for each in self.files)

    def table(self) -> str:
        """A line a file, and the sum."""
        lines = [f"{each.file:<24}{each.verdict}{each.note and f' ({each.note})'}" for each in self.files]
        whole = f"{self.published} of the {len(NAMES)} files of {OFFICIAL_FOLDERS[self.dataset]} are as published"
        return "\n".join([f"{'file':<24}verdict", *lines, "", whole])


def bytes_of(folder: Path) -> int:
    """Number of bytes that are read to verify a folder.

    Raises:
        BadInput: there is no such folder, or it is closed to this user.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise BadInput(f"{folder}: cannot be read")
    files = (folder / f"{name}.npy" for name in NAMES)
    return sum(file.stat().st_size for file in files if file.is_file())


def verify_set(
    folder: Path, dataset: str | None = None, progress: Callable[[int], None] = lambda length: None
) -> Verdicts:
    """Compare the files in a folder with the published ones.

    Args:
        folder: with ``NAME.npy``.
        dataset: ``cifar10`` or ``cifar100``; None for the one that more of the files are of, or else that the folder's
            name says.
        progress: called with the bytes that were read since it was called last.

    Raises:
        BadInput: there is no such folder, or it is closed to this user.
    """
    bytes_of(folder)
    arrays = (each.name for each in folder.glob("*.npy") if each.stem not in NAMES and each.name[0] != ".")
    others = sorted({*arrays, *(name for name in FOREIGN if (folder / name).exists())})
    digests = {name: _digest(folder / f"{name}.npy", progress) for name in NAMES}
    dataset = dataset or _closest(digests, folder)
    files = [_verdict(dataset, name, digest) for name, digest in digests.items()]
    return Verdicts(dataset, (*files, *(Verdict(name, UNKNOWN, _of_a_set_made_here(name)) for name in others)))


def _of_a_set_made_here(name: str) -> str:
    return "beside it the folder is taken for no published set" if name in FOREIGN else ""


def _digest(file: Path, progress: Callable[[int], None]) -> str | OSError | None:
    """md5 of a file; None where it is missing; why it cannot be read."""
    try:
        if file.exists() and not file.is_file():
            return OSError("not a file")  # nor does anybody wait for what comes out of a pipe
        return md5_of(file, progress)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error


def _verdict(dataset: str, name: str, digest: str | OSError | None) -> Verdict:
    file, wanted = f"{name}.npy", published_md5(dataset, name)
    if digest is None:
        return Verdict(file, MISSING)
    if isinstance(digest, OSError):
        return Verdict(file, UNREADABLE, digest.strerror or one_line(digest))
    if digest == wanted:
        return Verdict(file, PUBLISHED)
    theirs = next((OFFICIAL_FOLDERS[each] for each in ARCHIVES if published_md5(each, name) == digest), None)
    return Verdict(file, OTHER, f"that of {theirs}" if theirs else f"md5 {digest}, published {wanted}")


def _closest(digests: dict[str, str | OSError | None], folder: Path) -> str:
    def likeness(dataset: str) -> tuple[int, bool]:
        same = sum(digest is not None and digest == published_md5(dataset, name) for name, digest in digests.items())
        return same, folder.absolute().name == OFFICIAL_FOLDERS[dataset]

    return max(ARCHIVES, key=likeness)


def in_few_words(verdicts: Sequence[Verdict]) -> str:
    """The first of the files that are not as published."""
    bad = [f"{each.file} {each.verdict}" for each in verdicts if each.verdict not in (PUBLISHED, UNKNOWN) or each.note]
    return ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
