"""From errors to exit codes, in the cases that the commands' own tests do not meet."""

import os
import subprocess
import sys

from commandline import HANGS

PRINTS = """
import sys
from p2be_exp.commands.exit_codes import exit_code_of
sys.exit(exit_code_of(lambda: print("x" * {length})))
"""


def test_a_reader_that_has_enough_gets_no_traceback():
    for length in (10, 1_000_000):  # noticed when the output is flushed at the end, and before
        read, write = os.pipe()
        os.close(read)
        process = subprocess.run(
            [sys.executable, "-c", PRINTS.format(length=length)],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=HANGS,
            check=False,
        )
        os.close(write)
        assert (process.returncode, process.stderr) == (1, "")
