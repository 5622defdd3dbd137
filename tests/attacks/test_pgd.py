"""PGD: it finds optima that are known, its steps follow the rule as written, and the batch plays no part."""

import copy
import dataclasses
import doctest
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from grids import in_turn
from p2be_exp.attacks import pgd
from p2be_exp.attacks.attack import attacked, predict
from p2be_exp.attacks.ball import bounds, is_inside
from p2be_exp.attacks.pgd import checkpoints
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.random_in_ball import uniform_levels
from p2be_exp.backbones import Backbone, StemShape, build_backbone
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.errors import BadInput
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.models.readers import StemReader
from p2be_exp.models.surrogate import slopes
from usual import P2BE, PGD

with torch.random.fork_rng():  # the same table whatever ran before
    torch.manual_seed(0)
    ENCODINGS = [RGB(), OneHot(16), Thermometer(16), P2BE(16)]


class Trunk(Backbone):
    """A small trunk of its own: linear, or with one bend."""

    def __init__(self, size, classes, linear):
        super().__init__()
        self.stem = StemShape(out_channels=6)
        self.linear = linear
        self.classifier = nn.Linear(6 * size * size, classes)

    def forward(self, features):
        return self.classifier((features if self.linear else features.sin()).flatten(1))


LAST_BITS = 1e-9
"""What is nearer than this in float64 is the same loss, asked for in a batch of another size or on another CPU."""


def small(encoding, size=6, classes=4, linear=False, seed=0) -> EncodedClassifier:
    torch.manual_seed(seed)
    return EncodedClassifier(copy.deepcopy(encoding), Trunk(size, classes, linear)).eval().double()


def levels(batch=8, size=6, seed=0):
    return torch.randint(256, (batch, 3, size, size), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def randoms(batch=8, seed=0):
    return AttackRandom(seed, torch.arange(batch))


def search(attack, model, images, labels, restart=0, random=None):
    with attacked(model):
        return attack.search(model, images, labels, random or randoms(len(images)), restart)


def ce_of(model, images, labels):
    with torch.no_grad():
        return F.cross_entropy(model(images), labels, reduction="none")


# -- optima that are known -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "restart", "eps_levels"), [("ce", 0, 1), ("margin", 0, 8), ("ce", 1, 8), ("margin", 1, 255)]
)
def test_of_a_linear_network_it_finds_the_best_corner(loss, restart, eps_levels):
    """Two classes: both losses rise with the difference of the logits, whose gradient is the same everywhere."""
    model, images, labels = small(RGB(), classes=2, linear=True), levels(), torch.arange(8) % 2
    codes = model.encoding(images).double().requires_grad_()
    logits = model.forward_codes(codes)
    (slope,) = torch.autograd.grad(
        (logits.gather(1, 1 - labels[:, None]) - logits.gather(1, labels[:, None])).sum(), codes
    )
    low, high = bounds(images, eps_levels)
    corner = torch.where(slope > 0, high, low)
    for steps in (1, 5):
        attack = PGD(eps_levels, loss=loss, steps=steps, momentum=1.0, stop_when_wrong=False, step_size=2.0)
        assert torch.equal(search(attack, model, images, labels, restart).images, corner)


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("encoding", [RGB(), Thermometer(64)], ids=lambda e: e.name)
def test_of_one_pixel_it_finds_what_an_exhaustive_search_finds(loss, encoding):
    eps_levels, batch = 3, 12
    model, images = small(encoding, size=1, classes=3, seed=1), levels(batch, size=1)
    labels, low_high = predict(model, images), bounds(images, eps_levels)
    best = []
    for i in range(batch):
        spans = [range(int(lo), int(hi) + 1) for lo, hi in zip(*(b[i].flatten() for b in low_high), strict=True)]
        points = torch.tensor(list(itertools.product(*spans)), dtype=torch.uint8).view(-1, 3, 1, 1)
        best.append(losses_of(model, points, labels[i].expand(len(points)), loss).max())
    best = torch.stack(best)
    start = losses_of(model, images, labels, loss)
    found = start
    for restart in range(6):
        result = search(PGD(eps_levels, loss=loss, steps=20, stop_when_wrong=False), model, images, labels, restart)
        found = torch.maximum(found, losses_of(model, result.images, labels, loss))
    assert (found <= best + LAST_BITS).all()
    better = best > start + LAST_BITS
    assert better.sum() >= 6
    assert ((found - start) / (best - start))[better].mean() > 0.95


