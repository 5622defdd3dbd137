"""Processes that need not import PyTorch: forks of one that has, and has done nothing else.

A start of Python with PyTorch, torchvision and Lightning costs more than most of what a test does with it. Here one
process imports them once; what is started is a fork of it, and runs a script as ``python SCRIPT`` does: with its own
number, folder, arguments and streams, with the signals as Python sets them, and through Python's own end. What is about
the start itself (threads, the environment, a launcher) is no matter for it: see ``commandline.start``. A command that
starts itself again, as one of several processes does, gets a fork for that, too (see :mod:`spare_child`).
"""

import array
import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
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
from pathlib import Path

from spare_child import fork_spare

LIBRARIES = (
    "PIL.Image",
    "cv2",
    "hydra.main",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "numba",
    "pytorch_lightning.loggers",
    "scipy.ndimage",
    "scipy.special",
    "scipy.stats",
    "sklearn.datasets",
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
    """A script that runs; used as a ``subprocess.Popen`` with ``stdout=PIPE, stderr=PIPE, text=True``.

    Args:
        script: what is run as ``__main__``.
        arguments: of it.
        cwd: where.
        env: its environment; of what Python and the libraries read as they are imported, it has that of the process
            that imported them, so only what is read later may differ from this process's own.
        streams: descriptors that it prints to, in the place of pipes; ``stdout`` and ``stderr`` are None then.
        mark: name of the process and of its forks, of at most 15 characters, to find them by; they are a process group
            of their own then.
        again: whether it may start itself again, once.

    Attributes:
        pid: its number.
        returncode: as of ``Popen``; None as long as it has not been seen to have ended.
        stdout, stderr: what it prints.
    """

    def __init__(
        self,
        script: Path,
        *arguments: str,
        cwd: Path,
        env: dict[str, str],
        streams: tuple[int, int] | None = None,
        mark: str = "",
        again: bool = False,
    ) -> None:
        self.args = [str(script), *arguments]
        self.returncode: int | None = None
        request = {"argv": self.args, "cwd": str(Path(cwd).absolute()), "env": env, "mark": mark, "again": again}
        pipes = [os.pipe() for _ in range(3 if streams is None else 1)]
        try:
            _send(_ancestor(), json.dumps(request).encode(), [*(streams or ()), *(written for _, written in pipes)])
        finally:
            for _, written in pipes:
                os.close(written)
        *printed, self._told = (os.fdopen(read, encoding="utf-8") for read, _ in pipes)
        self.stdout, self.stderr = printed or (None, None)
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


@functools.cache
def _ancestor() -> socket.socket:
    """Start the process that is forked, once; it ends when this one closes the socket, or ends."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("P2BE", "HYDRA", "WANDB"))}
    process = subprocess.Popen(
        [sys.executable, __file__, str(its.fileno())],
        env={**environment, "OMP_NUM_THREADS": "1"},
        pass_fds=[its.fileno()],
        stdout=subprocess.PIPE,  # nothing is read from them: its streams are made for pipes, as those of its forks
        stderr=subprocess.PIPE,
    )
    its.close()
    atexit.register(process.wait)
    atexit.register(mine.close)  # before the wait
    return mine


# -- the process that is forked ---------------------------------------------------------------------------------------


def serve(requests: socket.socket) -> dict | None:
    """Fork for each request; comes back in the forks, with the request, and at the end, with None."""
    while True:
        message, descriptors = _receive(requests)
        if not message:
            return None
        if os.fork() == 0:
            requests.close()
            return _keep(json.loads(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(request: dict, out: int, err: int, told: int) -> dict:
    """Fork once more, and stay behind to tell the number of that process and how it ends."""
    for number in (signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(told)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return request
    os.write(told, f"{child}\n".encode())
    os.closerange(0, 3)
    os.close(out)
    os.close(err)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, status = os.waitpid(child, 0)
    os.write(told, f"{status}\n".encode())
    os._exit(0)


def become(request: dict) -> None:
    """Run the script of a request in the place of this one."""
    if request["mark"]:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(_PR_SET_NAME, request["mark"].encode())
    if request["again"]:
        request = fork_spare(request)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    script = request["argv"][0]
    sys.argv = request["argv"]
    sys.orig_argv = [sys.executable, *request["argv"]]
    sys.path[0] = str(Path(script).resolve().parent)
    runpy.run_path(script, run_name="__main__")


def _send(target: socket.socket, message: bytes, descriptors: list[int]) -> None:
    target.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


def _receive(source: socket.socket) -> tuple[bytes, list[int]]:
    message, rights, *_ = source.recvmsg(LONGEST, socket.CMSG_LEN(3 * array.array("i").itemsize))
    return message, [each for _, _, data in rights for each in array.array("i", data)]


def main() -> None:
    """Import the libraries, and answer requests."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # to the tests' process group
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that stay behind
    for name in LIBRARIES:
        importlib.import_module(name)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "forks would lack the other threads"
    gc.collect()
    gc.freeze()  # a second less at the end of each fork, which would look at all of this once more
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        become(request)


if __name__ == "__main__":
    main()
