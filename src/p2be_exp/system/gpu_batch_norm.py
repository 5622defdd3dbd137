"""How a GPU computes batch norm and ReLU: what the environment says. Where that counts:
:mod:`p2be_exp.backbones.batch_norm`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from p2be_exp.errors import BadInput

VARIABLE = "P2BE_BATCH_NORM"
FORMS = ("plain", "fused")
"""PyTorch's two operators, the default; or the Triton kernels, which are not yet measured on a GPU."""


def fuses_batch_norms(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether GPUs take the fused form.

    Raises:
        BadInput: the variable names none of :data:`FORMS`.
    """
    form = environment.get(VARIABLE) or FORMS[0]
    if form not in FORMS:
        raise BadInput(f"{VARIABLE}={form} (environment variable): must be {' or '.join(FORMS)}")
    return form == "fused"
