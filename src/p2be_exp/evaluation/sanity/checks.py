"""The sanity panel: can the numbers of an adversarial evaluation be trusted?

An attack that fails and a model that resists look alike in a table. The checks here look for what only a failing attack
does (Athalye et al. 2018; Carlini et al. 2019, "On Evaluating Adversarial Robustness"): the checks of rows, and the
panel. The checks that ask the model are in :mod:`p2be_exp.evaluation.sanity.live_checks`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from p2be_exp.attacks.attack import Kind
from p2be_exp.statistics.significance import holm, mcnemar

Verdict = Literal["ok", "suspicious", "failed", "not measured"]

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

LOW_RELAXED_SHARE = 0.25
"""Below this share it has failed, unless it is stronger than random beyond chance."""


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
        climbs_outputs: see :class:`~p2be_exp.attacks.attack.Attack`; no verdict hangs on whether it succeeds.

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
    climbs_outputs: bool = False

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
        live: results of the checks that ask the model (:mod:`p2be_exp.evaluation.sanity.live_checks`).
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
        *outputs_hide_the_way(rows),
        *live,
    ]


# Checks of rows


def no_image_is_repaired(rows: Sequence[Measured], clean: Measured | None) -> Check:
    """An image that is wrong as it is counts as wrong under every attack: else the bookkeeping is broken."""
    name = "attacks keep the wrong images"
    beside = [row for row in rows if clean is not None and row.n == clean.n]
    if clean is None or not beside:
        return Check(name, "not measured", "No attack stands beside a clean row of the same images.")
    for row in beside:
        paired = row.wrong is not None and clean.wrong is not None
        lost = _only(clean, row)[0] if paired else clean.n_wrong - row.n_wrong
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
    pairs: list[tuple[Measured, Measured]] = []
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
    assert best is not None  # the radius is one of theirs
    verdict: Verdict = "ok" if best.error >= ERROR_AT_LARGE_RADIUS else "suspicious"
    if best.error < LOW_ERROR_AT_LARGE_RADIUS:
        verdict = "failed"
    return Check(name, verdict, f"The strongest at the largest radius is {best}; expected {ERROR_AT_LARGE_RADIUS:g} %.")


def more_work_changes_little(rows: Sequence[Measured]) -> Check:
    """At least twice the steps or restarts of an attack change the error by little."""
    name = "twice the steps or restarts change little"
    pairs: list[tuple[Measured, Measured]] = []
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
    """Few values have a gradient of exactly 0, which an attack cannot follow.

    What counts is the gradient of each attack's own loss at the points that it visits: the cross-entropy's may vanish
    where the margin's does not.
    """
    name = "gradients are not zero"
    rows = [row for row in rows if not row.climbs_outputs]
    shares = [row for row in rows if row.zero_gradient is not None and not math.isnan(row.zero_gradient)]
    if not shares:
        return Check(name, "not measured", "No row says how many gradients were 0.")
    worst = max(shares, key=lambda row: row.zero_gradient or 0.0)
    share = worst.zero_gradient or 0.0
    verdict: Verdict = "suspicious" if share > ZERO_GRADIENTS else "ok"
    if share >= ALL_ZERO_GRADIENTS:
        verdict = "failed"
    which = "All" if share == 1 else f"At most {100 * share:.1f} %"
    detail = f"{which} of the values of an attack's gradient, along its way, are exactly 0 ({worst})."
    return Check(name, verdict, detail)


def outputs_hide_the_way(rows: Sequence[Measured]) -> list[Check]:
    """Climbing the outputs of a model breaks no more images than climbing what leads to them does.

    Said of an attack that climbs the outputs; where it is the stronger one, what the others climb hides the way.
    Empty without such an attack.
    """
    hidden = [row for row in rows if row.climbs_outputs]
    if not hidden:
        return []
    others = [row for row in rows if row.kind == "white-box" and row.steps > 1 and not row.climbs_outputs]
    found = _no_stronger("climbing the outputs is no stronger than climbing the logits", _pairs(hidden, others))
    shares = [share for row in hidden if (share := row.zero_gradient) is not None and not math.isnan(share)]
    if not shares:
        return [found]
    zeros = f" At most {100 * max(shares):.1f} % of the values of the outputs' gradient are exactly 0."
    return [replace(found, detail=found.detail + zeros)]


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
    if against_random.points >= RELAXED_SHARE * gain:
        return "ok"
    return "suspicious" if beats or against_random.points >= LOW_RELAXED_SHARE * gain else "failed"


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
    assert a.wrong is not None and b.wrong is not None  # noqa: PT018  # whoever asks has looked
    return int((a.wrong & ~b.wrong).sum()), int((b.wrong & ~a.wrong).sum())


_T = TypeVar("_T", bound=Hashable)


def _unique(values: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(values))