def losses_of(model, images, labels, loss):
    with torch.no_grad():
        logits = model(images)
    if loss == "ce":
        return F.cross_entropy(logits, labels, reduction="none")
    wrong = [[v for j, v in enumerate(row) if j != y] for row, y in zip(logits.tolist(), labels.tolist(), strict=True)]
    right = [row[y] for row, y in zip(logits.tolist(), labels.tolist(), strict=True)]
    return torch.tensor([max(w) - r for w, r in zip(wrong, right, strict=True)], dtype=torch.double)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.name)
@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_both_losses_break_what_chance_does_not(encoding, loss):
    model, images = small(encoding), levels(40)
    labels, eps_levels = predict(model, images), 20
    chance = predict(model, uniform_levels(images, eps_levels, randoms(40), 0)) != labels
    attack = PGD(eps_levels, loss=loss, steps=10)
    assert attack(model, images, labels, randoms(40)).broken.sum() > chance.sum() + 8


# -- the rule, transcribed -----------------------------------------------------------------------------------------


def plain_pgd(model, image, label, attack, start):
    """One image, one search, written down from the docstring; yields all that it saw."""
    eps = attack.eps_levels
    slope = slopes(model.encoding, attack.gradient, max(eps, 1), attack.width)
    low, high = (b.double() for b in bounds(image, eps))
    share = [0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99] if attack.adaptive else []
    marks = sorted({math.ceil(round(s * attack.steps, 6)) for s in share})
    with torch.no_grad():
        clean = model(image)[0]

    def ask(point):
        at = point.round().to(torch.uint8)
        values = at.double().requires_grad_()
        k = at.long()
        codes = model.encoding.table()[k] + slope[k] * (values - values.detach()).unsqueeze(-1)
        logits = model.forward_codes(codes.permute(0, 1, 4, 2, 3).flatten(1, 2))
        ce = F.cross_entropy(logits, label)
        others = torch.cat([logits[0, :label], logits[0, label + 1 :]])
        value = {
            "ce": ce,
            "margin": others.max() - logits[0, label[0]],
            "kl": sum(p * (p / q).log() for p, q in zip(clean.softmax(0), logits[0].softmax(0), strict=True)),
        }[attack.loss]
        (gradient,) = torch.autograd.grad(value, values)
        return without_last_bits(value).item(), ce.item(), without_last_bits(gradient), logits.argmax() != label

    x = before = start.double()
    step, last_mark, last_best, halved_last = attack.step_size * eps, 0, None, False
    value, ce, gradient, wrong = ask(x)
    best_x, best, best_gradient, last_best = x, value, gradient, value
    seen, zeros, steps = [], [(gradient == 0).double().mean().item()], []
    raised = 0
    if wrong and attack.stop_when_wrong:
        return x, [ce] * attack.steps, zeros, steps
    for i in range(1, attack.steps + 1):
        z = torch.clamp(x + step * gradient.sign(), low, high)
        a = 1.0 if i == 1 or not attack.adaptive else attack.momentum
        x, before = torch.clamp(x + a * (z - x) + (1 - a) * (x - before), low, high), x
        steps.append(step)
        previous = value
        value, ce, gradient, wrong = ask(x)
        seen.append(ce)
        raised += value > previous
        if value > best:
            best_x, best, best_gradient = x, value, gradient
        if i < attack.steps:
            zeros.append((gradient == 0).double().mean().item())
        if wrong and attack.stop_when_wrong:
            return x, seen + [ce] * (attack.steps - i), zeros, steps
        if i in marks:
            few = raised < 0.75 * (i - last_mark)
            stale = not halved_last and best == last_best
            halved_last = few or stale
            if halved_last:
                step, x, before, value, gradient = step / 2, best_x, best_x, best, best_gradient
            last_mark, last_best, raised = i, best, 0
    return best_x if attack.adaptive else x, seen, zeros, steps


