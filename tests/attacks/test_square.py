"""The Square attack: its schedule, its squares, what it accepts, what it spends, and that the batch plays no part."""

import doctest
import itertools
import math

import pytest
import torch
from torch import nn

from grids import in_turn
from p2be_exp.attacks import square
from p2be_exp.attacks.attack import predict
from p2be_exp.attacks.ball import bounds, is_inside
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.square import margins, share_of_area, side_of_square
from p2be_exp.backbones import build_backbone
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.models.model import EncodedClassifier
from usual import P2BE, Square


class Linear(nn.Module):
    """Logits linear in the levels, in float64: class 0 is right while the weighted mean stays below the threshold."""

    def __init__(self, weight, threshold):
        super().__init__()
        self.weight, self.threshold = weight, threshold

    def forward(self, images):
        rise = (images.double() * self.weight).flatten(1).mean(1) - self.threshold
        return torch.stack([-rise, rise, rise - 1e6], 1)


class Spy(nn.Module):
    """Remembers every batch that it was asked about."""

    def __init__(self, model):
        super().__init__()
        self.model, self.asked = model, []

    def forward(self, images):
        self.asked.append(images.clone())
        return self.model(images)

    def count(self):
        return sum(len(images) for images in self.asked)


@pytest.fixture
def images():
    return torch.randint(256, (6, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture
def alike():
    """Images of which one threshold is within reach of all."""
    return torch.randint(120, 132, (6, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture
def labels():
    return torch.zeros(6, dtype=torch.long)


def randoms(n=6, seed=0):
    return AttackRandom(seed, torch.arange(n))


def weights():
    return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def threshold_at(images, weight, eps_levels, share):
    """Reading that an image reaches when that share of the way to its best corner is gone, the largest of all."""
    low, high = bounds(images, eps_levels)
    clean = (images.double() * weight).flatten(1).mean(1)
    best = (torch.where(weight > 0, high, low).double() * weight).flatten(1).mean(1)
    return float((clean + share * (best - clean)).max())


def unbreakable():
    return Linear(weights(), 1e6)


def test_schedule_is_the_published_one():
    published = {
        (0, 10): 1, (11, 50): 2, (51, 200): 4, (201, 500): 8, (501, 1000): 16, (1001, 2000): 32,
        (2001, 4000): 64, (4001, 6000): 128, (6001, 8000): 256, (8001, 10000): 512,
    }  # fmt: skip
    for (first, last), divisor in published.items():
        for step in (first, last):
            assert share_of_area(0.8, step, 10_000) == 0.8 / divisor, step
    assert share_of_area(0.05, 25, 5000) == 0.025, "the schedule is stretched over the budget"
    assert share_of_area(0.05, 26, 5000) == 0.0125
    assert doctest.testmod(square).failed == 0


@pytest.mark.parametrize(
    ("share", "height", "width", "side"),
    [
        (0.8, 32, 32, 29),
        (0.8 / 512, 32, 32, 1),
        (1e-9, 32, 32, 1),
        (1.0, 32, 32, 32),
        (1.0, 8, 32, 8),
        (1.0, 32, 8, 8),
        (0.4, 8, 8, 5),
    ],
)
def test_side_of_square(share, height, width, side):
    assert side_of_square(share, height, width) == side


def test_one_query_is_stripes(images, labels):
    spy = Spy(unbreakable())
    found = Square(8, 1).search(spy, images, labels, randoms()).images
    low, high = bounds(images, 8)
    assert spy.count() == len(images)
    up = found == high
    assert torch.equal(torch.where(up, high, low), found)
    free = (images >= 8) & (images <= 247)
    columns_up = (up | ~free).all(2)
    columns_down = (~up | ~free).all(2)
    assert (columns_up | columns_down).all(), "a column of one colour goes one way"
    assert 0.3 < columns_up.double().mean() < 0.7
    assert not torch.equal(found, Square(8, 1).search(spy, images, labels, randoms(), restart=1).images)


def test_steps_change_one_square_of_one_colour_each(images, labels):
    """On grey images far from 0 and 255, whose candidates tell what was done."""
    grey = torch.full_like(images, 100)
    spy = Spy(unbreakable())
    Square(8, 400).search(spy, grey, labels, randoms())
    best, margin = spy.asked[0], margins(unbreakable(), spy.asked[0], labels)
    tops, firsts, sides = set(), set(), set()
    for step, candidates in enumerate(spy.asked[1:], 1):
        assert set(candidates.unique().tolist()) <= {92, 108}
        side = side_of_square(share_of_area(0.8, step, 400), 8, 8)
        sides.add(side)
        for before, after in zip(best, candidates, strict=True):
            rows, columns = (before != after).any(0).nonzero().T
            assert len(rows), "a candidate changes something"
            assert rows.max() - rows.min() < side
            assert columns.max() - columns.min() < side
            if side == 1:
                tops.add(int(rows[0])), firsts.add(int(columns[0]))
        now = margins(unbreakable(), candidates, labels)
        falls = now < margin
        best = torch.where(falls[:, None, None, None], candidates, best)
        margin = torch.where(falls, now, margin)
    assert {1, 2, 3} <= sides
    assert tops == firsts == set(range(8)), "every place is reached"


def test_square_is_uniform_in_each_colour():
    """Within the square that changed, each colour is at one end."""
    grey = torch.full((50, 3, 8, 8), 100, dtype=torch.uint8)
    best = square._stripes(*bounds(grey, 8), randoms(50).uniform(0, 24))
    low, high = bounds(grey, 8)
    draws = randoms(50).uniform(1, 4)
    after = square._with_square(best, low, high, 5, draws)
    seen = set()
    for image, (row, column, _, _) in zip(after, draws.tolist(), strict=True):
        inside = image[:, int(row * 4) : int(row * 4) + 5, int(column * 4) : int(column * 4) + 5].flatten(1)
        assert (inside == inside[:, :1]).all()
        seen.add(tuple(inside[:, 0].tolist()))
    assert len(seen) == 8
    outside = (best == after).all(1).flatten(1).sum(1)
    assert (outside >= 64 - 25).all()


def test_colours_that_change_nothing_are_drawn_again_each_alike():
    low, high = torch.full((8000, 3, 1, 1), 92, dtype=torch.uint8), torch.full((8000, 3, 1, 1), 108, dtype=torch.uint8)
    after = square._with_square(low, low, high, 1, randoms(8000).uniform(0, 4))
    kinds, counts = (after[:, :, 0, 0] == 108).long().mul(torch.tensor([1, 2, 4])).sum(1).unique(return_counts=True)
    assert kinds.tolist() == [1, 2, 3, 4, 5, 6, 7]
    # Seven alike, as the reference's repeated draws: first from eight, and one in eight once more from seven.
    assert (counts / 8000 - 1 / 7).abs().max() < 0.02


def test_margin_only_falls_and_the_result_has_the_lowest(images, labels):
    spy = Spy(unbreakable())
    found = Square(8, 200).search(spy, images, labels, randoms()).images
    lowest = torch.stack([margins(unbreakable(), asked, labels) for asked in spy.asked]).amin(0)
    assert torch.equal(margins(unbreakable(), found, labels), lowest)
    assert (lowest < margins(unbreakable(), spy.asked[0], labels)).all()
    low, high = bounds(images, 8)
    best = torch.where(weights() > 0, high, low)
    corner = margins(unbreakable(), best, labels)
    clean = margins(unbreakable(), images, labels)
    gone = (clean - lowest) / (clean - corner)
    assert (gone > 0.5).all(), gone


def test_equal_margins_are_not_accepted(images, labels):
    constant = Linear(torch.zeros(3, 8, 8, dtype=torch.float64), 1.0)
    spy = Spy(constant)
    found = Square(8, 20).search(spy, images, labels, randoms()).images
    assert torch.equal(found, spy.asked[0])


def test_queries_are_spent_exactly_and_broken_images_leave(alike, labels):
    spy = Spy(unbreakable())
    assert Square(8, 57).search(spy, alike, labels, randoms()).found_at.tolist() == [57] * 6
    assert [len(asked) for asked in spy.asked] == [6] * 57
    weight = weights()
    spy = Spy(Linear(weight, threshold_at(alike, weight, 8, 0.5)))
    search = Square(8, 300).search(spy, alike, labels, randoms())
    found = search.images
    sizes = [len(asked) for asked in spy.asked]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) > 3, "one after the other"
    assert (margins(spy.model, found, labels) < 0).all()
    assert len(sizes) < 300
    # So many images are still asked after each query as are found later.
    assert [int((search.found_at >= query + 1).sum()) for query in range(len(sizes))] == sizes


def test_margins_of_any_size_are_lowered(alike, labels):
    spy = Spy(Linear(weights() * 1e-6, 1e-3))
    Square(8, 20).search(spy, alike, labels, randoms())
    assert len(spy.asked) == 20


def test_no_number_is_drawn_for_two_things(alike, labels):
    """Stripes take 3W numbers, each step the next four; all of them of the restart that is asked for."""
    read = []

    class Recorder(AttackRandom):
        def select(self, places):
            return Recorder(self.seed, self.images[places])

        def uniform(self, restart, n, start=0):
            read.append((restart, start, n))
            return super().uniform(restart, n, start)

    Square(8, 100).search(unbreakable(), alike, labels, Recorder(0, torch.arange(6)), restart=3)
    assert {restart for restart, _, _ in read} == {3}
    assert read[0][1:] == (0, 24)
    assert all(start == before + n for (_, before, n), (_, start, _) in itertools.pairwise(read))
    assert read[-1][1] + read[-1][2] >= 24 + 4 * 99


def test_first_step_after_the_draws_of_a_block_reads_on(images, labels, monkeypatch):
    whole = Square(8, 90).search(unbreakable(), images, labels, randoms()).images
    monkeypatch.setattr(square, "_STEPS_DRAWN", 7)
    assert torch.equal(Square(8, 90).search(unbreakable(), images, labels, randoms()).images, whole)


def test_breaks_a_linear_model(images, labels):
    weight = weights()
    one = images[:1]
    model = Linear(weight, threshold_at(one, weight, 8, 0.6))
    assert predict(model, one).item() == 0
    assert not Square(8, 2)(model, one, labels[:1], randoms(1)).broken
    found = Square(8, 500)(model, one, labels[:1], randoms(1))
    assert found.broken
    assert predict(model, found.images).item() == 1
    assert found.losses is None
    assert found.zero_gradient is None


def test_p_init_is_the_share_of_the_first_square(labels, images):
    grey = torch.full_like(images, 100)

    def first_change(p_init):
        spy = Spy(unbreakable())
        with pytest.raises(StopIteration):
            Square(8, 2000, p_init=p_init).search(_StopAfter(spy, 2), grey, labels, randoms())
        changed = (spy.asked[0] != spy.asked[1]).any(1)
        return int(changed.any(2).sum(1).max()), int(changed.any(1).sum(1).max())

    assert max(first_change(1 / 64)) == 1
    assert 2 <= max(first_change(9 / 64)) <= 3
    assert min(first_change(1.0)) == 8


class _StopAfter(nn.Module):
    def __init__(self, model, times):
        super().__init__()
        self.model, self.times = model, times

    def forward(self, images):
        if not self.times:
            raise StopIteration
        self.times -= 1
        return self.model(images)


def test_restarts_draw_anew_and_only_for_images_left(alike, labels):
    weight = weights()
    model = Spy(Linear(weight, threshold_at(alike, weight, 8, 0.35)))
    once, thrice = (Square(8, 12, restarts=n)(model, alike, labels, randoms()) for n in (1, 3))
    assert (once.broken <= thrice.broken).all()
    first = Square(8, 12).search(model, alike, labels, randoms(), 0).images
    second = Square(8, 12).search(model, alike, labels, randoms(), 1).images
    assert not torch.equal(first, second)


def test_batch_plays_no_part(alike, labels):
    weight = weights()
    model = Linear(weight, threshold_at(alike, weight, 8, 0.5))
    attack = Square(8, 150, restarts=2)
    whole = attack(model, alike, labels, randoms())
    assert whole.broken.any(), "some images leave early"
    for place in range(len(alike)):
        only = torch.tensor([place])
        alone = attack(model, alike[only], labels[only], randoms().select(only))
        assert torch.equal(alone.images, whole.images[only])
        assert torch.equal(alone.broken, whole.broken[only])
    order = torch.tensor([4, 0, 5, 2])
    assert torch.equal(attack(model, alike[order], labels[order], randoms().select(order)).images, whole.images[order])


def test_depends_on_the_seed_and_repeats(images, labels):
    found = [Square(8, 40).search(unbreakable(), images, labels, randoms(seed=seed)).images for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_empty_batch(images, labels):
    found = Square(8, 40)(unbreakable(), images[:0], labels[:0], AttackRandom(0, torch.arange(0)))
    assert found.images.shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("eps_levels", "encoding"),
    in_turn([0, 1, 8, 32, 255, 8], [RGB, lambda: OneHot(16), lambda: Thermometer(16), lambda: P2BE(8)]),
)
def test_inside_the_ball_of_every_encoding(eps_levels, encoding, images):
    torch.manual_seed(0)
    model = EncodedClassifier(encoding(), build_backbone("wrn16_1", 10)).eval()
    images[0], images[1] = 0, 255
    labels = predict(model, images)
    found = Square(eps_levels, 15)(model, images, labels, randoms())
    assert is_inside(found.images, images, eps_levels).all()
    if eps_levels == 0:
        assert torch.equal(found.images, images)
        assert not found.broken.any()
    else:
        assert int((found.images.short() - images.short()).abs().max()) == eps_levels


@pytest.mark.parametrize("size", [(4, 9), (9, 4)])
def test_images_that_are_not_square(size, labels):
    oblong = torch.full((6, 3, *size), 100, dtype=torch.uint8)
    model = Linear(torch.ones(3, *size, dtype=torch.float64), 1e6)
    found = Square(8, 60).search(model, oblong, labels, randoms()).images
    assert is_inside(found, oblong, 8).all()
    assert (margins(model, found, labels) < margins(model, oblong, labels)).all()


def test_margin():
    class Table(nn.Module):
        def forward(self, images):
            return torch.tensor([[3.0, 1.0, 2.5], [-1.0, -4.0, -2.0], [0.0, 0.0, -1.0]], dtype=torch.bfloat16)

    found = margins(Table(), torch.zeros(3), torch.tensor([0, 1, 0]))
    assert found.tolist() == [0.5, -3.0, 0.0]
    assert found.dtype == torch.float32
    assert math.isclose(float(margins(Table(), torch.zeros(3), torch.tensor([2, 2, 2]))[0]), -0.5)


def test_under_autocast(images):
    torch.manual_seed(0)
    model = EncodedClassifier(Thermometer(16), build_backbone("wrn16_1", 10)).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        labels = predict(model, images)
        found = Square(8, 10)(model, images, labels, randoms())
    assert is_inside(found.images, images, 8).all()
