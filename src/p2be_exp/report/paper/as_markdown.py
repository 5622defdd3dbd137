"""The report's tables as Markdown."""

from __future__ import annotations

from p2be_exp.report.paper.grid import Grid

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|"})


def as_markdown(grid: Grid) -> str:
    """A table as a section: heading, what was measured, a Markdown table, notes."""
    heads = [f"{name}: {part}" if part else name for name, parts in grid.head for part in parts]
    lines = [_row([grid.corner, *heads]), _row(["---", *["---:"] * len(heads)])]
    for label, rows in grid.blocks:
        lines.append(f"| **{escaped(label)}** |" + " |" * len(heads))
        lines += [_row([row, *(text.text for text in texts)]) for row, texts in rows]
    warning = [f"**{escaped(grid.warning)}**", ""] if grid.warning else []
    notes = [f"* {escaped(note)}" for note in grid.notes]
    return "\n".join([f"## {escaped(grid.heading)}", "", *warning, escaped(grid.sentence), "", *lines, "", *notes])


def escaped(text: str) -> str:
    """A text that Markdown shows as it is."""
    return text.translate(_SPECIAL).replace("\n", " ")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell if set(cell) <= set("-:") and cell else escaped(cell) for cell in cells) + " |"
