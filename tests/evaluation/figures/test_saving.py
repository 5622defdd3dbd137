"""Figures as files: PNG as it was, PDF and SVG of the width and the fonts of a paper, in which nothing is cut."""

import itertools
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Annotation, Text

from p2be_exp.corruptions.names import TEST
from p2be_exp.evaluation.figures.canvas import new_figure
from p2be_exp.evaluation.figures.corruption_figures import bars, corruption_errors, heatmap, over_severity
from p2be_exp.evaluation.figures.paper_style import COLUMN, FONT, PAGE, for_paper
from p2be_exp.evaluation.figures.saving import save_figure

ROWS = [
    {"name": name, "severity": severity, "error": 40 + 4 * severity + row, "ci_low": 38.0 + row, "ci_high": 64.0 + row}
    for row, name in enumerate(TEST)
    for severity in range(1, 6)
]
ERRORS = corruption_errors({"clean_error": 5.0}, ROWS)


def drawn(columns=1):
    figure, axes = new_figure(1, columns, figsize=(7.2, 4.6), squeeze=False, layout="constrained")
    for each in axes.flat:
        for number in range(3):
            each.plot([0, 1], [number, 1], marker="o", label=f"a curve with a name, {number}")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.suptitle("a title")
    return figure


def size_of(file):
    """Width and height in inches."""
    if file.suffix == ".pdf":
        _, _, *size = re.search(rb"/MediaBox \[([\d. ]+)\]", file.read_bytes())[1].split()
    else:
        size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', file.read_text()).groups()
    return [float(each) / 72 for each in size]


def test_a_png_is_the_same_beside_others(tmp_path):
    (alone,) = save_figure(drawn(), tmp_path / "alone.png")
    beside, *others = save_figure(drawn(), tmp_path / "beside.png", ["svg", "png", "pdf"])
    assert alone.read_bytes() == beside.read_bytes()
    assert [file.name for file in others] == ["beside.pdf", "beside.svg"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("columns", "width"), [(1, COLUMN), (2, COLUMN), (3, PAGE)])
def test_others_are_as_wide_as_a_column_or_a_page(tmp_path, columns, width):
    for file in save_figure(drawn(columns), tmp_path / "figure.png", ["pdf", "svg"]):
        assert size_of(file)[0] == pytest.approx(width, abs=0.01)


def test_the_same_figure_is_the_same_file(tmp_path):
    pairs = [save_figure(drawn(), tmp_path / name / "figure.png", ["svg", "pdf"]) for name in "ab"]
    for one, other in zip(*pairs, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_text_of_a_pdf_is_truetype(tmp_path):
    (file,) = save_figure(drawn(), tmp_path / "figure.png", ["pdf"])
    assert b"/Subtype /Type3" not in file.read_bytes()


def test_a_png_has_the_name_that_was_asked_for(tmp_path):
    assert save_figure(drawn(), tmp_path / "version.1") == [tmp_path / "version.1"]


def test_no_kind_no_file(tmp_path):
    assert save_figure(drawn(), tmp_path / "figure.png", []) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("draw", [heatmap, bars, over_severity, lambda errors, title: drawn()])
def test_on_paper_every_text_can_be_read(draw):
    figure = draw(ERRORS, "a title")
    for_paper(figure)
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    assert {text.get_fontsize() for text in texts} == {FONT}
    assert "a title" not in [text.get_text() for text in texts]
    unseen = list(_unseen(figure))
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text not in unseen]
    for told, box in boxes:
        assert box.x0 >= 0, told
        assert box.x1 <= figure.bbox.width, told
    for (told, box), (other, its) in itertools.combinations(boxes, 2):
        assert not box.padded(-0.5).overlaps(its.padded(-0.5)), (told, other)


def _unseen(figure):
    """Labels of ticks beyond the limits, which matplotlib keeps and does not draw."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def test_values_stay_within_the_axes():
    figure = bars(ERRORS)
    for_paper(figure)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    values = [text for text in axes.texts if isinstance(text, Annotation)]
    assert len(values) == len(TEST)
    assert all(text.get_window_extent().x1 <= axes.bbox.x1 + 1 for text in values)


def test_curves_are_thinner_and_legends_beneath():
    figure = drawn()
    before = figure.axes[0].lines[0].get_linewidth()
    for_paper(figure)
    figure.draw_without_rendering()
    assert figure.axes[0].lines[0].get_linewidth() < before
    assert figure.axes[0].get_legend() is None
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"a curve with a name, {n}" for n in range(3)]
    assert legend.get_window_extent().y1 <= figure.axes[0].get_tightbbox().y0 + 1
    assert np.isfinite(figure.get_size_inches()).all()
    assert matplotlib.rcParams["pdf.fonttype"] == 3  # the settings of a process stay as they are
