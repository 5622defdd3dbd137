"""Figures of attacks: what their lines and pictures show is what was measured."""

from dataclasses import replace

import numpy as np
import pytest

from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.figures.attack_figures import (
    adversarial_images,
    draw_attack_figures,
    error_over_effort,
    error_over_radius,
    loss_over_steps,
)
from p2be_exp.evaluation.results import Results, Row

N = 20
ATTACKS = [Condition("attack", name, eps_levels=radius, gradient=gradient) for radius in (4, 8)
           for name, gradient in (("random_in_ball", ""), ("pgd_ce_secant", "secant"))]  # fmt: skip


@pytest.fixture
def clean_images():
    return np.full((8, 3, 6, 6), 100, dtype=np.uint8)


@pytest.fixture
def results(tmp_path, clean_images):
    results = Results(tmp_path, {}, attacks=ATTACKS, suite="suite")
    for number, condition in enumerate([CLEAN, *ATTACKS]):
        wrong = np.arange(N) < 2 + 3 * number
        images = {"index": np.arange(N), "label": np.zeros(N, int), "prediction": wrong.astype(int),
                  "confidence": np.full(N, 0.9, np.float32), "wrong": wrong}  # fmt: skip
        if condition.kind == "attack":
            images["examples"] = clean_images + np.uint8(condition.eps_levels)
        if condition.gradient:
            images["losses"] = np.arange(N * 5, dtype=np.float32).reshape(N, 5)
            images["losses"][:2] = np.nan
        results.add(Row.of(condition, N, int(wrong.sum()), 1.0), images)
    return results


def test_error_over_radius(results):
    axes = error_over_radius(results, "a network").axes[0]
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
    assert lines["random_in_ball"][1] == [10, 25, 55]
    assert lines["pgd_ce_secant"][1] == [10, 40, 70]
    assert lines["worst case"] == ([0, 4, 8], [10, 40, 70])
    for of in ("random_in_ball", "pgd_ce_secant"):
        assert lines[of][0] == pytest.approx([0, 4, 8], abs=1)
    worst = next(line for line in axes.lines if line.get_label() == "worst case")
    assert worst.get_linewidth() > 2


def test_no_curve_is_hidden_where_all_break_everything(results):
    for condition in ATTACKS:
        row = results.rows[condition.id]
        results.rows[condition.id] = replace(row, n_wrong=N, error=100.0)
    one, other, *_ = error_over_radius(results, "a network").axes[0].lines
    assert list(one.get_ydata()) == list(other.get_ydata())
    apart = np.subtract(other.get_xdata(), one.get_xdata())
    assert (apart[1:] > 0.5).all()  # of a distance of 4 between the radii
    styles = {(line.get_color(), line.get_marker()) for line in (one, other)}
    assert len({colour for colour, _ in styles}) == len({marker for _, marker in styles}) == 2


def test_one_radius_is_bars(results):
    results.planned = [each for each in ATTACKS if each.eps_levels == 8]
    axes = error_over_radius(results, "a network").axes[0]
    assert [round(bar.get_width()) for bar in axes.patches] == [55, 70, 70]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["random_in_ball", "pgd_ce_secant", "worst case"]
    assert [text.get_text() for text in axes.texts] == ["55.0", "70.0", "70.0"]
    ends = [line.get_segments()[0][:, 0] for line in axes.collections]
    wilson = [(results.rows[each.id].ci_low, results.rows[each.id].ci_high) for each in results.planned]
    assert np.allclose(ends, [*wilson, wilson[1]], atol=1e-3)
    (clean,) = (line for line in axes.lines if str(line.get_label()).startswith("clean"))
    assert list(clean.get_xdata()) == [10, 10]
    assert "8 levels" in axes.get_xlabel()


def test_one_attack_alone_is_no_worst_case(results):
    results.suite = None
    labels = [line.get_label() for line in error_over_radius(results, "a network").axes[0].lines]
    assert labels == ["random_in_ball", "pgd_ce_secant"]


