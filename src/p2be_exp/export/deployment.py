"""The deployment form of a classifier: the same logits from constant tables and PyTorch's own operators alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from p2be_exp.models.classifier import Classifier
from p2be_exp.models.deployed_readers import DeployedForm as StemForm
from p2be_exp.models.deployed_readers import FoldedStem, LookUpStem

__all__ = ["FOLD_FROM_M", "DeployedClassifier", "FoldedStem", "LookUpStem", "StemForm"]

FOLD_FROM_M = 16
"""Codes from this length on are folded with the weights where the format can say it; docs/export.md has the times."""


class DeployedClassifier(nn.Module):
    """A trained classifier without encoding, autograd functions or parameters that learn.

    Args:
        model: the classifier; it is copied.
        forms: of its readers, in their order, or one for all. ``lookup`` is one look-up of codes and one convolution;
            ``folded`` a sum of rows of the table folded with the weights, one for each colour and kernel tap, so that
            no code is ever built.
    """

    def __init__(self, model: Classifier, forms: StemForm | Sequence[StemForm]) -> None:
        super().__init__()
        with torch.no_grad():
            of_readers = [forms] * len(model.readers) if isinstance(forms, str) else forms
            pairs = zip(model.readers, of_readers, strict=True)
            self.readers = nn.ModuleList(reader.deployed(form) for reader, form in pairs)
        self.body = _Body(model)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Levels uint8 ``(B, 3, H, W)`` to logits, float ``(B, classes)``."""
        return self.body(*(reader(images) for reader in self.readers))


class _Body(nn.Module):
    """A copy of a classifier's body, without the modules that its readers read with."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        left_out = {id(module): nn.Identity() for reader in model.readers for module in reader.owned}
        self.model = copy.deepcopy(model, left_out)

    def forward(self, *features: Tensor) -> Tensor:
        """Features of the readers to logits."""
        return self.model.body(*features)
