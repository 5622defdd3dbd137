"""A program to be found as ``python`` by those who start Python: a launcher, a job script, a queue of jobs.

What it starts is a warm process (see :mod:`warm_process`), and it stands for it where it was started: with its own
arguments, folder, variables and streams, each signal passed on, the end of the one that of the other.
"""

import contextlib
import json
import os
import select
import socket
import sys
import threading
from pathlib import Path

from warm_process import LONGEST, WarmProcess, receive, warm_up

_STANDS_FOR_IT = """\
#!{python} -IS
import array, json, os, signal, socket, sys

server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, {longest})
server.connect({address!r})
for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(each, lambda number, frame: server.send(bytes([number])))
request = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}}
streams = array.array("i", [1, 2, 0])
server.sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
code = int(server.recv(100))
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""

_AS_PYTHON = """\
import os, runpy, sys

sys.executable = {program!r}
more = os.environ.get("PYTHONPATH", "").split(os.pathsep)
sys.path[1:1] = [each for each in more if each and each not in sys.path]
del sys.argv[0]
if sys.argv[0] == "-c":
    sys.path[0] = ""
    code, sys.argv = compile(sys.argv[1], "<string>", "exec"), ["-c", *sys.argv[2:]]
    exec(code)
elif sys.argv[0] == "-m":
    del sys.argv[0]
    sys.path[0] = os.getcwd()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


class WarmPython:
    """The program, for as long as it is entered.

    Args:
        folder: empty; a short path, which the address of a socket is a part of.

    Attributes:
        program: it is named ``python``, and starts what is ``[-u] SCRIPT``, ``[-u] -m MODULE`` and ``-c CODE``.
    """

    def __init__(self, folder: Path) -> None:
        self.program = folder / "python"
        self._script = folder / "as_python.py"
        self._requests = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __enter__(self) -> "WarmPython":
        address = str(self.program.with_name("requests"))
        text = _STANDS_FOR_IT.format(python=sys.executable, address=address, longest=LONGEST)
        self.program.write_text(text, encoding="utf-8")
        self.program.chmod(0o755)
        self._script.write_text(_AS_PYTHON.format(program=str(self.program)), encoding="utf-8")
        self._requests.bind(address)
        self._requests.listen(100)
        warm_up()
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._requests.shutdown(socket.SHUT_RDWR)  # the thread comes back from its wait
        self._requests.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._requests.accept()
                threading.Thread(target=self._run, args=[one], daemon=True).start()

    def _run(self, one: socket.socket) -> None:
        """Start what a program asks for; it is killed where the program has ended before it."""
        with one:
            message, streams = receive(one)
            request = json.loads(message)
            words = request["argv"][request["argv"][:1] == ["-u"] :]
            place = {"cwd": request["cwd"], "env": request["env"]}
            place |= dict(zip(("stdout", "stderr", "stdin"), streams, strict=True))
            process = WarmProcess(self._script, *words, **place)
            for stream in streams:
                os.close(stream)
            while process.poll() is None:
                if select.select([one], [], [], 0.02)[0]:
                    if number := one.recv(1):
                        process.send_signal(number[0])
                    else:
                        process.kill()
                        process.wait()
            with contextlib.suppress(OSError):
                one.send(str(process.returncode).encode())
