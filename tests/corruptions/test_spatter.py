import cv2
import numpy as np
import pytest
from scipy import ndimage

from grids import in_turn
from p2be_exp.corruptions.constants import constants_of
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.spatter import mud_cover, spatter, water_cover

WATER_LIGHT = np.float32([175, 238, 238]) / np.float32(255)
MUD_LIGHT = np.float32([63, 42, 20]) / np.float32(255)


def pictures(height, width):
    """A random, a dark and a smooth image."""
    rng = np.random.default_rng(height * width)
    random = rng.integers(0, 256, (height, width, 3))
    smooth = np.indices((height, width)).sum(axis=0)[..., None] * 200 // (height + width) + np.array([0, 20, 40])
    return np.stack([random, random // 9, smooth]).astype(np.uint8)


def draws_of(severity, indices):
    return Draws("digits", "spatter", severity, np.array(indices))


def blurred(field, sigma):
    """A gaussian from its taps, edge repeated, rows then columns, each rounded to the field's precision."""
    radius = int(4 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        pad = [(radius, radius) if each == axis else (0, 0) for each in (0, 1)]
        padded = np.pad(field, pad, mode="edge").astype(np.float64)
        field = np.apply_along_axis(np.convolve, axis, padded, taps, "valid").astype(field.dtype)
    return field


def windows(field):
    """The 3 x 3 neighbours of every pixel, c b | a b c beyond the edge: ``(H, W, 3, 3)``."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(field, 1, mode="reflect"), (3, 3))


def equalised(levels):
    """Each level by the share of pixels up to it, the darkest to 0."""
    counts = np.bincount(levels.ravel(), minlength=256)
    first = np.flatnonzero(counts)[0]
    rest = levels.size - counts[first]
    if rest == 0:
        return levels
    below = np.cumsum(counts) - counts[first]
    return np.rint(below * np.float32(255 / np.float32(rest)).astype(np.float64)).clip(0, 255).astype(np.uint8)[levels]


def transcribed_water(layer, strength):
    near = np.minimum(cv2.distanceTransform(255 - cv2.Canny(layer, 50, 150), cv2.DIST_L2, 5), 20)
    near = windows(near).astype(np.float64).mean(axis=(2, 3))
    # Blurred by another order of additions: 20 stays 20.
    relief = equalised(np.floor(near + 1e-5).astype(np.uint8)).astype(int)
    relief = (windows(relief) * [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]).sum(axis=(2, 3)).clip(0, 255)
    relief = np.rint(windows(relief).sum(axis=(2, 3)) / 9)
    cover = (layer * relief).astype(np.float32)
    return cover / max(cover.max(), np.float32(1e-9)) * np.float32(strength)


def transcribed(image, constants, normal):
    mean, deviation, sigma, threshold, look, kind = constants
    height, width = image.shape[:2]
    x = np.array(image, dtype=np.float32) / 255
    layer = blurred((mean + deviation * normal).reshape(height, width), sigma)
    layer[layer < threshold] = 0
    if kind == 0:
        cover = transcribed_water((layer * 255).astype(np.uint8), look)[..., None]
        x = x + cover * WATER_LIGHT
    else:
        cover = blurred((layer > threshold).astype(np.float32), look)[..., None]
        cover[cover < 0.8] = 0
        x = x * (1 - cover) + cover * MUD_LIGHT
    return (np.clip(x, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(("severity", "size"), in_turn([1, 2, 3, 4, 5], [(32, 32), (24, 40), (8, 9), (224, 224)]))
def test_equals_its_definition(size, severity):
    images = pictures(*size)
    images = images[:1] if size == (224, 224) else np.tile(images, (4, 1, 1, 1))
    constants, draws = constants_of("spatter", severity, *size), draws_of(severity, range(11, 11 + len(images)))
    normal = draws.normal(size[0] * size[1])
    expected = np.stack([transcribed(image, constants, row) for image, row in zip(images, normal, strict=True)])
    fall = spatter(images, constants, draws).astype(int) - expected
    # Gaussians are added up in another order here: a value may fall on the other side of a level. (Seen: none.)
    assert abs(fall).max() <= 1
    assert (fall != 0).mean() <= 1e-4


def test_an_image_does_not_depend_on_its_batch():
    images = pictures(24, 40)
    before = images.copy()
    for severity in (2, 5):
        constants = constants_of("spatter", severity, 24, 40)
        together = spatter(images, constants, draws_of(severity, [4, 9, 2]))
        assert together.dtype == np.uint8
        np.testing.assert_array_equal(images, before)
        for place, index in enumerate([4, 9, 2]):
            alone = spatter(images[place : place + 1], constants, draws_of(severity, [index]))
            np.testing.assert_array_equal(alone[0], together[place])
        turned = spatter(images[::-1].copy(), constants, draws_of(severity, [2, 9, 4]))
        np.testing.assert_array_equal(turned[::-1], together)


@pytest.mark.parametrize("kind", [0, 1])
def test_without_drops_the_image_stays(kind):
    images = pictures(32, 32)
    np.testing.assert_array_equal(spatter(images, (0.1, 0.01, 1, 0.7, 0.5, kind), draws_of(1, [0, 1, 2])), images)


def test_water_without_an_edge_is_even():
    assert not water_cover(np.zeros((16, 16), dtype=np.uint8), 0.5).any()
    np.testing.assert_array_equal(water_cover(np.full((16, 16), 200, dtype=np.uint8), 0.5), np.float32(0.5))


def test_water_is_strongest_at_its_strength_and_dry_where_there_is_no_drop():
    layer = np.zeros((40, 40), dtype=np.uint8)
    layer[8:30, 12:26] = 190
    cover = water_cover(layer, 0.6)
    assert cover.dtype == np.float32
    assert cover.max() == np.float32(0.6)
    assert cover.min() >= 0
    assert not cover[layer == 0].any()


def test_water_of_one_wide_drop_equals_its_definition():
    # Wider than 40 pixels, so that distances are cut at 20 inside.
    layer = np.zeros((110, 120), dtype=np.uint8)
    layer[10:100, 15:105] = 180 + np.arange(90) % 7
    for strength in (0.5, 0.6):
        np.testing.assert_array_equal(water_cover(layer, strength), transcribed_water(layer, strength))


def test_distances_are_measured_to_the_nearest_edge_pixel():
    # What the water's look is made of: zero on the edge, elsewhere Euclidean, within the error of a 5 x 5 mask.
    edge = np.zeros((60, 50), dtype=np.uint8)
    edge[[5, 20, 41], [44, 3, 30]] = 255
    measured = cv2.distanceTransform(255 - edge, cv2.DIST_L2, 5)
    np.testing.assert_allclose(measured, ndimage.distance_transform_edt(edge == 0), rtol=0.025)


def test_mud_covers_whole_drops_and_leaves_weak_rims():
    drops = np.zeros((2, 20, 30), dtype=bool)
    drops[0, 4:16, 5:20] = True
    cover = mud_cover(drops, 0.6)
    assert cover.dtype == np.float32
    assert not cover[1].any()
    assert cover[0, 10, 12] == 1
    assert set(np.unique(cover[0] > 0)) == {False, True}
    assert cover[cover > 0].min() >= 0.8
    assert not cover[~drops].any()


def test_drops_of_two_images_are_drawn_apart_and_cover_what_the_noise_says():
    n = 300
    black = np.zeros((n, 32, 32, 3), dtype=np.uint8)
    # Noise of sigma 0.3 under a gaussian of sigma 1: a normal field again, of a known deviation.
    taps = np.exp(-(np.arange(-4, 5) ** 2) / 2)
    deviation = 0.3 * (taps**2).sum() / taps.sum() ** 2
    wet = spatter(black, (0.65, 0.3, 1, 0.65 + deviation, 0.05, 1), draws_of(5, range(n)))[..., 0] > 0
    inside = wet[:, 6:-6, 6:-6]
    assert inside.mean() == pytest.approx(0.1587, abs=0.012)  # above one standard deviation
    assert abs(np.corrcoef(wet[:150].ravel(), wet[150:].ravel())[0, 1]) < 0.03
