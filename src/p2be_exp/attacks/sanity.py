"""The sanity panel: can the numbers of an adversarial evaluation be trusted?

An attack that fails and a model that resists look alike in a table. The checks here look for what only a failing attack
does (Athalye et al. 2018; Carlini et al. 2019, "On Evaluating Adversarial Robustness").
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from p2be_exp.attacks.attack import Attack, Search, attacked, predict
from p2be_exp.attacks.ball import bounds, is_inside
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.backbones import Backbone, StemShape
from p2be_exp.encodings import TableEncoding
from p2be_exp.model import EncodedClassifier
from p2be_exp.significance import holm, mcnemar

Verdict = Literal["ok", "suspicious", "failed", "not measured"]
Kind = Literal["random", "white-box", "black-box", "transfer"]

_SEVERITY: dict[str, int] = {"not measured": 0, "ok": 1, "suspicious": 2, "failed": 3}

ALPHA = 0.05
"""A difference between two attacks is one where p, after Holm's correction over a check's comparisons, is below."""

FAILED_POINTS = 5.0
"""Such a difference is suspicious; from this many percentage points of error on it is a failure."""

LITTLE_POINTS = 1.0
"""Twice the work may change the error by this many percentage points."""

LARGE_RADIUS = 32
"""Levels from which on every image should be wrong."""

ERROR_AT_LARGE_RADIUS = 95.0
"""Error in percent expected there; below it the panel is suspicious."""

LOW_ERROR_AT_LARGE_RADIUS = 80.0
"""Below this error, in percent, it has failed."""

ZERO_GRADIENTS = 0.5
"""Share of values with a gradient of exactly 0 above which an attack is suspicious."""

ALL_ZERO_GRADIENTS = 0.99
"""Share from which on it has failed."""

RELAXED_SHARE = 0.5
"""Share of what the best other white-box attack adds to random in ball that the relaxed attack should add."""


@dataclass(frozen=True)
class Check:
    """One line of the panel: what was looked at, the verdict, and one sentence with the numbers."""

    name: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, eq=False)
class Measured:
    """What one attack did at one radius.

    Attributes:
        attack: its id.
        kind: ``random``, ``white-box``, ``black-box`` (logits alone) or ``transfer``.
        eps_levels: radius in levels.
        n: number of images.
        n_wrong: how many of them were wrong, or were made wrong.
        wrong: bool ``(n,)``, which; the same images in the same order in every row of that length. None if unknown.
        family: the same for rows that differ in steps or restarts alone; the id where it is left out.
        steps: of one search, or its queries; 0 without either.
        restarts: number of searches.
        gradient: see :class:`~p2be_exp.attacks.attack.Attack`; ``relaxed`` is LS-PGA.
        zero_gradient: mean share of values whose gradient was exactly 0; None without a gradient.

    Raises:
        ValueError: counts that cannot be, or that are not those of ``wrong``.
    """

    attack: str
    kind: Kind
    eps_levels: int
    n: int
    n_wrong: int
    wrong: NDArray[np.bool_] | None = None
    family: str = ""
    steps: int = 0
    restarts: int = 1
    gradient: str = ""
    zero_gradient: float | None = None

    def __post_init__(self) -> None:
        counted = self.wrong is None or (len(self.wrong) == self.n and int(np.sum(self.wrong)) == self.n_wrong)
        if self.n < 1 or not 0 <= self.n_wrong <= self.n or not counted:
            raise ValueError(f"{self.attack} at {self.eps_levels} levels: {self.n_wrong} of {self.n} cannot be")

    @property
    def error(self) -> float:
        """In percent."""
        return 100 * self.n_wrong / self.n

    @property
    def work(self) -> int:
        """Steps of all searches together."""
        return max(self.steps, 1) * self.restarts

    def __str__(self) -> str:
        return f"{self.attack} {self.error:.1f} % at {self.eps_levels} levels"


# The panel


def panel(rows: Sequence[Measured], clean: Measured | None = None, live: Iterable[Check] = ()) -> list[Check]:
    """All checks: those of the rows, then the live ones that were made.

    Args:
        rows: every attack at every radius.
        clean: the images as they are (``kind`` and ``eps_levels`` are not looked at); None if not measured.
        live: results of the checks that ask the model (below).
    """
    return [
        no_image_is_repaired(rows, clean),
        random_is_weaker_than_one_step(rows),
        one_step_is_weaker_than_many(rows),
        black_box_is_weaker_than_white_box(rows),
        relaxed_is_stronger_than_random(rows),
        error_grows_with_the_radius(rows),
        accuracy_goes_to_zero(rows),
        more_work_changes_little(rows),
        gradients_are_not_zero(rows),
        *live,
    ]


def panel_text(checks: Sequence[Check]) -> str:
    """The panel for a terminal, one check a line.

    >>> print(panel_text([Check("five forwards agree", "ok", "5 of 5."), Check("in the ball", "failed", "3 outside.")]))
    ok      five forwards agree  5 of 5.
    failed  in the ball          3 outside.
    """
    verdict = max((len(check.verdict) for check in checks), default=0)
    name = max((len(check.name) for check in checks), default=0)
    return "\n".join(f"{check.verdict:<{verdict}}  {check.name:<{name}}  {check.detail}" for check in checks)


# Checks of rows


def no_image_is_repaired(rows: Sequence[Measured], clean: Measured | None) -> Check:
    """An image that is wrong as it is counts as wrong under every attack: else the bookkeeping is broken."""
    name = "attacks keep the wrong images"
    beside = [row for row in rows if clean is not None and row.n == clean.n]
    if not beside:
        return Check(name, "not measured", "No attack stands beside a clean row of the same images.")
    for row in beside:
        paired = row.wrong is not None and clean.wrong is not None
        lost = int((clean.wrong & ~row.wrong).sum()) if paired else clean.n_wrong - row.n_wrong
        if lost > 0:
            detail = f"{row.attack} at {row.eps_levels} levels counts as right {lost} images that are wrong unattacked."
            return Check(name, "failed", detail)
    detail = f"The {clean.n_wrong} images that are wrong unattacked are wrong in all rows ({len(beside)})."
    return Check(name, "ok", detail)


def random_is_weaker_than_one_step(rows: Sequence[Measured]) -> Check:
    """A random choice inside the ball is no stronger than the best attack of one step."""
    one_step = [row for row in rows if row.kind == "white-box" and row.steps == 1]
    pairs = _pairs([row for row in rows if row.kind == "random"], one_step)
    return _no_stronger("random is no stronger than one step", pairs)


def one_step_is_weaker_than_many(rows: Sequence[Measured]) -> Check:
    """An attack of one step is no stronger than the best of many steps."""
    white_box = [row for row in rows if row.kind == "white-box"]
    pairs = _pairs([row for row in white_box if row.steps == 1], [row for row in white_box if row.steps > 1])
    return _no_stronger("one step is no stronger than many", pairs)


def black_box_is_weaker_than_white_box(rows: Sequence[Measured]) -> Check:
    """An attack that does not know the gradient is no stronger than the best that does."""
    without = [row for row in rows if row.kind in ("black-box", "transfer")]
    pairs = _pairs(without, [row for row in rows if row.kind == "white-box"])
    return _no_stronger("black-box and transfer are no stronger than white-box", pairs)


def error_grows_with_the_radius(rows: Sequence[Measured]) -> Check:
    """Each attack gets no fewer images wrong at its next larger radius."""
    pairs = []
    for attack in _unique(row.attack for row in rows):
        mine = sorted((row for row in rows if row.attack == attack), key=lambda row: row.eps_levels)
        pairs += pairwise(mine)
    return _no_stronger("the error grows with the radius", pairs)


def relaxed_is_stronger_than_random(rows: Sequence[Measured]) -> Check:
    """LS-PGA beats a random choice inside the ball where another white-box attack does.

    Radii where the other one does not beat it either say nothing. Without another one, LS-PGA has to beat it alone.
    """
    name = "the relaxed attack is stronger than random"
    relaxed = [row for row in rows if row.gradient == "relaxed"]
    others = [row for row in rows if row.kind == "white-box" and row.gradient != "relaxed"]
    against = _compared(_pairs(relaxed, [row for row in rows if row.kind == "random"]))
    if not against:
        return Check(name, "not measured", "No relaxed attack stands beside a random choice in the same ball.")
    found = [(_verdict_on_relaxed(each, _best_at(others, each.a.eps_levels)), each) for each in against]
    verdict, worst = max(found, key=lambda pair: (_SEVERITY[pair[0]], -pair[1].points))
    other = _best_at(others, worst.a.eps_levels)
    beside = f"; the best other white-box attack is {other}" if other else "; there is no other white-box attack"
    if verdict == "not measured":
        return Check(name, verdict, f"No radius at which another white-box attack beats random: {worst}{beside}.")
    return Check(name, verdict, f"{worst}{beside}.")


def accuracy_goes_to_zero(rows: Sequence[Measured]) -> Check:
    """At the largest radius almost every image is wrong under the best attack."""
    name = "accuracy goes to 0 as the radius grows"
    radius = max((row.eps_levels for row in rows), default=0)
    if radius < LARGE_RADIUS:
        return Check(name, "not measured", f"No radius is {LARGE_RADIUS} levels or more.")
    best = _best_at(rows, radius)
    verdict: Verdict = "ok" if best.error >= ERROR_AT_LARGE_RADIUS else "suspicious"
    if best.error < LOW_ERROR_AT_LARGE_RADIUS:
        verdict = "failed"
    return Check(name, verdict, f"The strongest at the largest radius is {best}; expected {ERROR_AT_LARGE_RADIUS:g} %.")


def more_work_changes_little(rows: Sequence[Measured]) -> Check:
    """At least twice the steps or restarts of an attack change the error by little."""
    name = "twice the steps or restarts change little"
    pairs = []
    for radius, family in _unique((row.eps_levels, row.family or row.attack) for row in rows):
        mine = [row for row in rows if (row.eps_levels, row.family or row.attack) == (radius, family)]
        most = max(mine, key=lambda row: row.work)
        fewer = [row for row in mine if row.steps != 1 and 2 * row.work <= most.work]
        pairs += [(most, max(fewer, key=lambda row: row.work))] if fewer else []
    compared = _compared(pairs)
    if not compared:
        return Check(name, "not measured", "No attack was also made with half its steps or restarts, or fewer.")
    changed = [(_verdict(each.p, abs(each.points), LITTLE_POINTS), each) for each in compared]
    verdict, worst = max(changed, key=lambda pair: (_SEVERITY[pair[0]], abs(pair[1].points)))
    return Check(name, verdict, f"The largest change: {worst}.")


def gradients_are_not_zero(rows: Sequence[Measured]) -> Check:
    """Few values have a gradient of exactly 0, which an attack cannot follow."""
    name = "gradients are not zero"
    shares = [row for row in rows if row.zero_gradient is not None and not math.isnan(row.zero_gradient)]
    if not shares:
        return Check(name, "not measured", "No row says how many gradients were 0.")
    worst = max(shares, key=lambda row: row.zero_gradient)
    verdict: Verdict = "suspicious" if worst.zero_gradient > ZERO_GRADIENTS else "ok"
    if worst.zero_gradient >= ALL_ZERO_GRADIENTS:
        verdict = "failed"
    detail = f"At most {100 * worst.zero_gradient:.1f} % of an attack's gradients are exactly 0 ({worst})."
    return Check(name, verdict, detail)


# Comparisons of rows


@dataclass(frozen=True)
class _Comparison:
    """Two rows on the same images; ``p`` is Holm's, over all comparisons of the check."""

    a: Measured
    b: Measured
    p: float

    @property
    def points(self) -> float:
        """Error of the first above that of the second, in percentage points."""
        return self.a.error - self.b.error

    def __str__(self) -> str:
        if _paired(self.a, self.b):
            counts = "{} images wrong under the first alone, {} under the second alone".format(*_only(self.a, self.b))
        else:
            counts = "unpaired"
        return f"{self.a} against {self.b} ({counts}, p = {self.p:.2g})"


