"""Commands on a machine with less of something: file systems mounted for one process alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import Outcome, finish


def with_mounts(script: str, *arguments, cwd: Path, **environment: str) -> Outcome:
    """Run Python in a mount namespace of its own, after the lines of a shell script.

    Args:
        script: mounts; it has the variables below.
        arguments: of Python.
        cwd: where both start.
        environment: further variables.

    Skips the test where no file system can be mounted.
    """
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("P2BE", "HYDRA", "WANDB", "PL_"))}
    try:
        process = subprocess.Popen(
            [*mounting(script), sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={**keep, "OMP_NUM_THREADS": "1", **environment},
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
    return [*namespace, f'{{\n{script}\n}} || {{ echo "cannot be mounted" >&2; exit 1; }}\n{then}', "sh"]


def skip_unless_mounted(outcome: Outcome) -> None:
    """Skip the test whose command could not be started."""
    if "cannot be mounted" in outcome.err or "unshare failed" in outcome.err:
        pytest.skip("no file system can be mounted here (unshare --mount)")
