"""The table of what outputs hide: the errors under both attacks and their difference, in words and as CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

from p2be_exp.report.difference import signed
from p2be_exp.report.measured import Counts
from p2be_exp.report.paper.grid import MINUS, Grid, Text
from p2be_exp.report.paper.masking import ON_OUTPUTS, Gap, Masked
from p2be_exp.report.paper.mixtures import interval

_ERROR = ("error", "95 % interval")
_HEAD = (
    ("climbing the outputs, %", _ERROR),
    ("climbing the logits before them, %", _ERROR),
    ("hidden, points", ("difference", "95 % interval")),
    ("wrong under one alone, images", ("logits", "outputs")),
)


def masking_grid(rows: Sequence[Masked], name: str) -> Grid:
    """The table in words.

    Args:
        rows: the runs, one or more.
        name: ID of its files.
    """
    blocks: dict[str, list[tuple[str, tuple[Text, ...]]]] = {}
    for each, label in zip(rows, _labels(rows), strict=True):
        for gap in each.gaps:
            row = f"{label}, {gap.radius} levels" + (f", {gap.attack}" if len(_attacks(rows)) > 1 else "")
            blocks.setdefault(each.place, []).append((row, _texts(gap)))
    return Grid(
        id=name,
        heading="What the tanh hides: the same attack on the scores behind it and on those before it",
        warning=_warning(rows),
        sentence=_sentence(rows),
        corner="method",
        head=_HEAD,
        blocks=tuple((place, tuple(of)) for place, of in blocks.items()),
        notes=_notes(rows),
    )


def masking_csv(rows: Sequence[Masked], name: str) -> str:
    """One line for each run and radius, in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["table", "place", "method", "seed", "attack", "eps_levels", "n", "n_wrong_outputs", "n_wrong_logits"]
    writer.writerow([*head, "only_outputs", "only_logits", "difference", "ci_low", "ci_high", "run"])
    for each in rows:
        run = each.result.folder if each.result else ""
        for gap in each.gaps:
            counts = [gap.on_outputs.n, gap.on_outputs.n_wrong, gap.on_logits.n_wrong]
            known = [*(gap.alone or ("", ""))], [*(gap.hidden or (gap.points, "", ""))]
            start = [name, each.place, each.label, each.seed, gap.attack, gap.radius]
            writer.writerow([*start, *counts, *known[0], *known[1], run])
    return text.getvalue()


def _labels(rows: Sequence[Masked]) -> list[str]:
    """The methods, with their seed where a method has several, and with the folder where that tells nothing either."""
    methods = Counter((each.place, each.label) for each in rows)
    seeds = Counter((each.place, each.label, each.seed) for each in rows)
    found = []
    for each in rows:
        label = each.label
        if methods[each.place, each.label] > 1:
            label += f", seed {each.seed}"
        if seeds[each.place, each.label, each.seed] > 1 and each.result:
            label += f" ({each.result.folder})"
        found.append(label)
    return found


def _attacks(rows: Sequence[Masked]) -> list[str]:
    return list(dict.fromkeys(gap.attack for each in rows for gap in each.gaps))


def _texts(gap: Gap) -> tuple[Text, ...]:
    hidden, alone = gap.hidden, gap.alone
    ends = f"[{_minus(hidden.low)}, {_minus(hidden.high)}]" if hidden else ""
    only_outputs, only_logits = map(str, alone) if alone else ("", "")
    return (
        *_error(gap.on_outputs),
        *_error(gap.on_logits),
        Text(_minus(gap.points), "ours"),
        Text(ends, "difference"),
        Text(only_logits, "ours"),
        Text(only_outputs, "difference"),
    )


def _error(counts: Counts) -> tuple[Text, Text]:
    low, high = interval(counts)
    return Text(f"{counts.error:.2f}", "ours"), Text(f"[{low:.2f}, {high:.2f}]", "difference")


def _minus(points: float) -> str:
    """A signed number with the typographic minus."""
    return signed(points).replace("-", MINUS)


# -- the text around it -----------------------------------------------------------------------------------------------


def _warning(rows: Sequence[Masked]) -> str:
    remarks = sorted({each.result.config.departs_from_paper or "" for each in rows if each.result} - {""})
    return f"Not at full scale: {'; '.join(remarks)}." if remarks else ""


def _sentence(rows: Sequence[Masked]) -> str:
    images = sorted({gap.on_outputs.n for each in rows for gap in each.gaps})
    named = " and ".join(f"{attack}{ON_OUTPUTS} beside {attack}" for attack in _attacks(rows))
    return (
        f"Measured on {' or '.join(f'{n:,}' for n in images)} test images: {named}, with the same steps and restarts. "
        "Errors with Wilson's 95 % intervals; differences on the same images, with intervals by resampling these."
    )


def _notes(rows: Sequence[Masked]) -> tuple[str, ...]:
    notes = [
        "Both attacks are judged on the outputs, and differ in what they climb. Hidden: the error under the attack on "
        "the logits minus that under the attack on the outputs; above 0 the outputs hide images from an attack that "
        "knows nothing of what is before them.",
        "Each interval is about one network, and none is corrected for the number of rows. One without width says "
        "nothing: the attacks break the same images.",
    ]
    if any(gap.hidden and gap.hidden.high < 0 for each in rows for gap in each.gaps):
        notes.append("Suspicious: an interval below 0. There what attacks climb by default is the worse way.")
    return tuple(notes)
