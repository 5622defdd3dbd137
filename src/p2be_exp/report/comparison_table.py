"""A comparison as a person reads it on a terminal, and as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any

from p2be_exp.errors import BadInput
from p2be_exp.report.compare import ComparedRow
from p2be_exp.report.difference import signed
from p2be_exp.system.atomic import write_json, write_text
from p2be_exp.system.ownership import owned

_GROUPS = (
    "two groups of trained networks: difference of the means over seeds, B - A, in points of error\n"
    "(negative: B has fewer errors)"
)
_SEEDS = (
    "how much the choice of seeds leaves open, on these test images; each for itself, not\ncorrected for their number"
)
_NETWORKS = (
    "these two networks: difference of their errors on the same images, B - A, in points of error\n"
    "(negative: B has fewer errors)"
)
_NETWORKS_WARNING = (
    "This compares these two networks. It says nothing about the two methods: for that, train each with several seeds."
)
_SHOWN = 6
"""Keys of the configuration that are shown on the terminal; the rest are counted."""


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """Text of a comparison, as :func:`p2be_exp.report.compare.compare` returns it: what, how, and its rows."""
    groups = comparison["kind"] == "groups"
    rows = comparison["rows"]
    means = [row for row in rows if row["kind"] == "mean"]
    parts = [
        _GROUPS if groups else f"{_NETWORKS}\n{_NETWORKS_WARNING}",
        _header(comparison),
        _intervals(comparison),
        _means(means, groups),
    ]
    if not groups:
        tested = [row for row in rows if row["kind"] == "condition"]
        number = f"{len(tested)} condition{'s' * (len(tested) > 1)}"
        parts += [f"McNemar's exact test of each condition; Holm's correction for {number}", _tests(tested)]
    return "\n\n".join(parts)


def write_comparison(comparison: Mapping[str, Any], folder: Path) -> None:
    """Write ``compare.csv`` (the rows, in full precision) and ``compare.json`` (everything).

    Raises:
        BadInput: the folder cannot be written, or another process owns it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(ComparedRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(comparison["rows"])
    try:
        with owned(folder, "out"):
            write_text(folder / "compare.csv", text.getvalue())
            write_json(folder / "compare.json", comparison)
    except OSError as error:
        raise BadInput(f"out={folder}: cannot be written ({error.strerror})") from error


def _intervals(comparison: Mapping[str, Any]) -> str:
    """How the intervals of the means were made."""
    how = comparison["interval"]
    seeds = " ".join(map(str, how["seeds_a"]))
    if how["kind"] == "paired":
        rest = f"\nB - A is of seeds {seeds} alone; A, B and sd are of all seeds" if how["in_part"] else ""
        return f"paired 95 % t intervals over seeds {seeds}, which both sides have:\n{_SEEDS}{rest}"
    if how["kind"] == "welch":
        return f"Welch's 95 % intervals, of sides without a common seed:\n{_SEEDS}"
    if how["kind"] == "networks":
        return f"95 % intervals: percentile bootstrap over the images, {comparison['resamples']:,} resamples"
    return f"no intervals: {how['why_not']}"


# -- what is compared -------------------------------------------------------------------------------------------------


def _header(comparison: Mapping[str, Any]) -> str:
    settings = comparison["settings"]
    corrupted = any("corruption/" in row["name"] for row in comparison["rows"])
    source = f"; corruptions: {settings['corruption']['name']}" if corrupted else ""
    lines = {
        "A": _side(comparison["a"]),
        "B": _side(comparison["b"]),
        "differ in": _differences(comparison),
        "data": f"{settings['dataset']}, {comparison['n_images']:,} test images{source}",
    }
    text = [f"{name:<11}{line}" for name, line in lines.items()]
    text += [f"{'left out':<11}{reason}: {_in_short(names)}" for reason, names in comparison["left_out"].items()]
    return "\n".join(text)


def _side(runs: Sequence[Mapping[str, Any]]) -> str:
    folders = [Path(run["folder"]) for run in runs]
    checkpoints = " ".join(dict.fromkeys(str(run["checkpoint"]) for run in runs))
    if len(runs) == 1:
        return f"{folders[0]} (one run, seed {runs[0]['seed']}; {checkpoints} checkpoint)"
    siblings = len({folder.parent for folder in folders}) == 1
    where = (
        f"{folders[0].parent}/{{{','.join(folder.name for folder in folders)}}}"
        if siblings
        else ", ".join(map(str, folders))
    )
    seeds = " ".join(str(run["seed"]) for run in runs)
    return f"{where} ({len(runs)} runs, seeds {seeds}; {checkpoints} checkpoint)"


def _differences(comparison: Mapping[str, Any]) -> str:
    """In what the two sides differ: keys of what was trained, and the seed of two networks."""
    seeds = [[run["seed"] for run in comparison[side]] for side in "ab"]
    if comparison["one_run"]:
        return "nothing that was trained: two evaluations of one run"
    if comparison["differ_in"]:
        apart = comparison["kind"] == "networks" and seeds[0] != seeds[1]
        return (f"seed={seeds[0][0]} | {seeds[1][0]}; " if apart else "") + _configs(comparison["differ_in"])
    if set(seeds[0]) == set(seeds[1]):
        return "nothing, nor in the seed: trainings of one configuration; machine, threads or versions may differ"
    return "nothing but the seed"


def _configs(differ_in: Mapping[str, Sequence[Any]]) -> str:
    # What another option of a group has and this one lacks is clear from the options' names.
    shown = [
        f"{key}={a} | {b}"
        for key, (a, b) in differ_in.items()
        if not (f"{key.partition('.')[0]}.name" in differ_in and None in (a, b))
    ]
    more = len(shown) - _SHOWN
    return "; ".join(shown[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _in_short(conditions: Sequence[str]) -> str:
    """Conditions in few words: ``clean, fog 1 2 3 4 5, attack/pgd/8``."""
    parts = []
    for stem, members in groupby(conditions, key=_stem):
        severities = " ".join(name.rpartition("/")[2] for name in members)
        parts.append(f"{stem.removeprefix('corruption/')} {severities}" if stem.startswith("corruption/") else stem)
    return ", ".join(parts)


def _stem(condition: str) -> str:
    return condition.rpartition("/")[0] if condition.startswith("corruption/") else condition


# -- rows -------------------------------------------------------------------------------------------------------------


def _means(rows: Sequence[Mapping[str, Any]], groups: bool) -> str:
    spread = f"{'sd':>7}" if groups else ""
    lines = [f"{'error %':<24}{'A':>8}{spread}{'B':>8}{spread}{'B - A':>9}   {'95 % interval':<18}  mean over"]
    section = None
    for row in rows:
        # A blank line before the categories, and before the single corruptions.
        if row["name"].partition("/")[0] != section and "/" in row["name"]:
            lines.append("")
        section = row["name"].partition("/")[0]
        sd_a, sd_b = (f"{row[key]:>7.2f}" if groups else "" for key in ("sd_a", "sd_b"))
        lines.append(
            f"{_label(row['name']):<24}{row['error_a']:>8.2f}{sd_a}{row['error_b']:>8.2f}{sd_b}"
            f"{signed(row['difference']):>9}   {_interval(row):<18}  {row['over']}".rstrip()
        )
    return "\n".join(lines)


def _label(name: str) -> str:
    return {"mean_corruption_error": "mean corruption error"}.get(name, name.partition("/")[2] or name)


def _interval(row: Mapping[str, Any]) -> str:
    if row["ci_low"] is None:
        return "none"
    if row["ci_low"] == row["ci_high"]:
        return "none: no spread"
    return f"{signed(row['ci_low'])} to {signed(row['ci_high'])}"


def _tests(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = f"{'A':>8}{'B':>8}{'B - A':>9}{'only A wrong':>14}{'only B wrong':>14}{'p':>10}{'p, Holm':>10}"
    lines = [f"{'error %':<24}{heads}"]
    for row in rows:
        lines.append(
            f"{row['name'].removeprefix('corruption/'):<24}{row['error_a']:>8.2f}{row['error_b']:>8.2f}"
            f"{signed(row['difference']):>9}{row['only_a_wrong']:>14,}{row['only_b_wrong']:>14,}"
            f"{_p(row['p']):>10}{_p(row['p_holm']):>10}"
        )
    return "\n".join(lines)


def _p(p: float) -> str:
    return f"{p:.1e}" if p < 0.001 else f"{p:.4f}"
