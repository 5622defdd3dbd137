"""``fetch``: a small archive from a server on this machine, and all that can go wrong; nothing half is whole."""

import fcntl
import functools
import gzip
import io
import os
import pickle
import shutil
import signal
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest
from made_archives import made_archive, md5, published, tar_of

from commandline import ROOT, corruptions, refusal
from file_server import FileServer
from p2be_exp.commands import published_sets
from p2be_exp.config import compose_config
from p2be_exp.config.schema import AutoCorruptionConfig
from p2be_exp.corruptions import fetch
from p2be_exp.corruptions.official import OFFICIAL_FOLDERS, resolved
from p2be_exp.corruptions.published import ARCHIVES, FILES
from p2be_exp.data import resuming
from p2be_exp.errors import ResourceError
from small_disk import with_mounts

WORK = Path("data/.CIFAR-10-C.fetch")
PART = WORK / "CIFAR-10-C.tar"
WHOLE = Path("data/CIFAR-10-C")


@pytest.fixture(autouse=True)
def alone(workdir, monkeypatch):
    """An empty folder, servers that are given up when they break off, and a configuration that is composed once."""
    monkeypatch.setattr(resuming, "PAUSES", ())
    monkeypatch.setattr(published_sets, "compose_config", lambda command, given: composed(command, tuple(given)))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def made(monkeypatch):
    return made_archive("cifar10", monkeypatch)


@pytest.fixture
def server(made, monkeypatch):
    with FileServer(made.content) as running:
        published(made, monkeypatch, running.url)
        yield running


@functools.cache
def composed(command: str, given: tuple[str, ...]):
    return compose_config(command, given)


def fetched():
    return corruptions("fetch", "cifar10")


def failed(outcome) -> str:
    """The one line with which a command failed."""
    assert outcome.code == 1, outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    return outcome.err.removeprefix("error: ").rstrip("\n")


def is_whole(made, folder=WHOLE) -> bool:
    found = {file.name: file.read_bytes() for file in folder.iterdir()} if folder.is_dir() else {}
    return found == made.files


def auto(dataset: str, data_dir: Path) -> str:
    """What ``corruption=auto`` comes to."""
    return resolved(AutoCorruptionConfig("auto", names="all"), dataset, data_dir).name


def nothing_is_there() -> bool:
    return not WHOLE.exists() and auto("cifar10", Path("data")) == "generated"


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_an_archive_becomes_a_folder_where_evaluations_look_for_it(dataset, monkeypatch):
    made = made_archive(dataset, monkeypatch)
    with FileServer(made.content) as server:
        published(made, monkeypatch, server.url)
        outcome = corruptions("fetch", dataset, "data_dir=some where (1)")
    folder = Path("some where (1)", OFFICIAL_FOLDERS[dataset])
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith(f"{folder}: all 20 files are as published\n")
    assert is_whole(made, folder)
    assert [each.name for each in folder.parent.iterdir()] == [folder.name]
    assert auto(dataset, folder.parent) == "cifar_c"
    Path("like").touch()
    assert {each.stat().st_mode for each in folder.iterdir()} == {Path("like").stat().st_mode}


def test_what_is_there_is_verified(made, server):
    assert fetched().code == 0
    asked, before = len(server.asked), WHOLE.stat().st_mtime_ns
    outcome = fetched()
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [
        "data/CIFAR-10-C: there already; checking each file's md5",
        "data/CIFAR-10-C: all 20 files are as published",
    ]
    assert (len(server.asked), WHOLE.stat().st_mtime_ns) == (asked, before)
    (WHOLE / "fog.npy").write_bytes(b"x")
    (WHOLE / "frost.npy").unlink()
    said = refusal(fetched())
    assert said == (
        "data_dir=data: CIFAR-10-C is there, but 18 of its 20 files are as published (frost.npy missing, "
        "fog.npy other digest); move it away to have it fetched"
    )
    assert (WHOLE / "fog.npy").read_bytes() == b"x"
    assert len(server.asked) == asked


def test_what_an_evaluation_would_not_take_is_not_there(made, server):
    assert fetched().code == 0
    (WHOLE / "manifest.json").write_text("{}")
    assert auto("cifar10", Path("data")) == "generated"
    assert "20 of its 20 files are as published (manifest.json no such published file); move" in refusal(fetched())


def test_a_server_that_breaks_off_leaves_what_the_same_command_goes_on_with(made, server):
    server.ends = [5000, 9000]
    for loaded in ("5,000", "9,000"):
        said = failed(fetched())
        assert said.startswith(f"{server.url}: loaded {loaded} of {len(made.content):,} bytes (")
        assert "; the same command continues, or put CIFAR-10-C.tar" in said
        assert nothing_is_there()
    outcome = fetched()
    assert outcome.code == 0, outcome.err
    assert "going on behind the first 9,000" in outcome.out
    assert server.asked == [None, "bytes=5000-", "bytes=9000-"]
    assert is_whole(made)
    assert not WORK.exists()


