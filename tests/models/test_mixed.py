"""Mixtures of two classifiers: the formula as the paper writes it, and what attacks climb."""

import pytest
import torch
from torch.nn import functional as F

from models_of_readers import images, net
from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.attacks.pgd import Asked
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.export import exported, largest_difference
from p2be_exp.models.mixed import MixedClassifier, mixed_log_probabilities
from small_pyramids import fpd
from usual import P2BE, PGD

LABELS = torch.tensor([1, 0, 3])


def mixture(accurate, robust, alpha=0.6, **scales):
    return MixedClassifier(net(accurate, 1), net(robust, 2), alpha, **scales).eval()


def climbed_gradient(model, attack):
    """PGD's gradient of the loss with respect to the levels, at the images."""
    with attacked(model):
        return Asked(model, attack, images())(images(), LABELS, torch.arange(3), with_gradient=True).gradient


# -- the formula ------------------------------------------------------------------------------------------------------


def test_the_output_is_the_logarithm_of_the_mixed_probabilities():
    torch.manual_seed(0)
    model = mixture(RGB(), P2BE(8), alpha=0.7, accurate_scale=2.0, robust_scale=0.5)
    g, h = model.accurate(images()), model.robust(images())
    expected = torch.log(0.3 * torch.softmax(2.0 * g, 1) + 0.7 * torch.softmax(0.5 * h, 1))
    torch.testing.assert_close(model(images()), expected)
    torch.testing.assert_close(model(images()).exp().sum(1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize(("alpha", "part"), [(0.0, "accurate"), (1.0, "robust")])
def test_a_weight_of_0_or_1_leaves_one_part_alone(alpha, part):
    model = mixture(RGB(), Thermometer(8), alpha)
    alone = getattr(model, part)
    torch.testing.assert_close(model(images()), torch.log_softmax(alone(images()), 1))
    torch.testing.assert_close(climbed_gradient(model, PGD(8)), climbed_gradient(alone, PGD(8)), rtol=1e-4, atol=1e-9)


def test_a_large_gap_is_finite_with_a_finite_gradient_in_float32():
    gap = torch.tensor([[300.0, 0.0, -300.0]])
    for alpha in (0.0, 0.3, 0.5, 1.0):
        accurate, robust = (gap.clone().requires_grad_() for _ in range(2))
        mixed = mixed_log_probabilities(accurate, robust, torch.tensor(alpha))
        loss = F.cross_entropy(mixed, torch.tensor([2]))
        assert loss.item() == pytest.approx(600)
        gradients = torch.autograd.grad(loss, (accurate, robust))
        assert all(each.isfinite().all() for each in gradients)
        torch.testing.assert_close(sum(gradients), torch.tensor([[1.0, 0.0, -1.0]]))
    plainly = torch.log(0.5 * gap.softmax(1) + 0.5 * gap.softmax(1))
    assert plainly[0, 2] == -torch.inf  # what the form is for


def test_weights_may_differ_from_image_to_image():
    torch.manual_seed(0)
    g, h, alpha = torch.randn(4, 5), torch.randn(4, 5), torch.rand(4, 1)
    expected = torch.log((1 - alpha) * g.softmax(1) + alpha * h.softmax(1))
    torch.testing.assert_close(mixed_log_probabilities(g, h, alpha), expected)


# -- its parts --------------------------------------------------------------------------------------------------------


def test_the_parts_are_frozen_and_stay_in_eval_mode():
    model = mixture(RGB(), P2BE(4)).train()
    assert model.training
    assert not any(module.training for part in (model.robust, model.accurate) for module in part.modules())
    assert model.learned() == ([], [])


# -- attacks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_pgds_gradient_of_two_rgb_networks_is_the_finite_difference(loss):
    model = mixture(RGB(), RGB())

    def value(codes):
        with torch.no_grad():
            logits = model.body(*(reader.of_codes(codes) for reader in model.readers))
        if loss == "ce":
            return F.cross_entropy(logits, LABELS, reduction="sum")
        own = F.one_hot(LABELS, 4).bool()
        return (logits.masked_fill(own, -torch.inf).amax(1) - logits[own]).sum()

    found = climbed_gradient(model, PGD(8, loss=loss))
    codes, step = images().double() / 255, 1e-3
    for place in [(0, 0, 0, 0), (1, 2, 3, 4), (2, 1, 2, 2)]:
        moved = torch.zeros_like(codes)
        moved[place] = step / 255
        expected = (value(codes + moved) - value(codes - moved)) / (2 * step)
        assert found[place].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-9)


def test_pgds_gradient_of_rgb_and_p2be_is_the_sum_of_the_parts():
    """Of each part the gradient that it has alone, of the logits' gradient that the mixture gives it."""
    torch.manual_seed(0)
    model = mixture(RGB(), P2BE(8))
    found = climbed_gradient(model, PGD(8))
    logits = [part(images()).detach().requires_grad_() for part in (model.accurate, model.robust)]
    probabilities = 0.4 * logits[0].softmax(1) + 0.6 * logits[1].softmax(1)
    of_logits = torch.autograd.grad(F.nll_loss(probabilities.log(), LABELS, reduction="sum"), logits)
    expected = 0
    for part, gradient in zip((model.accurate, model.robust), of_logits, strict=True):
        floats = (images().double() / 255).requires_grad_()
        twin = part.surrogate("secant", radius=8)
        expected = expected + torch.autograd.grad(twin(floats), floats, gradient)[0] / 255
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-9)


