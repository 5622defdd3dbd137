"""How a GPU reads codes: what the environment says. The rule that uses it: :mod:`p2be_exp.models.stem_form`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from p2be_exp.errors import BadInput

VARIABLE = "P2BE_STEM"
GPU_FORMS = ("fused", "lookup")
"""The Triton kernels, the default; or PyTorch's look-up."""


def gpu_form(environment: Mapping[str, str] = os.environ) -> str:
    """The form that GPUs take, one of :data:`GPU_FORMS`.

    Raises:
        BadInput: the variable names none.
    """
    form = environment.get(VARIABLE) or GPU_FORMS[0]
    if form not in GPU_FORMS:
        raise BadInput(f"{VARIABLE}={form} (environment variable): must be {' or '.join(GPU_FORMS)}")
    return form
