"""The pictures of corruption errors, by what is in them: cells, bars, intervals, lines, labels that do not overlap."""

import itertools
from dataclasses import asdict

import matplotlib.image
import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy.stats import binomtest

from measured_runs import wrong_images
from p2be_exp.corruptions.names import ALL, CATEGORIES, EXTRA, SEVERITIES, TEST
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.figures.corruption_figures import (
    COLOURS,
    bars,
    corruption_errors,
    draw_corruption_figures,
    heatmap,
    mean_interval,
    over_severity,
)
from p2be_exp.evaluation.results import Row

FILES = ["corruption_heatmap.png", "corruption_bars.png", "error_over_severity.png"]
SUMMARY = {"clean_error": 12.5, "corruptions": {}}
TITLE = "p2be, M = 64, lambda_smooth = 1.0; wrn40_2; augmix, preset official; seed 0\ncifar100, generated corruptions"


def wrong_of(cells, n=200):
    conditions = [f"corruption/{name}/{severity}" for name, severity in cells]
    found = {}
    for number, name in enumerate(conditions):  # the same hard images at every severity
        found |= wrong_images([name], n, rate=0.15 + 0.02 * (number % 20), seed=number // 5)
    return found


def rows_of(wrong):
    rows = []
    for condition, images in wrong.items():
        _, name, severity = condition.split("/")
        rows.append(Row.of(Condition("corruption", name, int(severity)), len(images), int(images.sum()), 1.0))
    return rows


def cells_of(names=TEST, severities=SEVERITIES):
    return list(itertools.product(names, severities))


def errors_of(cells, summary=SUMMARY, n=200):
    wrong = wrong_of(cells, n)
    return corruption_errors(summary, rows_of(wrong)), wrong


PARTLY = [cell for cell in cells_of() if cell[0] != "frost" and cell not in [("fog", 4), ("fog", 5)]]
CASES = {
    "fifteen": (cells_of(), SUMMARY),
    "nineteen": (cells_of(ALL), SUMMARY),
    "one": ([("fog", 3)], SUMMARY),
    "two": (cells_of(["gaussian_noise", "elastic_transform"], [1, 5]), {"clean_error": None, "corruptions": {}}),
    "no frost": (PARTLY, {"clean_error": 12.5, "corruptions": {"left_out": {"frost": "no textures"}}}),
}


# -- the matrix -------------------------------------------------------------------------------------------------------


def test_the_matrix_in_the_published_order():
    wrong = wrong_of(cells_of(["fog", "shot_noise"], [2, 4]))
    rows = rows_of(wrong)
    errors = corruption_errors(SUMMARY, rows[::-1])
    assert (errors.names, errors.severities, errors.clean) == (("shot_noise", "fog"), (2, 4), 12.5)
    for row, column in itertools.product(range(2), range(2)):
        images = wrong[f"corruption/{errors.names[row]}/{errors.severities[column]}"]
        interval = binomtest(int(images.sum()), 200).proportion_ci(method="wilson")
        expected = (images.mean(), interval.low, interval.high)
        found = (errors.error[row, column], errors.low[row, column], errors.high[row, column])
        assert found == pytest.approx([100 * value for value in expected], abs=1e-4)


def test_rows_may_be_dictionaries_and_others_are_passed_over():
    wrong = wrong_of(cells_of(["fog"]))
    rows = [Row.of(CLEAN, 10, 1, 1.0), *rows_of(wrong), Row.of(Condition("attack", "pgd", eps_levels=8), 10, 9, 1.0)]
    one, other = corruption_errors(SUMMARY, rows), corruption_errors(SUMMARY, [asdict(row) for row in rows])
    assert one.names == other.names == ("fog",)
    np.testing.assert_array_equal(one.error, other.error)
    assert np.isfinite(one.error).all()


def test_what_was_asked_for_and_is_missing_is_in_the_matrix():
    section = {"left_out": {"frost": "no textures"}, "unfinished": ["fog"], "severities": [1, 2, 3]}
    errors, _ = errors_of([("snow", 1), ("snow", 2)], {"clean_error": None, "corruptions": section})
    assert (errors.names, errors.severities) == (("snow", "frost", "fog"), (1, 2, 3))
    assert np.isfinite(errors.error).tolist() == [[True, True, False], [False] * 3, [False] * 3]
    assert errors.complete(TEST) == []
    assert errors_of(cells_of(["snow", "fog", "spatter"]))[0].complete([*TEST, "snow"]) == [0, 1]


# -- intervals of means -----------------------------------------------------------------------------------------------


def test_the_interval_of_a_mean_is_that_of_the_images_means():
    errors, wrong = errors_of(cells_of(["snow", "fog"]))
    shares = np.mean([wrong[f"corruption/fog/{severity}"] for severity in SEVERITIES], axis=0)
    half = 1.959964 * shares.std(ddof=1) / np.sqrt(200)
    expected = [100 * (shares.mean() - half), 100 * (shares.mean() + half)]
    assert mean_interval(errors, 1, wrong) == pytest.approx(expected)


def test_the_images_are_not_pooled():
    """Five times the same images are no more images: the interval is as wide as that of one severity."""
    (images,) = wrong_of([("fog", 1)], n=2000).values()
    wrong = {f"corruption/fog/{severity}": images for severity in SEVERITIES}
    errors = corruption_errors(SUMMARY, rows_of(wrong))
    one = errors.low[0, 0], errors.high[0, 0]
    assert mean_interval(errors, 0, wrong) == pytest.approx(one, abs=0.1)
    assert mean_interval(errors, 0) == pytest.approx(one, abs=1e-6)


def test_without_the_images_it_is_no_narrower():
    errors, wrong = errors_of(cells_of(["fog"]))
    low, high = mean_interval(errors, 0)
    assert (low, high) == pytest.approx((errors.low[0].mean(), errors.high[0].mean()))
    narrow = mean_interval(errors, 0, wrong)
    assert high - low > narrow[1] - narrow[0]
    del wrong["corruption/fog/2"]  # without those of one severity
    assert mean_interval(errors, 0, wrong) == (low, high)


def test_one_severity_keeps_its_own_interval():
    errors, wrong = errors_of([("fog", 3), ("snow", 3), ("snow", 4)])
    assert errors.names == ("snow", "fog")
    assert mean_interval(errors, 1, wrong) == pytest.approx((errors.low[1, 0], errors.high[1, 0]))


def test_intervals_stay_between_0_and_100():
    for images in ([True] + [False] * 19, [False] + [True] * 19):
        wrong = {f"corruption/fog/{severity}": np.array(images) for severity in SEVERITIES}
        low, high = mean_interval(corruption_errors(SUMMARY, rows_of(wrong)), 0, wrong)
        assert 0 <= low < high <= 100


# -- heatmap ----------------------------------------------------------------------------------------------------------


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_every_cell_has_its_number():
    errors, _ = errors_of(*CASES["no frost"])
    axes = heatmap(errors).axes[0]
    assert ticks(axes.yaxis) == [name.replace("_", " ") for name in TEST]
    assert ticks(axes.xaxis) == ["1", "2", "3", "4", "5"]
    told = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    for place, error in np.ndenumerate(errors.error):
        assert told[place] == ("–" if np.isnan(error) else f"{error:.1f}")
    drawn = axes.images[0].get_array()
    np.testing.assert_array_equal(drawn.mask, np.isnan(errors.error))
    np.testing.assert_array_equal(drawn.compressed(), errors.error[np.isfinite(errors.error)])
    assert axes.images[0].get_clim() == (0, 100)  # the same colours in every figure
    assert list(told.values()).count("–") == 7


def luminance(colour):
    """Relative luminance as the Web Content Accessibility Guidelines define it."""
    channels = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_numbers_are_readable_on_their_colour():
    wrong = {
        f"corruption/{name}/{s}": np.arange(100) < 4 * (5 * row + s)
        for (row, name), s in itertools.product(
            enumerate(["snow", "frost", "fog", "brightness", "contrast"]), SEVERITIES
        )
    }
    axes = heatmap(corruption_errors(SUMMARY, rows_of(wrong))).axes[0]
    colours = axes.images[0].cmap(axes.images[0].norm(axes.images[0].get_array()))
    for text in axes.texts[:25]:
        column, row = map(int, text.get_position())
        light, dark = sorted([luminance(colours[row, column][:3]), luminance(text.get_color())])[::-1]
        assert (light + 0.05) / (dark + 0.05) > 4.4, text.get_text()


# -- bars -------------------------------------------------------------------------------------------------------------


def test_a_bar_a_corruption_with_its_interval():
    errors, wrong = errors_of(cells_of(ALL))
    axes = bars(errors, wrong=wrong).axes[0]
    assert ticks(axes.yaxis) == [name.replace("_", " ") for name in ALL]
    categories = {**CATEGORIES, "extra": EXTRA}
    for row, (name, bar, whisker) in enumerate(zip(ALL, axes.patches, axes.collections, strict=True)):
        assert bar.get_width() == pytest.approx(errors.error[row].mean())
        category = next(category for category, names in categories.items() if name in names)
        assert bar.get_facecolor() == matplotlib.colors.to_rgba(COLOURS[category])
        (segment,) = whisker.get_segments()
        assert tuple(segment[:, 0]) == pytest.approx(mean_interval(errors, row, wrong))
        assert axes.texts[row].get_text() == f"{errors.error[row].mean():.1f}"
    assert "mean over severities 1–5" in axes.get_xlabel()
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first on top


def test_the_clean_error_is_a_line():
    errors, _ = errors_of(cells_of(["fog"]))
    figure = bars(errors)
    assert [text.get_text() for text in figure.legends[0].texts] == ["clean images: 12.5 %"]
    assert any(list(line.get_xdata()) == [12.5, 12.5] for line in figure.axes[0].lines)
    assert bars(errors_of(*CASES["two"])[0]).legends == []


def test_bars_over_other_severities_say_so():
    errors, _ = errors_of(*CASES["no frost"])
    figure = bars(errors, TITLE)
    names = ticks(figure.axes[0].yaxis)
    assert "fog\n(severities 1–3 only)" in names
    assert not any(name.startswith("frost") for name in names)
    assert figure.get_suptitle() == f"{TITLE}\nnot measured: frost"
    assert bars(errors_of([("fog", 3)])[0]).axes[0].get_xlabel() == "error %, at severity 3, with 95 % interval"
    two = bars(errors_of(*CASES["two"])[0]).axes[0]
    assert "mean over severities 1, 5," in two.get_xlabel()


def test_images_that_are_all_alike():
    """A mean of rounded errors may lie beside an interval without width."""
    wrong = {f"corruption/fog/{s}": np.arange(1, 4) == s for s in (1, 2, 3)}
    errors = corruption_errors(SUMMARY, rows_of(wrong))
    assert mean_interval(errors, 0, wrong)[0] > errors.error.mean()
    bars(errors, wrong=wrong)


# -- over severity ----------------------------------------------------------------------------------------------------


def lines(figure):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[0].lines}


