"""Figures of restoration: what their pictures and marks show is what was given."""

import numpy as np
import pytest

from p2be_exp.evaluation.figures.restoration import restoration, restored_images


def test_each_row_has_an_image_before_and_after_with_its_differences():
    clean = np.full((2, 3, 4, 4), 100, dtype=np.uint8)
    noisy, restored = clean.copy(), clean.copy()
    noisy[0, :, :2] += 3
    restored[1] -= 40
    figure = restored_images(clean, noisy, restored, "title")
    grid = np.array(figure.axes).reshape(2, 5)
    assert [axes.get_title() for axes in grid[0]] == ["clean", "noisy", "difference x 32", "restored", "difference x 2"]
    shown = [[axes.images[0].get_array() for axes in row] for row in grid]
    for row in range(2):
        for column, images in ((0, clean), (1, noisy), (3, restored)):
            np.testing.assert_array_equal(shown[row][column], images[row].transpose(1, 2, 0))
    assert shown[0][2][0, 0].tolist() == [128 + 32 * 3] * 3
    assert shown[0][2][3, 3].tolist() == [128] * 3
    assert shown[1][4][0, 0].tolist() == [128 - 2 * 40] * 3
    labels = [[row[1].get_xlabel(), row[3].get_xlabel()] for row in grid]
    assert labels == [["1.5 levels off", "0.0 levels off"], ["0.0 levels off", "40.0 levels off"]]


def test_phases_over_the_batches():
    errors = [9.0, 4.0, 2.0, 3.5, 1.0]
    axes, strip = restoration(range(1, 6), errors, [0, 0, 1, 0, 1], 3.0, "title").axes
    points = {line.get_color(): line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "."}
    assert points == {"#0072B2": [[3, 2.0], [5, 1.0]], "#D55E00": [[1, 9.0], [2, 4.0], [4, 3.5]]}
    lines = {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")}
    assert list(lines["threshold 3"]) == [3.0, 3.0]
    mean = [np.mean(errors[max(0, i - 1) : i + 2]) for i in range(5)]
    assert list(lines["mean of 3 batches"]) == pytest.approx(mean)
    marked = [segment[0][0] for segment in strip.collections[0].get_segments()]
    assert marked == [1, 2, 4]
    assert "3 of 5 batches" in strip.get_title(loc="left")
