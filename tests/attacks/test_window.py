"""The window of choices against loops over all levels."""

import pytest
import torch

from grids import in_turn
from p2be_exp.attacks.ball import is_inside
from p2be_exp.attacks.window import Window, choice_of_level, levels_of_choice, most_choices
from p2be_exp.encodings import RGB, OneHot, Thermometer, encode
from usual import P2BE

ENCODINGS = [P2BE(8), RGB(), OneHot(10), OneHot(16), OneHot(256), Thermometer(16), Thermometer(64)]


def all_levels() -> torch.Tensor:
    """An image that holds every level once in each colour, in another order."""
    levels = torch.arange(256).view(16, 16)
    return torch.stack([levels, levels.T, 255 - levels])[None].to(torch.uint8)


def ids(encoding) -> str:
    return f"{encoding.name}{encoding.M}"


def rows_of(window: Window, encoding) -> torch.Tensor:
    return window.rows(encoding.table().detach())


def reference_mask(choices: int, eps: float) -> torch.Tensor:
    """Which choices the reference implementation allows for each level: points of the ball, bucketed in float32."""
    pixels = torch.arange(256).float() / 255
    low, high = (pixels - eps).clamp(min=0), (pixels + eps).clamp(max=1)
    mask = torch.zeros(256, choices, dtype=torch.bool)
    for i in range(choices + 1):
        point = i / choices * low + (1 - i / choices) * high
        mask[torch.arange(256), (point * choices).clamp(0, choices - 1).long()] = True
    return mask


@pytest.mark.parametrize(("M", "sizes"), [(16, {1, 2}), (32, {2, 3}), (64, {3, 4, 5}), (128, {5, 6, 7, 8, 9})])
def test_bucket_windows_are_those_of_the_reference(M, sizes):
    window = Window([Thermometer(M)], all_levels(), 8)
    counts = window.open.sum(-1)[0, :, :, 0].flatten()
    assert torch.equal(counts, reference_mask(M, 8 / 255).sum(1))
    assert set(counts.tolist()) == sizes
    assert window.size == max(sizes)
    assert set(counts[12:-12].tolist()) <= {max(sizes), max(sizes) - 1}


@pytest.mark.parametrize("encoding", [P2BE(8), RGB(), OneHot(256)], ids=ids)
def test_a_window_of_levels_is_the_ball(encoding):
    window = Window([encoding], all_levels(), 8)
    counts = window.open.sum(-1)[0, :, :, 0].flatten()
    assert counts.tolist() == [min(k + 8, 255) - max(k - 8, 0) + 1 for k in range(256)]
    assert torch.equal(counts, reference_mask(256, 8 / 255).sum(1))
    assert (counts.min(), counts.max(), window.size) == (9, 17, 17)


@pytest.mark.parametrize("M", [16, 32, 64, 128, 256])
def test_open_places_are_the_choices_of_the_reference(M):
    encoding = OneHot(M)
    window = Window([encoding], all_levels(), 8)
    # Shares that mark the open places: a mixture of one-hot rows then counts the choices.
    marked = window.mix(window.open.float(), rows_of(window, encoding))
    assert torch.equal(marked[0, :M].flatten(1).T, reference_mask(M, 8 / 255).float())


@pytest.mark.parametrize(
    ("encoding", "eps_levels"), [*in_turn(ENCODINGS, [8, 1, 32, 255]), *in_turn(ENCODINGS, [0, 255, 8, 1, 8])]
)
def test_every_choice_is_realised_by_the_nearest_of_its_levels_in_the_ball(encoding, eps_levels):
    images, rows = all_levels(), encoding.table().detach()
    window = Window([encoding], images, eps_levels)
    choices = choice_of_level([encoding])
    generator = torch.Generator().manual_seed(0)
    first, last = torch.zeros_like(window.open[..., 0]), window.open.sum(-1) - 1
    random = (torch.rand(first.shape, generator=generator) * (last + 1)).long()
    for places in (first.long(), last, random):
        shares = torch.nn.functional.one_hot(places, window.size).to(rows.dtype)
        codes = window.mix(shares, rows_of(window, encoding))
        realised = window.realise(places)
        assert is_inside(realised, images, eps_levels).all()
        assert realised.is_contiguous()
        assert torch.equal(encode(realised, rows), codes)
        # Nearest: among the levels of the ball with the same choice, by a look at all of them.
        level = torch.arange(256)
        away = (level - images.long()[..., None]).abs()
        same = choices == choices[realised.long()][..., None]
        nearest = torch.where(same & (away <= eps_levels), away, 999).amin(-1)
        assert torch.equal((realised.long() - images.long()).abs(), nearest)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=ids)
