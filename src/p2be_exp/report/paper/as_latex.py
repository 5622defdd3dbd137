"""The report's tables as LaTeX, for a document that loads booktabs."""

from __future__ import annotations

from p2be_exp.report.paper.grid import FEWER, MINUS, MORE, Grid

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\n": " ",
    MINUS: "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "\N{EM DASH}": "---",
    FEWER: r"$\blacktriangledown$",
    MORE: r"$\blacktriangle$",
}
_TABLE = str.maketrans({**_ESCAPES, '"': "''"})

_MANY = 6
"""Columns beside the first from which on they stand closer."""

_LONG = 90
"""Characters of a block's label from which on it is broken into lines."""


def as_latex(grid: Grid) -> str:
    """A ``table*`` environment; its document needs ``booktabs``, ``graphicx`` and ``amssymb``.

    The caption is the heading, in the list of tables the shorter one; what was measured and how to read it stand in
    notes beneath. A table that is wider or longer than the page is made to fit; none is blown up.
    """
    count = sum(len(parts) for _, parts in grid.head)
    parted = any(part for _, parts in grid.head for part in parts)
    lines = _parted_head(grid) if parted else _head(grid)
    for label, rows in grid.blocks:
        lines.append(rf"\midrule {_block(label, count)} \\")
        lines += [" & ".join([_cell(row), *(_cell(text.text) for text in texts)]) + r" \\" for row, texts in rows]
    # Braces: a bracket in the text would end the optional argument.
    caption = rf"\caption[{{{escaped(grid.short or grid.heading)}}}]{{{escaped(grid.heading)}.}}"
    return "\n".join(
        [
            r"% needs \usepackage{booktabs,graphicx,amssymb}",
            r"\begin{table*}[p]",
            r"\centering",
            caption,
            rf"\label{{tab:{grid.id}}}",
            *([r"\setlength{\tabcolsep}{3pt}"] if count > _MANY else []),
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            r"\resizebox*{!}{\ifdim\totalheight>.7\textheight.7\textheight\else\totalheight\fi}{%",
            rf"\begin{{tabular}}{{l{'r' * count if parted else 'l' * count}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}}",
            *_notes(grid),
            r"\end{table*}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """A text that LaTeX sets as it is; characters that its fonts may lack are replaced."""
    plain = text.translate(_TABLE)
    return "".join(character if character.isascii() and character.isprintable() else "?" for character in plain)


def _head(grid: Grid) -> list[str]:
    return [" & ".join([_cell(grid.corner), *(escaped(name) for name, _ in grid.head)]) + r" \\"]


def _parted_head(grid: Grid) -> list[str]:
    """Two lines, with a rule under each column's name."""
    top, rules, start = [_cell(grid.corner)], [], 2
    for name, parts in grid.head:
        top.append(rf"\multicolumn{{{len(parts)}}}{{c}}{{{escaped(name)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + len(parts) - 1}}}")
        start += len(parts)
    second = ["", *(escaped(part) for _, parts in grid.head for part in parts)]
    return [" & ".join(top) + r" \\", "".join(rules), " & ".join(second) + r" \\"]


def _block(label: str, count: int) -> str:
    """The line above a group of rows; a long one is broken, where it would make the whole table small."""
    column = "l" if len(label) <= _LONG else r"p{\textwidth}"
    return rf"\multicolumn{{{count + 1}}}{{{column}}}{{\emph{{{escaped(label)}}}}}"


def _notes(grid: Grid) -> list[str]:
    """What stands beneath the table, a paragraph a note: a warning first and in bold, what was measured, the notes."""
    warning = rf"\textbf{{{escaped(grid.warning)}}}" if grid.warning else ""
    notes = [each for each in (warning, *map(escaped, (grid.sentence, *grid.notes))) if each]
    if not notes:
        return []
    return [
        r"\par\medskip",
        r"\begin{minipage}{\textwidth}\footnotesize\raggedright",
        *(rf"{note}\par" for note in notes),
        r"\end{minipage}",
    ]


def _cell(text: str) -> str:
    # Behind a rule or the end of a row a bracket would be read as its argument, and an asterisk as part of its name.
    return "{}" + escaped(text) if text.startswith(("[", "*")) else escaped(text)
