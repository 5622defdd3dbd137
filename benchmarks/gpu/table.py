"""Rows as tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

HEADS = {
    "Parts": "",
    "Machine": "",
    "Tests": "The tests that are marked `gpu`.",
    "A training step by part": (
        "Lightning's loop as it is; the plain form is the published method in a bare loop (NCHW, float code tensor, "
        "float32, Pillow with two loader processes), in turn with it. Whole steps without a wait, parts each with a "
        "wait at its end; medians and quartiles of the rounds. Launches: operators that reach the device."
    ),
    "A whole step": (
        "The same training operator by operator, with each step as one CUDA graph, and with the trunk compiled; one "
        "after the other. The first step holds what it takes to start."
    ),
    "Losses of the first steps": "Of these trainings, from the same weights on the same images.",
    "GPU busy by part": "The sum of the times of the kernels of each part, from a profile of three steps.",
    "A training step": (
        "Medians; every row takes turns with RGB (P2BE with its plain form, too), and the ratios are medians of each "
        "round's. GPU busy: the sum of the times of its kernels."
    ),
    "Other ratios": "Each beside its baseline, in turn with it.",
    "Batch norm and ReLU": "Forward and backward in train mode, three views of a batch; the forms take turns.",
    "Plan of the trainings": "",
    "Training": "",
    "Encodings": (
        "Error in percent. `mean` is that of all cells, corruption x severity; corruptions are made here (generated), "
        "not the published files. One seed."
    ),
    "Archives": "Rows, figures, and the weights in bf16.",
    "Notes": "What failed, and what there was no time for.",
}
"""The tables in their order, each with a line that says how to read it; others come after them."""

PUBLISHED_NOTE = (
    "Published: Kishida & Nakayama, ICPR 2022, mean error under CIFAR-100-C of WRN-40-2 with AugMix: Table VI after 50 "
    "epochs, Table II after 200 (five seeds, the published files). They can be compared at these epochs alone."
)
_HIDDEN = ("table", "id", "process", "at")


def render(rows: Sequence[dict[str, Any]]) -> str:
    """All tables.

    Args:
        rows: each names its ``table``; of those with the same ``id`` in a table the last one counts, in the place of
            the first. ``process`` and ``at`` are not shown.

    Returns:
        Markdown, with an end of line.
    """
    tables: dict[str, dict[Any, dict[str, Any]]] = {name: {} for name in HEADS}
    for number, row in enumerate(rows):
        tables.setdefault(row["table"], {})[row.get("id", number)] = row
    lines = ["# What this machine showed"]
    for name, named in tables.items():
        if not named:
            continue
        lines += ["", f"## {name}", ""]
        if HEADS.get(name):
            lines += [HEADS[name], ""]
        lines += _table(list(named.values()))
        if any(key.startswith("published") for row in named.values() for key in row):
            lines += ["", PUBLISHED_NOTE]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in _HIDDEN))
    lines = ["| " + " | ".join(column.replace("_", " ") for column in columns) + " |", "|---" * len(columns) + "|"]
    return lines + ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in rows]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return " ".join(str(value).split()).replace("|", "\\|")
