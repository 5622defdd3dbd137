"""Processes that need not import PyTorch: forks of one that has, and has done nothing else.

A start of Python with PyTorch, torchvision and Lightning costs more than most of what a test does with it. Here one
process imports them once; what is started is a fork of it, and runs a script as ``python SCRIPT`` does: with its own
number, folder, arguments and streams, with the signals as Python sets them, and with an end like Python's own: threads
are waited for, and what ``atexit`` knows is called. A script that starts others, as rank 0 starts itself again and
torchrun starts ranks, can have spares: children that were forked before anything of the script had run, and begin as
if they were new when the script starts them. What is about the start itself (threads, the environment, a launcher) is
no matter for all this: see ``commandline.start``. Hydra composes and figures are saved as quickly as in the commands of
the tests' own process.

``/proc/PID/environ`` is that of the process that is forked. Where processes have to be found, they are by their name.
"""

import array
import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import inspect
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LIBRARIES = (
    "PIL.Image",
    "cv2",
    "hydra.experimental.callback",
    "hydra.main",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "numba",
    "pytorch_lightning.loggers",
    "scipy.ndimage",
    "scipy.special",
    "scipy.stats",
    "sklearn.datasets",
    "sklearn.model_selection",
    "torch.distributed",
    "torchmetrics.functional.classification",
    "torchvision.transforms",
    "tqdm",
)
"""What is imported before; of the package itself nothing."""

LONGEST = 1 << 20
"""Bytes of a request, at most."""

_PR_SET_NAME = 15