def start_of(attack, image, random, restart):
    """Where a search begins, and the random numbers of the image if it has any."""
    if attack.start == "near":
        return uniform_levels(image, min(attack.eps_levels, 1), random, restart)
    if attack.start == "uniform" or restart > 0:
        return uniform_levels(image, attack.eps_levels, random, restart)
    return image


def without_last_bits(values):
    """What is equal or 0 in exact arithmetic is so in float64 too: the loss of a point that is asked about again in a
    smaller batch, a gradient whose terms cancel. The search and its transcription decide by such values."""
    return values.round(decimals=7)


@pytest.fixture
def asked_without_last_bits(monkeypatch):
    call = pgd.Asked.__call__

    def rounded(self, *given, **more):
        answer = call(self, *given, **more)
        gradient = None if answer.gradient is None else without_last_bits(answer.gradient)
        return dataclasses.replace(answer, loss=without_last_bits(answer.loss), gradient=gradient)

    monkeypatch.setattr(pgd.Asked, "__call__", rounded)


@pytest.mark.usefixtures("asked_without_last_bits")
@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        (RGB(), {"loss": "margin", "steps": 30}),
        (Thermometer(16), {"loss": "ce", "steps": 30, "gradient": "interpolate", "momentum": 0.6}),
        (OneHot(16), {"loss": "margin", "steps": 11, "gradient": "smooth", "width": 3.0, "step_size": 0.5}),
        (P2BE(16), {"loss": "ce", "steps": 25, "gradient": "secant", "momentum": 1.0}),
        (P2BE(16), {"loss": "kl", "start": "near", "adaptive": False, "steps": 10, "step_size": 0.25}),
        (RGB(), {"loss": "ce", "start": "near", "adaptive": False, "steps": 10, "step_size": 0.25}),
        (Thermometer(16), {"loss": "kl", "start": "uniform", "steps": 25}),
        (OneHot(16), {"loss": "margin", "start": "uniform", "adaptive": False, "steps": 7, "step_size": 0.4}),
    ],
    ids=["rgb", "thermometer", "onehot", "p2be", "p2be-kl-fixed", "rgb-fixed", "thermometer-kl", "onehot-uniform"],
)
def test_the_search_is_the_rule_as_written(encoding, options, stop):
    model, images, random = small(encoding), levels(12, seed=3), randoms(12)
    labels = predict(model, images)
    eps_levels = 1 if stop else 6  # so that some images stay right
    attack, halved = PGD(eps_levels, stop_when_wrong=stop, **options), 0
    for restart in (0, 2):
        got = search(attack, model, images, labels, restart, random)
        for i in range(12):
            place = torch.tensor([i])
            start = start_of(attack, images[place], random.select(place), restart)
            point, seen, zeros, steps = plain_pgd(model, images[place], labels[place], attack, start)
            assert torch.equal(got.images[place], point.round().to(torch.uint8))
            assert got.losses[:, i].tolist() == pytest.approx(seen, rel=1e-5)
            assert got.found_at[i] == len(steps) or not stop
            assert got.zero_gradient[i].item() == pytest.approx(sum(zeros) / len(zeros), abs=1e-6)
            halved += len(set(steps)) > 2
    assert stop or halved >= 4 or not attack.adaptive


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.name)
def test_the_gradient_of_the_divergence_is_that_of_finite_differences(encoding):
    """Along the codes; from there to the level it is the slope, as of every loss."""
    model, images, step = small(encoding), levels(4), 1e-6
    labels, at = torch.zeros(4, dtype=torch.long), uniform_levels(images, 6, randoms(4), 0)
    attack = PGD(6, loss="kl", start="near")
    with attacked(model):
        answer = pgd.Asked(model, attack, images)(at, labels, torch.arange(4), with_gradient=True)
    p = model(images).softmax(1)

    def divergence(codes):
        with torch.no_grad():
            return (p * (p.log() - model.forward_codes(codes).log_softmax(1))).sum(1)

    codes, slope = model.encoding(at).double(), slopes(encoding, "secant", 6, 8.0)
    torch.testing.assert_close(answer.loss, divergence(codes))
    for channel, row, column in ((0, 0, 0), (1, 3, 2), (2, 5, 5)):
        along = torch.zeros(4, 3, encoding.M, 6, 6, dtype=torch.double)
        along[:, channel, :, row, column] = slope[at[:, channel, row, column].long()].double()
        along = along.flatten(1, 2)
        expected = (divergence(codes + step * along) - divergence(codes - step * along)) / (2 * step)
        torch.testing.assert_close(answer.gradient[:, channel, row, column].double(), expected, rtol=1e-4, atol=1e-9)
        assert (expected.abs() > 1e-7).any()