def test_mixture_and_its_gradient_equal_the_plain_sum_over_all_levels(encoding):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, 3, 3, 5), dtype=torch.uint8, generator=generator)
    window = Window([encoding], images, 8)
    rows = rows_of(window, encoding).double()
    shares = torch.rand(window.open.shape, dtype=torch.float64, generator=generator) * window.open
    shares.requires_grad_()
    codes = window.mix(shares, rows)
    assert codes.shape == (2, 3 * encoding.M, 3, 5)
    assert codes.is_contiguous(memory_format=torch.channels_last)
    choices = choice_of_level([encoding])
    first = choices[(images.long() - 8).clamp(min=0)].permute(0, 2, 3, 1)[..., None]
    wide = torch.zeros(*first.shape[:-1], len(rows) + window.size, dtype=torch.float64)
    wide = wide.scatter(-1, first + torch.arange(window.size), shares)[..., : len(rows)]
    plain = (wide @ rows).permute(0, 3, 4, 1, 2).flatten(1, 2)
    torch.testing.assert_close(codes, plain)
    weight = torch.randn(codes.shape, dtype=torch.float64, generator=generator)
    got, want = (torch.autograd.grad((form * weight).sum(), shares)[0] for form in (codes, plain))
    torch.testing.assert_close(got[window.open], want[window.open])


def test_the_window_never_has_more_places_than_choices():
    assert most_choices(choice_of_level([P2BE(8)]), 255) == 256
    assert most_choices(choice_of_level([OneHot(16)]), 255) == 16
    assert most_choices(choice_of_level([OneHot(16)]), 0) == 1


def test_a_learned_table_with_equal_rows_keeps_a_choice_for_each_level():
    assert torch.equal(choice_of_level([P2BE(8, init="thermometer")]), torch.arange(256))


SEVERAL = {
    "buckets in buckets": [Thermometer(16), OneHot(64)],
    "buckets across": [Thermometer(10), OneHot(16), Thermometer(7)],
    "buckets and levels": [Thermometer(16), RGB()],
    "twice the same": [OneHot(10), Thermometer(10)],
}


@pytest.mark.parametrize("encodings", SEVERAL.values(), ids=SEVERAL.keys())
def test_the_choices_of_several_encodings_are_those_that_one_of_them_tells_apart(encodings):
    """Rows of these tables are equal by construction alone, so that a look at the rows finds the same choices."""
    choices = choice_of_level(encodings)
    rows = torch.cat([encoding.table() for encoding in encodings], dim=1)
    for level in range(256):
        alike = (rows == rows[level]).all(1)
        assert torch.equal(choices == choices[level], alike), level
    assert torch.equal(choices.unique(), torch.arange(int(choices.max()) + 1))
    for image_level in (0, 5, 128, 250):
        ball = set(choices[max(image_level - 8, 0) : image_level + 9].tolist())
        window = Window(encodings, torch.full((1, 3, 1, 1), image_level, dtype=torch.uint8), 8)
        assert int(window.open[0, 0, 0, 0].sum()) == len(ball)
        for place in range(len(ball)):
            realised = window.realise(torch.full((1, 1, 1, 3), place))
            shares = torch.nn.functional.one_hot(torch.full((1, 1, 1, 3), place), window.size).float()
            for encoding in encodings:
                table = encoding.table()
                assert torch.equal(window.mix(shares, window.rows(table)), encode(realised, table))


def test_levels_of_a_choice():
    lowest, highest = levels_of_choice(choice_of_level([OneHot(64)]))
    assert lowest[:3].tolist() == [0, 4, 8]
    assert highest[-2:].tolist() == [251, 255]
