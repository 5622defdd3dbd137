import numpy as np
import pytest

from grids import in_turn
from p2be_exp.corruptions.constants import constants_of
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.fog import fog, plasma


def pictures(height, width):
    """A random, a dark, a smooth and a black image."""
    rng = np.random.default_rng(height * width)
    smooth = np.indices((height, width)).sum(axis=0)[..., None] * 200 // (height + width) + np.array([0, 20, 40])
    random = rng.integers(0, 256, (height, width, 3))
    return np.stack([random, random // 9, smooth, 0 * random]).astype(np.uint8)


def draws_of(severity, indices):
    return Draws("digits", "fog", severity, np.array(indices))


def transcribed_plasma(uniform, decay):
    """The points one by one, on a torus; point (row, column) takes random number row * side + column."""
    side = len(uniform)
    height = [[0.0] * side for _ in range(side)]

    def at(row, column):
        return height[row % side][column % side]

    def bump(row, column):
        return wibble * (-wibble + (wibble - -wibble) * uniform[row][column])

    step, wibble = side, 100.0
    while step >= 2:
        half = step // 2
        for row in range(half, side, step):
            for column in range(half, side, step):
                left = at(row - half, column - half) + at(row + half, column - half)
                right = at(row - half, column + half) + at(row + half, column + half)
                height[row][column] = (left + right) / 4 + bump(row, column)
        for row in range(0, side, step):
            for column in range(half, side, step):  # on an edge that runs across
                vertical = at(row + half, column) + at(row - half, column)
                height[row][column] = (vertical + (at(row, column - half) + at(row, column + half))) / 4
                height[row][column] += bump(row, column)
        for row in range(half, side, step):
            for column in range(0, side, step):  # on an edge that runs down
                horizontal = at(row, column + half) + at(row, column - half)
                height[row][column] = (horizontal + (at(row - half, column) + at(row + half, column))) / 4
                height[row][column] += bump(row, column)
        step, wibble = step // 2, wibble / decay
    smallest = min(map(min, height))
    largest = max(map(max, height)) - smallest
    return np.array([[(value - smallest) / largest for value in line] for line in height])


def transcribed(image, constants, uniform):
    height, width = image.shape[:2]
    x = image / 255
    largest = x.max()
    cloud = transcribed_plasma(uniform, constants[1])[:height, :width]
    x = (x + constants[0] * cloud[..., np.newaxis]) * largest / (largest + constants[0])
    return (np.clip(x, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("severity", "size", "side"), in_turn([1, 2, 3, 4, 5], [(32, 32), (24, 40), (8, 9), (224, 224)], [32, 64, 16, 256])
)
def test_equals_its_definition(size, side, severity):
    images = pictures(*size)[: 1 if side == 256 else 4]
    constants, draws = constants_of("fog", severity, *size), draws_of(severity, range(3, 3 + len(images)))
    uniform = draws.uniform(side * side).reshape(-1, side, side)
    expected = np.stack([transcribed(*pair) for pair in zip(images, [constants] * 4, uniform.tolist(), strict=False)])
    np.testing.assert_array_equal(fog(images, constants, draws), expected)


def test_an_image_does_not_depend_on_its_batch():
    images = pictures(24, 40)
    before = images.copy()
    together = fog(images, (0.75, 2.5), draws_of(3, [4, 9, 2, 0]))
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    for place, index in enumerate([4, 9, 2, 0]):
        alone = fog(images[place : place + 1], (0.75, 2.5), draws_of(3, [index]))
        np.testing.assert_array_equal(alone[0], together[place])
    turned = fog(images[::-1], (0.75, 2.5), draws_of(3, [0, 2, 9, 4]))
    np.testing.assert_array_equal(turned[::-1], together)


def test_a_black_image_stays_black_and_no_image_grows_brighter_than_it_was():
    images = pictures(32, 32)
    result = fog(images, (1.5, 1.75), draws_of(5, [0, 1, 2, 3]))
    assert not result[3].any()
    assert result[0].any()
    assert (result.max(axis=(1, 2, 3)) <= images.max(axis=(1, 2, 3))).all()


def test_plasma_runs_from_0_to_1_and_joins_at_its_edges():
    uniform = np.random.default_rng(0).random((400, 32, 32))
    clouds = plasma(uniform, 3)
    assert (clouds.min(axis=(1, 2)) == 0).all()
    assert (clouds.max(axis=(1, 2)) == 1).all()
    assert abs(clouds.mean() - 0.5) < 0.02
    # A torus: the step over the edge is like the one in the middle.
    across = np.abs(clouds[:, 0] - clouds[:, -1]).mean()
    assert across == pytest.approx(np.abs(clouds[:, 16] - clouds[:, 15]).mean(), rel=0.1)
    assert abs(np.corrcoef(clouds[:200].ravel(), clouds[200:].ravel())[0, 1]) < 0.05


def test_the_wibble_enters_twice():
    # Bumps of the same random number in the first round and in the second: the wibble counts by its square.
    uniform = np.full((1, 8, 8), 0.5)
    uniform[0, 4, 4] = 1.0  # the first round's centre alone
    before = plasma(uniform, 3)[0]
    uniform[0, 2, 2] = 1.0  # one of the second round's centres as well
    after = plasma(uniform, 3)[0]
    assert before[4, 4] == after[4, 4] == 1
    assert after[2, 2] - before[2, 2] == pytest.approx(1 / 3**2)


def test_larger_decay_is_smoother():
    uniform = np.random.default_rng(1).random((100, 32, 32))
    rough, smooth = (np.abs(np.diff(plasma(uniform, decay), axis=1)).mean() for decay in (1.5, 3))
    assert smooth < 0.7 * rough