def test_a_server_without_range_begins_again_and_it_is_said(made, server):
    server.ranges, server.ends = False, [5000]
    failed(fetched())
    outcome = fetched()
    assert outcome.code == 0, outcome.err
    assert "CIFAR-10-C.tar: the server cannot continue in the middle of a file; starting over\n" in outcome.out
    assert is_whole(made)


def test_other_bytes_are_not_taken_and_not_gone_on_with(made, server):
    server.content = bytes(len(made.content))
    said = failed(fetched())
    assert f"the md5 {md5(server.content)}, and the published archive {md5(made.content)}; it has been removed" in said
    assert nothing_is_there()
    assert not PART.exists()
    server.content = made.content
    assert fetched().code == 0
    assert server.asked == [None, None]
    assert is_whole(made)


def test_a_part_that_is_no_beginning_of_it_is_found_out(made, server):
    WORK.mkdir(parents=True)
    PART.write_bytes(bytes(3000))
    assert "it has been removed, and the same command begins anew" in failed(fetched())
    assert nothing_is_there()
    assert fetched().code == 0
    assert is_whole(made)


def test_a_part_that_is_longer_than_the_archive_is_begun_again(made, server):
    WORK.mkdir(parents=True)
    PART.write_bytes(made.content + b"x")
    outcome = fetched()
    assert outcome.code == 0, outcome.err
    assert "is longer than the published file; starting over" in outcome.out


@pytest.mark.parametrize("status", [404, 503])
def test_a_refusal_of_the_server_is_one_line_and_leaves_nothing(server, status):
    server.refusals = [status] * 5
    assert f"cannot be loaded (the server says {status} " in failed(fetched())
    assert not Path("data").exists()


def test_offline_is_one_line_that_says_how_else(made):
    said = failed(fetched())
    assert said.startswith("http://127.0.0.1:1/file.tar: cannot be loaded (")
    assert said.endswith("; the same command continues, or put CIFAR-10-C.tar, from wherever it can be had, into data")
    assert not Path("data").exists()


def test_a_signal_stops_it_and_the_line_that_it_says_goes_on(made, server):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    server.ends, server.silent = [4000], True
    server.there = lambda: os.kill(os.getpid(), signal.SIGINT)
    outcome = fetched()
    assert outcome.code == 130, outcome.err
    assert outcome.err == "\nstopped; to continue: python -m p2be_exp.corruptions fetch cifar10\n"
    assert nothing_is_there()
    assert {number: signal.getsignal(number) for number in before} == before
    there = PART.stat().st_size if PART.exists() else 0
    outcome = fetched()
    assert outcome.code == 0, outcome.err
    assert server.asked == [None, f"bytes={there}-" if there else None]
    assert is_whole(made)


def test_a_signal_while_it_unpacks_leaves_the_archive(made, server, monkeypatch):
    written = fetch._write_checked

    def stopping(content, file, *more):
        if file.name == "fog.npy":
            os.kill(os.getpid(), signal.SIGTERM)
        written(content, file, *more)

    monkeypatch.setattr(fetch, "_write_checked", stopping)
    assert fetched().code == 143
    assert nothing_is_there()
    assert sorted(each.name for each in WORK.iterdir()) == [".lock", PART.name]
    monkeypatch.setattr(fetch, "_write_checked", written)
    assert fetched().code == 0
    assert server.asked == [None]
    assert is_whole(made)


def test_a_second_one_at_once_is_refused(made, server):
    server.ends = [4000]
    failed(fetched())
    before = PART.read_bytes()
    with (WORK / ".lock").open("r+") as lock:  # as another process has it
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert refusal(fetched()).startswith("data_dir=data/.CIFAR-10-C.fetch: in use by process ")
    assert PART.read_bytes() == before
    assert fetched().code == 0


def test_what_killed_processes_leave_is_not_taken_for_whole(made, server):
    (WORK / WHOLE.name).mkdir(parents=True)
    (WORK / WHOLE.name / "fog.npy").write_bytes(b"half of")
    (WORK / WHOLE.name / "stray.npy").write_bytes(b"x")
    assert fetched().code == 0
    assert is_whole(made)
    WORK.mkdir()
    PART.write_bytes(made.content)  # killed after the folder was in its place
    outcome = fetched()
    assert (outcome.code, outcome.out.count("all 20 files are as published")) == (0, 1), outcome.err
    assert not WORK.exists()
    assert len(server.asked) == 1


