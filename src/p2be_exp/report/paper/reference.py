"""A cell compared with its table's reference."""

from __future__ import annotations

from collections.abc import Mapping

from p2be_exp.errors import BadInput
from p2be_exp.report.difference import Compared, compare_networks, compare_seeds, wrong_images
from p2be_exp.report.paper.gather import KEY, Result
from p2be_exp.report.paper.keys import Measure
from p2be_exp.report.paper.measures import weights


def compare_cells(
    reference: Mapping[int, tuple[Result, float]], cell: Mapping[int, tuple[Result, float]], measure: Measure
) -> Compared:
    """Compare the runs of two cells.

    Two seeds or more on each side: see :func:`p2be_exp.report.difference.compare_seeds`. With a single seed on a side:
    one network of each, of the same seed where both have it, over the test images that both saw.

    Args:
        reference: by seed, the run and its value in percent.
        cell: the same of the other side.
        measure: what the values are.

    Returns:
        The difference, cell minus reference.
    """
    if min(len(reference), len(cell)) > 1:
        return compare_seeds(*({seed: error for seed, (_, error) in side.items()} for side in (reference, cell)))
    common = sorted(set(reference) & set(cell))
    seeds = (common[0], common[0]) if common else (min(reference), min(cell))
    (a, error_a), (b, error_b) = reference[seeds[0]], cell[seeds[1]]
    in_part = len(reference) > 1 or len(cell) > 1
    shares = weights(a, measure)
    try:
        if measure.kind == "worst":
            raise BadInput("a worst case over attacks is compared over seeds alone")
        if shares is None or shares != weights(b, measure):
            raise BadInput("not measured under the same conditions")
        wrong = wrong_images(a, b, list(shares))
    except BadInput as error:
        why_not = str(error).removeprefix(f"{KEY}=")
        return Compared("", error_b - error_a, None, None, ((seeds[0],), (seeds[1],)), why_not, in_part)
    return compare_networks(*wrong, seeds, list(shares.values()), in_part)
