"""Fetching CIFAR-10-C and CIFAR-100-C: the archive, checked and unpacked; in its place only once it is whole.

Everything happens in ``DATA_DIR/.NAME.fetch``, which one process at a time owns: the archive grows there, and its files
are unpacked beside it once its md5 is the published one. The folder is moved to ``DATA_DIR/NAME``, where evaluations
look for it, when the md5 of each of its files is; then the archive is removed. So at the end both need space, 5.9 GB:
unpacking while it loads would need half of that, but it would write what nobody has checked, and could not go on.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from p2be_exp.corruptions.official import OFFICIAL_FOLDERS
from p2be_exp.corruptions.published import ARCHIVES, Archive, published_md5
from p2be_exp.corruptions.verify import NAMES, bytes_of, in_few_words, verify_set
from p2be_exp.data.fetching import md5_of, one_line
from p2be_exp.data.resuming import BLOCK, NotLoadedError, load
from p2be_exp.errors import BadInput, ResourceError
from p2be_exp.system.atomic import refuse_links, reporting_full_disk
from p2be_exp.system.ownership import LOCK, owned
from p2be_exp.system.progress_lines import ByteProgress

KEY = "data_dir"


def fetch_set(dataset: str, data_dir: Path) -> Path:
    """Have a published set in a folder of data: what is there is verified, what is not is loaded and unpacked.

    An archive that somebody put into the folder is taken, and stays. What was loaded of one is gone on with.

    Args:
        dataset: ``cifar10`` or ``cifar100``.
        data_dir: where its folder is to be; made if it is not there.

    Returns:
        The set's folder: all its files are as published.

    Raises:
        BadInput: the folder is there with other files, or the archive is another one; ``data_dir`` cannot be written,
            or another process is fetching the same.
        ResourceError: the archive cannot be loaded, or what came is not the published one; there is not the space.
    """
    return _Fetch(dataset, data_dir).run()


class _Fetch:
    def __init__(self, dataset: str, data_dir: Path) -> None:
        self.dataset, self.data_dir, self.archive = dataset, data_dir, ARCHIVES[dataset]
        self.folder = data_dir / OFFICIAL_FOLDERS[dataset]
        self.work = data_dir / f".{self.folder.name}.fetch"
        self.part, self.unpacked = self.work / self.archive.name, self.work / self.folder.name

    def run(self) -> Path:
        if self._is_there() and not self.work.exists():
            return self._verified()
        refuse_links(self.data_dir, *(f"{self.work.name}{name}" for name in self._below()), key=KEY)
        with owned(self.work, KEY):
            if not self._is_there():
                self._unpack(self._local() or self._loaded())
                self._move()
                self._say_whole()
            else:  # a process was killed before it had cleared up, or was just before this one
                self._verified()
            self._clear_up()
        return self.folder

    def _below(self) -> tuple[str, ...]:
        return "", f"/{LOCK}", f"/{self.archive.name}", f"/{self.folder.name}"

    def _is_there(self) -> bool:
        if not os.path.lexists(self.folder):
            return False
        is_empty = self.folder.is_dir() and not self.folder.is_symlink() and not any(self.folder.iterdir())
        return not is_empty

    def _verified(self) -> Path:
        if not self.folder.is_dir():
            raise BadInput(f"{KEY}={self.data_dir}: {self.folder.name} in it is not a folder; move it away")
        print(f"{self.folder}: there already; checking each file's md5", flush=True)
        with ByteProgress(self.folder.name, bytes_of(self.folder)) as progress:
            verdicts = verify_set(self.folder, self.dataset, progress.more)
        if not verdicts.complete:
            raise BadInput(
                f"{KEY}={self.data_dir}: {self.folder.name} is there, but {verdicts.published} of its {len(NAMES)} "
                f"files are as published ({in_few_words(verdicts.files)}); move it away to have it fetched"
            )
        self._say_whole()
        return self.folder

    def _say_whole(self) -> None:
        print(f"{self.folder}: all {len(NAMES)} files are as published", flush=True)

    def _local(self) -> Path | None:
        """The archive where somebody put it into the folder of data, checked."""
        own = self.data_dir / self.archive.name
        if not own.is_file():
            return None
        if (size := own.stat().st_size) != self.archive.bytes:
            why = f"it has {size:,} bytes, and the published one {self.archive.bytes:,}"
        elif (digest := self._md5(own)) != self.archive.md5:
            why = f"its md5 is {digest}, and the published one's {self.archive.md5}"
        else:
            self._check_space(self.archive.bytes)
            return own
        raise BadInput(f"{own}: truncated or altered: {why}; remove it to have it fetched")

    def _loaded(self) -> Path:
        """The archive as it was loaded, checked."""
        size = self.part.stat().st_size if self.part.exists() else 0
        done = size if size <= self.archive.bytes else 0  # longer than the archive: load() begins again
        self._check_space(2 * self.archive.bytes - done)
        if size != self.archive.bytes:
            behind = f", going on behind the first {done:,}" if done else ""
            print(f"{self.archive.url}: {self.archive.bytes:,} bytes into {self.data_dir}{behind}", flush=True)
            with ByteProgress(self.archive.name, self.archive.bytes, done, lines=True) as progress:
                self._load(progress)
        if (digest := self._md5(self.part)) != self.archive.md5:
            self.part.unlink()
            raise ResourceError(
                f"{self.archive.url}: what was loaded has the md5 {digest}, and the published archive "
                f"{self.archive.md5}; it has been removed, and the same command begins anew"
            )
        return self.part

    def _load(self, progress: ByteProgress) -> None:
        try:
            load(self.archive.url, self.part, self.archive.bytes, progress.reach, progress.say)
        except NotLoadedError as error:
            other = f"or put {self.archive.name}, from wherever it can be had, into {self.data_dir}"
            raise ResourceError(f"{error}; the same command continues, {other}") from error

    def _md5(self, file: Path) -> str:
        print(f"{file.name}: checking its md5", flush=True)
        with ByteProgress(file.name, file.stat().st_size) as progress:
            return md5_of(file, progress.more)

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.work).free
        if free < needed:
            raise ResourceError(
                f"{KEY}={self.data_dir}: {needed / 1e6:,.1f} MB are needed, for the rest of {self.archive.name} and "
                f"what is in it, and {free / 1e6:,.1f} MB are free; make space, then continue"
            )

    def _unpack(self, file: Path) -> None:
        shutil.rmtree(self.unpacked, ignore_errors=True)  # of a process that was killed
        try:
            with reporting_full_disk(self.unpacked):
                self.unpacked.mkdir()
                print(f"{file.name}: unpacking, and checking each file's md5", flush=True)
                with ByteProgress(file.name, self.archive.bytes) as progress:
                    unpack(file, self.archive, self.dataset, self.unpacked, progress.more)
        except BaseException:
            shutil.rmtree(self.unpacked, ignore_errors=True)
            raise

    def _move(self) -> None:
        try:
            self.unpacked.rename(self.folder)
        except OSError as error:  # somebody else's came there meanwhile
            raise BadInput(
                f"{KEY}={self.data_dir}: {self.folder.name} cannot be put there ({error.strerror})"
            ) from error

    def _clear_up(self) -> None:
        self.part.unlink(missing_ok=True)
        shutil.rmtree(self.unpacked, ignore_errors=True)
        (self.work / LOCK).unlink(missing_ok=True)
        if not any(self.work.iterdir()):
            self.work.rmdir()


def unpack(
    file: Path, archive: Archive, dataset: str, folder: Path, progress: Callable[[int], None] = lambda length: None
) -> None:
    """Write the published files in an archive into a folder, each checked by md5; nothing else in it is looked at.

    Names, owners, permissions and links of the archive come to nothing: each file is made anew under its known name,
    and no more bytes are written than the archive has.

    Args:
        file: the archive, a tar file that is not compressed.
        archive: what is known of it.
        dataset: whose files they are.
        folder: an empty one.
        progress: called with the bytes that were written since it was called last.

    Raises:
        ResourceError: a file is missing, or is not as published; the disk is full.
    """
    wanted = {f"{name}.npy": published_md5(dataset, name) for name in NAMES}
    room = archive.bytes
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name not in wanted:
                    continue
                content = tar.extractfile(member) if tarfile.data_filter(member, os.fspath(folder)).isfile() else None
                room -= member.size
                if content is None or room < 0:
                    raise tarfile.TarError(f"{name} in it is {'too large' if content else 'not a file'}")
                with content:
                    _write_checked(content, folder / name, wanted.pop(name), progress)
    except tarfile.TarError as error:
        raise ResourceError(f"{file}: cannot be unpacked ({one_line(error)})") from error
    if wanted:
        raise ResourceError(f"{file}: not the published archive: {', '.join(wanted)} not in it")
    _to_disk(folder)


def _write_checked(content: IO[bytes], file: Path, md5: str | None, progress: Callable[[int], None]) -> None:
    with reporting_full_disk(file), file.open("xb") as written:
        while block := content.read(BLOCK):
            written.write(block)
            progress(len(block))
        written.flush()
        os.fsync(written.fileno())
    if (digest := md5_of(file)) != md5:
        raise ResourceError(f"{file.name} in the archive has the md5 {digest}, and the published file {md5}")


def _to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
