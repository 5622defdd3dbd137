"""The greedy search: it finds what an exhaustive search finds, keeps to its queries, and the batch plays no part."""

import doctest
import itertools

import pytest
import torch
from torch import nn

from p2be_exp.attacks.attack import predict
from p2be_exp.attacks.ball import bounds, is_inside
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.square import margins
from p2be_exp.backbones import build_backbone
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.evaluation.sanity.live_checks import planted_direction_is_found, zero_radius_is_clean
from p2be_exp.models.model import EncodedClassifier
from usual import P2BE


class Reading(nn.Module):
    """Class 0 until a reading of the levels, in float64, passes the threshold; counts the images it reads."""

    def __init__(self, reading, threshold=1e6):
        super().__init__()
        self.reading, self.threshold = reading, threshold
        self.asked = []

    def forward(self, images):
        self.asked.append(images.clone())
        rise = self.reading(images.double()) - self.threshold
        return torch.stack([-rise, rise, rise - 1e7], 1)

    def count(self):
        return sum(len(images) for images in self.asked)


def weights(size=8):
    return torch.randn(3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def linear(weight, threshold=1e6):
    return Reading(lambda levels: (levels * weight).flatten(1).mean(1), threshold)


def levels(n=6, size=8, low=0, high=256):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(low, high, (n, 3, size, size), generator=generator).to(torch.uint8)


def zeros(n=6):
    return torch.zeros(n, dtype=torch.long)


def randoms(n=6, seed=0):
    return AttackRandom(seed, torch.arange(n))


def test_sides_and_cells(greedy):
    assert doctest.testmod(greedy).failed == 0
    assert greedy.block_sides(3, 224) == [1]
    assert greedy.block_sides(224, 300) == [56, 28, 14, 7, 3, 1]
    cells = greedy.cells_of_values(2, 3, 4, 2).view(2, 3, 4)
    assert cells.tolist() == [
        [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]],
        [[4, 4, 5, 5], [4, 4, 5, 5], [6, 6, 7, 7]],
    ]


def test_finds_the_corner_that_is_best_for_a_linear_model(greedy):
    images, weight = levels(4), weights()
    images[0], images[1] = 0, 255
    found = greedy.GreedyLevels(8, 5000).search(linear(weight), images, zeros(4), randoms(4)).images
    low, high = bounds(images, 8)
    assert torch.equal(found, torch.where(weight > 0, high, low))


def test_finds_what_every_combination_finds(greedy):
    """One pixel, three values with three choices each: all 27 candidates are read."""
    images = levels(5, size=1, low=100, high=120)
    weight = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    # The middle value is best left as it is: the reading falls to both sides.
    clean = images.double()
    model = Reading(lambda x: (x[:, 0] - (x[:, 1] - clean[:1, 1]).abs() * 2 + weight[2] * x[:, 2]).flatten(1).mean(1))
    first = images[:1]
    low, high = bounds(first, 6)
    choices = torch.stack([low, high, first]).view(3, 3)
    readings = {
        plan: float(model(torch.stack([choices[k, c] for c, k in enumerate(plan)]).view(1, 3, 1, 1))[0, 1])
        for plan in itertools.product(range(3), repeat=3)
    }
    best = max(readings, key=readings.get)
    assert best == (1, 2, 1)
    found = greedy.GreedyLevels(6, 100).search(model, first, zeros(1), randoms(1)).images
    assert found.flatten().tolist() == [int(choices[k, c]) for c, k in enumerate(best)]


def test_goes_back_to_the_levels_of_the_image(greedy):
    """A reading that wants whole blocks up first and single pixels of them back."""
    images = levels(1, low=100, high=120)
    mask = torch.zeros(8, 8, dtype=torch.float64)
    mask[::2, ::2] = 1
    weight = torch.where(mask > 0, -1.0, 1.0)

    def reading(x):
        off = x - images.double()
        return (off * weight).flatten(1).mean(1) - 3 * (off * mask).abs().flatten(1).mean(1)

    found = greedy.GreedyLevels(8, 5000).search(Reading(reading), images, zeros(1), randoms(1)).images
    _, high = bounds(images, 8)
    assert torch.equal(found, torch.where(mask > 0, images, high))


def test_queries_are_never_above_the_budget_and_spent(greedy):
    images = levels()
    images[0] = 0
    for queries in (1, 2, 17, 18, 50, 133, 400):
        model = linear(weights())
        greedy.GreedyLevels(8, queries).search(model, images, zeros(), randoms())
        assert model.count() == 6 * queries, queries


