"""What is printed: a reader that has gone, a full disk, a closed descriptor, an encoding with few characters."""

import contextlib
import errno
import io
import os
import subprocess
import sys

import pytest

from commandline import HANGS
from p2be_exp.system.output import LastingStream, lasting_output, print_result


class Failing(io.StringIO):
    """Fails with an error of the operating system from the second write on."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.tried = number, 0

    def write(self, text):
        self.tried += 1
        if self.tried > 1:
            raise OSError(self.number, os.strerror(self.number))
        return super().write(text)


@contextlib.contextmanager
def printing_to(out, err=None):
    err = io.StringIO() if err is None else err
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), lasting_output():
        yield


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EPIPE, ""),
        (errno.EIO, ""),
        (errno.ENOSPC, "error: stdout: cannot be written (No space left on device); no more output goes there\n"),
        (errno.EDQUOT, "error: stdout: cannot be written (Disk quota exceeded); no more output goes there\n"),
    ],
)
def test_a_lost_stream_goes_silent(number, told):
    out, err = Failing(number), io.StringIO()
    with printing_to(out, err):
        for text in ("one", "two", "three", "four"):
            sys.stdout.write(text)
        sys.stdout.writelines(["five", "six"])
        print("seven", flush=True)
    assert out.getvalue() == "one"
    assert out.tried == 2
    assert err.getvalue() == told


def test_a_lost_stderr_is_told_nobody():
    out, err = io.StringIO(), Failing(errno.ENOSPC)
    with printing_to(out, err):
        for text in ("one", "two", "three"):
            sys.stderr.write(text)
        print("still there", end="")
    assert (out.getvalue(), err.getvalue()) == ("still there", "one")


def test_a_stream_that_is_full_for_the_moment_is_not_lost():
    class Full(io.StringIO):
        tried = 0

        def write(self, text):
            self.tried += 1
            if self.tried == 1:
                raise BlockingIOError(errno.EAGAIN, "full")
            return super().write(text)

    out = Full()
    with printing_to(out):
        sys.stdout.write("one")
        sys.stdout.write("two")
    assert out.getvalue() == "two"


def test_the_descriptor_of_a_lost_pipe_is_the_null_devices(tmp_path):
    """What else writes there does not meet the error again, and what the stream holds back is no error at its end."""
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    with printing_to(stream):
        print("x" * 100_000)
        print("y", flush=True)
        assert os.write(write, b"from elsewhere") == 14
    stream.close()


def test_the_streams_of_before_come_back():
    before = sys.stdout, sys.stderr
    with contextlib.suppress(KeyError), lasting_output():
        assert isinstance(sys.stdout, LastingStream)
        once = sys.stdout, sys.stderr
        with lasting_output():
            assert (sys.stdout, sys.stderr) == once
        assert (sys.stdout, sys.stderr) == once
        raise KeyError
    assert (sys.stdout, sys.stderr) == before


def test_a_result_that_cannot_be_written_is_a_failure():
    with printing_to(io.StringIO()):
        print_result("a table")
    with pytest.raises(SystemExit) as failed, printing_to(Failing(errno.ENOSPC)):
        print_result("a table")
    assert failed.value.code == 1
    with printing_to(Failing(errno.EPIPE)):  # head has enough
        print_result("a table")


def test_a_stream_that_is_closed_takes_what_is_printed():
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None), lasting_output():
        print("nobody reads this", flush=True)
        assert not sys.stderr.isatty()


@pytest.mark.parametrize(
    ("encoding", "errors", "printed"),
    [
        ("ascii", "strict", rb"a - b +/- c \u03bb \U0001f600"),
        ("latin-1", "strict", b"a - b \xb1 c \\u03bb \\U0001f600"),
        ("utf-8", "strict", "a − b ± c λ 😀".encode()),
        ("ascii", "replace", rb"a - b +/- c \u03bb \U0001f600"),
    ],
)
def test_characters_that_the_encoding_lacks_are_replaced(encoding, errors, printed):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    with printing_to(out):
        print("a − b ± c λ 😀", end="")
    assert out.buffer.getvalue() == printed
    assert out.errors == errors


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_name_that_is_no_text_is_printed_as_its_bytes(encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with printing_to(out):
        print(os.fsdecode(b"r\xf6t"), end="")
    assert out.buffer.getvalue() == b"r\xf6t"


def test_descriptors_that_are_closed_are_not_given_to_files():
    script = (
        "from p2be_exp.system.output import lasting_output\n"
        "with lasting_output(), open('mine', 'w') as file:\n"
        "    print('printed', flush=True)\n"
        "    assert file.fileno() > 2, file.fileno()\n"
        "assert open('mine').read() == ''\n"
    )
    command = f'cd $(mktemp -d) && exec {sys.executable} -c "$SCRIPT" <&- >&- 2>&-'
    process = subprocess.run(["bash", "-c", command], env={**os.environ, "SCRIPT": script}, timeout=HANGS, check=False)
    assert process.returncode == 0
