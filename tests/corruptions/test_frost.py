import hashlib
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from grids import in_turn
from p2be_exp.corruptions import frost as frost_module
from p2be_exp.corruptions.constants import constants_of
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.frost import frost
from p2be_exp.corruptions.textures import Textures, find_textures, scale_for
from p2be_exp.errors import BadInput

NAMES = ["frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"]
SIZES = [(270, 300), (231, 400), (300, 260), (250, 255), (240, 333)]  # all larger than 224


def write_textures(folder, arrays):
    """Pictures under the names of the textures, in the format that the name says."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, arrays, strict=True):
        Image.fromarray(array).save(folder / name)
    return folder


def exact_textures(arrays):
    """Textures of these very pixels, which a JPEG would not keep."""
    textures = Textures.__new__(Textures)
    textures.images, textures.sha256, textures._scaled = tuple(arrays), {}, {}
    return textures


def noise(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    arrays = noise(SIZES)
    arrays[0] = np.dstack([arrays[0], np.full(SIZES[0], 128, dtype=np.uint8)])  # frost1.png has transparency
    return write_textures(tmp_path_factory.mktemp("textures") / "frost", arrays)


@pytest.fixture(scope="module")
def textures(folder):
    return find_textures(folder)


def pictures(height, width):
    """A random, a dark and a smooth image."""
    rng = np.random.default_rng(height + width)
    smooth = np.indices((height, width)).sum(axis=0)[..., None] * 255 // (height + width) + np.zeros(3, dtype=int)
    return np.stack([rng.integers(0, 256, (height, width, 3)), rng.integers(0, 9, (height, width, 3)), smooth]).astype(
        np.uint8
    )


def draws_of(severity, indices):
    return Draws("digits", "frost", severity, np.array(indices))


def overlays(textures, height, width):
    """As the definition has it: a fifth of the pixels per side at 32 x 32, the texture itself at 224 x 224."""
    if (height, width) == (32, 32):
        # Linear interpolation at a fifth of the size reads at 5 k + 2 exactly.
        return [image[2::5, 2::5] for image in textures.images]
    if (height, width) == (224, 224):
        return textures.images
    scales = [scale_for(image.shape[:2], height, width) for image in textures.images]
    return [cv2.resize(image, (0, 0), fx=by, fy=by) for image, by in zip(textures.images, scales, strict=True)]


def transcribed(image, constants, uniform, pictures_of_frost):
    height, width = image.shape[:2]
    overlay = pictures_of_frost[int(5 * uniform[0])]
    top = int(uniform[1] * (overlay.shape[0] - height))
    left = int(uniform[2] * (overlay.shape[1] - width))
    crop = overlay[top : top + height, left : left + width].astype(np.float64)
    return np.clip(constants[0] * image.astype(np.float64) + constants[1] * crop, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("severity", "size"), in_turn([1, 2, 3, 4, 5], [(32, 32), (24, 40), (64, 64), (224, 224)]))
def test_equals_its_definition(textures, size, severity):
    images = np.tile(pictures(*size), (3, 1, 1, 1))
    constants, draws = constants_of("frost", severity, *size), draws_of(severity, range(5, 14))
    result = frost(images, constants, draws, textures)
    frames = overlays(textures, *size)
    for image, uniform, got in zip(images, draws.uniform(3), result, strict=True):
        np.testing.assert_array_equal(got, transcribed(image, constants, uniform, frames))


def test_an_image_does_not_depend_on_its_batch(textures):
    images = pictures(32, 32)
    before = images.copy()
    together = frost(images, (0.9, 0.4), draws_of(3, [4, 9, 2]), textures)
    assert together.dtype == np.uint8
    assert together.flags.c_contiguous
    np.testing.assert_array_equal(images, before)
    for place, index in enumerate([4, 9, 2]):
        alone = frost(images[place : place + 1], (0.9, 0.4), draws_of(3, [index]), textures)
        np.testing.assert_array_equal(alone[0], together[place])
    turned = frost(images[::-1], (0.9, 0.4), draws_of(3, [2, 9, 4]), textures)
    np.testing.assert_array_equal(turned[::-1], together)


def test_textures_and_places_are_drawn_uniformly_and_the_last_place_never():
    # A texture that tells, at a fifth of its size, number, row and column; seen through weights 0 and 1.
    sizes = [(34, 36), (33, 40), (36, 33), (34, 34), (40, 35)]
    told = [
        np.dstack([*np.indices(size, dtype=np.uint8), np.full(size, number, dtype=np.uint8)])
        for number, size in enumerate(sizes)
    ]
    textures = exact_textures([np.kron(image, np.ones((5, 5, 1), dtype=np.uint8)) for image in told])
    n = 6000
    corner = frost(np.zeros((n, 32, 32, 3), dtype=np.uint8), (0, 1), draws_of(1, range(n)), textures)[:, 0, 0]
    assert abs(np.bincount(corner[:, 2], minlength=5) - n / 5).max() < 4 * np.sqrt(n * 0.2 * 0.8)
    for number, (height, width) in enumerate(sizes):
        rows, columns = corner[corner[:, 2] == number, :2].T
        for places, choices in ((rows, height - 32), (columns, width - 32)):
            counts = np.bincount(places)
            assert len(counts) == choices  # 0 to n - H - 1
            assert abs(counts - len(places) / choices).max() <= 4 * np.sqrt(len(places) / choices)
    # Rows and columns are drawn apart.
    rows, columns = corner[corner[:, 2] == 4, :2].T.astype(float)
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.12


def test_the_scale_of_a_texture():
    assert scale_for((600, 900), 32, 32) == 0.2
    assert scale_for((600, 900), 64, 64) == pytest.approx(0.4)
    assert scale_for((600, 900), 24, 40) == scale_for((600, 900), 40, 24) == pytest.approx(0.15)
    assert scale_for((600, 900), 65, 65) == 1  # of ImageNet's family, never smaller than it is
    assert scale_for((600, 900), 224, 224) == 1
    assert scale_for((600, 900), 448, 500) == 2
    # Just large enough, where it would be too small.
    assert scale_for((100, 900), 32, 32) == pytest.approx(0.33)
    assert scale_for((900, 100), 24, 40) == pytest.approx(0.41)


@pytest.mark.parametrize("size", [(8, 8), (24, 200), (64, 64), (33, 32), (90, 70), (224, 230)])
def test_small_textures_become_just_larger_than_the_image(size):
    small = exact_textures(noise([(20, 30), (7, 7), (31, 90), (55, 11), (500, 4)]))
    for texture, scaled in zip(small.images, small.scaled_for(*size), strict=True):
        spare = np.array(scaled.shape[:2]) - size
        assert spare.min() >= 1
        natural = scale_for((10**9, 10**9), *size)
        assert spare.min() == 1 or natural == scale_for(texture.shape[:2], *size)
    frost(np.zeros((40, *size, 3), dtype=np.uint8), (1, 1), draws_of(1, range(40)), small)


def test_textures_are_scaled_linearly_without_antialiasing():
    # A fine checkerboard: antialiasing would make it gray.
    fine = np.tile(np.array([[0, 255], [255, 0]], dtype=np.uint8), (150, 150))[..., None].repeat(3, 2)
    (scaled, *_) = exact_textures([fine] * 5).scaled_for(32, 32)
    assert scaled.shape == (60, 60, 3)
    assert set(np.unique(scaled)) == {0, 255}
    # Elsewhere: linear at (k + 1/2) / scale - 1/2, to the level that OpenCV's integer weights may be off.
    texture = noise([(240, 250)])[0]
    (scaled, *_) = exact_textures([texture] * 5).scaled_for(48, 48)
    assert scaled.shape == (72, 75, 3)  # 0.3 of it
    rows, columns = ((np.arange(n) + 0.5) / 0.3 - 0.5 for n in (72, 75))
    y, x = np.floor(rows).astype(int), np.floor(columns).astype(int)
    low, right = (rows - y)[:, None, None], (columns - x)[None, :, None]
    at = texture.astype(float)
    above = at[y][:, x] * (1 - right) + at[y][:, x + 1] * right
    below = at[y + 1][:, x] * (1 - right) + at[y + 1][:, x + 1] * right
    assert abs(above * (1 - low) + below * low - scaled).max() <= 1


def test_scaled_textures_are_made_once_a_size(textures):
    assert textures.scaled_for(40, 40) is textures.scaled_for(40, 40)
    shapes = [textures.scaled_for(*size)[0].shape for size in ((24, 40), (24, 200), (120, 40))]
    assert len(set(shapes)) == 3


def test_textures_of_a_folder(folder, textures):
    assert isinstance(textures, frost_module.Textures)
    assert list(textures.sha256) == NAMES
    for name, image in zip(NAMES, textures.images, strict=True):
        assert textures.sha256[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert image.dtype == np.uint8
        # The other library that can read them agrees; it ignores transparency too.
        np.testing.assert_array_equal(image, cv2.imread(str(folder / name))[..., ::-1])


def refusal(frost_dir, **options):
    with pytest.raises(BadInput) as caught:
        find_textures(frost_dir, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert all(name in message for name in NAMES)
    assert "frost6" not in message
    return message


def test_a_folder_without_textures_is_refused(tmp_path):
    assert refusal(tmp_path / "none").startswith(f"frost_dir={tmp_path / 'none'}: no such folder")
    assert refusal(tmp_path, key="corruption.frost_dir").startswith(f"corruption.frost_dir={tmp_path}: no frost1.png")
    write_textures(tmp_path, noise([(40, 40)] * 5))
    assert find_textures(tmp_path) is not None
    (tmp_path / "frost4.jpg").unlink()
    assert f"frost_dir={tmp_path}: no frost4.jpg;" in refusal(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"no picture", "cut", "flipped"])
@pytest.mark.parametrize("name", ["frost2.png", "frost5.jpg"])
def test_a_damaged_texture_is_refused(tmp_path, name, damage):
    write_textures(tmp_path, noise([(40, 40)] * 5))
    whole = (tmp_path / name).read_bytes()
    if damage == "cut":
        damage = whole[: len(whole) // 2]
    elif damage == "flipped":
        damage = whole[:8] + bytes(255 - byte for byte in whole[8:60]) + whole[60:]
    (tmp_path / name).write_bytes(damage)
    message = refusal(tmp_path, key="frost_dir")
    assert message.startswith(f"frost_dir={tmp_path}: {name} is not a picture")


def fake_package(tmp_path, monkeypatch, arrays):
    package = tmp_path / "site" / "imagecorruptions"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    if arrays is not None:
        write_textures(package / "frost", arrays)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "imagecorruptions", raising=False)
    return package


def test_textures_of_the_installed_package_without_importing_it(tmp_path, monkeypatch, folder):
    arrays = noise([(40, 50)] * 5, seed=7)
    package = fake_package(tmp_path, monkeypatch, arrays)
    found = find_textures(None)
    np.testing.assert_array_equal(found.images[1], arrays[1])
    assert "imagecorruptions" not in sys.modules
    # A folder goes before the package.
    assert find_textures(folder).images[1].shape == (*SIZES[1], 3)
    (package / "frost" / "frost3.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"imagecorruptions in .*frost: frost3.png is not a picture"):
        find_textures(None)


def test_no_textures_without_the_package_or_its_pictures(tmp_path, monkeypatch):
    fake_package(tmp_path, monkeypatch, None)
    assert find_textures(None) is None
    monkeypatch.setattr("p2be_exp.corruptions.textures.find_spec", lambda name: None)
    assert find_textures(None) is None
