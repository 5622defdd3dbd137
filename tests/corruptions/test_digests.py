"""Digests of files: computed once, by this process and the next, and never taken for those of a changed file."""

import hashlib
import json
import os

import pytest

from p2be_exp.corruptions import digests
from p2be_exp.corruptions.digests import file_digest, file_digests
from published_sets import change_a_byte

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def read(monkeypatch):
    """The files that are read, in a process that has seen none yet."""
    read, whole = [], hashlib.file_digest
    monkeypatch.setattr(digests, "_known", {})
    monkeypatch.setattr(hashlib, "file_digest", lambda stream, how: read.append(stream.name) or whole(stream, how))
    return read


@pytest.fixture
def file(tmp_path, monkeypatch, read):
    """A file that counts as large and long written, and a cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "LARGE", len(CONTENT))
    monkeypatch.setattr(digests, "SETTLED_SECONDS", float("-inf"))
    file = tmp_path / "fog.npy"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "p2be_exp" / "digests.json"


def forget(monkeypatch):
    """As another process."""
    monkeypatch.setattr(digests, "_known", {})


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_the_digest_of_a_file_is_computed_once(file, read, algorithm, monkeypatch):
    expected = hashlib.new(algorithm, CONTENT).hexdigest()
    assert [file_digest(file, algorithm) for _ in range(3)] == [expected] * 3
    forget(monkeypatch)
    assert file_digest(file, algorithm) == expected
    assert len(read) == 1


def test_algorithms_and_files_are_not_mixed_up(file, tmp_path, monkeypatch):
    other = tmp_path / "snow.npy"
    other.write_bytes(CONTENT[::-1])
    for _ in range(2):
        for algorithm in ("md5", "sha256"):
            expected = [hashlib.new(algorithm, each).hexdigest() for each in (CONTENT, CONTENT[::-1])]
            assert file_digests([file, other], algorithm) == expected
        forget(monkeypatch)


@pytest.mark.parametrize("process", ["the same", "another"])
def test_a_changed_byte_is_found_where_size_and_time_of_modification_are_the_same(file, process, monkeypatch):
    before = file.stat()
    file_digest(file, "md5")
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # as long as a tick of the file system's clock
        change_a_byte(file, 0)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    now = file.stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    if process == "another":
        forget(monkeypatch)
    assert file_digest(file, "md5") == hashlib.md5(file.read_bytes()).hexdigest()


def test_another_file_in_its_place(file, tmp_path, monkeypatch):
    before = file.stat()
    file_digest(file, "md5")
    other = tmp_path / "other"
    other.write_bytes(CONTENT[::-1])
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    forget(monkeypatch)
    assert file_digest(file, "md5") == hashlib.md5(CONTENT[::-1]).hexdigest()


def test_files_that_are_read_at_a_time_are_all_kept(file, cache, read, monkeypatch):
    files = [file.with_name(f"{number}.npy") for number in range(20)]
    for each in files:
        each.write_bytes(CONTENT)
    file_digests(files, "md5")
    assert len(json.loads(cache.read_text())) == 20
    forget(monkeypatch)
    file_digests(files, "md5")
    assert len(read) == 20


def test_of_a_file_that_was_just_written_nothing_is_remembered(file, cache, read, monkeypatch):
    monkeypatch.setattr(digests, "SETTLED_SECONDS", float("inf"))
    assert file_digest(file, "md5") == file_digest(file, "md5") == hashlib.md5(CONTENT).hexdigest()
    assert (len(read), cache.exists()) == (2, False)


def test_a_time_of_modification_in_the_future_is_no_reason_to_read_again(file, read, monkeypatch):
    """Else a set with such a time would be read as a whole for every batch of an evaluation."""
    monkeypatch.setattr(digests, "SETTLED_SECONDS", -60)  # the file was changed a moment ago
    os.utime(file, (4e9, 4e9))
    assert file_digest(file, "md5") == file_digest(file, "md5") == hashlib.md5(CONTENT).hexdigest()
    assert len(read) == 1


def test_of_a_file_that_is_written_meanwhile_nothing_is_remembered(file, cache, monkeypatch):
    whole = hashlib.file_digest

    def written_meanwhile(stream, how):
        found = whole(stream, how)
        with file.open("ab") as more:
            more.write(b"more")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", written_meanwhile)
        file_digest(file, "md5")
    assert not cache.exists()
    assert file_digest(file, "md5") == hashlib.md5(CONTENT + b"more").hexdigest()


def test_small_files_are_kept_in_no_file(file, cache, read, monkeypatch):
    monkeypatch.setattr(digests, "LARGE", len(CONTENT) + 1)
    file_digest(file, "md5")
    assert not cache.exists()
    assert list(file.parent.iterdir()) == [file]  # nothing foreign beside it


def without_digest(entry):
    return {"identity": entry["identity"]}


@pytest.mark.parametrize(
    "damage",
    [
        lambda entries: "{",
        lambda entries: "[]",
        lambda entries: "[" * 100_000,
        lambda entries: json.dumps(dict.fromkeys(entries, 3)),
        lambda entries: json.dumps({name: without_digest(entry) for name, entry in entries.items()}),
        lambda entries: json.dumps({name: {**entry, "digest": "ab"} for name, entry in entries.items()}),
        lambda entries: json.dumps({name: {**entry, "identity": [1, 2, 3, 4, 5]} for name, entry in entries.items()}),
    ],
)
def test_what_is_kept_and_damaged_is_written_anew(file, cache, read, damage, monkeypatch):
    file_digest(file, "md5")
    kept = cache.read_text()
    cache.write_text(damage(json.loads(kept)))
    forget(monkeypatch)
    assert file_digest(file, "md5") == hashlib.md5(CONTENT).hexdigest()
    assert len(read) == 2
    assert cache.read_text() == kept


def test_a_home_that_cannot_be_written(file, tmp_path, read, monkeypatch):
    (tmp_path / "cache").write_text("not a folder")
    assert file_digest(file, "md5") == hashlib.md5(CONTENT).hexdigest()
    forget(monkeypatch)
    assert file_digest(file, "md5") == hashlib.md5(CONTENT).hexdigest()
    assert len(read) == 2


@pytest.mark.parametrize("value", [None, "", "relative"])
def test_the_cache_folder_is_the_users(value, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert digests._cache_file() == tmp_path / ".cache" / "p2be_exp" / "digests.json"


def test_a_file_that_is_not_there(file):
    with pytest.raises(FileNotFoundError):
        file_digests([file, file.parent / "nothing"], "md5")
