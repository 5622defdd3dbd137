"""Equal results of equal runs on a GPU: ``trainer.deterministic``."""

from __future__ import annotations

import os

import torch

from p2be_exp.errors import BadInput

VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
ALLOWED = (":4096:8", ":16:8")
"""Workspaces of fixed size, with which cuBLAS adds in the same order each time; the first is the faster one."""

_FIXED: set[str] = set()
"""The workspace with which CUDA has started in this process, if :func:`fix_workspace` has set it in time."""


def fix_workspace() -> None:
    """Give cuBLAS a workspace of a fixed size, which it reads from the environment when CUDA starts.

    Raises:
        BadInput: the user has set another one; or CUDA has started in this process without one.
    """
    given = os.environ.get(VARIABLE)
    if given is not None and given not in ALLOWED:
        raise BadInput(
            f"{VARIABLE}={given} (environment variable): must be {' or '.join(ALLOWED)} with trainer.deterministic=true"
        )
    if given is None and torch.cuda.is_initialized() and not _FIXED:
        raise BadInput(
            "trainer.deterministic=true: CUDA has started in this process without it; start another process, or set "
            f"{VARIABLE}={ALLOWED[0]} before this one starts"
        )
    chosen = given or next(iter(_FIXED), ALLOWED[0])
    _FIXED.add(chosen)
    os.environ[VARIABLE] = chosen


def compute_deterministically() -> None:
    """Let PyTorch choose operators and convolutions that give the same bits each time.

    An operator that has no such form then ends the job with an error that names it.
    """
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False  # what is fastest today may be another one tomorrow
