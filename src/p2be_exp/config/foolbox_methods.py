"""The attacks of Foolbox that an evaluation offers, by what they look for. Nothing here imports Foolbox."""

from __future__ import annotations

IN_BALL = (
    "LinfPGD",
    "LinfAdamPGD",
    "LinfFastGradientAttack",
    "LinfBasicIterativeAttack",
    "LinfAdamBasicIterativeAttack",
    "LinfMomentumIterativeFastGradientMethod",
    "LinfDeepFoolAttack",
    "LInfFMNAttack",
    "LinfRepeatedAdditiveUniformNoiseAttack",
)
"""Classes whose images are asked for, or moved, inside a ball: they have a row at each radius."""

NEAREST = ("L2CarliniWagnerAttack", "L2DeepFoolAttack", "DDNAttack", "HopSkipJumpAttack")
"""Classes that look for the nearest image, in L2, that the network gets wrong: they have a distance and no radius.

``L2FMNAttack`` is not among them: the projection of Foolbox 3.3.4's onto the sphere is the identity, so that its images
are as far as its steps took them.
"""

SHORT = {
    "fgsm": "LinfFastGradientAttack",
    "bim": "LinfBasicIterativeAttack",
    "pgd": "LinfPGD",
    "deepfool": "LinfDeepFoolAttack",
    "deepfool_l2": "L2DeepFoolAttack",
    "cw": "L2CarliniWagnerAttack",
    "ddn": "DDNAttack",
    "hopskipjump": "HopSkipJumpAttack",
}
"""What the literature calls them."""


def class_of(method: str) -> str:
    """The name of the class that a method is.

    >>> class_of("cw"), class_of("LinfPGD")
    ('L2CarliniWagnerAttack', 'LinfPGD')
    """
    return SHORT.get(method, method)
