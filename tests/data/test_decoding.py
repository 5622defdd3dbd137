"""From files to levels, against torchvision on the same files and boxes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import functional

from p2be_exp.augment.resized_crop import CropBox
from p2be_exp.data.decoding import DecodingError, TestView, cropped_levels, open_picture, test_levels
from pictures import damage, picture

test_levels.__test__ = False  # not a test

SIZES = [(60, 48), (48, 60), (40, 40), (33, 91), (200, 35)]


def as_array(image) -> np.ndarray:
    return np.asarray(functional.pil_to_tensor(image).permute(1, 2, 0))


def kinds(folder):
    """A picture of every kind that is likely to be met."""
    picture(1).save(folder / "rgb.jpg")
    picture(2, mode="L").save(folder / "grey.jpg")
    picture(3, mode="CMYK").save(folder / "cmyk.jpg")
    picture(4, mode="P").save(folder / "palette.png")
    picture(5, mode="1").save(folder / "bits.png")
    picture(6, mode="RGBA").save(folder / "alpha.png")
    picture(7, mode="LA").save(folder / "grey and alpha.png")
    picture(8).quantize(16).save(folder / "animation.gif", save_all=True, append_images=[picture(9).quantize(16)])
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees, says the camera
    picture(11).save(folder / "turned.jpg", exif=turned)
    return sorted(folder.iterdir())


def test_every_kind_of_picture_is_opened_as_torchvision_opens_it(tmp_path):
    files = kinds(tmp_path)
    assert len(files) == 9
    for file in files:
        found = open_picture(file)
        assert found.mode == "RGB"
        assert np.array_equal(np.asarray(found), np.asarray(pil_loader(str(file)))), file.name
    assert open_picture(tmp_path / "turned.jpg").size == (60, 48)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("side", "resized"), [(32, 36), (32, 32), (33, 40)])
def test_what_is_tested_on_is_torchvisions_resize_and_centre_crop(size, side, resized):
    image = picture(sum(size), *size)
    expected = functional.center_crop(functional.resize(image, resized), side)
    assert np.array_equal(test_levels(image, TestView(side, resized)), as_array(expected))


def test_a_view_without_scaling_and_one_that_is_scaled_after():
    image = picture(3, 51, 40)
    whole = functional.center_crop(image, 32)
    assert np.array_equal(test_levels(image, TestView(32, None)), as_array(whole))
    view = TestView(32, None, scaled=20)
    assert view.side == 20
    assert np.array_equal(test_levels(image, view), as_array(functional.resize(whole, 20)))
    with pytest.raises(DecodingError, match=r"^51x40, at least 41x41 is needed$"):
        test_levels(image, TestView(41, None))


@pytest.mark.parametrize("flip", [False, True])
def test_a_box_is_torchvisions_resized_crop(flip):
    source = np.random.default_rng(0)
    for size in SIZES:
        image = picture(sum(size), *size)
        for _ in range(5):
            height, width = (int(source.integers(1, side + 1)) for side in size[::-1])
            top, left = int(source.integers(size[1] - height + 1)), int(source.integers(size[0] - width + 1))
            expected = functional.resized_crop(image, top, left, height, width, [32, 32])
            expected = functional.hflip(expected) if flip else expected
            found = cropped_levels(image, CropBox(top, left, height, width, flip), 32)
            assert np.array_equal(found, as_array(expected))


def test_what_gives_no_picture_says_why(tmp_path):
    with pytest.raises(DecodingError, match=r"^No such file or directory$"):
        open_picture(tmp_path / "absent.jpg")
    with pytest.raises(DecodingError, match=r"^Is a directory$"):
        open_picture(tmp_path)
    (tmp_path / "page.jpg").write_text("an error page")
    with pytest.raises(DecodingError, match=r"^not a picture$"):
        open_picture(tmp_path / "page.jpg")
    for ending in ("jpg", "png", "webp", "tif", "bmp"):
        file = tmp_path / f"short.{ending}"
        picture(1).save(file)
        damage(file)
        with pytest.raises(DecodingError) as error:
            open_picture(file)
        assert "\n" not in str(error.value)
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "tiny.png")
    assert torch.from_numpy(np.array(open_picture(tmp_path / "tiny.png"))).shape == (2, 2, 3)
