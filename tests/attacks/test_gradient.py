"""Networks that let no gradient through: attacks by gradient stand still and say so, the others run as ever."""

import pytest
import torch
from torch import nn

from models_of_readers import images, net, two_nets
from p2be_exp.attacks.attack import predict
from p2be_exp.attacks.gradient import gradient_of
from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.transfer import Transfer
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.models.classifier import Classifier
from usual import PGD, RandomInBall, Square


def test_the_gradient_and_zeros_where_there_is_none():
    a, b = (torch.randn(3, requires_grad=True) for _ in range(2))
    for found, expected in zip(gradient_of((a * b).sum(), [a, b]), (b, a), strict=True):
        assert torch.equal(found, expected)
    used, unused = gradient_of((2 * a).sum(), [a, b])
    assert used.tolist() == [2, 2, 2]
    assert unused.tolist() == [0, 0, 0]
    assert all((each == 0).all() for each in gradient_of((a * b).sum().detach(), [a, b]))


class Blocked(Classifier):
    """A model whose body lets no gradient through, in one of three ways."""

    def __init__(self, model: Classifier, way: str) -> None:
        super().__init__()
        self.model, self.way, self.bias = model, way, nn.Parameter(torch.zeros(4, dtype=torch.float64))

    @property
    def readers(self):
        return self.model.readers

    def body(self, *features):
        if self.way == "rounded":
            return self.model.body(*features).mul(1000).round()
        logits = self.model.body(*(each.detach() for each in features))
        # Of the second, the graph leads to something else.
        return logits if self.way == "detached" else logits + self.bias.requires_grad_()


WAYS = ("detached", "elsewhere", "rounded")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("readers", [1, 2])
def test_attacks_by_gradient_stand_still(way, readers):
    model = Blocked(net(RGB()) if readers == 1 else two_nets(Thermometer(8), RGB()), way).eval()
    given, random = images(4), AttackRandom(0, torch.arange(4))
    labels = predict(model, given)
    for attack in (PGD(8, steps=3), PGD(8, loss="margin", steps=3), PGD(8, loss="kl", start="near", steps=2)):
        found = attack(model, given, labels, random)
        assert (found.zero_gradient == 1).all()
        assert not found.broken.any() or attack.start == "near"
        assert torch.equal(found.images, given) or attack.start == "near"
    relaxed = LSPGA(8, 2, 1.0, 1.2, "soften", "sign", "normal", 1)(model, given, labels, random)
    assert torch.equal(relaxed.zero_gradient[~relaxed.zero_gradient.isnan()], torch.ones(4, dtype=torch.float64))
    source = Transfer(8, model, "blocked", PGD(8, steps=2, stop_when_wrong=False), 1)
    found = source(net(RGB()), given, predict(net(RGB()), given), random)
    assert torch.equal(found.images, given)
    assert (found.zero_gradient == 1).all()
    for attack in (Square(64, 20), RandomInBall(64, 3)):
        assert (attack(model, given, labels, random).images != given).any()


def test_a_reader_that_is_not_used_adds_nothing():
    """Of two readers one leads to the logits: the gradient is its own, to the bit."""
    both, given, random = two_nets(Thermometer(8), RGB()), images(4), AttackRandom(0, torch.arange(4))
    one = net(Thermometer(8), 1)

    class First(Blocked):
        def body(self, *features):
            return both.one.trunk(features[0])

    labels = predict(one, given)
    found = PGD(8, steps=4, stop_when_wrong=False)(First(both, ""), given, labels, random)
    expected = PGD(8, steps=4, stop_when_wrong=False)(one, given, labels, random)
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.losses, expected.losses)
