"""Commands on a machine with less of something: file systems mounted for one process alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import Outcome, finish
from warm_process import WarmProcess


def with_mounts(script: str, *arguments, cwd: Path, after: str = "", warm: bool = False, **environment: str) -> Outcome:
    """Run Python in a mount namespace of its own, after the lines of a shell script.

    Args:
        script: mounts; it has the variables below.
        arguments: of Python: a file, or ``-m`` and a module, and what is for them.
        cwd: where both start.
        after: lines of a shell script, after the end of Python.
        warm: have the libraries imported beforehand; what the script exports is not for this Python then.
        environment: further variables.

    Skips the test where no file system can be mounted.
    """
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("P2BE", "HYDRA", "WANDB", "PL_"))}
    env = {**keep, "OMP_NUM_THREADS": "1", **environment}
    words = [*map(str, arguments)]
    if warm and os.geteuid() == 0:
        driver = Path(cwd) / "mounting.py"
        driver.write_text(_MOUNTING)
        process = WarmProcess(driver, _mounted_or_told(script), after, *words, cwd=cwd, env=env)
    else:
        try:
            process = subprocess.Popen(
                [*mounting(script, f'"$@"\ncode=$?\n{after}\nexit $code'), sys.executable, *words],
                cwd=cwd,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        except FileNotFoundError:
            pytest.skip("no unshare here")
    outcome = finish(process)
    skip_unless_mounted(outcome)
    return outcome


def mounting(script: str, then: str = 'exec "$@"') -> list[str]:
    """The beginning of a command that runs in a mount namespace of its own.

    Args:
        script: mounts, lines of a shell script.
        then: the same, with the command as its arguments.
    """
    namespace = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount", "sh", "-c"]
    return [*namespace, f"{_mounted_or_told(script)}{then}", "sh"]


def mounting_in_ranks(script: str, then: str) -> str:
    """Python that two warm ranks run first (see ``processes.started``): both are in a mount namespace of their own.

    Args:
        script: mounts, lines of a shell script.
        then: the same, when the first rank ends.
    """
    return _MOUNTING_IN_RANKS.format(script=_mounted_or_told(script), then=then)


def skip_unless_mounted(outcome: Outcome) -> None:
    """Skip the test whose command could not be started."""
    if "cannot be mounted" in outcome.err or "unshare failed" in outcome.err:
        pytest.skip("no file system can be mounted here (unshare --mount)")


def _mounted_or_told(script: str) -> str:
    return f'{{\n{script}\n}} || {{ echo "cannot be mounted" >&2; exit 1; }}\n'


_MOUNTING_IN_RANKS = """
import atexit, ctypes, subprocess, sys

NEW_MOUNTS, SYSTEM, HERE = 0x00020000, ctypes.CDLL(None), os.getcwd()
if os.environ.get("LOCAL_RANK", "0") == "0":
    if SYSTEM.unshare(NEW_MOUNTS) or subprocess.call(["mount", "--make-rprivate", "/"]):
        sys.exit("unshare failed")
    if code := subprocess.call(["sh", "-c", {script!r}]):
        sys.exit(code)
    atexit.register(subprocess.call, ["sh", "-c", {then!r}])
else:  # a child of the first
    if SYSTEM.setns(os.open("/proc/%d/ns/mnt" % os.getppid(), os.O_RDONLY), NEW_MOUNTS):
        sys.exit("setns failed")
    os.chdir(HERE)
"""
_MOUNTING = """
import ctypes, os, runpy, subprocess, sys

_, lines, after, *sys.argv = sys.argv
NEW_MOUNTS = 0x00020000
if ctypes.CDLL(None).unshare(NEW_MOUNTS) or subprocess.call(["mount", "--make-rprivate", "/"]):
    sys.exit("unshare failed")
if code := subprocess.call(["sh", "-c", lines]):
    sys.exit(code)
if (child := os.fork()) == 0:
    if sys.argv[0] == "-m":
        runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
else:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    subprocess.call(["sh", "-c", after])
    sys.exit(code % 256)
"""