def test_a_line_a_category_and_the_mean():
    errors, _ = errors_of(cells_of(ALL))
    found = lines(over_severity(errors))
    assert list(found) == [
        *("noise (3 of 3)", "blur (4 of 4)", "weather (4 of 4)", "digital (4 of 4)", "extra (4 of 4)"),
        "mean (15 of 15)",
    ]
    assert found["noise (3 of 3)"] == ([0, 1, 2, 3, 4, 5], [12.5, *errors.error[:3].mean(axis=0)])
    assert found["extra (4 of 4)"][1] == pytest.approx([12.5, *errors.error[15:].mean(axis=0)])
    assert found["mean (15 of 15)"][1] == pytest.approx([12.5, *errors.error[:15].mean(axis=0)])


def test_a_line_is_about_the_same_corruptions_all_along():
    errors, _ = errors_of(*CASES["no frost"])
    figure = over_severity(errors, TITLE)
    found = lines(figure)
    assert list(found)[2:] == ["weather (2 of 4)", "digital (4 of 4)", "mean (13 of 15)"]
    snow, brightness = TEST.index("snow"), TEST.index("brightness")
    assert found["weather (2 of 4)"][1][1:] == pytest.approx(errors.error[[snow, brightness]].mean(axis=0))
    assert figure.get_suptitle() == f"{TITLE}\nin no mean, not measured at every severity: frost, fog"


