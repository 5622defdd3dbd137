"""A model of several readers, or of codes: attacks, twins, regimes and export need to know nothing else of it."""

import copy

import pytest
import torch
from torch.nn import functional as F

from models_of_readers import OnCodes, TwoNets, images, net, two_nets
from p2be_exp.attacks.attack import attacked, predict
from p2be_exp.attacks.ball import bounds, is_inside
from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.attacks.pgd import Asked
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.errors import BadInput
from p2be_exp.export import DeployedClassifier, exported, largest_difference
from p2be_exp.models.surrogate import slopes
from usual import P2BE, PGD, RandomInBall, Square

LABELS = torch.tensor([1, 0, 3])
PAIRS = {
    "rgb + p2be": lambda: (RGB(), P2BE(8)),
    "p2be + thermometer, folded": lambda: (P2BE(20), Thermometer(16)),
    "thermometer + onehot": lambda: (Thermometer(16), OneHot(10)),
    "rgb + rgb": lambda: (RGB(), RGB()),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    torch.manual_seed(0)
    return two_nets(*PAIRS[request.param]())


def lspga(steps=5, eps_levels=8):
    return LSPGA(eps_levels, steps, 1.0, 1.2, anneal="soften", step_rule="sign", init="normal", restarts=1)


def randoms(n=3):
    return AttackRandom(0, torch.arange(n))


def climbed_gradient(model, attack):
    """PGD's gradient of the loss with respect to the levels, at the images."""
    with attacked(model):
        return Asked(model, attack, images())(images(), LABELS, torch.arange(3), with_gradient=True).gradient


# -- what it says -----------------------------------------------------------------------------------------------------


def test_the_logits_are_the_bodys(pair):
    one, other = pair.one, pair.other
    assert torch.equal(pair(images()), one(images()) + other(images()))
    codes = [each.encoding(images()).double() for each in (one, other)]
    features = [reader.of_codes(each) for reader, each in zip(pair.readers, codes, strict=True)]
    torch.testing.assert_close(pair.body(*features), pair(images()))
    with pytest.raises(RuntimeError, match="which has no gradient"):
        pair((images() / 255).requires_grad_())


def test_a_body_on_codes_says_what_the_stem_said():
    plain = net(Thermometer(5))
    torch.testing.assert_close(OnCodes(plain)(images()), plain(images()))


def test_an_encoding_that_two_readers_share_counts_once():
    shared = P2BE(4)
    model = two_nets(shared, shared)
    assert model.encodings == (shared,)
    assert model.learned()[1] == [shared.weight]
    assert torch.equal(model.smoothness(), shared.smoothness())


def test_what_learns_is_split_into_network_and_tables():
    model = two_nets(P2BE(4), P2BE(6))
    network, tables = model.learned()
    one, other = model.one, model.other
    assert [id(each) for each in tables] == [id(one.encoding.weight), id(other.encoding.weight)]
    of_one, of_other = ([*each.stem.parameters(), *each.trunk.parameters()] for each in (one, other))
    assert [id(each) for each in network] == [id(each) for each in (*of_one, *of_other)]
    one.requires_grad_(False)
    network, tables = model.learned()
    assert [id(each) for each in network] == [id(each) for each in of_other]
    assert [id(each) for each in tables] == [id(other.encoding.weight)]
    assert torch.equal(model.smoothness(), one.encoding.smoothness() + other.encoding.smoothness())
    assert two_nets(RGB(), OneHot(4)).smoothness() is None


@pytest.mark.parametrize("learn", [True, False])
def test_what_is_read_has_a_gradient_to_the_tables_or_not(learn):
    model = two_nets(P2BE(4), P2BE(20))
    model.body(*model.read(images(), learn=learn)).sum().backward()
    for each in (model.one, model.other):
        gradient = each.encoding.weight.grad
        assert (gradient is not None and bool(gradient.abs().sum() > 0)) == learn
        assert each.stem.weight.grad.abs().sum() > 0


# -- gradients with respect to levels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["secant", "smooth"])
@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_pgds_gradient_is_the_sum_of_each_parts(pair, gradient, loss):
    found = climbed_gradient(pair, PGD(8, gradient=gradient, loss=loss))
    logits = pair(images()).detach().requires_grad_()
    of_labels = F.one_hot(LABELS, 4).bool()
    value = F.cross_entropy(logits, LABELS, reduction="sum")
    if loss == "margin":
        value = (logits.masked_fill(of_labels, -torch.inf).amax(1) - logits[of_labels]).sum()
    (of_logits,) = torch.autograd.grad(value, logits)
    expected = 0
    for part in (pair.one, pair.other):  # each through the plain look-up and convolution of its own codes
        codes = part.encoding(images()).detach().double().requires_grad_()
        (of_codes,) = torch.autograd.grad(part.forward_codes(codes), codes, of_logits)
        slope = slopes(part.encoding, gradient, 8, 8.0).double()[images().long()].permute(0, 1, 4, 2, 3)
        expected = expected + (of_codes.unflatten(1, (3, -1)) * slope).sum(2)
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-9)


def test_of_straight_tables_it_is_the_finite_difference():
    model = two_nets(RGB(), RGB())

    def loss(codes):
        with torch.no_grad():
            logits = model.body(*(reader.of_codes(codes) for reader in model.readers))
        return F.cross_entropy(logits, LABELS, reduction="sum")

    found = climbed_gradient(model, PGD(8))
    codes, step = images().double() / 255, 1e-3
    for place in [(0, 0, 0, 0), (1, 2, 3, 4), (2, 1, 2, 2), (0, 2, 4, 0)]:
        moved = torch.zeros_like(codes)
        moved[place] = step / 255
        expected = (loss(codes + moved) - loss(codes - moved)) / (2 * step)
        assert found[place].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-9)


