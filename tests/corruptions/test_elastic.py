import cv2
import numpy as np
import pytest
from scipy import ndimage

from grids import in_turn
from p2be_exp.corruptions.constants import constants_of
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.elastic import _read, affine_places, elastic_transform, smooth


def pictures(height, width):
    """A random, a smooth and an even image."""
    rng = np.random.default_rng(height * width)
    random = rng.integers(0, 256, (height, width, 3))
    ramp = np.indices((height, width)).sum(axis=0)[..., None] * 200 // (height + width) + np.array([0, 20, 40])
    return np.stack([random, ramp, 0 * random + 77]).astype(np.uint8)


def draws_of(severity, indices):
    return Draws("digits", "elastic_transform", severity, np.array(indices))


def three_points(height, width):
    x, y, s = width // 2, height // 2, min(height, width) // 3
    return np.float32([[x + s, y + s], [x + s, y - s], [x - s, y - s]])


def read_at(x, rows, columns, mode):
    """SciPy's order 1; its ``mirror`` is c b | a b c, its ``reflect`` c b a | a b c."""
    channels = [ndimage.map_coordinates(x[..., k], [rows, columns], order=1, mode=mode) for k in range(x.shape[2])]
    return np.stack(channels, axis=-1)


def transcribed(image, constants, uniform):
    alpha, sigma, reach = constants
    height, width = image.shape[:2]
    x = np.array(image, dtype=np.float32) / 255
    old = three_points(height, width)
    new = old + (-reach + 2 * reach * uniform[:6]).reshape(3, 2).astype(np.float32)
    there = np.linalg.solve(np.c_[new, np.ones(3)].astype(np.float64), old.astype(np.float64))  # new points to old
    xs, ys = np.meshgrid(np.arange(width), np.arange(height))
    columns, rows = (np.dstack([xs, ys, np.ones_like(xs)]) @ there).transpose(2, 0, 1)
    x = read_at(x, rows, columns, "mirror")
    noise = (-1 + 2 * uniform[6:]).reshape(2, height, width)
    dx, dy = ((ndimage.gaussian_filter(n, sigma, mode="reflect", truncate=3) * alpha).astype(np.float32) for n in noise)
    return (np.clip(read_at(x, ys + dy, xs + dx, "reflect"), 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("severity", "size"), in_turn([1, 2, 3, 4, 5], [(32, 32), (24, 40), (41, 27), (8, 9), (224, 224)])
)
def test_equals_its_definition(size, severity):
    images = pictures(*size)[: 2 if size == (224, 224) else 3]
    constants, draws = constants_of("elastic_transform", severity, *size), draws_of(severity, range(7, 7 + len(images)))
    uniform = draws.uniform(6 + 2 * size[0] * size[1])
    expected = np.stack([transcribed(image, constants, row) for image, row in zip(images, uniform, strict=True)])
    # Places and fields are added up in another order here: a value may fall on the other side of a level. (Seen: none.)
    fall = elastic_transform(images, constants, draws).astype(int) - expected
    assert abs(fall).max() <= 1
    assert (fall != 0).mean() <= 1e-4


def test_an_image_does_not_depend_on_its_batch():
    images = pictures(25, 39)
    before = images.copy()
    constants = (3.0, 1.5, 1.8)
    together = elastic_transform(images, constants, draws_of(3, [4, 9, 2]))
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    for place, index in enumerate([4, 9, 2]):
        alone = elastic_transform(images[place : place + 1], constants, draws_of(3, [index]))
        np.testing.assert_array_equal(alone[0], together[place])
    turned = elastic_transform(images[::-1].copy(), constants, draws_of(3, [2, 9, 4]))
    np.testing.assert_array_equal(turned[::-1], together)


@pytest.mark.parametrize(("mode", "edge_twice"), [("mirror", False), ("reflect", True)])
def test_reading_equals_scipy_far_beyond_the_edges_too(mode, edge_twice):
    rng = np.random.default_rng(0)
    x = rng.random((2, 24, 40, 3), dtype=np.float32)
    places = rng.uniform(-150, 190, (2, 2, 24, 40))
    places[1] = np.round(places[1])  # whole pixels, the edges among them
    for image, (rows, columns), got in zip(x, places, _read(x, places, edge_twice), strict=True):
        np.testing.assert_array_equal(got, read_at(image, rows, columns, mode))


@pytest.mark.parametrize(("height", "width", "reach"), [(32, 32, 2.56), (24, 40, 1.7), (224, 224, 24.4)])
def test_the_affine_map_is_opencv_s(height, width, reach):
    rng = np.random.default_rng(3)
    moves = rng.uniform(-reach, reach, (2, 3, 2))
    x = ndimage.gaussian_filter(rng.random((2, height, width, 3), dtype=np.float32), (0, 1, 1, 0))
    result = _read(x, affine_places(moves, height, width), edge_twice=False)
    steepest = max(np.abs(np.diff(x, axis=axis)).max() for axis in (1, 2))
    for image, move, got in zip(x, moves, result, strict=True):
        points = three_points(height, width)
        matrix = cv2.getAffineTransform(points, points + move.astype(np.float32))
        warped = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        # Some versions of OpenCV round the places to 1/32 pixel in each direction.
        assert np.abs(warped - got).max() <= 2 * steepest / 64 + 1e-5


def test_the_map_moves_the_three_points():
    moves = np.array([[[3, -2], [1, 2], [-2, 0]]], dtype=float)
    rows, columns = affine_places(moves, 32, 32)[0]
    for (x, y), (right, down) in zip([(26, 26), (26, 6), (6, 6)], moves[0].astype(int), strict=True):
        assert columns[y + down, x + right] == pytest.approx(x, abs=1e-9)
        assert rows[y + down, x + right] == pytest.approx(y, abs=1e-9)


def test_points_on_one_line_give_an_even_image_instead_of_nan():
    moves = np.array([[[0, 0], [-10, 10], [0, 0]]], dtype=float)  # (26, 26), (16, 16), (6, 6)
    places = affine_places(moves, 32, 32)
    assert np.isfinite(places).all()
    assert np.ptp(places, axis=(2, 3)).max() == 0


@pytest.mark.parametrize(
    ("size", "sigma"), [((32, 32), 0), ((32, 32), 6.4), ((32, 32), 0.96), ((24, 41), 3), ((224, 100), 170.8)]
)
def test_smoothing_equals_scipy(size, sigma):
    fields = np.random.default_rng(1).uniform(-1, 1, (2, 2, *size))
    expected = ndimage.gaussian_filter(fields, (0, 0, sigma, sigma), mode="reflect", truncate=3)
    np.testing.assert_allclose(smooth(fields, sigma), expected, rtol=0, atol=1e-14)


def shifts(constants, n, side=32):
    """How far each image's pixels are read from their place, (rows, columns): from two images of coordinates."""
    ramp = np.zeros((n, side, side, 3), dtype=np.uint8)
    ramp[..., 0] += np.arange(side, dtype=np.uint8)[:, None] * 6
    ramp[..., 1] += np.arange(side, dtype=np.uint8) * 6
    moved = elastic_transform(ramp, constants, draws_of(2, range(n))).astype(float) - ramp
    middle = slice(side // 4, -(side // 4))
    return (moved[:, middle, middle, :2] + 0.5) / 6  # truncation takes half a level on the average


def test_displacements_have_the_spread_of_smoothed_noise_and_are_drawn_apart():
    alpha, sigma = 3.0, 1.5
    field = shifts((alpha, sigma, 0.0), 200)
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    spread = alpha * (taps**2).sum() / np.sqrt(3)  # of U(-1, 1), smoothed both ways
    assert field.std() == pytest.approx(spread, rel=0.08)
    assert abs(field.mean()) < 0.02
    assert abs(np.corrcoef(field[..., 0].ravel(), field[..., 1].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(field[:100].ravel(), field[100:].ravel())[0, 1]) < 0.05


def test_without_moves_nothing_moves():
    images = pictures(32, 32)
    np.testing.assert_array_equal(elastic_transform(images, (0, 0, 0), draws_of(1, [0, 1, 2])), images)
