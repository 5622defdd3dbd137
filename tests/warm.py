"""Processes that begin with the libraries imported already: a command takes a second instead of six.

A process that has imported them, and nothing of this package, forks another for each command that is asked for. That
one is as a fresh ``python SCRIPT ARGUMENTS``: a process with its own environment, output, signal handlers and exit.
Where it starts its own command again, as rank 0 does, it gets a child that it forked at the very beginning, before
anything of the command had run; that is its child like any other, which it can wait for and kill.

What is not as in a fresh process: ``/proc/PID/environ`` is the old one, and what the libraries make of the environment
when they are imported. A few tests start real ones.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import inspect
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

_LIBRARIES = (
    "PIL.Image",
    "cv2",
    "hydra.main",
    "hydra.experimental.callback",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "numba",
    "pytorch_lightning.loggers",
    "scipy.special",
    "scipy.stats",
    "sklearn.datasets",
    "torch.distributed",
    "torchmetrics.functional.classification",
    "torchvision",
    "tqdm",
)
_PR_SET_NAME = 15


class WarmProcess:
    """A process that a :class:`WarmStart` began, as ``subprocess.Popen`` shows it.

    Attributes:
        pid: its number.
        returncode: how it ended, as of ``Popen``; None before it was seen to have.
    """

    def __init__(self, pid: int, code: Path) -> None:
        self.pid, self.returncode, self._code = pid, None, code

    def poll(self) -> int | None:
        """The return code; None while it runs."""
        if self.returncode is None:
            with contextlib.suppress(FileNotFoundError):
                self.returncode = int(self._code.read_text())
        return self.returncode


class WarmStart:
    """Starts Python scripts whose libraries are there already."""

    def __init__(self) -> None:
        self._here, there = socket.socketpair()
        keep = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(there.fileno())],
            env={**os.environ, **keep},
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=0,
        )
        there.close()

    def start(
        self, arguments: list[str], cwd: Path, env: dict[str, str], out: int, err: int, name: str, code: Path
    ) -> WarmProcess:
        """Begin a script.

        Args:
            arguments: the script and its arguments.
            cwd: where.
            env: the whole environment.
            out: file descriptor that it prints to.
            err: the same for errors.
            name: of the process and its children, at most 15 characters, by which they are found.
            code: file that its return code is written to.
        """
        request = {"arguments": arguments, "cwd": str(cwd), "env": env, "name": name, "code": str(code)}
        socket.send_fds(self._here, [json.dumps(request).encode() + b"\n"], [out, err])
        answer = self._here.recv(64)
        assert answer, "the process that others are forked from has ended"
        return WarmProcess(int(answer), code)

    def close(self) -> None:
        """End what the others are forked from; they go on."""
        self._here.close()
        self._server.wait()


# -- in the process that the others are forked from -------------------------------------------------------------------


def _serve(requests: socket.socket) -> dict[str, Any]:
    """Fork a process for each request; returns in these alone, with the request."""
    codes: dict[int, str] = {}
    while True:
        ready, _, _ = select.select([requests], [], [], 0.01 if codes else None)
        for pid in list(codes):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _write(Path(codes.pop(pid)), str(os.waitstatus_to_exitcode(status)))
        if not ready:
            continue
        text, descriptors = _received(requests)
        if not text:
            os._exit(0)
        request = json.loads(text)
        if (pid := os.fork()) == 0:
            requests.close()
            for number, descriptor in zip((1, 2), descriptors, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.setpgid(0, 0)
            return request
        for descriptor in descriptors:
            os.close(descriptor)
        codes[pid] = request["code"]
        requests.send(str(pid).encode())


def _received(requests: socket.socket) -> tuple[bytes, array.array]:
    text, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 2)
    while text and not text.endswith(b"\n"):
        text += requests.recv(1 << 20)
    return text, descriptors


def _write(file: Path, text: str) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_text(text)
    part.rename(file)


def _begin(request: dict[str, Any]) -> None:
    """Become the process that was asked for."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, request["name"].encode()[:15])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115  # the old ones are of other files
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = request["arguments"]
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    from lightning_fabric.utilities import rank_zero

    rank_zero.rank_zero_only.rank = rank_zero._get_rank() or 0  # as when it is imported


def _with_spare(request: dict[str, Any]) -> dict[str, Any]:
    """Fork a child that waits until this process starts its own command again; returns in both."""
    here, there = socket.socketpair()
    if (pid := os.fork()) == 0:
        here.close()
        text = b""
        while not text.endswith(b"\n"):
            if not (more := there.recv(1 << 20)):
                os._exit(0)  # it has ended without
            text += more
        there.close()
        return {**request, **json.loads(text)}
    there.close()
    _Popen.spare, _Popen.requests = pid, here
    subprocess.Popen = _Popen
    return request


class _Popen(subprocess.Popen):
    """Takes the spare child where this very command is started again."""

    spare: int | None = None
    requests: socket.socket

    def _execute_child(self, *arguments: Any) -> None:
        real = super()._execute_child
        asked = inspect.signature(real).bind(*arguments).arguments
        pipes = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        again = list(asked["args"])[:2] == [sys.executable, str(Path(sys.argv[0]).absolute())]
        if _Popen.spare is None or not again or pipes != [-1, -1, -1] or asked["preexec_fn"]:
            real(*arguments)
            return
        env = dict(os.environ if asked["env"] is None else asked["env"])
        request = {"arguments": asked["args"][1:], "env": env, "cwd": str(asked["cwd"] or Path.cwd())}
        _Popen.requests.sendall(json.dumps(request).encode() + b"\n")
        _Popen.requests.close()
        self.pid, _Popen.spare = _Popen.spare, None
        self._child_created = True


if __name__ == "__main__":
    import importlib

    for library in _LIBRARIES:
        importlib.import_module(library)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a process of several threads cannot be forked"
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _request = _with_spare(_serve(socket.socket(fileno=int(sys.argv[1]))))
    _begin(_request)
    runpy.run_path(sys.argv[0], run_name="__main__")
