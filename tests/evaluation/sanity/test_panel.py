"""The positive control as the panel puts it together."""

import torch

from models_of_readers import images, net, two_nets
from p2be_exp.attacks.attack import predict
from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.attacks.transfer import Transfer
from p2be_exp.data import ImageSet
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.evaluation.sanity.panel import _positive_control
from usual import PGD, RandomInBall, Square

DIRECTION = "a step along the gradient beats one against it"


def control(model, labels, *attacks):
    return _positive_control(model, ImageSet(images(8), labels, ("a", "b", "c", "d"), "made up"), attacks, [], 0)


def test_one_direction_a_kind_of_gradient():
    model, source = two_nets(Thermometer(8), RGB()), net(RGB())
    inner = PGD(8, steps=2, stop_when_wrong=False)
    attacks = [
        RandomInBall(8), PGD(8), PGD(16), PGD(8, loss="margin"), PGD(8, gradient="smooth"),
        LSPGA(8, 2, 1.0, 1.2, "soften", "sign", "normal", 1), Transfer(8, source, "rgb", inner, 1),
    ]  # fmt: skip
    found = control(model, predict(model, images(8)), *attacks)
    assert [check.name for check in found] == [
        "a gradient reaches the image", *[DIRECTION] * 4, "white-box attacks beat random",
        "an attack without a bound breaks every image",
    ]  # fmt: skip
    assert [check.detail.partition(":")[0] for check in found[1:5]] == [
        "secant gradient", "smooth of width 8 gradient", "relaxed gradient",
        "exact gradient of the source of transfer_rgb",
    ]  # fmt: skip


def test_without_a_gradient_or_a_radius_there_is_nothing_to_try():
    model = net(RGB())
    for attacks in ([RandomInBall(8), Square(8, 5)], [PGD(0)]):
        (found,) = control(model, predict(model, images(8)), *attacks)
        assert (found.name, found.verdict) == ("white-box attacks beat random", "not measured")


def test_a_model_that_gets_no_image_right():
    model = net(RGB())
    found = control(model, (predict(model, images(8)) + 1) % 4, PGD(8))
    assert [check.verdict for check in found] == ["not measured"] * 4


def test_the_model_is_left_as_it_was():
    model = two_nets(Thermometer(8), RGB()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    control(model, torch.zeros(8, dtype=torch.long), PGD(8))
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
