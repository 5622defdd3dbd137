"""The report's tables as LaTeX: every kind is set by pdflatex, and none is wider or longer than the page."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from mixed_points import pair
from p2be_exp.report.paper.as_latex import as_latex
from p2be_exp.report.paper.masking import Masked, gap
from p2be_exp.report.paper.masking_table import masking_grid
from p2be_exp.report.paper.mixture_table import mixture_grid
from p2be_exp.report.paper.other_methods import published_methods, published_mixtures

HOSTILE = r'[a] \input{/etc/passwd} }{ 100 % #1 ~^_&$ <|> " é' + "\x1b\x00 *"
DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs,graphicx,amssymb}
\begin{document}
\listoftables
%s
\end{document}
"""


@pytest.fixture(scope="module")
def every_kind(words):
    """Grids of the paper's tables, of mixtures, of masking, of what others publish, and one of hostile texts."""
    wrong = np.arange(50)
    masked = Masked("digits, wrn16_1", "FPD, RGB", 0, (gap("pgd", 8, wrong < 10, wrong < 20),))
    table = words["table2"]
    rows = tuple((HOSTILE, texts) for _, texts in table.blocks[0][1])
    hostile = replace(table, id="hostile", heading=HOSTILE, short=HOSTILE, warning=HOSTILE, notes=(HOSTILE,),
                      corner=HOSTILE, blocks=((HOSTILE, rows), (f"{HOSTILE} " * 5, rows)))  # fmt: skip
    return [
        *words.values(),
        mixture_grid(pair(), "mixing"),
        masking_grid([masked], "masking"),
        published_methods("other_methods"),
        published_mixtures("mixing"),
        hostile,
    ]


def test_every_kind_of_table_is_set(every_kind, tmp_path):
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("no pdflatex: apt-get install texlive-latex-recommended")
    assert {"table2", "table2-departing-1", "table4", "mixing", "masking"} <= {grid.id for grid in every_kind}
    (tmp_path / "all.tex").write_text(DOCUMENT % "\n".join(map(as_latex, every_kind)))
    command = [pdflatex, "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "all.tex"]
    for _ in range(2):  # the second time with the list of tables that the first has found
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=50)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    log = (tmp_path / "all.log").read_text(errors="replace")
    assert re.findall(r"Overfull \\hbox \((?:\d\d|[2-9])\S*pt too wide\) (?:in|detected).*", log) == []
    assert "Float too large" not in log
    listed = (tmp_path / "all.lot").read_text().count("contentsline")
    assert listed == len(every_kind)


def test_captions_are_short_and_the_rest_stands_beneath(every_kind):
    for grid in every_kind:
        text = as_latex(grid)
        above, beneath = text.split(r"\end{tabular}")
        assert above.count(r"\caption[{") == 1
        assert r"\textbf" not in above
        assert (r"\textbf{" in beneath) == bool(grid.warning)
        assert beneath.count(r"\par" + "\n") == len(grid.notes) + bool(grid.warning) + bool(grid.sentence)


def test_the_list_of_tables_says_what_is_not_comparable(words):
    full = as_latex(words["table2"])
    assert r"\caption[{Table II: common corruptions of CIFAR-100, by network and encoding}]" in full
    small = as_latex(words["table2-departing-1"])
    assert re.search(r"\\caption\[\{Table II: [^}]+ \(not comparable with the paper\)\}\]\{Not comparable", small)


def test_no_table_is_blown_up(words):
    assert r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%" in as_latex(words["table4"])
