"""Do the attacks work on this very network? What each adds to a random choice in the ball."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from p2be_exp.evaluation.sanity.checks import ALPHA, Check, Measured, Verdict
from p2be_exp.statistics.significance import holm, mcnemar

NAME = "white-box attacks beat random"

DISCORDANT = 10
"""Images that only one of the two breaks, for a comparison to say something."""

RANDOM_IS_ENOUGH = 95.0
"""Error in percent under random in ball above which nothing is left to beat it by."""

_SEVERITY = ("not measured", "ok", "suspicious", "failed")


@dataclass(frozen=True)
class _Against:
    """An attack and the random choice at one radius: how many images are wrong under one of them alone."""

    attack: Measured
    random: Measured
    gained: int
    lost: int

    @property
    def discordant(self) -> int:
        return self.gained + self.lost

    def __str__(self) -> str:
        counts = f"{self.gained} images wrong under the attack alone, {self.lost} under random alone"
        return f"{self.attack} against {self.random.error:.1f} % of random in ball ({counts})"


def white_box_beats_random(rows: Sequence[Measured], directions: Mapping[str, Verdict]) -> Check:
    """Each white-box attack gets more images wrong than a random choice in the same ball.

    An attack is judged once, at the radius with the most images that only one of the two gets wrong: by McNemar's test,
    corrected by Holm over the attacks. It has failed where it is no stronger than random, and is suspicious where it is
    stronger, but not significantly so. Where fewer than :data:`DISCORDANT` images differ at every radius, there may be
    nothing to break, and whether its gradient points uphill decides: if so, that is fine; if not, it is suspicious.
    Radii where random alone breaks more than :data:`RANDOM_IS_ENOUGH` percent are left out, and attacks that climb the
    outputs of a model where these hide the way.

    Args:
        rows: every attack at every radius.
        directions: the verdict on each kind of gradient (:mod:`p2be_exp.evaluation.sanity.directional`).
    """
    white_box = [row for row in rows if row.kind == "white-box" and not row.climbs_outputs]
    compared = [_most_discordant(rows, attack) for attack in dict.fromkeys(row.attack for row in white_box)]
    known = [each for each in compared if each is not None]
    if not known:
        why = "No white-box attack stands beside a random choice in the same ball that leaves images to be broken."
        return Check(NAME, "not measured", why)
    tested = [each for each in known if each.discordant >= DISCORDANT]
    p_values = holm([mcnemar(each.gained, each.lost) for each in tested])
    found = [_of_tested(each, float(p)) for each, p in zip(tested, p_values, strict=True)]
    found += [_of_few(each, directions) for each in known if each.discordant < DISCORDANT]
    return max(found, key=lambda check: _SEVERITY.index(check.verdict))


def _most_discordant(rows: Sequence[Measured], attack: str) -> _Against | None:
    """The comparison of an attack at the radius where most images are wrong under one of the two alone."""
    found = []
    for row in rows:
        beside = [each for each in rows if each.kind == "random" and each.eps_levels == row.eps_levels]
        for random in beside if row.attack == attack else []:
            if row.wrong is None or random.wrong is None or row.n != random.n or random.error > RANDOM_IS_ENOUGH:
                continue
            gained, lost = int((row.wrong & ~random.wrong).sum()), int((random.wrong & ~row.wrong).sum())
            found.append(_Against(row, random, gained, lost))
    return max(found, key=lambda each: each.discordant, default=None)


def _of_tested(each: _Against, p: float) -> Check:
    verdict: Verdict = "ok" if p < ALPHA else "suspicious"
    if each.gained <= each.lost:
        verdict = "failed"
    return Check(NAME, verdict, f"{each}, p = {p:.2g}.")


def _of_few(each: _Against, directions: Mapping[str, Verdict]) -> Check:
    few = f"At most {each.discordant} images tell {each.attack.attack} from random"
    direction = directions.get(each.attack.gradient, "not measured")
    if direction == "ok":
        return Check(NAME, "ok", f"{few}, and its gradient points uphill: there is nothing to break here.")
    if direction == "not measured":
        return Check(NAME, "not measured", f"{few}, and where its gradient points is not known.")
    return Check(NAME, "suspicious", f"{few}, and where its gradient points is {direction} as well.")
