"""From codes to the nearest levels: every level comes back, and brute force on codes that no level has."""

import pytest
import torch

from p2be_exp.encodings import RGB, Thermometer, encode
from p2be_exp.encodings.nearest_levels import nearest_levels
from usual import P2BE


@pytest.mark.parametrize("encoding", [RGB(), P2BE(64)], ids=["rgb", "p2be"])
def test_what_was_encoded_comes_back(encoding):
    table = encoding.table()
    assert len(table.unique(dim=0)) == 256  # of 64 random bits no two are alike
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    levels[:, 1] = levels[:, 1].flip(1)
    levels[:, 2] = levels[:, 2].flip(2)
    assert torch.equal(nearest_levels(encode(levels, table), table), levels)


def test_of_a_bucket_it_is_the_middle():
    table = Thermometer(4).table()
    levels = torch.tensor([0, 63, 64, 127, 128, 255], dtype=torch.uint8).view(1, 1, 2, 3).repeat(1, 3, 1, 1)
    found = nearest_levels(encode(levels, table), table)
    assert found[0, 0].flatten().tolist() == [31, 31, 95, 95, 159, 223]


def test_brute_force():
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(256, 5, generator=generator)
    codes = torch.randn(2, 15, 3, 4, generator=generator)
    found = nearest_levels(codes, table)
    assert found.shape == (2, 3, 3, 4)
    for image in range(2):
        for colour in range(3):
            for y in range(3):
                for x in range(4):
                    code = codes[image, 5 * colour : 5 * colour + 5, y, x].double()
                    distances = (table.double() - code).square().sum(1)
                    level = int(found[image, colour, y, x])
                    assert float(distances[level]) == pytest.approx(float(distances.min()), rel=1e-9)
