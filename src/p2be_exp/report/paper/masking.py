"""What outputs hide from an attack: the same attack on them and on what leads to them, run by run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2be_exp.errors import BadInput
from p2be_exp.report.difference import RESAMPLES
from p2be_exp.report.measured import Counts
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.tables import method_label, option_label
from p2be_exp.statistics.intervals import Difference, paired_bootstrap

ON_OUTPUTS = "_outputs"
"""End of the IDs of attacks with ``climb=outputs``; the rest is the ID of the same attack with ``climb=logits``."""


@dataclass(frozen=True)
class Gap:
    """Two attacks at one radius, which differ in what they climb, on the same images.

    Attributes:
        attack: ID of the one that climbs the logits.
        radius: in levels.
        on_outputs, on_logits: the images that are wrong under either.
        hidden: error under the second minus error under the first, in points, with its 95 % interval; None where it is
            not known which images were wrong.
        alone: images that are wrong under the attack on the outputs alone, and under that on the logits alone; None
            likewise.
    """

    attack: str
    radius: int
    on_outputs: Counts
    on_logits: Counts
    hidden: Difference | None = None
    alone: tuple[int, int] | None = None

    @property
    def points(self) -> float:
        """The difference without its interval."""
        return self.on_logits.error - self.on_outputs.error


@dataclass(frozen=True)
class Masked:
    """A run that was measured under both.

    Attributes:
        place: data set and network, in words.
        label: the method, in words.
        seed: that it was trained with.
        gaps: by attack and radius.
        result: that they were measured in; None in a test.
    """

    place: str
    label: str
    seed: int
    gaps: tuple[Gap, ...]
    result: Result | None = None


def find_masked(results: Iterable[Result]) -> list[Masked]:
    """The runs among some results with an attack on the outputs beside the same one on the logits, in their order."""
    found = []
    for result in results:
        if gaps := _gaps(result):
            place = ", ".join(map(option_label, (result.config.dataset.name, result.config.network)))
            found.append(Masked(place, method_label(result), result.seed, gaps, result))
    return found


def gap(attack: str, radius: int, on_outputs: NDArray[np.bool_], on_logits: NDArray[np.bool_]) -> Gap:
    """From which images are wrong under each attack, ``(N,)``, in the same order."""
    counts = [Counts(int(wrong.sum()), len(wrong)) for wrong in (on_outputs, on_logits)]
    alone = int((on_outputs & ~on_logits).sum()), int((on_logits & ~on_outputs).sum())
    hidden = paired_bootstrap(on_outputs, on_logits, resamples=RESAMPLES)
    return Gap(attack, radius, counts[0], counts[1], hidden, alone)


def _gaps(result: Result) -> tuple[Gap, ...]:
    found = []
    for condition in result.counts:
        kind, _, of = condition.partition("/")
        name, _, radius = of.rpartition("/")
        attack = name.removesuffix(ON_OUTPUTS)
        partner = f"attack/{attack}/{radius}"
        if kind == "attack" and name.endswith(ON_OUTPUTS) and radius.isdecimal() and partner in result.counts:
            found.append(_measured(result, attack, int(radius), condition, partner))
    return tuple(sorted(found, key=lambda each: (each.attack, each.radius)))


def _measured(result: Result, attack: str, radius: int, condition: str, partner: str) -> Gap:
    try:
        on_outputs, on_logits = result.images(condition), result.images(partner)
        if not np.array_equal(on_outputs.index, on_logits.index):
            raise BadInput(f"{result}: other images under {condition} than under {partner}")
    except BadInput:  # the counts are there, and say what they say without an interval
        return Gap(attack, radius, result.counts[condition], result.counts[partner])
    return gap(attack, radius, on_outputs.wrong, on_logits.wrong)
