"""The training of a gate: clean images and adversarial ones, which it has to tell apart, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from p2be_exp.attacks.attack import Attack, attacked
from p2be_exp.attacks.gate_attack import GateAttack
from p2be_exp.attacks.gate_objective import LEAST_CLASSES
from p2be_exp.attacks.pgd import PGD
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.augment import Augmentation
from p2be_exp.config.schema import MixingConfig, RegimeConfig
from p2be_exp.data import Batch
from p2be_exp.errors import BadInput
from p2be_exp.randomness.draws import Purpose
from p2be_exp.regimes.mixing_loss import mixing_terms
from p2be_exp.regimes.regime import Epoch, Regime, RegimeLoss

if TYPE_CHECKING:
    from p2be_exp.models.adaptive_mixed import AdaptiveMixedClassifier


class Mixing(Regime):
    """The loss of an adaptive mixture's gate; its parts are frozen.

    Each image has one adversarial copy, made through gate and parts by
    :class:`~p2be_exp.attacks.gate_attack.GateAttack`. Both are in one forward pass, so that the gate's standardisation
    sees as many of either, over all processes. Gamma has the constants of the training meanwhile, and alpha the range 0
    to 1.

    Args:
        seed, augment: see :class:`Regime`.
        attack: PGD with the loss ``mix``.
        targets, radius_low, radius_high, gate_loss_high: of the attack.
        bce, ce, product: weights of the terms of :func:`~p2be_exp.regimes.mixing_loss.mixing_terms`.
        clean_scale: of clean images.

    Source: Bai et al. 2024 (arXiv 2301.12554); the authors' code makes ten copies of an image, and in its faster form
    adds ten clean images for them.
    """

    name = "mixing"

    def __init__(
        self,
        seed: int,
        attack: Attack,
        augment: Augmentation,
        targets: int,
        radius_low: float,
        radius_high: float,
        gate_loss_high: float,
        bce: float,
        ce: float,
        product: float,
        clean_scale: float,
    ) -> None:
        super().__init__(seed, augment)
        if not isinstance(attack, PGD):
            raise BadInput("regime.attack: must be pgd with loss=mix")
        self.attack = GateAttack(attack, targets, (radius_low, radius_high), gate_loss_high)
        self.weights = {"bce": bce, "ce": ce, "product": product}
        self.clean_scale = clean_scale

    def loss(self, model: AdaptiveMixedClassifier, batch: Batch, epoch: Epoch) -> RegimeLoss:  # type: ignore[override]
        """The terms ``bce``, ``ce`` and ``product``; the training error is that on the clean view."""
        clean = self.clean_view(batch, epoch)
        random = AttackRandom(self.seed, batch.indices, Purpose.TRAINING_ATTACK, epoch)
        with model.gate.uncalibrated(counted=batch.count > 0):
            with attacked(model):
                adversarial = self.attack.search(model, clean, batch.labels, random).images
            output, gamma = model.gated(*model.read(torch.cat([clean, adversarial]), learn=False))
        is_adversarial = torch.arange(2 * len(clean), device=clean.device) >= len(clean)
        labels = batch.labels.repeat(2)
        terms = mixing_terms(output, gamma, labels, is_adversarial, self.clean_scale)
        return RegimeLoss(terms, self.weights, output[: len(clean)])


def check_targets(config: RegimeConfig, classes: int) -> None:
    """Check that a data set has classes enough for the targets of ``regime=mixing``; other regimes are left alone.

    Raises:
        BadInput: it has not.
    """
    if isinstance(config, MixingConfig) and config.targets and classes < LEAST_CLASSES:
        raise BadInput(
            f"regime.targets={config.targets}: leads images by the targeted DLR, which needs {LEAST_CLASSES} classes; "
            f"with {classes} it must be 0"
        )
