"""Transfer: the images are the inner attack's on the source; what is broken is the target's word."""

import pytest
import torch

from p2be_exp.attacks.attack import predict
from p2be_exp.attacks.ball import is_inside
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.transfer import Transfer
from p2be_exp.backbones import Backbone, StemShape, build_backbone
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.models.mixed import MixedClassifier
from p2be_exp.models.model import EncodedClassifier
from usual import P2BE, PGD, RandomInBall


def small(encoding, seed=0) -> EncodedClassifier:
    torch.manual_seed(seed)
    return EncodedClassifier(encoding, build_backbone("wrn16_1", 4)).eval()


def levels(batch=24):
    return torch.randint(256, (batch, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def strongest(eps_levels=4, **options):
    return PGD(eps_levels, steps=5, stop_when_wrong=False, **options)


def test_a_source_that_is_the_target_is_the_inner_attack():
    model, images, random = small(Thermometer(16)), levels(), AttackRandom(0, torch.arange(24))
    labels = predict(model, images)
    for restarts in (1, 3):
        expected = strongest(2, loss="margin", restarts=restarts)(model, images, labels, random)
        inner = strongest(2, loss="margin")
        got = Transfer(2, model, "itself", inner, restarts)(model, images, labels, random)
        assert 0 < expected.broken.sum() < 24 * restarts
        assert torch.equal(got.broken, expected.broken)
        assert torch.equal(got.images, expected.images)
        assert torch.equal(got.zero_gradient, expected.zero_gradient)


def test_the_images_are_the_sources_and_the_verdict_the_targets():
    source, target, images, random = small(RGB(), 1), small(P2BE(8), 2), levels(), AttackRandom(0, torch.arange(24))
    labels = predict(target, images)
    got = Transfer(4, source, "rgb_wrn16_1", strongest(), 1)(target, images, labels, random)
    right = labels == labels
    expected = strongest().search(source.requires_grad_(False), images[right], labels[right], random)
    assert torch.equal(got.images, expected.images)
    assert torch.equal(got.broken, predict(target, got.images) != labels)
    assert is_inside(got.images, images, 4).all()
    assert got.broken.any()


def test_a_source_may_be_a_part_of_the_target():
    accurate, robust = small(RGB(), 1), small(P2BE(8), 2)
    target = MixedClassifier(accurate, robust, alpha=0.5).eval()
    images, random = levels(6), AttackRandom(0, torch.arange(6))
    labels = predict(target, images)
    for name, part in (("accurate", accurate), ("robust", robust)):
        of_part = Transfer(4, name, name, strongest(loss="margin"), restarts=1)(target, images, labels, random)
        of_model = Transfer(4, part, name, strongest(loss="margin"), restarts=1)(target, images, labels, random)
        assert torch.equal(of_part.images, of_model.images)
        assert torch.equal(of_part.broken, of_model.broken)


def test_a_restart_has_other_noise():
    source, images, random = small(RGB()), levels(), AttackRandom(0, torch.arange(24))
    attack = Transfer(4, source, "rgb", RandomInBall(4), 1)
    first, second = (attack.search(source, images, predict(source, images), random, restart) for restart in (0, 1))
    assert not torch.equal(first.images, second.images)


def test_the_source_is_asked_in_eval_mode_and_left_as_it_was():
    source, target, images = small(RGB()), small(P2BE(8)), levels()
    expected = Transfer(4, source, "rgb", strongest(), 1)(
        target, images, predict(target, images), AttackRandom(0, torch.arange(24))
    )
    source.train()
    source.trunk.norm.eval()
    source.stem.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in source.state_dict().items()}
    again = Transfer(4, source, "rgb", strongest(), 1)(
        target, images, predict(target, images), AttackRandom(0, torch.arange(24))
    )
    assert torch.equal(again.images, expected.images)
    assert source.training
    assert not source.trunk.norm.training
    assert not source.stem.weight.requires_grad
    assert source.trunk.classifier.weight.requires_grad
    assert all(parameter.grad is None for parameter in source.parameters())
    assert all(torch.equal(value, before[name]) for name, value in source.state_dict().items())


class Reading(Backbone):
    """Class 1 where the mean of one feature is above a threshold; bright pixels count, or those of one side alone."""

    stem = StemShape(out_channels=1, kernel_size=1, padding=0)

    def __init__(self, threshold, sides=(1.0, 1.0)):
        super().__init__()
        self.threshold = threshold
        self.register_buffer("share", torch.tensor(sides, dtype=torch.float64).repeat_interleave(4))

    def forward(self, features):
        rise = (features * self.share).mean((1, 2, 3)) - self.threshold
        return torch.stack([-rise, rise], 1)


def reader(encoding, levels_of_bit, threshold, **sides) -> EncodedClassifier:
    """A network in float64 that reads the mean level from the codes, where every bit stands for so many levels."""
    model = EncodedClassifier(encoding, Reading(threshold, **sides)).double().eval()
    with torch.no_grad():
        model.stem.weight.fill_(levels_of_bit / 3)
    return model


def test_what_a_source_that_is_like_the_target_finds_beats_chance():
    """Sources and target were made to read what they do: no training decides how much alike they are.

    The images lie 14 levels or more to either side of the threshold. In a ball of 45 levels the mean of an image can
    move by 45; by chance it moves by 45 / sqrt(3) / sqrt(192) = 1.9 levels (one standard deviation), so that none of 64
    images crosses the threshold by chance and all of them do by an attack that goes half of the way.
    """
    labels = torch.arange(64) % 2
    images = (110 + 30 * labels.view(-1, 1, 1, 1) + levels(64) // 8).to(torch.uint8)
    assert ((images.double().mean((1, 2, 3)) - 140.5).abs() > 12).all()
    target = reader(Thermometer(64), -4.0, 140.5 - 256)  # 64 bits less one for every 4 levels
    assert torch.equal(predict(target, images), labels)
    random = AttackRandom(0, torch.arange(64))

    def broken(source):
        return Transfer(45, source, "rgb", strongest(45), 1)(target, images, labels, random).broken.float().mean()

    assert broken(reader(RGB(), 255.0, 140.5)) == 1
    assert broken(reader(RGB(), 255.0, 0.0, sides=(1.0, -1.0))) == 0  # it moves one side up and the other down
    assert RandomInBall(45)(target, images, labels, random).broken.float().mean() == 0


def test_name_and_gradient():
    attack = Transfer(4, small(RGB()), "rgb_wrn40_2", strongest(gradient="smooth"), restarts=3)
    assert (attack.id, attack.gradient, attack.restarts) == ("transfer_rgb_wrn40_2", "smooth", 3)
    assert Transfer(4, small(RGB()), "x", RandomInBall(4), 1).gradient == ""


def test_an_inner_attack_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="eps_levels=8, but 4"):
        Transfer(8, small(RGB()), "rgb", strongest(4), 1)
    with pytest.raises(ValueError, match="stop_when_wrong=False"):
        Transfer(4, small(RGB()), "rgb", PGD(4), 1)
