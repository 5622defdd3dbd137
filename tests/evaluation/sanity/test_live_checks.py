"""The checks of the panel that ask the model: each with an attack or a network that it has to tell from a good one."""

import dataclasses

import pytest
import torch
from torch import nn

from p2be_exp.attacks.attack import Attack, Search
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.backbones import build_backbone
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.evaluation.sanity import planted
from p2be_exp.evaluation.sanity.live_checks import (
    forwards_agree,
    planted_direction_is_found,
    planted_directions_are_found,
    planted_image_is_found,
    zero_radius_is_clean,
)
from p2be_exp.evaluation.sanity.planted import planted_network
from p2be_exp.models.model import EncodedClassifier
from usual import P2BE, Square


class Reads(nn.Module):
    """Class 1 where the mean level is above 100; ``noise`` is added anew at each call after the first."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.noise, self.calls = noise, 0

    def forward(self, images):
        self.calls += 1
        rise = images.double().flatten(1).mean(1) - 100 + self.noise * (self.calls > 1)
        return torch.stack([-rise, rise, torch.full_like(rise, -500.0)], 1)


def grey(*means):
    return torch.stack([torch.full((3, 4, 4), mean, dtype=torch.uint8) for mean in means])


def randoms(n=1):
    return AttackRandom(0, torch.arange(n))


def test_forwards():
    images = grey(90, 99, 110)
    model = Reads()
    found = forwards_agree(model, images)
    assert (found.verdict, model.calls) == ("ok", 5)
    assert found.detail == "5 forwards of 3 images give the same logits."
    assert forwards_agree(Reads(0.5), images).verdict == "suspicious"
    found = forwards_agree(Reads(1.5), images)
    assert found.verdict == "failed"
    assert found.detail == "5 forwards of 3 images differ by up to 1.5 and change 4 predictions."
    assert forwards_agree(Reads(float("nan")), images).verdict == "failed"
    dropout = nn.Sequential(Reads(), nn.Dropout(0.5)).train()
    assert forwards_agree(dropout, images).verdict == "ok", "in eval mode"
    assert dropout.training


class Fixed(Attack):
    """Returns what it is told to, in every search."""

    id = "fixed"

    def __init__(self, move, eps_levels=0):
        super().__init__(eps_levels)
        self.move = move

    def search(self, model, images, labels, random, restart=0):
        return Search(self.move(images))


class Forgetful(Fixed):
    """Says that nothing is broken."""

    def __call__(self, *args):
        found = super().__call__(*args)
        return dataclasses.replace(found, broken=torch.zeros_like(found.broken))


class Mover(Fixed):
    """Returns images outside its ball."""

    def __call__(self, model, images, *rest):
        return dataclasses.replace(super().__call__(model, images, *rest), images=images + 1)


def test_zero_radius():
    images, labels = grey(90, 110, 99), torch.zeros(3, dtype=torch.long)
    for attack in (Square(0, 5), Fixed(lambda x: x)):
        found = zero_radius_is_clean(attack, Reads(), images, labels, randoms(3))
        assert found.verdict == "ok"
        assert found.detail == f"{attack.id} leaves 1 of 3 images wrong, as they are."
    found = zero_radius_is_clean(Forgetful(lambda x: x), Reads(), images, labels, randoms(3))
    assert (found.verdict, found.detail) == ("failed", "fixed judges 1 of 3 images otherwise and changes 0.")
    found = zero_radius_is_clean(Mover(lambda x: x), Reads(), images, labels, randoms(3))
    assert (found.verdict, found.detail) == ("failed", "fixed judges 0 of 3 images otherwise and changes 3.")
    with pytest.raises(ValueError, match="square has a radius of 1 levels"):
        zero_radius_is_clean(Square(1, 5), Reads(), images, labels, randoms(3))


@pytest.mark.parametrize("eps_levels", [1, 8, 255])
def test_planted_image(eps_levels):
    images, labels = grey(150, 90, 255, 0, 95), torch.zeros(5, dtype=torch.long)
    found = planted_image_is_found(Reads(), images, labels, eps_levels)
    assert found.verdict == "ok"
    assert found.detail == "It is image 1, proposed in the second restart; no other was counted with it."
    assert planted_image_is_found(Reads(), images, labels + 2, eps_levels).verdict == "not measured"
    saturated = planted_image_is_found(Reads(), images, torch.tensor([0, 1, 1, 1, 1]), eps_levels)
    assert "image 2" in saturated.detail
    assert saturated.verdict == "ok", "an image at 255 goes down"


def test_planted_image_is_missed_by_broken_machinery(monkeypatch):
    images, labels = grey(150, 90, 92, 0, 95), torch.zeros(5, dtype=torch.long)
    call = Attack.__call__

    def without_restarts(self, *args):
        self.restarts = 1
        return call(self, *args)

    def counts_all(self, *args):
        found = call(self, *args)
        return dataclasses.replace(found, broken=torch.ones_like(found.broken))

    def loses_images(self, model, images, *rest):
        return dataclasses.replace(call(self, model, images, *rest), images=images)

    for broken, differ in ((without_restarts, 1), (counts_all, 3), (loses_images, 0)):
        monkeypatch.setattr(Attack, "__call__", broken)
        found = planted_image_is_found(Reads(), images, labels, 8)
        assert found.verdict == "failed"
        assert found.detail == f"It is image 1; {differ} of 5 images are judged falsely."
    monkeypatch.setattr(Attack, "__call__", without_restarts)
    assert planted_image_is_found(Reads(), grey(255), torch.tensor([1]), 8).verdict == "failed", "it differs at 255 too"


ENCODINGS = [RGB, lambda: OneHot(16), lambda: Thermometer(16), lambda: Thermometer(64), lambda: P2BE(16)]


def corner(encoding, eps_levels, image):
    """The best corner of the ball for the planted network, by asking it level by level."""
    torch.manual_seed(0)
    network = planted_network(encoding, image, eps_levels)
    every = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(256, 3, 4, 4).contiguous()
    with torch.no_grad():
        reading = network(every)[:, 1]
    low, high = bounds(image, eps_levels)
    return network, torch.where(reading[high.long()] > reading[low.long()], high, low)


@pytest.mark.parametrize("make", ENCODINGS)
@pytest.mark.parametrize("eps_levels", [8, 32])
def test_planted_network_falls_halfway(make, eps_levels):
    torch.manual_seed(1)
    image = torch.randint(256, (3, 4, 4), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    network, best = corner(make(), eps_levels, image)
    with torch.no_grad():
        here, there = network(image[None]), network(best[None])
    assert here.shape == (1, 10)
    assert here[0, :2].tolist() == pytest.approx([0, -2], abs=1e-4)
    assert there[0, :2].tolist() == pytest.approx([0, 2], abs=1e-4)
    assert (here[0, 2:] == -4).all()


@pytest.mark.parametrize("make", ENCODINGS)
def test_planted_direction(make):
    torch.manual_seed(1)
    image, encoding = torch.randint(40, 200, (3, 4, 4), dtype=torch.int64).to(torch.uint8), make()
    _, best = corner(encoding, 16, image)
    found = planted_direction_is_found(Fixed(lambda _: best[None], 16), encoding, image, randoms())
    assert found.verdict == "ok"
    assert found.detail == "fixed at 16 levels goes 100 % of the way; 50 % is enough."
    found = planted_direction_is_found(Fixed(lambda x: x, 16), encoding, image, randoms())
    assert found.verdict == "failed"
    assert found.detail == "fixed at 16 levels goes 0 % of the way; 50 % is enough."
    assert planted_direction_is_found(Square(16, 1000), encoding, image, randoms()).verdict == "ok"


def test_an_attack_that_misses_the_direction_is_suspicious_where_another_finds_it():
    image = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    _, best = corner(RGB(), 16, image)
    finds, misses = Fixed(lambda _: best[None], 16), Fixed(lambda x: x, 16)

    def found(*attacks):
        return [check.verdict for check in planted_directions_are_found(attacks, RGB(), image, randoms())]

    assert found(finds, misses) == ["ok", "suspicious"]
    assert found(misses, misses) == ["failed", "failed"]
    assert found(misses, finds, finds) == ["suspicious", "ok", "ok"]
    assert found() == []


def test_planted_direction_is_the_level_where_the_codes_tell_it():
    for encoding in (RGB(), OneHot(256), Thermometer(256)):
        _, best = corner(encoding, 8, grey(100)[0])
        assert (best == 108).all()


def test_readout_is_the_level_where_the_codes_tell_it():
    for encoding in (RGB(), OneHot(256), Thermometer(256)):
        reading = encoding.table().double() @ planted._readout(encoding.table())
        torch.testing.assert_close(reading.diff(), torch.full((255,), 1 / 255, dtype=torch.float64))


def test_planted_direction_is_read_in_full_precision():
    """Eight bits go through a convolution of codes, which autocast would do in bf16."""
    torch.manual_seed(1)
    image, encoding = torch.randint(40, 200, (3, 4, 4), dtype=torch.int64).to(torch.uint8), Thermometer(8)
    moved = (image + 9).clamp(max=255)
    plain = planted_direction_is_found(Fixed(lambda _: moved[None], 16), encoding, image, randoms())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert planted_direction_is_found(Fixed(lambda _: moved[None], 16), encoding, image, randoms()) == plain
        lowered = []
        watch = Fixed(lambda x: lowered.append(torch.is_autocast_enabled("cpu")) or x, 16)
        planted_direction_is_found(watch, encoding, image, randoms())
    assert lowered == [False], "while it is attacked, too"
    assert " 0 %" not in plain.detail


def test_nothing_to_plant_where_no_code_changes():
    found = planted_direction_is_found(Fixed(lambda x: x, 8), Thermometer(1), grey(100)[0], randoms())
    assert found.verdict == "not measured"
    found = planted_direction_is_found(Fixed(lambda x: x, 0), RGB(), grey(100)[0], randoms())
    assert found.verdict == "not measured"


def test_planting_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model = EncodedClassifier(P2BE(8), build_backbone("wrn16_1", 10)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    image = torch.randint(256, (3, 8, 8)).to(torch.uint8)
    planted_direction_is_found(Square(8, 10), model.encoding, image, randoms())
    planted_image_is_found(model, image[None], torch.tensor([0]), 8)
    forwards_agree(model, image[None])
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
