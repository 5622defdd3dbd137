"""Draws at_a_glance.svg: the published values of Tables II to VII, and what was measured so far beside Table II's.

Ours are the rows of benchmarks/reproduction/h100_9_epochs: one seed, 9 of 200 epochs, corruptions made here.
Run from the repository's root: python docs/images/at_a_glance.py
"""

import csv
from pathlib import Path

from p2be_exp.report.paper.figures import style_of
from p2be_exp.report.paper.glance import Dot, Panel, glance
from p2be_exp.report.paper.keys import Key
from p2be_exp.report.paper.published import ENCODINGS
from p2be_exp.report.paper.tables import TABLES

RUNS = Path("benchmarks/reproduction/h100_9_epochs")
TITLE = "Tables II to VII as published, and four encodings after 9 of 200 epochs"


def published(spec):
    """A table of the paper without any runs."""
    rows = []
    for block in spec.blocks:
        for row in spec.rows:
            keys = [(str(block), str(row), str(column)) for column in spec.columns]
            found = [spec.printed.numbers.get(key) for key in keys]
            dots = tuple(Dot(published=each.value, sd=each.sd) if each else Dot() for each in found)
            label = f"{spec.row_label(row)}, {spec.block_label(block)}" if len(spec.blocks) > 1 else spec.row_label(row)
            rows.append((label, style_of(row), dots))
    return Panel(spec.printed.source, tuple(map(spec.column_label, spec.columns)), tuple(rows))


def measured(file):
    """The mean error under corruptions and the clean error of one network, with intervals over its test images."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    corrupted = [row for row in rows if row["kind"] == "corruption"]
    assert len(corrupted) == 75
    clean = [row for row in rows if row["condition"] == "clean"]
    # The severities are of the same images: the mean of the cells' intervals is the most conservative choice.
    return [
        [sum(float(row[key]) for row in of) / len(of) for key in ("error", "ci_low", "ci_high")]
        for of in (corrupted, clean)
    ]


def ours(spec):
    """The same encodings on the same network, with another recipe."""
    rows = []
    for name, label in ENCODINGS.items():
        found = measured(RUNS / f"{name}.results.csv")
        printed = [spec.printed.numbers["wrn", name, str(column)] for column in spec.columns]
        dots = (Dot(*mean, True, each.value, each.sd) for mean, each in zip(found, printed, strict=True))
        rows.append((f"{label}, WRN-40-2", style_of(Key(name)), tuple(dots)))
    columns = tuple(map(spec.column_label, spec.columns))
    return Panel("As Table II, 9 epochs on one H100: not comparable", columns, tuple(rows), comparable=False)


if __name__ == "__main__":
    paper = [spec for spec in TABLES if spec.printed.numbers and not spec.corruption_a_row]
    picture = glance([*map(published, paper), ours(paper[0])], "at_a_glance", TITLE)
    Path("docs/images/at_a_glance.svg").write_text(picture.svg)