def test_error_over_effort(results):
    assert error_over_effort(results, "a network") is None  # no attack was repeated
    once = ATTACKS[-1]
    rows = {"half": 12, "": 14, "twice": 15}
    conditions = [replace(once, name=once.name + (f"_{effort}" if effort else "")) for effort in rows]
    for condition, n_wrong in zip(conditions, rows.values(), strict=True):
        wrong = np.arange(N) < n_wrong
        broken_at = np.where(wrong, 5.0, np.nan)
        broken_at[:2] = 0  # wrong as they are
        results.add(Row.of(condition, N, n_wrong, 1.0), {
            "index": np.arange(N), "label": np.zeros(N, int), "prediction": wrong.astype(int), "wrong": wrong,
            "confidence": np.full(N, 0.9, np.float32), "broken_at": broken_at,
        })  # fmt: skip
    results.planned = [*ATTACKS, conditions[0], conditions[2]]
    (axes,) = error_over_effort(results, "a network").axes
    assert axes.get_title() == "8 levels\npgd_ce_secant"
    assert axes.get_xlabel() == "gradients an image"
    curves = {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axes.lines}
    assert curves == {
        "half": ([0, 1, 2, 4, 8], [10, 10, 10, 10, 60]),
        "once": ([0, 1, 2, 4, 8], [10, 10, 10, 10, 70]),
        "twice": ([0, 1, 2, 4, 8], [10, 10, 10, 10, 75]),
    }


def test_loss_over_steps(results):
    axes = loss_over_steps(results, "a network").axes[0]
    (line,) = axes.lines
    assert (line.get_label(), line.get_xdata().tolist()) == ("pgd_ce_secant", [1, 2, 3, 4, 5])
    assert line.get_ydata().tolist() == np.arange(N * 5).reshape(N, 5)[2:].mean(0).tolist()
    assert "8 levels" in axes.get_xlabel()


def test_no_loss_is_hidden(results):
    """A search of one step is a single mark; that of twice the effort would lie on the search itself."""
    once = ATTACKS[-1]
    one_step, twice = (replace(once, name=f"{once.name}_{which}") for which in ("1step", "twice"))
    images = results.images(once.id)
    row = results.rows[once.id]
    results.add(Row.of(one_step, N, row.n_wrong, 1.0), {**images, "losses": images["losses"][:, :1]})
    results.add(Row.of(twice, N, row.n_wrong, 1.0), images)
    results.planned = [*ATTACKS, one_step, twice]
    *_, mark = lines = loss_over_steps(results, "a network").axes[0].lines
    assert [line.get_label() for line in lines] == [once.name, one_step.name]
    assert mark.get_markevery()[0] == 0


def test_a_title_is_no_wider_than_its_figure(results):
    figure = loss_over_steps(results, "a network of many words, " * 8)
    figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert "\n" in figure.get_suptitle()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


def test_no_steps_no_figure(results):
    results.planned = [each for each in ATTACKS if not each.gradient]
    assert loss_over_steps(results, "a network") is None


def test_images_of_the_strongest_attack_and_what_it_changed(results, clean_images):
    figure = adversarial_images(results, clean_images, "a network")
    grid = np.array(figure.axes).reshape(6, 5)
    assert [axes.get_title() for axes in grid[0]] == [
        "clean", "4 levels\npgd_ce_secant", "difference", "8 levels\npgd_ce_secant", "difference"
    ]  # fmt: skip
    shown = [axes.images[0].get_array()[0, 0, 0] for axes in grid[0]]
    assert shown == [100, 104, 128 + 4 * (127 // 4), 108, 128 + 8 * (127 // 8)]
    assert grid[0, 1].get_xlabel() == "wrong"


def test_files(results, clean_images):
    files = draw_attack_figures(results, clean_images, "a network")
    assert [file.name for file in files] == ["error_over_radius.png", "loss_over_steps.png", "adversarial_images.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    vector = draw_attack_figures(results, clean_images[:1], "a network", ["pdf"])
    assert [file.name for file in vector] == [file.with_suffix(".pdf").name for file in files]
