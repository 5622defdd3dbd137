"""Pieces of Markdown, in which anybody's text is text."""

from __future__ import annotations

from collections.abc import Sequence

from p2be_exp.errors import one_line


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: int = 0) -> str:
    """A table whose last columns are aligned to the right.

    Args:
        head: of the columns.
        rows: as Markdown.
        right: number of those columns.
    """
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    rule = "|".join([*["---"] * (len(head) - right), *["--:"] * right])
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def code(text: str) -> str:
    """A name as code."""
    return f"`{one_line(text).replace('`', '').replace('|', '')}`"


def words(text: str) -> str:
    """A text as it stands, neither markup nor a second column.

    >>> words("a_b | <c>")
    'a\\\\_b \\\\| \\\\<c\\\\>'
    """
    return "".join(f"\\{each}" if each in "\\`*_[]<>|#" else each for each in one_line(text))