def _no_stronger(name: str, pairs: Sequence[tuple[Measured, Measured]]) -> Check:
    """The first of each pair gets no more images wrong than the second, up to the sampling error."""
    compared = _compared(pairs)
    if not compared:
        return Check(name, "not measured", "The rows that this compares are not there at one radius.")
    found = [(_verdict(each.p, each.points), each) for each in compared]
    verdict, worst = max(found, key=lambda pair: (_SEVERITY[pair[0]], pair[1].points))
    stronger = sum(_SEVERITY[each] > _SEVERITY["ok"] for each, _ in found)
    said = f"Stronger in {stronger or 'none'} of {len(found)} comparisons"
    return Check(name, verdict, f"{said}, {'most' if stronger else 'closest'} in {worst}.")


def _verdict(p: float, points: float, allowed: float = 0.0) -> Verdict:
    """On a difference of so many points that should be ``allowed`` at most."""
    if points <= allowed or p >= ALPHA:
        return "ok"
    return "failed" if points >= FAILED_POINTS else "suspicious"


def _verdict_on_relaxed(against_random: _Comparison, other: Measured | None) -> Verdict:
    beats = against_random.p < ALPHA and against_random.points > 0
    if other is None:
        return "ok" if beats else "suspicious"
    random = against_random.b
    gain = other.error - random.error
    if gain <= 0 or _p_value(other, random) >= ALPHA:
        return "not measured"
    if not beats:
        return "failed"
    return "ok" if against_random.points >= RELAXED_SHARE * gain else "suspicious"