@pytest.mark.parametrize("adaptive", [True, False])
def test_of_a_linear_network_the_divergence_rises_to_the_corner_on_the_starts_side(adaptive):
    """Two classes: it grows with the distance of the difference of the logits from the image's."""
    model, images = small(RGB(), classes=2, linear=True), levels(40)
    labels, random = torch.zeros(40, dtype=torch.long), randoms(40)

    def difference(at):
        with torch.no_grad():
            return model(at).diff(dim=1).squeeze(1)

    codes = model.encoding(images).double().requires_grad_()
    (slope,) = torch.autograd.grad(model.forward_codes(codes).diff(dim=1).sum(), codes)
    side = (difference(uniform_levels(images, 1, random, 0)) - difference(images)).sign().view(-1, 1, 1, 1)
    assert 10 < (side > 0).sum() < 30
    low, high = bounds(images, 8)
    attack = PGD(8, loss="kl", steps=10, start="near", adaptive=adaptive, step_size=0.25, stop_when_wrong=False)
    assert torch.equal(search(attack, model, images, labels).images, torch.where(slope * side > 0, high, low))


def test_fixed_steps_return_the_last_point_and_steps_that_adapt_the_best():
    """Steps as long as the radius jump over the best points."""
    model, images = small(RGB()), levels(30)
    labels, options = predict(model, images), {"steps": 9, "step_size": 1.0, "start": "near", "stop_when_wrong": False}
    fixed = search(PGD(30, adaptive=False, **options), model, images, labels)
    torch.testing.assert_close(ce_of(model, fixed.images, labels).float(), fixed.losses[-1])
    assert (fixed.losses[-1] < fixed.losses.amax(0)).any()
    best = search(PGD(30, **options), model, images, labels)
    assert (ce_of(model, best.images, labels).float() >= best.losses.amax(0) - 1e-6).all()


@pytest.mark.parametrize("loss", ["ce", "margin", "kl"])
def test_fixed_steps_stop_at_the_first_wrong_point(loss):
    model, images = small(Thermometer(16)), levels(40)
    labels, options = predict(model, images), {"loss": loss, "steps": 10, "step_size": 0.25, "start": "near"}
    stopped = search(PGD(4, adaptive=False, **options), model, images, labels)
    went_on = search(PGD(4, adaptive=False, stop_when_wrong=False, **options), model, images, labels)
    wrong = predict(model, stopped.images) != labels
    assert 3 < wrong.sum() < 40
    assert torch.equal(stopped.images[~wrong], went_on.images[~wrong])
    assert not torch.equal(stopped.images[wrong], went_on.images[wrong])


def test_near_is_one_level_away_at_most_and_elsewhere_in_every_restart(monkeypatch):
    model, images, starts = small(P2BE(16)), levels(40), []
    images[0], images[1] = 0, 255
    labels, at = predict(model, images), pgd._Climb.at
    monkeypatch.setattr(pgd._Climb, "at", lambda start, *rest: starts.append(start) or at(start, *rest))
    once = PGD(8, steps=1, start="near")
    for restart in (0, 1, 0):
        search(once, model, images, labels, restart)
    first, second, again = starts
    assert torch.equal(first, again)
    for start in (first, second):
        moved = start - images
        assert moved.unique().tolist() == [-1, 0, 1]
        assert start.min() >= 0
        assert start.max() <= 255
        assert all(0.28 < (moved[2:] == each).double().mean() < 0.39 for each in (-1, 0, 1))  # a third; 4 sd of 4,104
    assert 0.6 < (first != second).double().mean() < 0.73
    starts.clear()
    options = {"loss": "kl", "steps": 2, "start": "near", "adaptive": False}
    left = (~PGD(1, **options)(model, images, labels, randoms(40)).broken).nonzero().squeeze(1)
    assert len(left) > 0
    starts.clear()
    PGD(1, restarts=2, **options)(model, images, labels, randoms(40))
    assert torch.equal(starts[0], uniform_levels(images, 1, randoms(40), 0).float())
    assert torch.equal(starts[1], uniform_levels(images[left], 1, randoms(40).select(left), 1).float())


