"""A large file from a server on this machine: whole, in parts, from one that breaks off or has another file."""

import itertools
import threading
import urllib.request

import numpy as np
import pytest

from commandline import HANGS
from file_server import FileServer
from p2be_exp.data import resuming
from p2be_exp.data.fetching import TIMEOUT_SECONDS
from p2be_exp.data.resuming import NotLoadedError, load
from p2be_exp.errors import ResourceError

CONTENT = np.random.default_rng(0).integers(256, size=5000).astype(np.uint8).tobytes()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(resuming, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server():
    with FileServer(CONTENT) as running:
        yield running


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file.tar"


def loaded(server, file):
    """What was said, and how many bytes there were each time that it was told."""
    lines, lengths = [], []
    load(server.url, file, len(CONTENT), lengths.append, lines.append)
    assert file.read_bytes() == CONTENT
    assert lengths[-1:] in ([], [len(CONTENT)])
    return lines, lengths


def test_a_whole_file(server, file):
    lines, lengths = loaded(server, file)
    assert (lines, server.asked) == ([], [None])
    assert lengths == sorted(lengths)
    assert loaded(server, file) == ([], [])
    assert len(server.asked) == 1


@pytest.mark.parametrize("there", [1, 4999])
def test_a_part_is_gone_on_with(server, file, there):
    file.write_bytes(CONTENT[:there])
    lines, lengths = loaded(server, file)
    assert (lines, server.asked) == ([], [f"bytes={there}-"])
    assert lengths[0] > there


def test_what_is_there_is_not_looked_at(server, file):
    file.write_bytes(bytes(2000))
    load(server.url, file, len(CONTENT))
    assert file.read_bytes() == bytes(2000) + CONTENT[2000:]


def test_a_server_that_breaks_off_is_asked_for_the_rest(server, file):
    server.ends = [1000, 1500, 2000, 3000]
    lines, _ = loaded(server, file)
    assert server.asked == [None, "bytes=1000-", "bytes=1500-", "bytes=2000-", "bytes=3000-"]
    assert lines == ["file.tar: the server closed the connection; going on in 0 s"] * 4


def test_attempts_without_a_byte_more_are_counted(server, file):
    server.ends, server.refusals = [1000], []
    server.there = lambda: server.refusals.extend([503, 503, 503])
    with pytest.raises(NotLoadedError, match=r"loaded 1,000 of 5,000 bytes \(the server says 503 Service Unavailable"):
        load(server.url, file, len(CONTENT))
    assert server.asked == [None, *["bytes=1000-"] * 2]
    assert file.read_bytes() == CONTENT[:1000]
    server.there, server.refusals = (lambda: None), []
    loaded(server, file)


def test_a_server_without_range_begins_again_and_it_is_said(server, file):
    server.ranges, server.ends = False, [4000, 3000]
    lines, lengths = loaded(server, file)
    over = "file.tar: the server cannot continue in the middle of a file; starting over"
    broke = "file.tar: the server closed the connection; going on in 0 s"
    assert lines == [broke, over, broke, over]
    assert server.asked == [None, "bytes=4000-", "bytes=3000-"]
    assert any(after < before for before, after in itertools.pairwise(lengths))


def test_a_server_without_range_that_always_breaks_off_there_is_given_up(server, file):
    server.ranges, server.ends = False, [4000] * 10
    with pytest.raises(NotLoadedError, match=r"loaded 4,000 of 5,000 bytes"):
        load(server.url, file, len(CONTENT))
    assert len(server.asked) == 3


def test_a_server_that_goes_silent(server, file, monkeypatch):
    """Waiting ends once what was sent has come, so that a busy machine is no silent one."""
    open_url, sent = urllib.request.urlopen, threading.Event()
    server.ends, server.silent, server.there = [1000], True, sent.set

    def impatient(*arguments, **more):
        assert more["timeout"] == TIMEOUT_SECONDS
        response = open_url(*arguments, **more)
        if len(server.asked) == 1:
            assert sent.wait(HANGS)
            response.fp.raw._sock.settimeout(0.05)
        return response

    monkeypatch.setattr(urllib.request, "urlopen", impatient)
    lines, _ = loaded(server, file)
    assert lines == ["file.tar: timed out; going on in 0 s"]
    assert server.asked == [None, "bytes=1000-"]


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (403, 1), (503, 3), (429, 3)])
def test_a_refusal_is_told_and_what_may_pass_is_asked_again(server, file, status, attempts):
    server.refusals = [status] * 5
    with pytest.raises(NotLoadedError, match=rf"file.tar\?download=1: cannot be loaded \(the server says {status} "):
        load(server.url, file, len(CONTENT))
    assert len(server.asked) == attempts
    assert not file.exists()


def test_a_busy_server_is_asked_again(server, file):
    server.refusals = [503]
    lines, _ = loaded(server, file)
    assert lines == ["file.tar: the server says 503 Service Unavailable; going on in 0 s"]


def test_nobody_there_is_told_at_once(file, monkeypatch):
    monkeypatch.setattr(resuming, "PAUSES", (3600.0,))
    with pytest.raises(NotLoadedError, match=r"cannot be loaded \(.*refused"):
        load("http://127.0.0.1:1/file.tar", file, 10)  # nothing listens on port 1
    assert not file.exists()


@pytest.mark.parametrize(
    ("there", "size", "headers", "message"),
    [
        (0, 6000, {}, "another file than the published one: it has 5,000 bytes, and the published one 6,000"),
        (0, 4000, {}, "another file than the published one: it has 5,000 bytes, and the published one 4,000"),
        (1000, 6000, {}, "another file than the published one: it has 5,000 bytes, and the published one 6,000"),
        (5500, 6000, {}, "another file than the published one: it has 5,500 bytes or fewer, and the published one 6,0"),
        (1000, 5000, {"Content-Range": "bytes 0-4999/5000"}, "asked for bytes from 1,000, the server sends "),
        (1000, 5000, {"Content-Range": "the rest"}, "asked for bytes from 1,000, the server sends the rest"),
    ],
)
def test_another_file_is_refused_before_a_byte_of_it_is_kept(server, file, there, size, headers, message):
    part, server.headers = (CONTENT + bytes(1000))[:there], headers
    file.write_bytes(part)
    with pytest.raises(ResourceError) as refused:
        load(server.url, file, size)
    assert message in str(refused.value)
    assert file.read_bytes() == part
    assert len(server.asked) == 1


def test_a_part_that_is_too_long_is_begun_again(server, file):
    file.write_bytes(CONTENT + b"x")
    lines, _ = loaded(server, file)
    assert lines == ["file.tar: what is there of it is longer than the published file; starting over"]


def test_a_file_that_cannot_be_written_is_no_matter_of_the_network(server, tmp_path):
    with pytest.raises(ResourceError, match=r"nowhere/file.tar: cannot be written \(No such file"):
        load(server.url, tmp_path / "nowhere" / "file.tar", len(CONTENT))
    assert len(server.asked) == 1
