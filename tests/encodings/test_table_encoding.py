"""What all encodings share: the order of the channels, the memory layout, one table for three colours."""

import pytest
import torch

from p2be_exp.encodings import RGB, OneHot, Thermometer, encode
from usual import P2BE

ENCODINGS = [RGB(), OneHot(5), Thermometer(12), P2BE(6)]


def images(batch: int = 2, height: int = 3, width: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (batch, 3, height, width), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.name)
def test_channel_c_times_m_plus_m_is_value_m_of_colour_c(encoding):
    levels, table, M = images(), encoding.table(), encoding.M
    expected = torch.empty(2, 3 * M, 3, 5)
    for b in range(2):
        for c in range(3):
            for m in range(M):
                for y in range(3):
                    for x in range(5):
                        expected[b, c * M + m, y, x] = table[int(levels[b, c, y, x]), m]
    assert torch.equal(encoding(levels), expected)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.name)
def test_codes_are_channels_last(encoding):
    codes = encoding(images())
    assert codes.shape == (2, 3 * encoding.M, 3, 5)
    assert codes.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.name)
def test_the_three_colours_share_the_table(encoding):
    grey = images()[:, :1].expand(-1, 3, -1, -1)
    red, green, blue = encoding(grey).chunk(3, dim=1)
    assert torch.equal(red, green)
    assert torch.equal(red, blue)


def test_images_that_are_not_contiguous():
    levels = images(4, 6, 7)
    views = [
        levels.transpose(2, 3),
        levels[::2, :, 1::2],
        levels.flip(3),
        levels.contiguous(memory_format=torch.channels_last),
    ]
    for view in views:
        assert torch.equal(encode(view, RGB().table()), view.float() / 255)


def test_any_number_of_colours():
    table = torch.arange(512.0).view(256, 2)
    one = images()[:, :1]
    assert torch.equal(encode(one, table), torch.cat([2.0 * one, 2.0 * one + 1], dim=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.int8])
def test_images_of_another_dtype_are_refused(dtype):
    with pytest.raises(TypeError, match="uint8"):
        OneHot(4)(images().to(dtype))
