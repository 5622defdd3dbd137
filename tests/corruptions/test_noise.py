"""The four noises: the exact distribution of the published formulas, level by level, and independent draws."""

import numpy as np
import pytest
from scipy import stats

from p2be_exp.corruptions.constants import CIFAR, IMAGENET
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise

NOISES = (gaussian_noise, shot_noise, impulse_noise, speckle_noise)
CASES = [
    pytest.param(noise, family[noise.__name__][severity - 1][0], id=f"{noise.__name__}-{label}-{severity}")
    for noise in NOISES
    for label, family in (("cifar", CIFAR), ("imagenet", IMAGENET))
    for severity in (1, 2, 3, 4, 5)
]


class Given:
    """Stands for Draws: hands out the uniform numbers it was given."""

    def __init__(self, values):
        self.values = values

    def uniform(self, n, start=0):
        assert (n, start) == (self.values.shape[1], 0)
        return self.values


def outcomes(noise, constant, levels, uniform):
    """The result of each level (rows) under each uniform number (columns), through the public function."""
    images = np.repeat(np.asarray(levels, np.uint8), uniform.shape[1]).reshape(len(levels), 1, -1, 1)
    return noise(images, (constant,), Given(uniform)).reshape(len(levels), -1).astype(int)


# ---- the definitions, twice: as probabilities and as numpy code


def at_most(noise, constant):
    """[k, j] = probability that level k becomes at most j, j = 0..254, from the formula in [0, 1]."""
    x = np.arange(256)[:, None] / 255
    ends = np.arange(1, 256) / 255  # a result below (j + 1)/255 is truncated to at most j
    if noise is gaussian_noise:
        return stats.norm(x, constant).cdf(ends)
    if noise is speckle_noise:
        return np.vstack([np.ones((1, 255)), stats.norm(x[1:], x[1:] * constant).cdf(ends)])
    if noise is impulse_noise:
        return np.array([[(constant / 2) + (k <= j) * (1 - constant) for j in range(255)] for k in range(256)])
    counts = np.arange(3000)
    reached = (np.clip(counts / constant, 0, 1) * 255).astype(np.uint8)
    return np.stack(
        [
            np.bincount(reached, stats.poisson.pmf(counts, mean * constant), minlength=256).cumsum()[:255]
            for mean in x[:, 0]
        ]
    )


def simulated(noise, constant, level, n, rng):
    """The published formulas as they are written for numpy and scikit-image."""
    x = np.full(n, level) / 255.0
    if noise is gaussian_noise:
        x = np.clip(x + rng.normal(size=n, scale=constant), 0, 1) * 255
    elif noise is speckle_noise:
        x = np.clip(x + x * rng.normal(size=n, scale=constant), 0, 1) * 255
    elif noise is shot_noise:
        x = np.clip(rng.poisson(x * constant) / constant, 0, 1) * 255
    else:
        flipped, salted = rng.random(n) <= constant, rng.random(n) <= 0.5
        x[flipped & salted], x[flipped & ~salted] = 1, 0
        x = np.clip(x, 0, 1) * 255
    return np.uint8(x)


@pytest.mark.parametrize(("noise", "constant"), CASES)
def test_every_probability_is_that_of_the_formula(noise, constant):
    """A draw a hair below the probability of "at most j" gives at most j, a hair above it more: all 256 x 255."""
    levels, hair = np.arange(256), 1e-9
    table = at_most(noise, constant)
    below = outcomes(noise, constant, levels, np.clip(table - hair, 0, 1 - 2**-53))
    above = outcomes(noise, constant, levels, np.clip(table + hair, 0, 1 - 2**-53))
    j = np.arange(255)
    assert (below <= j)[table > hair].all()
    assert (above > j)[table < 1 - hair].all()


@pytest.mark.parametrize(("noise", "constant"), CASES[::3])
def test_results_are_distributed_as_by_the_literal_formula(noise, constant):
    """Chi-square over all levels that occur; of 3,500 seeds one would raise a false alarm in these 280 comparisons."""
    rng = np.random.default_rng(0)
    levels, n = [0, 1, 30, 128, 200, 254, 255], 10_000
    found = outcomes(noise, constant, levels, rng.random((len(levels), n)))
    for level, result in zip(levels, found, strict=True):
        expected = simulated(noise, constant, level, n, rng)
        counts = np.stack([np.bincount(values, minlength=256) for values in (result, expected)])
        rare = counts.sum(axis=0) < 20
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
        counts = counts[:, counts.sum(axis=0) > 0]
        if counts.shape[1] > 1:
            assert stats.chi2_contingency(counts).pvalue > 1e-6, level
        else:
            assert (result == expected).all()