def _pairs(first: Sequence[Measured], second: Sequence[Measured]) -> list[tuple[Measured, Measured]]:
    """Each of the first with the best of the second at its radius."""
    found = [(row, _best_at(second, row.eps_levels)) for row in first]
    return [(row, best) for row, best in found if best is not None]


def _best_at(rows: Sequence[Measured], eps_levels: int) -> Measured | None:
    """The row with the largest error at a radius, the first of equals."""
    return max((row for row in rows if row.eps_levels == eps_levels), key=lambda row: row.error, default=None)


def _compared(pairs: Sequence[tuple[Measured, Measured]]) -> list[_Comparison]:
    adjusted = holm([_p_value(a, b) for a, b in pairs])
    return [_Comparison(a, b, float(p)) for (a, b), p in zip(pairs, adjusted, strict=True)]


def _p_value(a: Measured, b: Measured) -> float:
    """McNemar's exact p where it is known which images are wrong, else Fisher's, as if the images were others."""
    if _paired(a, b):
        return mcnemar(*_only(a, b))
    from scipy.stats import fisher_exact  # here because it takes long to import and is rarely needed

    return float(fisher_exact([[a.n_wrong, a.n - a.n_wrong], [b.n_wrong, b.n - b.n_wrong]]).pvalue)


def _paired(a: Measured, b: Measured) -> bool:
    return a.wrong is not None and b.wrong is not None and a.n == b.n


