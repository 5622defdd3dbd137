"""Grey pictures of more than 8 bits: every depth that Pillow opens becomes levels, or is named with a reason."""

import struct
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from p2be_exp.data.decoding import DecodingError, TestView, open_picture
from p2be_exp.data.depth import deep_levels
from p2be_exp.data.listing import listed
from pictures import picture

LEVELS = np.arange(256).reshape(8, 32)
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # of TIFF


def write_tiff(file, values, kind, bits=None, photometric=1):
    """A TIFF with one strip, little-endian; Pillow writes some of these kinds only in some versions."""
    height, width = values.shape
    bits = values.itemsize * 8 if bits is None else bits
    data = values.tobytes() if bits != 12 else packed(values)
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, None), (277, 1),
            (278, height), (279, len(data)), (339, kind)]  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, start if value is None else value) for tag, value in tags)
    file.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data)
    return file


def packed(values):
    """12 bits each, without a gap."""
    bits = np.unpackbits(values.astype(">u2").view(np.uint8)).reshape(-1, 16)[:, 4:]
    return np.packbits(bits.reshape(-1)).tobytes()


def levels_of(file):
    found = np.asarray(open_picture(file))
    assert (found.dtype, found.shape) == (np.uint8, (*LEVELS.shape, 3))
    assert (found == found[..., :1]).all()
    return found[..., 0]


def refused(file):
    with pytest.raises(DecodingError) as error:
        open_picture(file)
    return str(error.value)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.jp2"])
def test_16_bits_are_divided_by_257(tmp_path, name):
    # Half a level and a bit more, and less, than a whole one: the nearest is meant, at both ends of the scale too.
    for off in (0, 128, -128):
        values = np.clip(LEVELS * 257 + off, 0, 65535).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / name, **({"irreversible": False} if name == "x.jp2" else {}))
        assert np.array_equal(levels_of(tmp_path / name), LEVELS)


def test_16_bits_of_a_portable_graymap(tmp_path):
    for most in (1023, 65535):
        values = np.round(LEVELS / 255 * most).astype(">u2")
        (tmp_path / "x.pgm").write_bytes(b"P5 32 8 %d\n" % most + values.tobytes())
        assert np.array_equal(levels_of(tmp_path / "x.pgm"), LEVELS)


@pytest.mark.parametrize(
    ("values", "kind", "bits"),
    [
        (LEVELS.astype("<u2") * 257, UNSIGNED, 16),
        (np.round(LEVELS / 255 * 4095).astype("<u2"), UNSIGNED, 12),
        (np.round(LEVELS / 255 * 32767).astype("<i2"), SIGNED, 16),
        (LEVELS.astype("<u4") * 16843009, UNSIGNED, 32),
        (np.round(LEVELS / 255 * (2**31 - 1)).astype("<i4"), SIGNED, 32),
        ((LEVELS / 255).astype("<f4"), FLOAT, 32),
    ],
)
def test_a_tiff_is_scaled_by_its_depth(tmp_path, values, kind, bits):
    assert np.array_equal(levels_of(write_tiff(tmp_path / "x.tif", values, kind, bits)), LEVELS)
    zeros = write_tiff(tmp_path / "zeros.tif", np.zeros_like(values), kind, bits)
    assert not levels_of(zeros).any()  # black is black


def test_where_white_is_zero(tmp_path):
    for values, kind in ((LEVELS.astype("<u2") * 257, UNSIGNED), ((LEVELS / 255).astype("<f4"), FLOAT)):
        assert np.array_equal(levels_of(write_tiff(tmp_path / "x.tif", values, kind, photometric=0)), 255 - LEVELS)


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        (LEVELS.astype("<u2"), UNSIGNED, "grey values only up to 255, of 65,535 in 16 bits: nearly black; "),
        (LEVELS.astype("<i4") * 257, SIGNED, "grey values only up to 65,535, of 2,147,483,647 in 32 bits: nearly "),
        (LEVELS.astype("<u4") * 257, UNSIGNED, "grey values only up to 65,535, of 4,294,967,295 in 32 bits: nearly "),
        (LEVELS.astype("<i4") * 2**23 - 1, SIGNED, "grey integers from -1 on"),
        (LEVELS.astype("<i2") - 128, SIGNED, "grey integers from -128 on"),
        ((LEVELS - 128).astype("<i1"), SIGNED, "signed bytes: "),
        (LEVELS.astype("<f4"), FLOAT, "grey floats from 0 to 255: must be between 0 and 1"),
        ((LEVELS / 255 - 0.01).astype("<f4"), FLOAT, "grey floats from -0.01 to 0.99: must be between 0 and 1"),
        ((LEVELS / 65535).astype("<f4"), FLOAT, "grey floats only up to 0.00389105, of 1: nearly black"),
        (
            np.where(LEVELS == 7, np.nan, 0.5).astype("<f4"),
            FLOAT,
            "grey floats from nan to nan: must be between 0 and 1",
        ),
        (
            np.where(LEVELS == 7, np.inf, 0.5).astype("<f4"),
            FLOAT,
            "grey floats from 0.5 to inf: must be between 0 and 1",
        ),
    ],
)
def test_what_has_no_place_between_black_and_white_is_named(tmp_path, values, kind, told):
    assert refused(write_tiff(tmp_path / "x.tif", values, kind)).startswith(told)


def test_a_data_set_leaves_them_out_and_goes_on(tmp_path):
    (tmp_path / "wren").mkdir()
    picture(1).save(tmp_path / "wren" / "0.png")
    write_tiff(tmp_path / "wren" / "1.tif", LEVELS.astype("<f4"), FLOAT)
    write_tiff(tmp_path / "wren" / "2.tif", (LEVELS / 255).astype("<f4"), FLOAT)
    part = listed(tmp_path, ("wren",), TestView(8, 8), "birds").read(torch.arange(3))
    assert part.kept.tolist() == [True, False, True]
    assert part.unreadable == (("wren/1.tif", "grey floats from 0 to 255: must be between 0 and 1"),)
    assert part.images[1].max() > 200


@pytest.mark.parametrize(("dtype", "most"), [(np.uint16, 65535), (np.float32, 1)])
def test_a_large_picture_is_scaled_a_part_at_a_time(dtype, most):
    """In float64 at once it took 25 bytes a value: 4.4 GB for a picture of the most pixels that are read."""
    values = (np.arange(2048 * 2048) % 65536).reshape(2048, 2048)
    picture = Image.fromarray((values / (65535 // most)).astype(dtype))
    picture.format = "PNG"
    tracemalloc.start()
    try:
        levels = deep_levels(picture)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(levels, np.floor(values / 257 + 0.5))
    assert peak < values.size * (3 * np.dtype(dtype).itemsize + 3)
