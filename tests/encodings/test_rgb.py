"""RGB: levels over 255, without any normalisation."""

import torch

from p2be_exp.encodings import RGB


def test_the_table_is_levels_over_255():
    encoding = RGB()
    assert encoding.M == 1
    assert torch.equal(encoding.table(), torch.tensor([[k / 255] for k in range(256)]))


def test_codes_are_what_to_tensor_gives():
    # torchvision's ToTensor divides uint8 by 255.
    images = torch.randint(256, (2, 3, 4, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert torch.equal(RGB()(images), images.float().div(255))


def test_nothing_learns_and_nothing_is_saved():
    assert list(RGB().parameters()) == []
    assert RGB().state_dict() == {}
    assert RGB().smoothness() is None