def _only(a: Measured, b: Measured) -> tuple[int, int]:
    """How many images are wrong under the first alone, and under the second alone."""
    return int((a.wrong & ~b.wrong).sum()), int((b.wrong & ~a.wrong).sum())


_T = TypeVar("_T", bound=Hashable)


def _unique(values: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(values))


# Checks that ask the model


def forwards_agree(model: nn.Module, images: Tensor, times: int = 5) -> Check:
    """The same images give the same logits every time, to the bit: else queries and comparisons mean little."""
    name = "forwards agree exactly"
    with attacked(model), torch.no_grad():
        first = model(images)
        others = [model(images) for _ in range(times - 1)]
    classes = sum(int((logits.argmax(1) != first.argmax(1)).sum()) for logits in others)
    if all(torch.equal(logits, first) for logits in others):
        return Check(name, "ok", f"{times} forwards of {len(images)} images give the same logits.")
    largest = max(float((logits - first).abs().max()) for logits in others)
    verdict: Verdict = "failed" if classes or math.isnan(largest) else "suspicious"
    detail = f"{times} forwards of {len(images)} images differ by up to {largest:.2g} and change {classes} predictions."
    return Check(name, verdict, detail)


def candidates_are_inside(images: Tensor, adversarial: Tensor, eps_levels: int) -> Check:
    """The adversarial images are uint8 and inside the ball."""
    name = "adversarial images are uint8 and inside the ball"
    if adversarial.dtype != torch.uint8 or adversarial.shape != images.shape:
        shapes = f"{adversarial.dtype} {tuple(adversarial.shape)}, not torch.uint8 {tuple(images.shape)}"
        return Check(name, "failed", f"The images are {shapes}.")
    outside = int((~is_inside(adversarial, images, eps_levels)).sum())
    if outside:
        return Check(name, "failed", f"{outside} of {len(images)} images are more than {eps_levels} levels away.")
    return Check(name, "ok", f"All {len(images)} images are uint8 and at most {eps_levels} levels away.")


