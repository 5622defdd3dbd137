"""Process-wide state that a job changes and restores: another job, a notebook or a library may use the process too."""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_only

LIGHTNING_LOGGERS = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")


@contextmanager
def kept_process_state() -> Iterator[None]:
    """Restore, when the block ends, the state that a training or an evaluation changes in its process.

    This is the environment, the random states of Python, NumPy and PyTorch, PyTorch's number of threads, float32
    precision and choice of deterministic algorithms, the warning filters, the levels of Lightning's loggers, and
    Lightning's rank.
    """
    environment, levels = dict(os.environ), {name: logging.getLogger(name).level for name in LIGHTNING_LOGGERS}
    python, numpy, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    precision, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn
    benchmark, tf32 = cudnn.benchmark, cudnn.allow_tf32
    deterministic, debug_mode = cudnn.deterministic, torch.get_deterministic_debug_mode()
    rank = rank_zero_only.rank  # type: ignore[attr-defined]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with warnings.catch_warnings(), torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            _restore_environment(environment)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            random.setstate(python)
            np.random.set_state(numpy)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)
            cudnn.benchmark, cudnn.allow_tf32 = benchmark, tf32
            cudnn.deterministic = deterministic
            if torch.get_deterministic_debug_mode() != debug_mode:
                torch.set_deterministic_debug_mode(debug_mode)
            rank_zero_only.rank = rank  # type: ignore[attr-defined]


def _restore_environment(before: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in before]:
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