def test_checkpoints():
    assert doctest.testmod(pgd).failed == 0
    assert checkpoints(100) == {22: 0, 41: 22, 57: 41, 70: 57, 80: 70, 87: 80, 93: 87, 99: 93}
    assert list(checkpoints(40)) == [9, 17, 23, 28, 32, 35, 38, 40]
    assert checkpoints(1) == {1: 0}


def test_whose_step_is_halved_at_a_checkpoint():
    """10 moves: 7 that raised the loss are too few; 8 are enough, unless nothing was gained twice running."""
    cases = list(itertools.product((7, 8), (False, True), (False, True)))  # raised, rose, kept
    raised, rose, kept = (torch.tensor(column) for column in zip(*cases, strict=True))
    start = torch.full((8, 3, 1, 1), 50.0)
    climb = pgd._Climb.at(start, start - 8, start + 8, torch.zeros(8, dtype=torch.long), 16.0)
    climb.raised, climb.rose, climb.kept = raised.float(), rose, kept
    climb.best = start + 3
    climb.best_loss = torch.full((8,), 2.0)
    climb.loss = torch.full((8,), 1.0)
    climb.best_gradient = torch.ones_like(start)
    climb.halve_where_stuck(10)
    stuck = [count == 7 or (same and not gained) for count, gained, same in cases]
    assert sum(stuck) == 5
    assert climb.step.tolist() == [8.0 if yes else 16.0 for yes in stuck]
    assert climb.kept.tolist() == [not yes for yes in stuck]
    assert climb.loss.tolist() == [2.0 if yes else 1.0 for yes in stuck]
    for point, there in ((climb.x, 53.0), (climb.before, 53.0)):
        assert point[:, 0, 0, 0].tolist() == [there if yes else 50.0 for yes in stuck]
    assert climb.gradient[:, 0, 0, 0].tolist() == [float(yes) for yes in stuck]
    assert not climb.raised.any()
    assert not climb.rose.any()


def test_without_halving_it_is_worse(monkeypatch):
    """Steps that never shrink jump over the best points of a network with many bends."""
    model, images = small(RGB()), levels(30)
    labels = predict(model, images)
    attack = PGD(30, steps=30, stop_when_wrong=False)
    adaptive = ce_of(model, search(attack, model, images, labels).images, labels).mean()
    monkeypatch.setattr(pgd, "checkpoints", lambda steps: {})
    assert ce_of(model, search(attack, model, images, labels).images, labels).mean() < adaptive


def test_more_steps_never_lower_the_best_loss():
    """The first moves of a search do not depend on how many follow, up to the first checkpoint."""
    model, images = small(P2BE(16)), levels(20)
    labels = predict(model, images)
    losses = [
        ce_of(model, search(PGD(8, steps=steps, stop_when_wrong=False), model, images, labels).images, labels)
        for steps in (1, 40)
    ]
    assert (losses[1] >= losses[0]).all()
    assert (losses[0] >= ce_of(model, images, labels)).all()
    assert losses[1].mean() > losses[0].mean()


@pytest.mark.parametrize("steps", [25, 120])  # of 120, one is left after the last checkpoint
def test_the_image_returned_has_the_highest_loss_seen(steps):
    model, images = small(OneHot(16)), levels(20)
    labels = predict(model, images)
    result = search(PGD(8, steps=steps, stop_when_wrong=False), model, images, labels)
    seen = torch.cat([ce_of(model, images, labels)[None].float(), result.losses])
    torch.testing.assert_close(ce_of(model, result.images, labels).float(), seen.amax(0), rtol=1e-5, atol=1e-6)


