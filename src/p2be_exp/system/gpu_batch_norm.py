"""How a GPU computes batch norm and ReLU: what the step and the environment say. Where that counts:
:mod:`p2be_exp.backbones.batch_norm`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from p2be_exp.errors import BadInput

VARIABLE = "P2BE_BATCH_NORM"
FORMS = ("plain", "fused")
"""PyTorch's two operators, or the Triton kernels, everywhere; without the variable, the kernels in captured steps."""

_CAPTURED: ContextVar[bool] = ContextVar("captured", default=False)


@contextmanager
def in_captured_step() -> Iterator[None]:
    """Inside, a step runs that is, or is about to be, a CUDA graph: what its launches take in Python does not count."""
    before = _CAPTURED.set(True)
    try:
        yield
    finally:
        _CAPTURED.reset(before)


def fuses_batch_norms(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether GPUs take the fused form here.

    Raises:
        BadInput: the variable names none of :data:`FORMS`.
    """
    form = environment.get(VARIABLE)
    if form and form not in FORMS:
        raise BadInput(f"{VARIABLE}={form} (environment variable): must be {' or '.join(FORMS)}")
    return form == "fused" if form else _CAPTURED.get()