def zero_radius_is_clean(
    attack: Attack, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom
) -> Check:
    """With a radius of 0 levels an attack finds the clean error exactly and returns the images.

    Raises:
        ValueError: the attack has another radius.
    """
    name = "radius 0 gives the clean error"
    if attack.eps_levels != 0:
        raise ValueError(f"{attack.id} has a radius of {attack.eps_levels} levels")
    with attacked(model):
        clean = predict(model, images) != labels
    found = attack(model, images, labels, random)
    differ, moved = int((found.broken != clean).sum()), int((found.images != images).flatten(1).any(1).sum())
    if differ or moved:
        detail = f"{attack.id} judges {differ} of {len(images)} images otherwise and changes {moved}."
        return Check(name, "failed", detail)
    return Check(name, "ok", f"{attack.id} leaves {int(clean.sum())} of {len(images)} images wrong, as they are.")


def planted_image_is_found(model: nn.Module, images: Tensor, labels: Tensor, eps_levels: int) -> Check:
    """An adversarial image that is known to be there is counted, and no other.

    One image inside the ball of the first image that the model gets right is given another class. An attack that
    proposes it in its second restart, and the images as they are otherwise, has to break that image and no further one.

    Args:
        eps_levels: 1 or more.
    """
    name = "a planted adversarial image is found"
    with attacked(model):
        wrong = predict(model, images) != labels
    if wrong.all():
        return Check(name, "not measured", "The model gets no image right.")
    place = int((~wrong).nonzero()[0])
    low, high = bounds(images[place], eps_levels)
    hidden = torch.where(images[place] == high, low, high)
    places = torch.arange(len(images), device=images.device)
    attack = _Proposal(eps_levels, place, hidden)
    found = attack(_Backdoor(model, hidden, labels[place]), images, labels, AttackRandom(0, places))
    differ = int((found.broken != (wrong | (places == place))).sum())
    if differ or not torch.equal(found.images[place], hidden):
        return Check(name, "failed", f"It is image {place}; {differ} of {len(images)} images are judged falsely.")
    return Check(name, "ok", f"It is image {place}, proposed in the second restart; no other was counted with it.")


class _Backdoor(nn.Module):
    """The model, except that the label is the last thing it says of one image."""

    def __init__(self, model: nn.Module, hidden: Tensor, label: Tensor) -> None:
        super().__init__()
        self.model, self.hidden, self.label = model, hidden, label

    def forward(self, images: Tensor) -> Tensor:
        logits = self.model(images).clone()
        hit = (images == self.hidden).flatten(1).all(1)
        logits[hit, self.label] = logits[hit].amin(1) - 1
        return logits