def test_an_empty_folder_in_its_place_is_filled_and_anything_else_is_refused(made, server):
    WHOLE.mkdir(parents=True)
    assert fetched().code == 0
    assert is_whole(made)
    shutil.rmtree(WHOLE)
    WHOLE.write_text("notes")
    assert "CIFAR-10-C in it is not a folder; move it away" in refusal(fetched())
    WHOLE.unlink()
    WHOLE.symlink_to("nowhere")
    assert "CIFAR-10-C in it is not a folder; move it away" in refusal(fetched())


def test_a_link_to_the_folder_is_followed_and_one_in_the_way_of_the_load_is_not(made, server, tmp_path):
    assert fetched().code == 0
    WHOLE.rename("elsewhere")
    WHOLE.symlink_to(tmp_path / "elsewhere")
    assert fetched().code == 0
    WHOLE.unlink()
    Path("somebodys").write_bytes(b"x")
    WORK.mkdir()
    PART.symlink_to(tmp_path / "somebodys")
    assert "CIFAR-10-C.tar in it is a link; nothing is written through links" in refusal(fetched())
    assert Path("somebodys").read_bytes() == b"x"


def test_an_archive_of_ones_own_is_taken_and_stays(made, server):
    Path("data").mkdir()
    own = Path("data/CIFAR-10-C.tar")
    own.write_bytes(made.content[:-1])
    assert f"it has {len(made.content) - 1:,} bytes, and the published one {len(made.content):,}" in refusal(fetched())
    own.write_bytes(bytes(len(made.content)))
    assert f"its md5 is {md5(bytes(len(made.content)))}, and the published one's " in refusal(fetched())
    assert [each.name for each in Path("data").iterdir()] == [own.name]
    own.write_bytes(made.content)
    assert fetched().code == 0
    assert is_whole(made)
    assert own.read_bytes() == made.content
    assert server.asked == []


@pytest.mark.parametrize(("there", "needed"), [(0, 2.0), (5000, 2.0), (None, 1.0)])
def test_space_is_looked_at_before(made, server, monkeypatch, there, needed):
    """Twice the archive, less what is there of it; as much as it where it is there."""
    needed = int(needed * len(made.content)) - (there or 0)
    WORK.mkdir(parents=True)
    if there is None:
        Path("data/CIFAR-10-C.tar").write_bytes(made.content)
    elif there:
        PART.write_bytes(made.content[:there])
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(needed - 1))
    assert f"data_dir=data: {needed / 1e6:,.1f} MB are needed" in failed(fetched())
    assert server.asked == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(needed))
    assert fetched().code == 0


def member(kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo()
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"CIFAR-10-C/fog.npy": None}, "not the published archive: fog.npy not in it"),
        ({"CIFAR-10-C/fog.npy": b"other"}, f"fog.npy in the archive has the md5 {md5(b'other')}"),
        ({"CIFAR-10-C/fog.npy": member(tarfile.SYMTYPE, "snow.npy")}, "fog.npy in it is not a file"),
        ({"CIFAR-10-C/fog.npy": member(tarfile.SYMTYPE, "/etc/hostname")}, "cannot be unpacked ("),
        ({"CIFAR-10-C/fog.npy": member(tarfile.LNKTYPE, "CIFAR-10-C/snow.npy")}, "fog.npy in it is not a file"),
        ({"CIFAR-10-C/fog.npy": member(tarfile.DIRTYPE)}, "fog.npy in it is not a file"),
        ({"CIFAR-10-C/fog.npy": member(tarfile.CHRTYPE)}, "cannot be unpacked ("),
        ({"CIFAR-10-C/fog.npy": None, "../fog.npy": b"outside"}, "cannot be unpacked ("),
    ],
)
def test_an_archive_of_other_files_is_not_taken(made, monkeypatch, changed, message):
    """Even where its own md5 is right."""
    files = {f"{made.name}/{name}": content for name, content in made.files.items()} | changed
    made.content = tar_of({name: content for name, content in files.items() if content is not None})
    with FileServer(made.content) as server:
        published(made, monkeypatch, server.url)
        assert message in failed(fetched())
    assert nothing_is_there()
    assert [each.name for each in Path("data").iterdir()] == [WORK.name]
    assert not Path("fog.npy").exists()
    assert not (WORK / WHOLE.name).exists()


def test_nothing_else_in_an_archive_is_unpacked(made, monkeypatch, tmp_path):
    more = {"CIFAR-10-C/notes.txt": b"x", "../outside": b"x", "/tmp/outside": b"x", "CIFAR-10-C/._fog.npy": b"x"}
    link = {"CIFAR-10-C/link": member(tarfile.SYMTYPE, "/etc")}
    made.content = tar_of(more | link | {f"{made.name}/{name}": each for name, each in made.files.items()})
    with FileServer(made.content) as server:
        published(made, monkeypatch, server.url)
        assert fetched().code == 0
    assert is_whole(made)
    assert [each.name for each in tmp_path.iterdir()] == ["data"]


