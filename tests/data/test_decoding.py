"""From files to levels, against torchvision on the same files and boxes."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import functional

from grids import in_turn
from p2be_exp.augment.resized_crop import DRAWS, CropBox, crop_box
from p2be_exp.corruptions.source import FolderSource
from p2be_exp.data import decoding
from p2be_exp.data.decoding import (
    DecodingError,
    TestView,
    cropped_levels,
    open_picture,
    picture_size,
    resize_and_crop,
    test_levels,
)
from p2be_exp.data.listing import listed
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


@pytest.mark.parametrize(
    ("size", "side", "resized"), [*in_turn([*SIZES, SIZES[3]], [32, 32, 33], [36, 32, 40]), ((32, 32), 64, 64)]
)
def test_what_is_tested_on_is_torchvisions_resize_and_centre_crop(size, side, resized):
    image = picture(sum(size), *size)
    expected = functional.center_crop(functional.resize(image, resized), side)
    assert np.array_equal(test_levels(image, TestView(side, resized)), as_array(expected))


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (30_000, 2)])
def test_a_picture_that_would_be_too_large_once_scaled(size, monkeypatch):
    """At 256 pixels a side 60,000 x 1 would be 3,932,160,000 pixels: 16 GB, which some machines have."""
    made, resize = [], Image.Image.resize

    def small(image, size, *how, **box):
        made.append(size)
        return resize(image, min(size, (224, 224)), *how, **box)

    monkeypatch.setattr(Image.Image, "resize", small)
    long = max(size)
    steps = np.linspace(0, 255, long).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(steps if size[0] > 1 else steps[:, None], size[::-1]).copy()).convert("RGB")
    square = np.asarray(resize_and_crop(image, 224, 256)).astype(int)
    assert made == [(224, 224)]
    assert square.shape == (224, 224, 3)
    assert (abs(square - steps[long // 2]) <= 1).all()  # the middle of it, less than 4 of its pixels wide
    assert test_levels(image, TestView(224, 256)).shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("size", "side", "resized"), in_turn([*SIZES, (500, 375), (2000, 3)], [32, 32, 64], [36, 32, 73])
)
def test_the_square_alone_is_the_square_of_the_scaled_picture(monkeypatch, size, side, resized):
    image = picture(sum(size), *size)
    whole = np.asarray(resize_and_crop(image, side, resized)).astype(int)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1)
    assert abs(whole - np.asarray(resize_and_crop(image, side, resized))).max() <= 4


def bomb(file, width=60_000, height=60_000):
    """A PNG of a few bytes whose header promises so many pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def test_a_decompression_bomb_is_no_picture(tmp_path, monkeypatch):
    bomb(tmp_path / "bomb.png")
    for limit in (Image.MAX_IMAGE_PIXELS, None):  # as some programs set it
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DecodingError, match=r"more than 178,956,970 pixels$"):
            open_picture(tmp_path / "bomb.png")
    assert picture_size(tmp_path / "bomb.png") == (60_000, 60_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)
    with pytest.raises(DecodingError, match=r"^more than 178,956,970 pixels$"):
        picture_size(tmp_path / "bomb.png")


def test_a_data_set_and_a_set_made_of_it_leave_out_a_bomb_and_keep_a_line(tmp_path, capsys):
    (tmp_path / "wren").mkdir()
    bomb(tmp_path / "wren" / "0.png")
    Image.new("RGB", (60_000, 1), (9, 90, 200)).save(tmp_path / "wren" / "1.png")
    picture(1).save(tmp_path / "wren" / "2.png")
    part = listed(tmp_path, ("wren",), TestView(224, 256), "birds").read(torch.arange(3))
    assert part.kept.tolist() == [False, True, True]
    assert part.unreadable == (("wren/0.png", "more than 178,956,970 pixels"),)
    assert (part.images[0].transpose(1, 2, 0) == (9, 90, 200)).all()
    source = FolderSource(tmp_path, size=224).readable(workers=1)
    assert np.array_equal(source.read(0, 2).transpose(0, 3, 1, 2), part.images)
    told = "1 of 3 images cannot be read and are left out: wren/0.png (more than 178,956,970 pixels)"
    assert told in capsys.readouterr().err


def test_a_random_crop_of_a_line():
    image = Image.new("RGB", (60_000, 1), (9, 90, 200))
    box = crop_box([0.5] * DRAWS, image.height, image.width)
    assert (cropped_levels(image, box, 224) == (9, 90, 200)).all()


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


def test_postscript_is_not_run(tmp_path, monkeypatch):
    """Pillow goes by the content, and hands such a file to Ghostscript where that is installed."""
    ran = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: ran.append("gs") or picture(1).im)
    picture(1).save(tmp_path / "page.png", format="EPS")
    with pytest.raises(DecodingError, match=r"^PostScript, which is a program$"):
        open_picture(tmp_path / "page.png")
    assert not ran


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