@pytest.mark.parametrize(("noise", "constant"), CASES[1::3])
def test_a_larger_draw_never_gives_a_smaller_level(noise, constant):
    uniform = np.sort(np.random.default_rng(0).random(200))
    uniform[[0, -1]] = 0, 1 - 2**-53
    found = outcomes(noise, constant, np.arange(256), np.tile(uniform, (256, 1)))
    assert (np.diff(found, axis=1) >= 0).all()
    if noise is gaussian_noise or noise is shot_noise:  # nor does a larger level under the same draw
        assert (np.diff(found, axis=0) >= 0).all()


def test_black_and_white_under_each_noise():
    n = 10_000
    black, white = np.zeros((1, 10, n // 10, 1), np.uint8), np.full((1, 10, n // 10, 1), 255, np.uint8)

    def result(noise, constant, images):
        return noise(images, (constant,), Draws("test", noise.__name__, 1, [0])).ravel()

    assert (result(shot_noise, 500, black) == 0).all()
    assert (result(speckle_noise, 0.2, black) == 0).all()
    # Half of the noise of black is cut off, and all below one level truncated.
    assert np.mean(result(gaussian_noise, 0.1, black) == 0) == pytest.approx(stats.norm.cdf(1 / 25.5), abs=0.02)
    assert np.mean(result(gaussian_noise, 0.1, white) == 255) == pytest.approx(0.5, abs=0.02)
    assert np.mean(result(speckle_noise, 0.1, white) == 255) == pytest.approx(0.5, abs=0.02)
    assert np.mean(result(impulse_noise, 0.1, black) == 255) == pytest.approx(0.05, abs=0.01)
    assert set(result(impulse_noise, 0.1, white).tolist()) == {0, 255}
    assert np.mean(result(shot_noise, 3, white) == 255) == pytest.approx(stats.poisson.sf(2, 3), abs=0.02)


@pytest.mark.parametrize(
    ("noise", "constant"), [(gaussian_noise, 0.1), (shot_noise, 50), (impulse_noise, 0.07), (speckle_noise, 0.2)]
)
def test_values_channels_and_images_are_struck_independently(noise, constant):
    images = np.full((20, 32, 32, 3), 128, np.uint8)
    found = noise(images, (constant,), Draws("test", noise.__name__, 5, np.arange(20))).astype(float)
    for axis in range(4):
        neighbours = np.roll(found, 1, axis)
        assert abs(np.corrcoef(found.ravel(), neighbours.ravel())[0, 1]) < 0.02, axis  # five standard errors
    assert abs(np.corrcoef((found - 128).ravel() ** 2, (np.roll(found, 1, 3) - 128).ravel() ** 2)[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("noise", "constant", "height", "width"),
    [
        (gaussian_noise, 0.1, 32, 32),
        (shot_noise, 50, 8, 13),
        (impulse_noise, 0.07, 224, 224),
        (speckle_noise, 0.2, 8, 13),
        (gaussian_noise, 0.1, 224, 224),
    ],
)
def test_an_image_is_struck_alike_in_every_batch_and_order(noise, constant, height, width):
    images = np.random.default_rng(0).integers(0, 256, (4, height, width, 3), dtype=np.uint8)
    before, indices = images.copy(), np.array([7, 0, 9, 4])
    together = noise(images, (constant,), Draws("test", noise.__name__, 1, indices))
    assert together.dtype == np.uint8
    assert together.shape == images.shape
    np.testing.assert_array_equal(images, before)
    backwards = noise(images[::-1].copy(), (constant,), Draws("test", noise.__name__, 1, indices[::-1]))
    np.testing.assert_array_equal(backwards[::-1], together)
    for image in range(4):
        alone = noise(
            images[image : image + 1], (constant,), Draws("test", noise.__name__, 1, indices[image : image + 1])
        )
        np.testing.assert_array_equal(alone[0], together[image])
