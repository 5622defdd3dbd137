"""Triton kernels on the CPU, by Triton's interpreter, in a process of its own: the variable counts at the import."""

import os
import subprocess
import sys
from pathlib import Path


def run_interpreted(script: Path) -> None:
    """Run a script whose assertions compare kernels with their plain forms; its errors are the test's."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1:] == ["equal"], done.stdout
