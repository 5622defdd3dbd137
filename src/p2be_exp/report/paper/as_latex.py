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


def as_latex(grid: Grid) -> str:
    """A ``table*`` environment; its document needs ``booktabs``, ``graphicx`` and ``amssymb``."""
    count = sum(len(parts) for _, parts in grid.head)
    top, rules, start = [grid.corner], [], 2
    for name, parts in grid.head:
        top.append(rf"\multicolumn{{{len(parts)}}}{{c}}{{{escaped(name)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + len(parts) - 1}}}")
        start += len(parts)
    second = ["", *(escaped(part) for _, parts in grid.head for part in parts)]
    lines = []
    for label, rows in grid.blocks:
        lines.append(rf"\midrule \multicolumn{{{count + 1}}}{{l}}{{\emph{{{escaped(label)}}}}} \\")
        lines += [" & ".join([escaped(row), *(_cell(text.text) for text in texts)]) + r" \\" for row, texts in rows]
    caption = " ".join(escaped(part) for part in (f"{grid.heading}.", grid.warning, grid.sentence, *grid.notes) if part)
    return "\n".join(
        [
            r"% needs \usepackage{booktabs,graphicx,amssymb}",
            r"\begin{table*}[p]",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{grid.id}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * count}}}",
            r"\toprule",
            " & ".join([escaped(top[0]), *top[1:]]) + r" \\",
            "".join(rules),
            " & ".join(second) + r" \\",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """A text that LaTeX sets as it is; characters that its fonts may lack are replaced."""
    plain = text.translate(_TABLE)
    return "".join(character if character.isascii() else "?" for character in plain)


def _cell(text: str) -> str:
    # A bracket behind the end of a row would be read as its optional argument.
    return "{}" + escaped(text) if text.startswith("[") else escaped(text)