# -- leaving early, restarts, batches ------------------------------------------------------------------------------


def test_leaving_early_breaks_the_same_images():
    model, images = small(Thermometer(16)), levels(40)
    labels, results = predict(model, images), []
    for stop in (True, False):
        attack = PGD(2, loss="margin", steps=15, stop_when_wrong=stop)
        results.append(attack(model, images, labels, randoms(40)))
    early, late = results
    assert 5 < early.broken.sum() < 40
    assert torch.equal(early.broken, late.broken)
    assert torch.equal(early.images[~early.broken], late.images[~early.broken])
    margins = [losses_of(model, r.images, labels, "margin")[early.broken] for r in results]
    assert (margins[1] >= margins[0]).all()
    assert (margins[1] > margins[0] + 0.01).any()


def test_an_image_that_left_costs_nothing_and_holds_its_last_loss(monkeypatch):
    model, images = small(Thermometer(16)), levels(40)
    labels, asked = predict(model, images), []
    call = pgd.Asked.__call__
    monkeypatch.setattr(
        pgd.Asked, "__call__", lambda self, at, *rest, **more: asked.append(len(at)) or call(self, at, *rest, **more)
    )
    result = search(PGD(2, loss="margin", steps=15), model, images, labels)
    wrong = predict(model, result.images) != labels
    assert asked == sorted(asked, reverse=True)
    assert asked[-1] < asked[0] == 40
    assert asked[-1] >= 40 - wrong.sum()
    final = ce_of(model, result.images, labels).float()
    torch.testing.assert_close(result.losses[-1, wrong], final[wrong])
    assert result.losses.isfinite().all()
    assert (result.losses > 0).all()


def test_images_that_are_wrong_from_the_start():
    """As in training: stopping returns them as they are, going on makes them worse."""
    model, images = small(RGB()), levels(20)
    labels = (predict(model, images) + 1) % 4
    stopped = search(PGD(8, steps=6), model, images, labels)
    assert torch.equal(stopped.images, images)
    torch.testing.assert_close(stopped.losses, ce_of(model, images, labels).float().expand(6, 20))
    assert stopped.zero_gradient.isfinite().all()
    went_on = search(PGD(8, steps=6, stop_when_wrong=False), model, images, labels)
    assert (ce_of(model, went_on.images, labels) > ce_of(model, images, labels)).all()


def test_restarts_are_for_survivors_and_start_elsewhere(monkeypatch):
    model, images = small(P2BE(16)), levels(40)
    labels, starts = predict(model, images), []
    at = pgd._Climb.at

    def recorded(start, *rest):
        starts.append(start)
        return at(start, *rest)

    monkeypatch.setattr(pgd._Climb, "at", recorded)
    once = PGD(1, steps=3)(model, images, labels, randoms(40))
    starts.clear()
    three = PGD(1, steps=3, restarts=3)(model, images, labels, randoms(40))
    assert [len(start) for start in starts][:2] == [40, int((~once.broken).sum())]
    assert torch.equal(starts[0], images.float())
    left = (~once.broken).nonzero().squeeze(1)
    assert torch.equal(starts[1], uniform_levels(images[left], 1, randoms(40).select(left), 1).float())
    assert three.broken[once.broken].all()
    assert once.broken.sum() < three.broken.sum()
    assert torch.equal(three.losses, once.losses)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.name)
def test_the_batch_plays_no_part(encoding):
    model, images = small(encoding), levels(10)
    labels, random = predict(model, images), randoms(10)
    attack = PGD(4, loss="margin", steps=8, restarts=2)
    together = attack(model, images, labels, random)
    for i in range(10):
        place = torch.tensor([i])
        alone = attack(model, images[place], labels[place], random.select(place))
        assert torch.equal(alone.images, together.images[place])
        assert torch.equal(alone.broken, together.broken[place])
        torch.testing.assert_close(alone.losses, together.losses[:, place])