class WarmProcess:
    """A script that runs; used as a ``subprocess.Popen`` with ``text=True``. It ends with this process at the latest.

    Args:
        script: what is run as ``__main__``.
        arguments: of it.
        cwd: where.
        env: its environment; of what Python and the libraries read as they are imported, it has that of the process
            that imported them, so only what is read later may differ from this process's own.
        stdout: file descriptor that it prints to; a pipe to this process where there is none.
        stderr: the same for its errors.
        stdin: file descriptor that it reads from; nothing is there to be read where there is none.
        process_group: of it, as of ``Popen``; 0 is one of its own.
        name: of it and its children, at most 15 characters.
        spares: so many of the Python scripts that it starts first are forks, too.

    Attributes:
        pid: its number.
        returncode: as of ``Popen``; None as long as it has not been seen to have ended.
        stdout, stderr: what it prints; None where it prints to a file descriptor that was given.
    """

    def __init__(
        self,
        script: Path,
        *arguments: str,
        cwd: Path,
        env: dict[str, str],
        stdout: int | None = None,
        stderr: int | None = None,
        stdin: int | None = None,
        process_group: int | None = None,
        name: str | None = None,
        spares: int = 0,
    ) -> None:
        self.args = [str(script), *arguments]
        self.returncode: int | None = None
        request = {"argv": self.args, "cwd": str(Path(cwd).absolute()), "env": env}
        request |= {"process_group": process_group, "name": name, "spares": spares}
        pipes = [os.pipe() if given is None else (None, given) for given in (stdout, stderr, None)]
        try:
            descriptors = [*(written for _, written in pipes), *([] if stdin is None else [stdin])]
            _send(_ancestor(), json.dumps(request).encode(), descriptors)
        finally:
            for read, written in pipes:
                if read is not None:
                    os.close(written)
        self.stdout, self.stderr, self._told = (
            None if read is None else os.fdopen(read, encoding="utf-8") for read, _ in pipes
        )
        first = self._told.readline()
        assert first, "the process that is forked has ended"
        self.pid = int(first)

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; how it ended."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = os.waitstatus_to_exitcode(int(self._told.readline()))
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read all that it prints, wait for its end."""
        end = None if timeout is None else time.monotonic() + timeout
        texts = {"stdout": "", "stderr": ""}

        def read(name: str) -> None:
            if (stream := getattr(self, name)) is not None:
                with stream:
                    texts[name] = stream.read()

        readers = [threading.Thread(target=read, args=[name], daemon=True) for name in texts]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if end is None else max(0.0, end - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        return texts["stdout"], texts["stderr"]

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


def warm_up() -> None:
    """Import now what the first process would wait for; before several threads start processes."""
    _ancestor()


@functools.cache
def _ancestor() -> socket.socket:
    """Start the process that is forked, once; it ends when this one closes the socket, or ends, and its forks do."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("P2BE", "HYDRA", "WANDB"))}
    process = subprocess.Popen(
        [sys.executable, __file__, str(its.fileno()), *LIBRARIES],
        env={**environment, "OMP_NUM_THREADS": "1"},
        pass_fds=[its.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,  # nothing is read from them: its streams are made for pipes, as those of its forks
        stderr=subprocess.PIPE,
    )
    its.close()
    atexit.register(process.wait)
    atexit.register(mine.close)  # before the wait
    return mine


# -- the process that is forked ---------------------------------------------------------------------------------------


def serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request, and tell how the fork ends; comes back in the forks alone, with the request."""
    bell, rung = os.pipe()
    os.set_blocking(bell, False)
    os.set_blocking(rung, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(rung, warn_on_full_buffer=False)
    told: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([requests, bell], [], [])
        if bell in ready:
            os.read(bell, LONGEST)
            _tell_ends(told)
        if requests not in ready:
            continue
        message, descriptors = receive(requests)
        if not message:
            _kill(told)
            os._exit(0)
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            for each in (bell, rung, *told.values(), requests.detach(), descriptors[2]):
                os.close(each)
            return _set_up(json.loads(message), *descriptors[:2], *descriptors[3:])
        told[pid] = descriptors.pop(2)
        for each in descriptors:
            os.close(each)
        _tell(told[pid], pid)


def _tell_ends(told: dict[int, int]) -> None:
    while told:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        target = told.pop(pid)
        _tell(target, status)
        os.close(target)


def _tell(target: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(target, f"{number}\n".encode())


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


def _set_up(request: dict[str, Any], out: int, err: int, *given: int) -> dict[str, Any]:
    """Give a fork what is its own from the first moment; the request."""
    for number, descriptor in ((1, out), (2, err), *((0, each) for each in given)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["process_group"] is not None:
        os.setpgid(0, request["process_group"])
    if request["name"] is not None:
        ctypes.CDLL(None).prctl(_PR_SET_NAME, request["name"].encode()[:15])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return _with_spares(request)


def become(request: dict[str, Any]) -> None:
    """Run the script of a request in the place of this one."""
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    script = request["argv"][0]
    sys.argv = request["argv"]
    sys.orig_argv = [sys.executable, *request["argv"]]
    sys.path[0] = str(Path(script).resolve().parent)
    if (rank_zero := sys.modules.get("lightning_fabric.utilities.rank_zero")) is not None:
        rank_zero.rank_zero_only.rank = rank_zero._get_rank() or 0  # as when it is imported
    signal.pthread_sigmask(signal.SIG_SETMASK, request.get("blocked", []))
    try:
        runpy.run_path(script, run_name="__main__")
        _Exit.code = 0
    except SystemExit as end:
        _Exit.code = 0 if end.code is None else end.code
        raise


class _Exit:
    """The end of a fork."""

    code: object = None
    """What it ends with; None as long as its script runs, and where that ends with an exception."""

    @staticmethod
    def at_last() -> None:
        """End without taking all modules apart: each page of memory that this touches is copied for the fork first."""
        if isinstance(_Exit.code, int):
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            except (OSError, ValueError):
                return  # Python says so
            os._exit(_Exit.code & 0xFF)


# -- the children that a script gets when it starts scripts -----------------------------------------------------------


def _with_spares(request: dict[str, Any]) -> dict[str, Any]:
    """Fork children that wait until this process starts a script; returns in all of them."""
    for _ in range(request["spares"]):
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
        if (pid := os.fork()) == 0:
            for each in (mine, *(requests for _, requests in _Popen.spares)):
                each.close()
            return _started(request, its)
        its.close()
        _Popen.spares.append((pid, mine))
    if _Popen.spares:
        subprocess.Popen = _Popen
    return request


def _started(request: dict[str, Any], its: socket.socket) -> dict[str, Any]:
    """Wait in a spare child for what it is started with."""
    if not (message := its.recv(LONGEST)):
        os._exit(0)  # the script has ended without
    asked = json.loads(message)
    if asked.pop("session"):
        os.setsid()
    its.send(b"started")
    its.close()
    return {**request, **asked}


class _Popen(subprocess.Popen):
    """Takes a spare child where a Python script is started."""

    spares: list[tuple[int, socket.socket]] = []  # noqa: RUF012  # of this process

    def _execute_child(self, *arguments: Any) -> None:
        real = super()._execute_child
        asked = inspect.signature(real).bind(*arguments).arguments
        program, *words = map(str, asked["args"])
        pipes = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        words = words[1:] if words[:1] == ["-u"] else words
        a_script = words[:1] == sys.orig_argv[1:2] or "".join(words[:1]).endswith(".py")
        if (
            program != sys.orig_argv[0]
            or not a_script
            or not _Popen.spares
            or pipes != [-1, -1, -1]
            or asked["preexec_fn"]
        ):
            real(*arguments)
            return
        env = dict(os.environ if asked["env"] is None else asked["env"])
        cwd = str(Path(asked["cwd"] or ".").absolute())
        blocked = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])]
        request = {"argv": words, "env": env, "cwd": cwd, "blocked": blocked, "session": asked["start_new_session"]}
        self.pid, requests = _Popen.spares.pop(0)
        with requests:
            requests.send(json.dumps(request).encode())
            requests.recv(LONGEST)
        self._child_created = True


# -- messages with file descriptors -----------------------------------------------------------------------------------


def _send(target: socket.socket, message: bytes, descriptors: list[int]) -> None:
    target.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


def receive(source: socket.socket) -> tuple[bytes, list[int]]:
    """A message, and the file descriptors that came with it."""
    message, rights, *_ = source.recvmsg(LONGEST, socket.CMSG_LEN(4 * array.array("i").itemsize))
    return message, [each for _, _, data in rights for each in array.array("i", data)]


def _hasten() -> None:
    """As ``conftest.quick`` and ``commandline``, from now on."""
    from matplotlib.figure import Figure

    from one_pixel import save_one_pixel
    from quick_hydra import parse_beforehand, quick_hydra
    from quick_system import quick_system

    for each in (quick_hydra(), quick_system()):
        each.__enter__()
    parse_beforehand(Path(__file__).parents[1] / "conf")
    Figure.savefig = save_one_pixel


def main() -> None:
    """Import the libraries, and answer requests."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # to the tests' process group
    atexit.register(_Exit.at_last)  # before the libraries' functions, so after them
    for name in sys.argv[2:]:
        importlib.import_module(name)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "forks would lack the other threads"
    if sys.argv[2:]:
        _hasten()
    gc.collect()
    gc.freeze()  # what a fork collects is its own
    become(serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
