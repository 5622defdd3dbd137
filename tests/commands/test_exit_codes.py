"""From errors to exit codes, in the cases that the commands' own tests do not meet."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import HANGS

PRINTS = """
import sys
from p2be_exp.commands.exit_codes import exit_code_of
sys.exit(exit_code_of(lambda: print("x" * {length})))
"""
LENGTHS = (10, 1_000_000)
"""Lost output is noticed when it is flushed at the end, and before."""


def prints(length: int, out) -> tuple[int, str]:
    command = [sys.executable, "-c", PRINTS.format(length=length)]
    process = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, timeout=HANGS, check=False)
    return process.returncode, process.stderr


@pytest.mark.parametrize("length", LENGTHS)
def test_a_reader_that_has_enough_is_no_failure(length):
    read, write = os.pipe()
    os.close(read)
    assert prints(length, write) == (0, "")
    os.close(write)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("length", LENGTHS)
def test_a_full_disk_for_what_is_printed_is_one_line(length):
    with Path("/dev/full").open("w") as full:
        code, told = prints(length, full)
    assert (code, told) == (
        0,
        "error: stdout: cannot be written (No space left on device); no more output goes there\n",
    )


HELD = """
import atexit, sys, time, torch
from p2be_exp.commands import exit_codes
exit_codes.TO_END = 0.05
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
torch.distributed.get_world_size = lambda: 2  # the other one has ended
atexit.register(time.sleep, 600)
sys.exit(exit_codes.exit_code_of(lambda: sys.exit({code})))
"""


@pytest.mark.parametrize("code", [0, 1])
def test_a_process_that_had_others_ends_also_where_putting_pytorch_away_waits_for_them(warm_python, code):
    command = [sys.executable, "-c", HELD.format(code=code)]
    assert subprocess.run(command, timeout=HANGS, check=False).returncode == code


ALONE = """
import sys, threading, torch
from p2be_exp.commands import exit_codes
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
exit_codes.exit_code_of(lambda: None)
sys.exit(any(thread.name == "end" for thread in threading.enumerate()))
"""


def test_a_process_without_others_goes_on(warm_python):
    """As a test, or a notebook, that runs one command after another."""
    assert subprocess.run([sys.executable, "-c", ALONE], timeout=HANGS, check=False).returncode == 0