@pytest.mark.parametrize("momentum", [0.5, 0.75, 1.0])
def test_momentum_is_the_share_of_the_new_step(momentum):
    """Small steps of a linear network, far from the bounds: the moves are a plain recursion."""
    model, images = small(RGB(), classes=2, linear=True), torch.full((1, 3, 6, 6), 128, dtype=torch.uint8)
    attack = PGD(100, steps=4, momentum=momentum, step_size=0.05, stop_when_wrong=False)
    moved = (search(attack, model, images, torch.tensor([0])).images.int() - 128).abs()
    move, expected = 5.0, 5.0
    for _ in range(3):
        move = momentum * 5 + (1 - momentum) * move
        expected += move
    assert (moved == round(expected)).all()
    # That recursion keeps its speed; after a turn the last move still carries on for a share of it.
    climb = pgd._Climb.at(torch.zeros(1, 3, 2, 2) + 50, *torch.tensor([0.0, 100.0]), torch.tensor([0]), 8.0)
    climb.before = climb.x - 4
    climb.gradient = torch.full((1, 3, 2, 2), -0.1)
    climb.move(momentum)
    assert torch.allclose(climb.x, torch.tensor(50 - 8 * momentum + 4 * (1 - momentum)))


# -- inside the ball, always ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "eps_levels"), [*in_turn(ENCODINGS, [255, 1, 8, 32]), *in_turn(ENCODINGS, [0, 3, 255])]
)
def test_every_image_is_levels_inside_the_ball(encoding, eps_levels):
    model, images = small(encoding), levels()
    images[0], images[1] = 0, 255
    labels = predict(model, images)
    names = ["secant", "smooth"] + ["interpolate"] * (encoding.name != "p2be")
    kinds = [{"loss": "ce"}, {"loss": "margin"}, {"loss": "kl", "start": "near", "adaptive": False, "step_size": 0.7}]
    for name, kind, stop in itertools.product(names, kinds, (True, False)):
        attack = PGD(eps_levels, name, steps=3, stop_when_wrong=stop, **kind)
        for restart in (0, 1):
            found = search(attack, model, images, labels, restart).images
            assert is_inside(found, images, eps_levels).all()
        if eps_levels == 0:
            assert torch.equal(found, images)
        else:
            assert not torch.equal(found, images)


def test_a_network_that_has_diverged():
    model, images = small(RGB()), levels()
    with torch.no_grad():
        model.trunk.classifier.weight.fill_(float("nan"))
    result = PGD(8, steps=3, restarts=2)(model, images, torch.zeros(8, dtype=torch.long), randoms())
    assert is_inside(result.images, images, 8).all()
    assert (result.zero_gradient == 1).all()


def test_no_images_and_one():
    model = small(Thermometer(16))
    for n in (0, 1):
        result = search(PGD(8, steps=3), model, levels(n), torch.zeros(n, dtype=torch.long), random=randoms(n))
        assert result.images.shape == (n, 3, 6, 6)
        assert result.losses.shape == (3, n)
        assert result.zero_gradient.shape == (n,)


@pytest.mark.parametrize("encoding", [RGB(), Thermometer(32)], ids=lambda e: e.name)
def test_under_autocast_it_still_breaks_what_chance_does_not(encoding):
    torch.manual_seed(0)
    model = EncodedClassifier(encoding, build_backbone("wrn16_1", 10)).eval()
    images, random = levels(30, 8), randoms(30)
    with torch.autocast("cpu", torch.bfloat16):
        labels = predict(model, images)
        result = PGD(20, steps=5)(model, images, labels, random)
        chance = predict(model, uniform_levels(images, 20, random, 0)) != labels
    assert is_inside(result.images, images, 20).all()
    assert result.broken.sum() > chance.sum() + 5


@pytest.mark.gpu
@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.name)
def test_on_a_gpu(encoding):
    model, images = small(encoding).cuda(), levels(20).cuda()
    labels = predict(model, images)
    random = AttackRandom(0, torch.arange(20, device="cuda"))
    result = PGD(8, loss="margin", steps=10, restarts=2)(model, images, labels, random)
    here = PGD(8, loss="margin", steps=10, restarts=2)(model.cpu(), images.cpu(), labels.cpu(), randoms(20))
    assert is_inside(result.images, images, 8).all()
    assert (result.broken.cpu() == here.broken).float().mean() >= 0.9


# -- what it reports -----------------------------------------------------------------------------------------------


