"""Does the gradient of this very network point anywhere? One step along its sign against one step the other way.

A network whose backward pass returns noise, or whose logits are rounded or saturated, looks robust to every attack that
follows its gradient. On such a network a step along the gradient is no better than its opposite; on an honest one it is
better on almost every image, however robust that is. No other attack is needed as a yardstick.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from p2be_exp.attacks.attack import Attack, attacked
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.gradient import gradient_of, level_gradient_of
from p2be_exp.attacks.lspga import gradient_of_softmax
from p2be_exp.attacks.margin import margins
from p2be_exp.attacks.transfer import Transfer
from p2be_exp.attacks.window import Window
from p2be_exp.encodings import RGB
from p2be_exp.evaluation.sanity.checks import Check, Verdict
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.precision import at_least_float32
from p2be_exp.models.surrogate import Surrogate, slopes

DIRECTIONS = 100
"""Correctly classified images that the gradient is tried on, at most."""

DIRECTION_P = 0.01
"""The sign test has to be below this."""

UNTIED = 20
"""Images on which the two steps have to differ, for a verdict."""

BLIND_IMAGES = 0.9
"""Share of images whose gradient is 0 everywhere from which on no gradient reaches the image."""

SOME_BLIND_IMAGES = 0.5
"""Share above which that is suspicious."""

_AT_ONCE = 25  # images

Gradient = Literal[Surrogate, "relaxed"]


@dataclass(frozen=True)
class Kind:
    """A way in which an evaluation's attacks get a gradient.

    Attributes:
        gradient: a surrogate, or ``relaxed``, that of the choices' shares where all are equal.
        width: of ``smooth``, in levels.
        source: the model that the gradient is of, where that is a transfer's; None for the attacked one.
        name: of the transfer.
        exact: whether it is through RGB alone, whose table is a line, so that a surrogate is the gradient itself.
    """

    gradient: Gradient
    width: float = 8.0
    source: Classifier | None = None
    name: str = ""
    exact: bool = False

    def __str__(self) -> str:
        word = f"{self.gradient} of width {self.width:g}" if self.gradient == "smooth" else self.gradient
        word = "exact" if self.exact and self.gradient != "relaxed" else word
        return f"{word} gradient" + (f" of the source of {self.name}" if self.source is not None else "")


@dataclass(frozen=True)
class Steps:
    """What a step along the gradient did, image by image: all ``(N,)``.

    Attributes:
        ahead, back: the margin (highest wrong logit minus the right one) after a step along the gradient's sign, and
            after one against it.
        blind: bool, whether the gradient is 0 everywhere.
        mixed: of the relaxed gradient, the same two steps among the mixtures of codes; None of another.
    """

    ahead: Tensor
    back: Tensor
    blind: Tensor
    mixed: Steps | None = None

    @property
    def won(self) -> int:
        """Number of images with the higher margin ahead."""
        return int((self.ahead > self.back).sum())

    @property
    def untied(self) -> int:
        """Number of images on which the two differ."""
        return int(((self.ahead > self.back) | (self.ahead < self.back)).sum())


def kinds_of(model: Classifier, attacks: Iterable[Attack]) -> list[Kind]:
    """The kinds of gradient that some attacks on a model use, each once.

    Of an attack that goes its own way to a gradient, none is known.
    """
    found: list[Kind] = []
    for attack in attacks:
        inner, source = attack, None
        if isinstance(attack, Transfer):
            inner, source = attack.inner, cast("Classifier | None", attack.source_in(model))
            if source is None:  # only its rows are at hand
                continue
        if inner.gradient not in (*get_args(Surrogate), "relaxed") or attack.kind not in ("white-box", "transfer"):
            continue
        climbed = source or model
        own = getattr(climbed, "own_surrogate", None) is not None  # of somebody's module: not its gradient itself
        exact = not own and all(isinstance(each, RGB) for each in climbed.encodings)
        width = float(getattr(inner, "width", 8.0)) if inner.gradient == "smooth" else 8.0
        name = attack.id if source is not None else ""
        found.append(Kind(cast("Gradient", inner.gradient), width, source, name, exact))
    return list(dict.fromkeys(found))


def middle_radius(radii: Iterable[int]) -> int | None:
    """The middle one of the radii above 0, the larger of two; None without any.

    >>> middle_radius([2, 4, 8, 16, 32]), middle_radius([4, 64]), middle_radius([0])
    (8, 64, None)
    """
    positive = sorted({radius for radius in radii if radius > 0})
    return positive[len(positive) // 2] if positive else None


# -- one step along the gradient, and one against it -----------------------------------------------------------------


def steps_of(model: Classifier, kind: Kind, images: Tensor, labels: Tensor, radius: int) -> Steps:
    """A step of the ball's radius along the sign of the margin's gradient at each image, and the same step back.

    The gradient is that of the logits that attacks climb (:meth:`~p2be_exp.models.classifier.Classifier.answers`), the
    margins are those of the model's own logits, of whole levels inside the ball. The relaxed gradient has no sign of a
    level: it is that of the shares of a value's choices where all are equal, and the step goes to the choice with the
    largest slope, against the one with the smallest. (On a table without order, such as a random one, a mixture of
    codes says little about each of them: so the first step of LS-PGA and its opposite are made as well, among the
    mixtures.)

    Args:
        model: the attacked one, or a transfer's source: whose gradient it is, and who judges.
        kind: of gradient.
        images: uint8 ``(N, 3, H, W)``, which the model gets right.
        labels: ``(N,)``.
        radius: in levels, 1 or more; that of ``secant`` as well.
    """
    if not len(images):
        nothing = torch.zeros(0, device=images.device)
        return Steps(nothing, nothing, nothing.bool())
    with attacked(model):
        parts = [_steps(model, kind, *part, radius) for part in _parts(images, labels)]
    return _together(parts)


def _together(parts: Sequence[Steps]) -> Steps:
    ahead, back, blind = (torch.cat([getattr(part, name) for part in parts]) for name in ("ahead", "back", "blind"))
    mixed = [part.mixed for part in parts if part.mixed is not None]
    return Steps(ahead, back, blind, _together(mixed) if mixed else None)


def right_places(model: Classifier, images: Tensor, labels: Tensor, most: int = DIRECTIONS) -> Tensor:
    """Where the first images are that a model gets right, int64."""
    with attacked(model), torch.no_grad():
        right = torch.cat([model(part).argmax(1) == known for part, known in _parts(images, labels)])
    return right.nonzero().squeeze(1)[:most]


def _parts(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(images.split(_AT_ONCE), labels.split(_AT_ONCE), strict=True)


def _steps(model: Classifier, kind: Kind, images: Tensor, labels: Tensor, radius: int) -> Steps:
    mixed = None
    if kind.gradient == "relaxed":
        ahead, back, blind, mixed = _relaxed_steps(model, images, labels, radius)
    else:
        slope = [slopes(reader.encoding, kind.gradient, radius, kind.width) for reader in model.readers]
        ahead, back, blind = _level_steps(model, images, labels, radius, slope)
    with torch.no_grad():
        up, down = (margins(at_least_float32(model(each)), labels) for each in (ahead, back))
    return Steps(up, down, blind, mixed)


def _level_steps(
    model: Classifier, images: Tensor, labels: Tensor, radius: int, slope: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    tables = [reader.encoding.table().detach() for reader in model.readers]
    read = [reader.of_levels(images, table) for reader, table in zip(model.readers, tables, strict=True)]
    features = [each.detach().requires_grad_() for each in read]
    margin = margins(at_least_float32(model.climbed(*features)), labels).sum()
    sign = level_gradient_of(margin, model.readers, features, images, slope).sign()
    low, high = bounds(images, radius)
    up, down = torch.where(sign > 0, high, images), torch.where(sign > 0, low, images)
    return torch.where(sign < 0, low, up), torch.where(sign < 0, high, down), (sign == 0).flatten(1).all(1)


def _relaxed_steps(
    model: Classifier, images: Tensor, labels: Tensor, radius: int
) -> tuple[Tensor, Tensor, Tensor, Steps]:
    window = Window(model.encodings, images, radius)
    readers, dtype = model.readers, model.encodings[0].table().dtype
    rows = [window.rows(reader.encoding.table().detach()) for reader in readers]

    def features(shares: Tensor) -> list[Tensor]:
        return [reader.of_codes(window.mix(shares, its)) for reader, its in zip(readers, rows, strict=True)]

    shares = (window.open.to(dtype) / window.open.sum(-1, keepdim=True)).requires_grad_()
    margin = margins(at_least_float32(model.climbed(*features(shares))), labels).sum()
    (slope,) = gradient_of(margin, [shares])
    most, least = (slope.masked_fill(~window.open, end) for end in (-torch.inf, torch.inf))
    level = (most.amax(-1) == least.amin(-1)).permute(0, 3, 1, 2)  # nothing to choose between
    ahead, back = (window.realise(choice) for choice in (most.argmax(-1), least.argmin(-1)))
    blind = level.flatten(1).all(1)
    sign = gradient_of_softmax(slope, shares.detach()).sign()
    with torch.no_grad():
        moved = [torch.softmax((way * sign).masked_fill(~window.open, -torch.inf), -1) for way in (1, -1)]
        up, down = (margins(at_least_float32(model.body(*features(each))), labels) for each in moved)
    return torch.where(level, images, ahead), torch.where(level, images, back), blind, Steps(up, down, blind)


# -- verdicts --------------------------------------------------------------------------------------------------------


def gradient_points_uphill(kind: Kind, steps: Steps, radius: int) -> Check:
    """A step along the gradient raises the margin further than one against it, by a one-sided sign test.

    A relaxed gradient that leads on among the mixtures of codes, but not to whole levels, is suspicious: it is the
    network's own, but what an attack gains by it may be lost where it chooses.

    Args:
        kind: of gradient.
        steps: on images that the model gets right.
        radius: of the steps, in levels.
    """
    name = "a step along the gradient beats one against it"
    images = len(steps.blind)
    if images and bool(steps.blind.all()):
        return Check(name, "failed", f"{kind}: the gradient of each of {images} images is 0 everywhere.")
    if steps.untied < UNTIED:
        detail = f"{kind}: the two differ on {steps.untied} of {images} images; {UNTIED} are needed."
        return Check(name, "not measured", detail)
    p = sign_test(steps.won, steps.untied)
    detail = f"{kind}: on {steps.won} of {steps.untied} images, with steps of {radius} levels (p = {p:.2g})."
    if p < DIRECTION_P:
        return Check(name, "ok", detail)
    if (mixed := steps.mixed) is None:
        return Check(name, "failed", detail)
    leads_on = mixed.untied >= UNTIED and sign_test(mixed.won, mixed.untied) < DIRECTION_P
    detail += f" Among mixtures of codes, on {mixed.won} of {mixed.untied}."
    return Check(name, "suspicious" if leads_on else "failed", detail)


def gradient_reaches_the_image(steps: Sequence[tuple[Kind, Steps]]) -> Check:
    """The margin's gradient at the images is not 0 everywhere: else no attack by gradient says anything."""
    name = "a gradient reaches the image"
    known = [(kind, each) for kind, each in steps if len(each.blind)]
    if not known:
        return Check(name, "not measured", "No gradient was taken at an image that the model gets right.")
    kind, worst = max(known, key=lambda pair: float(pair[1].blind.float().mean()))
    images, blind = len(worst.blind), int(worst.blind.sum())
    verdict: Verdict = "suspicious" if blind > SOME_BLIND_IMAGES * images else "ok"
    detail = f"{kind}: the margin's gradient is 0 everywhere at {blind} of {images} images."
    if blind >= BLIND_IMAGES * images:
        reason = "what the network computes is cut off from its input, flat, or saturated"
        return Check(name, "failed", f"No gradient reaches the image: {reason}. {detail}")
    return Check(name, verdict, detail)


def sign_test(won: int, untied: int) -> float:
    """Exact one-sided p-value: as many wins or more where either side wins with probability 1/2.

    >>> sign_test(5, 5)
    0.03125
    """
    from scipy.stats import binomtest  # slow to import

    return float(binomtest(won, untied, alternative="greater").pvalue)
