"""The report's tables on a terminal."""

from __future__ import annotations

import textwrap

from p2be_exp.report.paper.grid import Grid

WIDTH = 110


def as_text(grid: Grid) -> str:
    """A table as plain text: heading, what was measured, and one line per row."""
    lines = [grid.heading, *_wrapped(grid.warning), *_wrapped(grid.sentence), ""]
    for number, (name, parts) in enumerate(grid.head):
        start = sum(len(of) for _, of in grid.head[:number])
        lines += _column(grid, name, parts, start)
    return "\n".join(lines).rstrip()


def _column(grid: Grid, name: str, parts: tuple[str, ...], start: int) -> list[str]:
    """One column of the table with its parts, as lines: a terminal is narrow."""
    labels = [label for _, rows in grid.blocks for label, _ in rows]
    wide = max(len(grid.corner), *(len(label) for label in labels)) + 4
    cells = [texts for _, rows in grid.blocks for _, texts in rows]
    widths = [
        2 + max(len(head), *(len(texts[start + number].text) for texts in cells)) for number, head in enumerate(parts)
    ]
    head = f"{name:<{wide}}" if len(name) < wide else f"{name}\n{'':<{wide}}"
    lines = [head + "".join(f"{part:>{width}}" for part, width in zip(parts, widths, strict=True))]
    for label, rows in grid.blocks:
        lines.append(f"  {label}")
        for row, texts in rows:
            line = "".join(f"{texts[start + n].text:>{width}}" for n, width in enumerate(widths))
            lines.append(f"    {row:<{wide - 4}}{line}".rstrip())
    return [*lines, ""]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH) if text else []