def test_queries_of_each_image(greedy):
    """Images told apart by their pixel in the corner, which no radius of 8 confuses."""
    images = levels(low=100, high=120)
    images[:, 0, 0, 0] = torch.arange(6) * 40 + 20
    weight = weights()
    gains = (torch.where(weight > 0, bounds(images, 8)[1], bounds(images, 8)[0]).double() - images) * weight
    readings = (images.double() * weight).flatten(1).mean(1)
    threshold = float((readings + 0.5 * gains.flatten(1).mean(1)).median())
    model = linear(weight, threshold)
    found = greedy.GreedyLevels(8, 150).search(model, images, zeros(), randoms()).images
    asked = torch.cat(model.asked)[:, 0, 0, 0].long()
    counts = ((asked[:, None] - images[:, 0, 0, 0].long()).abs() <= 8).sum(0)
    broken = margins(model, found, zeros()) < 0
    assert broken.any()
    assert not broken.all()
    assert (counts[~broken] == 150).all()
    assert (counts[broken] <= 150).all()
    assert (counts[broken] < 150).any()


def test_changes_that_change_nothing_cost_nothing(greedy):
    """At 0 levels nothing can change: one query, for the margin of the image itself."""
    model = linear(weights())
    found = greedy.GreedyLevels(0, 100).search(model, levels(), zeros(), randoms()).images
    assert torch.equal(found, levels())
    assert model.count() == 6
    model = linear(weights())
    greedy.GreedyLevels(8, 5000).search(model, torch.zeros_like(levels()), zeros(), randoms())
    asked = torch.cat(model.asked).flatten(1)
    assert (asked[6:] != 0).any(1).float().mean() > 0.99, "low and clean are the same at level 0"


def test_leaves_when_a_whole_cycle_brings_nothing(greedy):
    model = linear(torch.zeros(3, 8, 8, dtype=torch.float64))
    found = greedy.GreedyLevels(8, 10_000).search(model, levels(low=100, high=120), zeros(), randoms()).images
    assert torch.equal(found, levels(low=100, high=120)), "equal margins are not accepted"
    assert model.count() == 6 * (1 + 2 * 3 * (16 + 64)), "low and high of each cell of both sizes, once"


def test_margins_only_fall(greedy):
    images, weight = levels(), weights()
    before = margins(linear(weight), images, zeros())
    for queries in (20, 60, 200, 700):
        found = greedy.GreedyLevels(8, queries).search(linear(weight), images, zeros(), randoms()).images
        now = margins(linear(weight), found, zeros())
        assert (now < before).all(), queries
        before = now


def test_the_result_has_the_lowest_margin_asked(greedy):
    """Also where the reading is not linear, so that changes together are not the sum of them alone."""
    weight = weights()

    def reading(x):
        return ((x * weight / 64).sin() * weight).flatten(1).mean(1) + (x * weight).flatten(1).mean(1) ** 2 / 400

    for n in range(6):
        one = levels()[n : n + 1]
        model = Reading(reading)
        found = greedy.GreedyLevels(8, 300).search(model, one, zeros(1), randoms().select(torch.tensor([n]))).images
        lowest = torch.cat([margins(Reading(reading), asked, zeros(len(asked))) for asked in model.asked]).min()
        assert margins(Reading(reading), found, zeros(1)).item() == lowest