class _Proposal(Attack):
    """Proposes one image for one place in its second restart, and nothing new otherwise."""

    id = "planted"

    def __init__(self, eps_levels: int, place: int, hidden: Tensor) -> None:
        super().__init__(eps_levels, restarts=3)
        self.place, self.hidden = place, hidden

    def search(
        self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int = 0
    ) -> Search:
        """See :meth:`Attack.search`."""
        mine = (random.images == self.place) & (restart == 1)
        return Search(torch.where(mine[:, None, None, None], self.hidden, images))


def planted_direction_is_found(attack: Attack, encoding: TableEncoding, image: Tensor, random: AttackRandom) -> Check:
    """An attack breaks a network that falls as soon as the image is moved halfway in one known direction.

    The network reads the mean level from the codes, by least squares on the table, and is right while it is below a
    threshold. The threshold lies halfway between the image and the best of the ball's corners, so every gradient points
    the way, and half of it is enough.

    Args:
        attack: as it was made for the evaluation, with the radius to test.
        encoding: the model's.
        image: uint8 ``(3, H, W)``.
        random: of that one image.
    """
    name = "a planted direction is found"
    planted = planted_network(encoding, image, attack.eps_levels)
    if planted is None:
        return Check(name, "not measured", f"No code changes within {attack.eps_levels} levels.")
    label = torch.zeros(1, dtype=torch.long, device=image.device)
    with torch.autocast(image.device.type, enabled=False):
        found = attack(planted, image[None], label, random)
    verdict: Verdict = "ok" if found.broken.all() else "failed"
    with torch.autocast(image.device.type, enabled=False), torch.no_grad():
        way = float(planted(found.images)[0, 1]) / (2 * _PLANTED_LOGIT) + 0.5
    detail = f"{attack.id} at {attack.eps_levels} levels goes {round(100 * way)} % of the way; 50 % is enough."
    return Check(name, verdict, detail)


_PLANTED_LOGIT = 2.0


def planted_network(encoding: TableEncoding, image: Tensor, eps_levels: int) -> EncodedClassifier | None:
    """A network that is right (class 0 of 10) about one image until the mean of what it reads rises halfway.

    Its logit of class 1 is -2 at the image and 2 where each value is at the better end of the ball; it is linear in the
    codes. None where the codes at the ends are no better than the image's.
    """
    with torch.no_grad():
        table = encoding.table()
        weight = _readout(table)
        reading = table.double() @ weight
        low, high = (reading[end.long()] for end in bounds(image, eps_levels))
        here, best = reading[image.long()].mean(), torch.maximum(low, high).mean()
    if not best - here > 1e-6:
        return None
    network = EncodedClassifier(encoding, _PlantedTrunk(float(here), float(best))).to(table)
    with torch.no_grad():
        network.stem.weight.copy_((weight / 3).repeat(3)[None, :, None, None])
    return network


def _readout(table: Tensor) -> Tensor:
    """Weights ``(M,)`` with which the codes come closest to the level, from 0 to 1, up to a constant."""
    codes = table.double()
    levels = torch.linspace(0, 1, len(table), dtype=torch.float64, device=table.device)
    return torch.linalg.pinv(codes - codes.mean(0)) @ (levels - levels.mean())


class _PlantedTrunk(Backbone):
    """Logits ``(B, 10)`` from the mean of one feature: class 0 below the middle of two readings, class 1 above."""

    stem = StemShape(out_channels=1, kernel_size=1, padding=0)

    def __init__(self, here: float, best: float) -> None:
        super().__init__()
        self.middle, self.scale = (here + best) / 2, 2 * _PLANTED_LOGIT / (best - here)

    def forward(self, features: Tensor) -> Tensor:
        """See :class:`Backbone`."""
        raised = self.scale * (features.mean((1, 2, 3)) - self.middle)
        others = torch.full_like(raised, -2 * _PLANTED_LOGIT)
        return torch.stack([torch.zeros_like(raised), raised, *[others] * 8], 1)