def test_on_codes_it_is_the_one_through_the_stem():
    torch.manual_seed(0)
    for encoding in (RGB(), P2BE(3), Thermometer(20)):
        plain = net(encoding)
        found, expected = (climbed_gradient(model, PGD(8)) for model in (OnCodes(plain), plain))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


def test_the_twin_has_the_same_logits_and_the_same_gradient(pair):
    for model in (pair, OnCodes(net(P2BE(6)))):
        floats = (images().double() / 255).requires_grad_()
        logits = model.surrogate("secant", radius=8)(floats)
        assert torch.equal(logits, model(images()))
        (found,) = torch.autograd.grad(F.cross_entropy(logits, LABELS, reduction="sum"), floats)
        torch.testing.assert_close(found / 255, climbed_gradient(model, PGD(8)).double(), rtol=1e-5, atol=1e-9)


def test_a_gradient_between_buckets_needs_them_in_every_encoding_but_rgb():
    for model in (two_nets(RGB(), Thermometer(16)), two_nets(OneHot(10), Thermometer(16))):
        model.surrogate("interpolate")
        assert climbed_gradient(model, PGD(8, gradient="interpolate")).abs().sum() > 0
    with pytest.raises(BadInput, match="encoding=p2be has no buckets"):
        two_nets(Thermometer(16), P2BE(8)).surrogate("interpolate")


def test_the_twins_graph_notices_that_a_weight_has_changed():
    model = two_nets(RGB(), RGB())
    floats = (images().double() / 255).requires_grad_()
    loss = model.surrogate("secant")(floats).sum()
    with torch.no_grad():
        model.other.stem.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# -- attacks -----------------------------------------------------------------------------------------------------------


def test_attacks_stay_inside_the_ball_and_gradients_raise_the_loss(pair):
    labels = predict(pair, images())
    for model in (pair, OnCodes(pair.one)):
        labels = predict(model, images())
        climbing = [lspga(), PGD(8, steps=10, stop_when_wrong=False)]
        for attack in (*climbing, Square(8, 20), RandomInBall(8)):
            with attacked(model):
                found = attack.search(model, images(), labels, randoms()).images
            assert is_inside(found, images(), 8).all()
            if attack in climbing:
                before, after = (F.cross_entropy(model(each), labels).item() for each in (images(), found))
                assert after > before, attack.id


def test_a_part_that_says_nothing_changes_no_search():
    one, other = net(RGB(), 1), net(P2BE(8), 2)
    with torch.no_grad():
        other.trunk.classifier.weight.zero_()
        other.trunk.classifier.bias.zero_()
    for attack in (lspga(), PGD(8, steps=10)):
        with attacked(one), attacked(other):
            alone, both = (attack.search(each, images(), LABELS, randoms()) for each in (one, TwoNets(one, other)))
        assert torch.equal(alone.images, both.images)
        torch.testing.assert_close(alone.losses, both.losses)


def test_lspga_moves_among_the_choices_that_all_encodings_tell_apart():
    """A value keeps its level where no encoding has another code inside the ball."""
    model = two_nets(OneHot(2), Thermometer(2))  # of both the code changes between 127 and 128 alone
    given = images()
    with attacked(model):
        found = lspga(eps_levels=8).search(model, given, LABELS, randoms()).images
    low, high = (each.int() for each in bounds(given, 8))
    still = (low > 127) | (high < 128)
    assert still.any()
    assert not still.all()
    assert torch.equal(found[still], given[still])
    assert not torch.equal(found, given)


def test_what_a_tanh_hides_is_climbed_and_the_logits_judge():
    plain = net(RGB())
    flat = OnCodes(plain, sharpness=1e4)  # every logit is -1 or 1, with a gradient of exactly 0
    features = flat.read(images())
    assert torch.equal(flat.climbed(*features), flat.answers(*features)[1])
    assert not torch.equal(flat.climbed(*features), flat(images()))
    attack = PGD(8, steps=5, stop_when_wrong=False)
    with attacked(flat):
        found, expected = (attack.search(each, images(), LABELS, randoms()) for each in (flat, plain))
        answer = Asked(flat, attack, images())(images(), LABELS, torch.arange(3), with_gradient=False)
    assert found.zero_gradient.max() < 0.5
    assert torch.equal(found.images, expected.images)
    assert torch.equal(answer.wrong, predict(flat, images()) != LABELS)


# -- export ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forms", ["lookup", "folded", ("folded", "lookup")])
def test_a_model_of_two_readers_is_exported(forms):
    torch.manual_seed(0)
    model = two_nets(RGB(), P2BE(20)).float()
    before = copy.deepcopy(model.state_dict())
    program = exported(model, forms, (5, 5))
    assert largest_difference(program.module(), model, (5, 5), (1, 3)) < 1e-5
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_on_codes_is_exported():
    model = OnCodes(net(Thermometer(5)), sharpness=1.0).float()
    for form in ("lookup", "folded"):
        assert largest_difference(exported(model, form, (5, 5)).module(), model, (5, 5), (1, 3)) < 1e-5


def test_the_exported_body_has_none_of_what_the_readers_read_with():
    model = two_nets(P2BE(4), P2BE(4)).float()
    deployed = DeployedClassifier(model, "lookup")
    assert not [name for name, _ in deployed.named_parameters() if "encoding" in name or "stem" in name]
    assert not any(parameter.requires_grad for parameter in deployed.parameters())