def test_no_more_is_written_than_the_archive_has(made, tmp_path):
    """A sparse file of a tar file has any size."""
    sparse = tarfile.TarInfo("CIFAR-10-C/fog.npy")
    sparse.pax_headers = {"GNU.sparse.size": "1000000000", "GNU.sparse.map": "0,1"}
    (tmp_path / "sparse.tar").write_bytes(_pax(sparse))
    (tmp_path / "out").mkdir()
    with pytest.raises(ResourceError, match=r"fog.npy in it is too large"):
        fetch.unpack(tmp_path / "sparse.tar", ARCHIVES["cifar10"], "cifar10", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def _pax(sparse: tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        sparse.size = 1
        tar.addfile(sparse, io.BytesIO(b"x"))
    return content.getvalue()


def test_a_compressed_archive_is_none(made, tmp_path):
    (tmp_path / "x.tar").write_bytes(gzip.compress(made.content))
    with pytest.raises(ResourceError, match="cannot be unpacked"):
        fetch.unpack(tmp_path / "x.tar", ARCHIVES["cifar10"], "cifar10", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "fetch: a data set is required; fetch takes cifar10 or cifar100, and data_dir=DIR"),
        (["cifar-100"], "cifar-100: fetch takes cifar10 or cifar100, and data_dir=DIR; did you mean cifar100?"),
        (
            ["dataset=cifar10"],
            "dataset=cifar10: fetch takes cifar10 or cifar100, and data_dir=DIR; did you mean cifar10?",
        ),
        (["imagenet"], "imagenet: fetch takes cifar10 or cifar100, and data_dir=DIR"),
        (["cifar10", "cifar100"], "cifar100: fetch takes one data set, cifar10 or cifar100, and data_dir=DIR"),
        (["cifar10", "out=x"], "out=x: fetch takes one data set, "),
        (["cifar10", "data_dir=notes"], "data_dir=notes: cannot be written ("),
        (["cifar10", "data_dir=notes/below"], "data_dir=notes/below: cannot be written ("),
        (["cifar10", f"data_dir={'x' * 300}"], f"data_dir={'x' * 300}: a name of 300 bytes; must be at most 255"),
        (["cifar10", "-f"], "-f: not a flag; the command takes KEY=VALUE (see --help)"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(made, workdir, arguments, message):
    Path("notes").write_text("x")
    assert refusal(corruptions("fetch", *arguments)).startswith(message)
    assert [each.name for each in workdir.iterdir()] == ["notes"]


DRIVER = """
import pickle, sys
sys.path.append({tests!r})
from pathlib import Path
from file_server import FileServer
from p2be_exp.commands.corruptions import main
from p2be_exp.commands import published_sets
from p2be_exp.config import compose_config
from p2be_exp.corruptions import fetch
from p2be_exp.corruptions.published import ARCHIVES, FILES

content, ARCHIVES["cifar10"], FILES["cifar10"] = pickle.loads(Path("made").read_bytes())
fetch._Fetch._check_space = lambda *_: None  # somebody else fills the disk meanwhile
with FileServer(content) as server:
    ARCHIVES["cifar10"] = ARCHIVES["cifar10"]._replace(url=server.url)
    sys.exit(main())
"""


@pytest.mark.parametrize(("kilobytes", "said"), [(24, "CIFAR-10-C.tar: cannot be"), (52, ".npy: cannot be"), (400, "")])
def test_on_a_full_disk(made, workdir, monkeypatch, kilobytes, said):
    """Full while it loads; full while it unpacks; not full."""
    assert 24 < len(made.content) / 1024 < 45
    Path("made").write_bytes(pickle.dumps((made.content, ARCHIVES["cifar10"], FILES["cifar10"])))
    Path("driver.py").write_text(DRIVER.format(tests=str(ROOT / "tests")))
    mount = f"mkdir -p disk && mount -t tmpfs -o size={kilobytes}k tmpfs disk"
    keep = "mkdir -p after && cp -r disk/. after"
    arguments = (workdir / "driver.py", "fetch", "cifar10", "data_dir=disk")
    outcome = with_mounts(mount, *arguments, cwd=workdir, after=keep, warm=True, no_proxy="*")
    if not said:
        assert outcome.code == 0, outcome.err
        assert is_whole(made, workdir / "after" / "CIFAR-10-C")
        return
    line = failed(outcome)
    assert said in line
    assert "no space left on device" in line
    assert [each.name for each in Path("after").iterdir()] == [WORK.name]
    assert sorted(each.name for each in Path("after", WORK.name).iterdir()) == [".lock", PART.name]
    shutil.move("after", "data")
    with FileServer(made.content) as server:
        published(made, monkeypatch, server.url)
        assert fetched().code == 0
    assert is_whole(made)
