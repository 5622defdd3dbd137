"""The grid search of MixedNUTS against three loops over one image at a time, in plain Python floats."""

import math

import numpy as np
import pytest
import torch

from nuts_by_image import slow_softmax, slow_transform
from p2be_exp.models import nuts_calibration
from p2be_exp.models.nuts_calibration import CIFAR10_GRID, CIFAR100_GRID, IMAGENET_GRID, Grid, calibrate

GRID = Grid(s=(0.2, 5.0), c=(-1.1, 0.0), p=(1.0, 4.0), points=3)


def images(clean=40, attacked=30, classes=6):
    """Logits of images that are right by more, as a rule, than others are wrong."""
    generator = torch.Generator().manual_seed(0)
    clean_wrong, attacked_right = torch.randn(clean + attacked, classes, generator=generator).split([clean, attacked])
    attacked_right = attacked_right.clone()
    attacked_right[:, 0] += 4
    return clean_wrong, attacked_right


def slow_margin(logits, s, c, p, largest=250):
    second, first = sorted(slow_softmax(slow_transform(logits, s, c, p, largest)))[-2:]
    return first - second


def slow_search(clean, attacked, grid, beta):
    """q and the number of clean images with such a margin, at every point."""
    found = {}
    for s in np.logspace(*np.log10(grid.s), grid.points):
        for c in np.linspace(*grid.c, grid.points):
            for p in np.linspace(*grid.p, grid.points):
                margins = [slow_margin(row, s, c, p) for row in attacked.tolist()]
                q = min(np.percentile(margins, 100 - beta), 1 - 1e-9)
                found[s, c, p] = q, sum(slow_margin(row, s, c, p) >= q for row in clean.tolist())
    return found


@pytest.mark.parametrize("beta", [98.5, 80.0])
def test_the_search_is_three_loops(beta, monkeypatch):
    monkeypatch.setattr(nuts_calibration, "_ELEMENTS", 3 * 6 * 7)  # 7 images at a time
    clean, attacked = images()
    found = calibrate(clean, attacked, GRID, beta=beta)
    slow = slow_search(clean, attacked, GRID, beta)
    fewest = min(count for _, count in slow.values())
    q = max(q for q, count in slow.values() if count == fewest)
    (point,) = [point for point, (other, count) in slow.items() if count == fewest and math.isclose(other, q)]
    assert (found.s, found.c, found.p) == pytest.approx(point)
    assert found.q == pytest.approx(q, rel=1e-9)
    assert found.alpha == pytest.approx(1 / (1 + q), rel=1e-12)
    assert found.share == fewest / 40
    assert 0 < fewest < max(count for _, count in slow.values())
    assert (found.clean_wrong, found.attacked_right) == (40, 30)
    transformed = [slow_transform(row, *point, 250) for row in torch.cat([clean, attacked]).tolist()]
    changed = torch.tensor(transformed).argmax(1) != torch.cat([clean, attacked]).argmax(1)
    assert found.changed == changed.sum()


def test_the_surrogates_weight_is_that_of_the_logits_as_they_are():
    clean, attacked = images()
    margins = []
    for row in attacked.double().tolist():
        second, first = sorted(slow_softmax(row))[-2:]
        margins.append(first - second)
    expected = 1 / (1 + np.percentile(margins, 7))
    assert calibrate(clean, attacked, GRID, surrogate_beta=93.0).surrogate_alpha == pytest.approx(expected, rel=1e-12)


def test_the_published_optima_are_points_of_the_published_grids():
    published = {
        CIFAR10_GRID: (5.0, -1.1, 4.0),
        CIFAR100_GRID: (0.6115753843212784, -2.142857142857143, 3.571428571428571),
        IMAGENET_GRID: (0.023535468936502525, -0.2857142857142858, 2.7142857142857144),
    }
    for grid, point in published.items():
        for values, value in zip((grid.scales(), grid.shifts(), grid.powers()), point, strict=True):
            assert len(values) == 8
            assert values == sorted(values)
            assert min(abs(each / value - 1) for each in values) < 1e-12


def test_of_equal_transforms_the_largest_margin_then_the_mildest_is_taken():
    """No clean image is as sure as the attacked one at any point, so that q alone decides."""
    clean, attacked = torch.tensor([[0.1, 0.1] + 8 * [-0.2]]), torch.tensor([[9.0] + 9 * [0.0]])
    found = calibrate(clean, attacked, Grid(s=(0.1, 0.2), c=(-0.5, 0.0), p=(1.0, 2.0), points=2))
    assert (found.share, found.s, found.c, found.p) == (0, 0.2, 0.0, 2.0)
    # With such scales every margin is as large as it may be.
    found = calibrate(clean, attacked, Grid(s=(1e3, 1e4), c=(-0.5, 0.0), p=(1.0, 2.0), points=2))
    assert (found.share, found.q, found.s, found.c, found.p) == (0, 1 - 1e-9, 1e3, 0.0, 1.0)


@pytest.mark.parametrize(
    ("clean", "attacked", "message"),
    [
        (torch.empty(0, 3), torch.zeros(1, 3), "clean_wrong"),
        (torch.zeros(1, 3), torch.empty(0, 3), "attacked_right"),
        (torch.zeros(1, 3), torch.zeros(1, 4), "3 classes, attacked_right 4"),
        (torch.zeros(1, 1), torch.zeros(1, 1), "two classes"),
        (torch.tensor([[0.0, math.nan]]), torch.zeros(1, 2), "clean_wrong has logits"),
    ],
)
def test_sets_without_images_are_refused(clean, attacked, message):
    with pytest.raises(ValueError, match=message):
        calibrate(clean, attacked)