def test_zero_gradient_is_the_share_of_values_without_one():
    """Half of the values are at levels whose code does not change within the radius."""
    model = small(OneHot(2))
    images = torch.zeros(4, 3, 6, 6, dtype=torch.uint8)
    images[..., 3:] = 127  # 128 is in the other bucket
    result = search(PGD(1, steps=1, stop_when_wrong=False), model, images, predict(model, images))
    assert result.zero_gradient.tolist() == [0.5] * 4
    left_at_once = search(PGD(1, steps=5), model, images, (predict(model, images) + 1) % 4)
    assert left_at_once.zero_gradient.tolist() == [0.5] * 4


def test_there_are_as_many_gradients_as_steps(monkeypatch):
    taken, level_gradient = [], StemReader.level_gradient
    monkeypatch.setattr(StemReader, "level_gradient", lambda *given: taken.append(1) or level_gradient(*given))
    search(PGD(8, steps=7, stop_when_wrong=False), small(RGB()), levels(), torch.zeros(8, dtype=torch.long))
    assert len(taken) == 7


def test_the_losses_are_cross_entropies_under_the_margin_too():
    model, images = small(RGB()), levels()
    labels = predict(model, images)
    result = search(PGD(4, loss="margin", steps=1, stop_when_wrong=False), model, images, labels)
    moved = losses_of(model, result.images, labels, "margin") > losses_of(model, images, labels, "margin")
    torch.testing.assert_close(result.losses[0, moved], ce_of(model, result.images, labels).float()[moved])
    assert moved.any()


def test_secant_has_the_radius_of_the_ball(monkeypatch):
    radii = []

    def recorded(encoding, name, radius, width):
        radii.append((name, radius, width))
        return slopes(encoding, name, radius, width)

    monkeypatch.setattr(pgd, "slopes", recorded)
    model, images = small(P2BE(8)), levels(2)
    for eps_levels in (0, 5):
        search(PGD(eps_levels, steps=1), model, images, torch.tensor([0, 1]))
    search(PGD(5, "smooth", steps=1, width=2.5), model, images, torch.tensor([0, 1]))
    assert radii == [("secant", 1, 8.0), ("secant", 5, 8.0), ("smooth", 5, 2.5)]


def test_names():
    attack = PGD(8, "smooth", "margin", restarts=5)
    assert (attack.id, attack.gradient, attack.restarts) == ("pgd_margin_smooth", "smooth", 5)
    assert PGD(8).id == "pgd_ce_secant"
    assert PGD(8, loss="kl", start="near", adaptive=False).id == "pgd_kl_secant_near_fixed"
    assert PGD(8, loss="margin", start="uniform").family == "pgd_margin_secant_uniform"
    assert PGD(8, "smooth", adaptive=False, step_size=0.25).id == "pgd_ce_smooth_fixed"
    assert PGD(8, loss="margin", climb="outputs").id == "pgd_margin_secant_outputs"
    assert PGD(8, start="near", adaptive=False, climb="outputs").family == "pgd_ce_secant_near_fixed_outputs"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"gradient": "exact"}, "gradient=exact: must be one of secant, smooth, interpolate"),
        ({"loss": "dlr"}, "loss=dlr: must be one of ce, margin, kl"),
        ({"steps": 0}, "steps=0: must be 1 or more"),
        ({"momentum": 0.0}, "momentum=0.0: must be above 0"),
        ({"momentum": 1.5}, "momentum=1.5: must be above 0"),
        ({"step_size": 0.0}, "step_size=0.0: must be above 0"),
        ({"start": "far"}, r"start=far: must be image \| near \| uniform"),
        ({"climb": "tanh"}, r"climb=tanh: must be logits \| outputs"),
        ({"loss": "kl"}, r"start=image: must be near \| uniform, which loss=kl needs"),
    ],
)
def test_options_out_of_range_are_refused(options, line):
    with pytest.raises(BadInput, match=line):
        PGD(8, **options)


def test_interpolate_is_refused_without_buckets():
    with pytest.raises(BadInput, match="has no buckets"):
        search(PGD(8, "interpolate"), small(P2BE(8)), levels(), torch.zeros(8, dtype=torch.long))
