"""An attack without a bound breaks every image: each can be turned into one of another class."""

from __future__ import annotations

from torch import Tensor

from p2be_exp.attacks.attack import Attack
from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.attacks.pgd import PGD
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.evaluation.sanity.checks import Check, Verdict
from p2be_exp.models.classifier import Classifier

UNBOUNDED_IMAGES = 30
"""Correctly classified images that are attacked."""

UNBOUNDED_LEVELS = 255
"""The radius: every image is inside the ball."""

FEW_LEFT = 0.1
"""Share of images left above which the check has failed; below it, it is suspicious."""

_AT_ONCE = 8  # images: LS-PGA's window has all 256 levels here


def unbounded_attacks(radius: int = UNBOUNDED_LEVELS) -> tuple[Attack, Attack]:
    """PGD, and LS-PGA for what it has left."""
    pgd = PGD(radius, gradient="secant", loss="margin", steps=20, restarts=1)
    return pgd, LSPGA(radius, 7, 1.0, 1.2, "soften", "sign", "normal", 1)


def unbounded_attack_succeeds(model: Classifier, images: Tensor, labels: Tensor, random: AttackRandom) -> Check:
    """PGD, and LS-PGA on what it leaves, break every image where any change is allowed.

    LS-PGA stops where so many images stand that the check has failed.

    Args:
        model: the attacked one.
        images: uint8 ``(N, 3, H, W)``, which the model gets right.
        labels: ``(N,)``.
        random: of these images.
    """
    if not len(images):
        return unbounded_verdict(0, 0, [])
    pgd, relaxed = unbounded_attacks()
    found = pgd(model, images, labels, random)
    left, said = (~found.broken).nonzero().squeeze(1), [f"{pgd.id} broke {int(found.broken.sum())} of {len(images)}"]
    stand, tried = 0, 0
    for part in left.split(_AT_ONCE) if len(left) else ():
        found = relaxed(model, images[part], labels[part], random.select(part))
        stand, tried = stand + int((~found.broken).sum()), tried + len(part)
        if stand > FEW_LEFT * len(images):
            break  # whatever the others do
    said += [f"{relaxed.id} broke {tried - stand} of {tried}"] if tried else []
    return unbounded_verdict(len(images), len(left) - (tried - stand), said)


def unbounded_verdict(images: int, left: int, said: list[str]) -> Check:
    """The verdict where so many images were left; ``said`` is what each attack did."""
    name = "an attack without a bound breaks every image"
    if not images:
        return Check(name, "not measured", "The model gets no image right.")
    verdict: Verdict = "suspicious" if left else "ok"
    if left > FEW_LEFT * images:
        verdict = "failed"
    detail = f"{left or 'None'} of {images} images left at {UNBOUNDED_LEVELS} levels: {', '.join(said)}."
    return Check(name, verdict, detail)