def test_the_best_changes_are_tried_together(greedy):
    """With 16 cells that all lower a linear margin, one visit makes all of these changes."""
    images = levels(1, low=100, high=120)
    model = linear(weights())
    greedy.GreedyLevels(8, 1 + 32 + 4).search(model, images, zeros(1), randoms(1))
    together = torch.cat(model.asked[2:])
    changed = ((together != images).flatten(2).any(2)).sum()
    sizes = [int((one != images[0]).sum()) // 4 for one in together]
    assert sizes == [16, 8, 4, 2]
    assert changed > 3


def test_two_changes_are_tried_together_once(greedy):
    image = torch.full((1, 3, 1, 1), 100, dtype=torch.uint8)
    model = Reading(lambda x: (x[:, 0] - 2 * x[:, 1]).flatten(1).mean(1))
    found = greedy.GreedyLevels(8, 1 + 6 + 1).search(model, image, zeros(1), randoms(1)).images
    assert found.flatten().tolist() == [108, 92, 100]
    assert len(torch.cat(model.asked).unique(dim=0)) == 8
    model.asked.clear()
    greedy.GreedyLevels(8, 100).search(model, image, zeros(1), randoms(1))
    assert model.count() == 1 + 6 + 1 + 6, "then a cycle that brings nothing"


def test_without_changes_together_fewer_are_enough(greedy):
    """Where two changes undo each other, the best one alone is kept."""
    images = levels(1, low=100, high=120)

    def reading(x):
        off = (x - images.double()).flatten(1) / 8
        return off.abs().amax(1) - 10 * (off.abs().sum(1) - 4).clamp(min=0) + off[:, 0] / 100

    model = Reading(reading)
    found = greedy.GreedyLevels(8, 60).search(model, images, zeros(1), randoms(1)).images
    assert int((found != images).sum()) == 4, "one cell of 2 x 2 pixels"


def test_breaks_what_it_can_and_restarts_draw_anew(greedy):
    images = levels(low=100, high=120)
    weight = weights()
    best = torch.where(weight > 0, bounds(images, 8)[1], bounds(images, 8)[0])
    model = linear(weight, float((best.double() * weight).flatten(1).mean(1).min()) - 0.3)
    few, many = greedy.GreedyLevels(8, 30, restarts=2), greedy.GreedyLevels(8, 3000)
    assert not few(model, images, zeros(), randoms()).broken.any()
    found = many(model, images, zeros(), randoms())
    assert found.broken.all()
    assert (predict(model, found.images) == 1).all()
    assert found.losses is None
    assert found.zero_gradient is None
    orders = [few.search(linear(weight), images, zeros(), randoms(), restart).images for restart in (0, 1)]
    assert not torch.equal(*orders)


def test_batch_plays_no_part(greedy):
    """Images of two classes, three on each side of the threshold."""
    images, weight = levels(low=100, high=120), weights()
    gains = (torch.where(weight > 0, bounds(images, 8)[1], bounds(images, 8)[0]).double() - images) * weight
    threshold = float(((images.double() * weight).flatten(1).mean(1) + 0.55 * gains.flatten(1).mean(1)).median())
    images[1::2] = (images[1::2] + 9 * weight.sign()).to(torch.uint8)
    attack, model = greedy.GreedyLevels(8, 200, restarts=2), linear(weight, threshold)
    labels = predict(model, images)
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]
    whole = attack(model, images, labels, randoms())
    assert whole.broken[::2].any()
    assert whole.broken[1::2].any()
    assert not whole.broken.all()
    for places in ([0], [1], [2], [3], [4], [5], [4, 0, 5, 2]):
        some = torch.tensor(places)
        alone = attack(model, images[some], labels[some], randoms().select(some))
        assert torch.equal(alone.images, whole.images[some])
        assert torch.equal(alone.broken, whole.broken[some])


def test_size_of_a_forward_plays_no_part(greedy, monkeypatch):
    whole = greedy.GreedyLevels(8, 100).search(linear(weights()), levels(), zeros(), randoms()).images
    monkeypatch.setattr(greedy, "_FORWARD_AT_ONCE", 1)
    model = linear(weights())
    assert torch.equal(greedy.GreedyLevels(8, 100).search(model, levels(), zeros(), randoms()).images, whole)
    assert max(len(asked) for asked in model.asked) == 6, "the batch's size is fine for a forward"


def test_seed_decides(greedy):
    found = [
        greedy.GreedyLevels(8, 60).search(linear(weights()), levels(), zeros(), randoms(seed=seed)).images
        for seed in (0, 0, 1)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_empty_batch(greedy):
    found = greedy.GreedyLevels(8, 60)(linear(weights()), levels(0), zeros(0), AttackRandom(0, torch.arange(0)))
    assert found.images.shape == (0, 3, 8, 8)


@pytest.mark.parametrize("eps_levels", [0, 1, 8, 32, 255])
@pytest.mark.parametrize("encoding", [RGB, lambda: OneHot(16), lambda: Thermometer(16), lambda: P2BE(8)])
def test_inside_the_ball_of_every_encoding(greedy, eps_levels, encoding):
    torch.manual_seed(0)
    model = EncodedClassifier(encoding(), build_backbone("wrn16_1", 10)).eval()
    images = levels()
    images[0], images[1] = 0, 255
    labels = predict(model, images)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=eps_levels == 8):
        found = greedy.GreedyLevels(eps_levels, 60)(model, images, labels, randoms())
    assert is_inside(found.images, images, eps_levels).all()
    if eps_levels == 0:
        assert torch.equal(found.images, images)
        assert not found.broken.any()
    else:
        assert (found.images != images).any()


def test_images_that_are_not_square(greedy):
    wide = torch.full((2, 3, 5, 9), 100, dtype=torch.uint8)
    weight = torch.randn(3, 5, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = greedy.GreedyLevels(8, 3000).search(linear(weight), wide, zeros(2), randoms(2)).images
    assert torch.equal(found, torch.where(weight > 0, 108, 92).to(torch.uint8).expand(2, -1, -1, -1))


def test_the_panel_s_checks_hold(greedy):
    """Radius 0 changes nothing, and the direction that was planted is found."""
    images, model = levels(3), EncodedClassifier(RGB(), build_backbone("wrn16_1", 10)).eval()
    attack = greedy.GreedyLevels(0, 5)
    assert zero_radius_is_clean(attack, model, images, predict(model, images), randoms(3)).verdict == "ok"
    for encoding in (RGB(), OneHot(16), Thermometer(16), P2BE(16)):
        found = planted_direction_is_found(greedy.GreedyLevels(16, 800), encoding, levels(1, 4, 40, 200)[0], randoms(1))
        assert found.verdict == "ok"
