"""Exit codes of errors: 0 done, 1 failed, 2 bad input, 128 + n stopped by signal n."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from p2be_exp.errors import BadInput, Interrupted, ResourceError, one_line
from p2be_exp.system.atomic import full_line, is_full
from p2be_exp.system.output import lasting_output

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Environment variable that adds the traceback to errors that are reported in one line."""

TO_END = 15.0
"""Seconds for the interpreter to exit if it may wait for other processes."""

IMPORT_ADVICE = (
    "torch and torchvision do not fit together; install both in one command, so that pip resolves them together: "
    "pip install --upgrade --force-reinstall 'torch>=2.11' 'torchvision>=0.26'"
)


_OF_THE_FILE = (
    *(
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
    ),
)
"""Errors of a file that the user named, which a retry would not fix."""


def _check_working_folder() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise BadInput(f"the working folder cannot be read ({error.strerror}); change to one that exists") from error


def exit_code_of(command: Callable[[], None]) -> int:
    """Run a command, print its error in a form for users, and return the exit code.

    Lost output (a closed pipe, a closed terminal, a full disk) is not a failure: the command ends as usual.
    """
    with lasting_output():
        code = _exit_code_of(command)
        _end_for_sure(code)  # also with 0: a rank that followed a stop signal ends so
        return code


def _end_for_sure(code: int) -> None:
    """End one of several processes for certain, even if PyTorch waits for the others during its shutdown."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return
    if torch.distributed.get_world_size() == 1:
        return

    def end() -> None:
        time.sleep(TO_END)
        os._exit(code)

    threading.Thread(target=end, name="end", daemon=True).start()


def _exit_code_of(command: Callable[[], None]) -> int:
    wants_traceback = os.environ.get(FULL_ERROR) == "1"
    try:
        _check_working_folder()
        command()
    except BadInput as error:
        if wants_traceback:
            traceback.print_exc()
        sys.stderr.write(f"error: {one_line(error)}\n")  # in one write: other processes may print the same
        return 2
    except (Interrupted, KeyboardInterrupt) as error:
        return 128 + getattr(error, "signal", 2)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except ResourceError as error:
        if wants_traceback:
            traceback.print_exc()
        sys.stderr.write(f"error: {one_line(error)}\n")
        return 1
    except OSError as error:
        if error.errno in _OF_THE_FILE and error.filename is not None and not wants_traceback:
            named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else "a file"
            sys.stderr.write(f"error: {one_line(named)}: cannot be used ({error.strerror})\n")
            return 2
        if not is_full(error) or wants_traceback:
            traceback.print_exc()
        else:
            sys.stderr.write(f"error: {full_line(Path(error.filename or '.'), error)}\n")
        return 1
    except RuntimeError as error:
        if (ending := getattr(error, "ending", None)) is not None:  # another rank's, which prints the traceback itself
            sys.stderr.write(f"error: {one_line(error)}\n")
            return ending.exit_code
        if "torchvision::nms does not exist" not in str(error):
            traceback.print_exc()
            return 1
        print(f"error: {IMPORT_ADVICE}", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0