def test_without_clean_images_and_with_few_severities():
    figure = over_severity(errors_of(*CASES["two"])[0])
    found = lines(figure)
    assert found["noise (1 of 3)"][0] == [1, 5]
    assert list(found) == ["noise (1 of 3)", "digital (1 of 4)", "mean (2 of 15)"]
    assert ticks(figure.axes[0].xaxis) == ["1", "5"]
    assert ticks(over_severity(errors_of([("fog", 3)])[0]).axes[0].xaxis) == ["clean", "3"]


def test_the_mean_over_one_category_is_drawn_once():
    assert list(lines(over_severity(errors_of([("fog", 3)])[0]))) == ["weather (1 of 4)"]


def test_nothing_at_every_severity():
    figure = over_severity(errors_of([("fog", 1), ("snow", 2)])[0])
    assert lines(figure) == {}
    assert "in no mean" in figure.get_suptitle()


# -- files and layout -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["one", "no frost"])
def test_the_files(tmp_path, case):
    cells, summary = CASES[case]
    wrong = wrong_of(cells)
    open_before = plt.get_fignums()
    paths = draw_corruption_figures(summary, rows_of(wrong), tmp_path / "figures", TITLE, wrong)
    assert paths == [tmp_path / "figures" / name for name in FILES]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(FILES)
    for path in paths:
        picture = matplotlib.image.imread(path)
        assert min(picture.shape[:2]) > 200
        assert picture[..., :3].std() > 0.05
    assert plt.get_fignums() == open_before


def test_nothing_to_draw(tmp_path):
    summary = {"clean_error": 12.5, "corruptions": {"unfinished": ["fog"], "severities": [1, 2]}}
    assert draw_corruption_figures(summary, [Row.of(CLEAN, 10, 1, 1.0)], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("draw", [heatmap, bars, over_severity])
def test_no_text_overlaps_another_or_leaves_the_picture(case, draw):
    figure = draw(errors_of(*CASES[case])[0], TITLE)
    figure.draw_without_rendering()
    found = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip() and text.get_visible()]
    shown = {id(text): text for text in found if _is_shown(text)}.values()
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    for told, box in boxes:
        assert box.x0 >= 0, told
        assert box.y0 >= 0, told
        assert box.x1 <= figure.bbox.width, told
        assert box.y1 <= figure.bbox.height, told
    for (told, box), (other, its) in itertools.combinations(boxes, 2):
        assert not box.padded(-1).overlaps(its.padded(-1)), (told, other)


def _is_shown(text):
    """Axis ticks outside the limits are kept by matplotlib and not drawn."""
    axes = text.axes
    if axes is None or text in axes.texts:
        return True
    for axis in (axes.xaxis, axes.yaxis):
        for tick in axis.get_major_ticks():
            if text in (tick.label1, tick.label2):
                low, high = sorted(axis.get_view_interval())
                return low <= tick.get_loc() <= high
    return True