def test_lspga_raises_the_loss_of_the_mixture():
    torch.manual_seed(0)
    model = mixture(RGB(), P2BE(8))
    attack = LSPGA(8, 5, 1.0, 1.2, anneal="soften", step_rule="sign", init="normal", restarts=1)
    labels = model(images()).argmax(1)
    with attacked(model):
        found = attack.search(model, images(), labels, AttackRandom(0, torch.arange(3))).images
    before, after = (F.cross_entropy(model(each), labels).item() for each in (images(), found))
    assert after > before


@pytest.mark.parametrize("forms", ["lookup", "folded"])
def test_a_mixture_is_exported(forms):
    torch.manual_seed(0)
    model = mixture(RGB(), P2BE(20)).float()
    assert largest_difference(exported(model, forms, (5, 5)).module(), model, (5, 5), (1, 3)) < 1e-5


def test_of_a_part_with_a_tanh_what_is_before_it_is_climbed():
    """The scores of a Feature Pyramid Decoder may all be 1, without a gradient: they judge, and others are climbed."""
    robust = fpd(seed=3).double().eval()
    with torch.no_grad():
        robust.trunk.classifier.bias += 40.0
    accurate, given = net(RGB(), 1), images(size=6)
    model = MixedClassifier(accurate, robust, 0.9, robust_scale=2.0).eval()
    g, h = accurate(given), robust(given)
    assert torch.equal(h, torch.ones_like(h))
    expected = torch.log(0.1 * torch.softmax(g, 1) + 0.9 * torch.softmax(2.0 * h, 1))
    torch.testing.assert_close(model(given), expected)
    way = robust.climbed(*robust.read(given))
    expected = torch.log(0.1 * torch.softmax(g, 1) + 0.9 * torch.softmax(2.0 * way, 1))
    torch.testing.assert_close(model.climbed(*model.read(given)), expected)
    plain = mixture(RGB(), RGB())
    logits, climbed = plain.answers(*plain.read(given))
    assert logits is climbed


def test_the_twin_of_a_mixture_goes_around_the_tanh_of_a_part_and_around_nothing_else():
    robust = fpd(seed=3).double().eval()
    with torch.no_grad():
        robust.trunk.classifier.bias += 40.0
    accurate, given = net(RGB(), 1), images(size=6)
    floats = (given.double() / 255).requires_grad_()
    mixed = MixedClassifier(accurate, robust, 0.9, robust_scale=2.0).eval()
    logits = mixed.surrogate("secant")(floats)
    assert torch.equal(logits, mixed(given))
    (found,) = torch.autograd.grad(logits[:, 0].sum(), floats)
    # By hand: softmax of equal scores, and the gradient that the mixture gives to each part's logits.
    parts = [part(given).detach().requires_grad_() for part in (accurate, robust)]
    value = torch.log(0.1 * torch.softmax(parts[0], 1) + 0.9 * torch.softmax(2.0 * parts[1], 1))
    of_parts = torch.autograd.grad(value[:, 0].sum(), parts)
    expected = sum(
        torch.autograd.grad(part.surrogate("secant")(floats), floats, of_part)[0]
        for part, of_part in zip((accurate, robust), of_parts, strict=True)
    )
    torch.testing.assert_close(found, expected)
    plain = MixedClassifier(net(RGB(), 1), net(RGB(), 2), 0.6).eval()
    codes = plain.read(given)
    assert torch.equal(plain.twin_body(*codes), plain.body(*codes))
