"""The table of a pair of networks: the errors of their mixtures with intervals, in words and as CSV."""

from __future__ import annotations

import csv
import io

from p2be_exp.report.measured import Counts
from p2be_exp.report.paper.grid import MISSING, Grid, Text
from p2be_exp.report.paper.mixtures import Pair, Point, interval
from p2be_exp.report.paper.tables import option_label

_PARTS = ("error", "95 % interval")


def mixture_grid(pair: Pair, name: str) -> Grid:
    """The table in words.

    Args:
        pair: the mixtures.
        name: ID of its files.
    """
    accurate, robust = (each.folder.name for each in pair.parts.values())
    columns = ["clean, %", *(f"{_worst(pair)} at {radius} levels, %" for radius in pair.radii)]
    rows = tuple((each.label, _texts(pair, each)) for each in pair.rows)
    return Grid(
        id=name,
        heading=f"Mixtures of {accurate} and {robust}: error by the weight alpha of the robust part",
        warning=_warning(pair),
        sentence=_sentence(pair),
        corner="mixture",
        head=tuple((column, _PARTS) for column in columns),
        blocks=((_block(pair), rows),),
        notes=_notes(pair),
    )


def mixture_csv(pair: Pair, name: str) -> str:
    """One line for each error, in full precision; the columns are those of the grid's cells, with their counts."""
    text = io.StringIO()
    head = ["table", "accurate", "robust", "mixture", "alpha", "attack", "eps_levels", "n_wrong", "n", "error"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, "ci_low", "ci_high", "run"])
    for each in pair.rows:
        alpha = "" if each.alpha is None else each.alpha
        start = [name, *(part.folder for part in pair.parts.values()), each.label, alpha]
        run = each.result.folder if each.result else ""
        for radius in (None, *pair.radii):
            if (counts := _counts(each, radius)) is not None:
                attack = ["", ""] if radius is None else [pair.attack, radius]
                writer.writerow([*start, *attack, counts.n_wrong, counts.n, counts.error, *interval(counts), run])
    return text.getvalue()


def _counts(point: Point, radius: int | None) -> Counts | None:
    return point.clean if radius is None else point.attacked.get(radius)


def _texts(pair: Pair, point: Point) -> tuple[Text, ...]:
    found = []
    for radius in (None, *pair.radii):
        counts = _counts(point, radius)
        if counts is None:
            found += [Text(MISSING, "ours", missing=True), Text("", "difference")]
        else:
            low, high = interval(counts)
            found += [Text(f"{counts.error:.2f}", "ours"), Text(f"[{low:.2f}, {high:.2f}]", "difference")]
    return tuple(found)


# -- the text around it -----------------------------------------------------------------------------------------------


def _worst(pair: Pair) -> str:
    return "worst case" if pair.worst_case else f"under {pair.attack}"


def _block(pair: Pair) -> str:
    """The parts in words."""
    told = {role: ", ".join(filter(None, (part.trained, str(part.folder)))) for role, part in pair.parts.items()}
    return "; ".join(f"{role} part: {text}" for role, text in told.items())


def _warning(pair: Pair) -> str:
    remarks = sorted({each.config.departs_from_paper or "" for each in pair.results} - {""})
    return f"Not at full scale: {'; '.join(remarks)}." if remarks else ""


def _sentence(pair: Pair) -> str:
    images = pair.points[0].clean.n
    datasets = sorted({option_label(each.settings["dataset"]) for each in pair.results})
    where = f" of {' and '.join(datasets)}" if datasets else ""
    how = f"under attack={pair.attack}" if pair.radii else "without an attack"
    return f"Measured on {images:,} test images{where}, {how}. Errors and Wilson's 95 % intervals in percent."


def _notes(pair: Pair) -> tuple[str, ...]:
    notes = [
        "alpha: the weight of the robust part's probabilities. Below 1/2 the accurate part can outvote the robust one "
        "whatever its margin, so the error under attack falls just above 1/2; alpha = 0 and 1 are a part alone.",
    ]
    if pair.radii:
        notes.append("Every mixture is attacked by itself: images that break one count for no other.")
    if pair.worst_case:
        notes.append(
            "Worst case: an image counts as wrong if the mixture is wrong on it, or if any attack of the suite breaks "
            "it within the radius."
        )
    notes += _better_than_its_part(pair)
    for first, second in pair.doubles:
        notes.append(f"The same mixture twice: {second.folder} is left out where {first.folder} has the place.")
    return tuple(notes)


def _better_than_its_part(pair: Pair) -> list[str]:
    """A note on mixtures that are attacked with less success than their robust part: the attack may be what failed."""
    at_one = [each for each in pair.over_alpha if each.alpha == 1]
    robust = pair.alone.get("robust") or next(iter(at_one), None)
    if robust is None:
        return []
    found = [
        f"{each.label} at {radius} levels"
        for radius in pair.radii
        for each in pair.points
        if each is not robust
        and radius in each.attacked
        and radius in robust.attacked
        and interval(each.attacked[radius])[1] < robust.attacked[radius].error
    ]
    if not found:
        return []
    return [
        f"Suspicious: {', '.join(found)} has fewer errors under attack than the robust part alone. Where that part "
        "falls, a mixture close to it falls, too, as a rule: the mixture may weaken the attack."
    ]
