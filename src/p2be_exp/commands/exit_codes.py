"""From errors to exit codes: 0 done, 1 failed, 2 bad input, 128 + n stopped by signal n."""

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
"""Environment variable that asks for the traceback of what is told in one line, too."""

TO_END = 15.0
"""Seconds that the interpreter has to end where other processes may be waited for."""

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
"""What an operating system says of a file that a user named, and that no repetition would make usable."""


def _check_working_folder() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise BadInput(f"the working folder cannot be read ({error.strerror}); change to one that is there") from error


def exit_code_of(command: Callable[[], None]) -> int:
    """Run a command; print what went wrong as a person wants it; return the exit code.

    A lost output (a closed pipe, a terminal that is gone, a full disk) is no failure: the command ends as it would.
    """
    with lasting_output():
        code = _exit_code_of(command)
        _end_for_sure(code)  # with 0, too: a rank that followed a stop signal ends so
        return code


def _end_for_sure(code: int) -> None:
    """End a process that had others beside it, also where PyTorch, when it is put away, waits for them."""
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
        sys.stderr.write(f"error: {one_line(error)}\n")  # in one piece: other processes may say the same
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
        if (ending := getattr(error, "ending", None)) is not None:  # another rank's; its traceback is its own
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
