"""A mixture that seems more robust than its robust part: the sign of an attack that the mixture weakens.

Where the robust part falls to a strong attack and has most of the weight, the mixture falls as a rule. It is no
theorem, since the accurate part may be right where the robust one is wrong.
"""

from __future__ import annotations

from torch import Tensor

from p2be_exp.attacks.pgd import PGD
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.evaluation.sanity.checks import ALPHA, Check, Verdict
from p2be_exp.models.mixed import MixtureClassifier
from p2be_exp.statistics.significance import mcnemar

NAME = "a mixture is no more robust than its robust part"

STEPS = 20
"""Of the PGD that is run on both."""


def no_more_robust_than_its_part(
    model: MixtureClassifier, images: Tensor, labels: Tensor, radius: int, random: AttackRandom
) -> Check:
    """The same PGD on the mixture and on its robust part alone.

    Suspicious where, by McNemar's test, the mixture is right more often; never failed.

    Args:
        model: the mixture.
        images: uint8 ``(B, 3, H, W)``.
        labels: int64 ``(B,)``.
        radius: in levels.
        random: of the images.

    Source: Bai et al. 2024 publish a mixture at 66.6 % beside a robust part at 64.7 % under PGD-20, which cannot be.
    """
    attack = PGD(radius, gradient="secant", loss="margin", steps=STEPS, restarts=1)
    mixed, part = (attack(each, images, labels, random).broken for each in (model, model.robust))
    more, fewer = int((part & ~mixed).sum()), int((mixed & ~part).sum())
    p = mcnemar(more, fewer)
    verdict: Verdict = "suspicious" if more > fewer and p < ALPHA else "ok"
    detail = (
        f"{attack.id} at {radius} levels: of {len(images)} images {more} are right with the mixture alone, "
        f"{fewer} with its robust part alone, p = {p:.2g}."
    )
    return Check(NAME, verdict, detail)
