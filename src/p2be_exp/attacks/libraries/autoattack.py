"""AutoAttack, in the package ``pyautoattack``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pyautoattack
import torch
from torch import Tensor, nn

from p2be_exp.attacks.attack import Work
from p2be_exp.attacks.libraries.library import LibraryAttack
from p2be_exp.models.surrogate import Surrogate

Version = Literal["standard", "rand"]

_ITERATIONS = 100
_QUERIES = 5000
_TARGETS = 9
_EOT = 20
_CLASSES_OF_DLR = 3
_CLASSES_OF_TARGETED_DLR = 4


class AutoAttack(LibraryAttack):
    """AutoAttack, each part on the images that the parts before it leave.

    ``standard`` is APGD on the cross-entropy, APGD on the targeted DLR loss and FAB, both for the 9 most likely other
    classes, and Square with 5000 queries; ``rand``, for networks that draw random numbers, is APGD on the cross-entropy
    and on the DLR loss with gradients that are means over 20. A loss that needs more classes than there are is left
    out, see :meth:`remark`.

    Args:
        eps_levels: see :class:`~p2be_exp.attacks.attack.Attack`.
        version: which of the two.
        gradient: surrogate gradient of the twin.

    Source: Croce & Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks".
    """

    steps = _ITERATIONS

    def __init__(self, eps_levels: int, version: Version, gradient: Surrogate) -> None:
        super().__init__(eps_levels, f"autoattack_{version}", gradient)
        self.version = version

    @property
    def work(self) -> Work:
        """With 10 classes or more; every APGD step and FAB iteration is one gradient."""
        if self.version == "rand":
            return Work(2 * _EOT * _ITERATIONS, 1)
        return Work((1 + 2 * _TARGETS) * _ITERATIONS, _QUERIES)

    def remark(self, classes: int) -> str:
        """The losses that a small number of classes does not have."""
        if self.version == "standard" and classes < _CLASSES_OF_TARGETED_DLR:
            instead = "APGD on the DLR loss instead" if classes >= _CLASSES_OF_DLR else "left out"
            return f"{classes} classes have no targeted DLR loss: {instead}"
        if self.version == "rand" and classes < _CLASSES_OF_DLR:
            return f"{classes} classes have no DLR loss: left out"
        return ""

    def parts(self, classes: int) -> list[str]:
        """The names of its parts in their order, for so many classes."""
        dlr = ["apgd-dlr"] if classes >= _CLASSES_OF_DLR else []
        if self.version == "rand":
            return ["apgd-ce", *dlr]
        return ["apgd-ce", *(["apgd-t"] if classes >= _CLASSES_OF_TARGETED_DLR else dlr), "fab-t", "square"]

    def run(self, twin: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """See :meth:`LibraryAttack.run`."""
        with torch.no_grad():
            classes = twin(images[:1]).shape[1]
        attack = pyautoattack.AutoAttack(
            twin, norm="Linf", eps=self.eps_levels / 255, seed=seed, version=self.version, device=images.device
        )
        attack.attacks_to_run = self.parts(classes)
        attack.apgd.n_restarts = 1
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(_TARGETS, classes - 1)
        with _quietly():
            found, _ = attack.run_standard_evaluation(images, labels, batch_size=len(images))
        return found


@contextmanager
def _quietly() -> Iterator[None]:
    """Without its advice in the log, which the sanity panel has in its own words; it also takes the trace function."""
    log, trace = logging.getLogger("auto-attack"), sys.gettrace()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        sys.settrace(trace)
