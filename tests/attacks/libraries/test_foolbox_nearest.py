"""Foolbox's attacks without a radius: what they find against exact distances, and what they do not find."""

import itertools
import math

import pytest
import torch

from attacked_networks import attacked_network, distances_to_boundary, linear_network
from p2be_exp.attacks.attack import Work, attacked, predict
from p2be_exp.attacks.nearest import l2_levels
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.config.foolbox_methods import NEAREST, SHORT, class_of
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.errors import BadInput
from usual import P2BE

pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")

import foolbox

from p2be_exp.attacks.libraries.foolbox_nearest import WITHOUT_GRADIENT, FoolboxNearest

FEW = {"cw": 40, "deepfool_l2": 20, "ddn": 40, "hopskipjump": 4}
"""Steps that are enough for the networks here."""


def attack_of(method, steps=None, params=None, gradient="secant", restarts=1):
    return FoolboxNearest(8, method, gradient, steps or FEW.get(method), restarts, params)


def test_each_method_has_a_short_name():
    assert {class_of(name) for name in FEW} == set(NEAREST)
    assert set(FEW) < set(SHORT)


@pytest.mark.parametrize("method", FEW)
@pytest.mark.parametrize("encoding", [RGB(), Thermometer(16), P2BE(8)], ids=["rgb", "thermometer", "p2be"])
def test_what_is_found_is_wrong_on_the_model_at_the_distance_of_its_levels(method, encoding):
    model, images, labels, numbers = attacked_network(encoding, batch=5)
    labels[0] = (labels[0] + 1) % 4
    found = attack_of(method)(model, images, labels, numbers)
    broken = found.distance.isfinite()
    assert broken.sum() >= 3
    assert torch.equal(model(found.images).argmax(1) != labels, broken)
    differences = (found.images.int() - images.int()).flatten(1).tolist()
    wanted = [math.sqrt(sum(value**2 for value in each)) for each in differences]
    assert found.distance[broken].tolist() == pytest.approx([wanted[place] for place in broken.nonzero()], rel=1e-12)
    assert found.distance[0] == 0
    assert torch.equal(found.images[~broken], images[~broken])


@pytest.mark.parametrize("method", FEW)
def test_a_linear_network_has_an_exact_distance(method):
    """Rounding adds at most half a level a value; DeepFool oversteps by 2 %, the others come close from outside.

    Of two classes: HopSkipJump may stay at the boundary to another class than the nearest.
    """
    model, images, labels, numbers = linear_network(classes=2)
    exact = distances_to_boundary(model, images, labels)
    steps = {"cw": 200, "ddn": 100, "hopskipjump": 12}.get(method)
    found = attack_of(method, steps)(model, images, labels, numbers)
    rounding = 0.5 * math.sqrt(images[0].numel())
    assert (found.distance >= exact - 1e-3).all()
    assert (found.distance <= {"deepfool_l2": 1.03}.get(method, 1.3) * exact + rounding).all()


def test_against_brute_force_over_the_images_of_one_pixel():
    model, images, labels, numbers = linear_network(batch=12, size=1)
    exact = distances_to_boundary(model, images, labels)
    found = attack_of("deepfool_l2")(model, images, labels, numbers)
    near = (exact < 15).nonzero().squeeze(1).tolist()
    assert near
    for place in near:
        reach = math.ceil(float(exact[place])) + 2  # behind the boundary there is one at most sqrt(3) farther away
        span = range(-reach, reach + 1)
        steps = torch.tensor(list(itertools.product(span, span, span)))
        every = (images[place].flatten().long() + steps).clamp(0, 255).to(torch.uint8).view(-1, 3, 1, 1)
        wrong = every[predict(model, every) != labels[place]]
        nearest = l2_levels(wrong, images[place].expand_as(wrong)).min()
        assert nearest <= found.distance[place] <= 1.03 * nearest + 2


def test_carlini_and_wagners_black_image_is_none_found():
    """With one step there is none to find; Foolbox returns black images, which the network gets wrong."""
    model, images, labels, numbers = linear_network()
    once = {"binary_search_steps": 1, "initial_const": 1e-6}
    attack = attack_of("cw", steps=1, params=once)
    black = torch.zeros_like(images)
    assert (predict(model, black) != labels).any()
    with attacked(model):
        raw = attack.attack(
            foolbox.PyTorchModel(model.surrogate("secant").eval(), bounds=(0, 1), device="cpu"),
            images / 255,
            labels,
            epsilons=None,
        )[0]
    assert (raw == 0).all()
    found = attack(model, images, labels, numbers)
    assert found.distance.isinf().all()
    assert torch.equal(found.images, images)


def test_restarts_find_no_farther_images():
    model, images, labels, numbers = linear_network(size=4)
    once, often = (
        attack_of("hopskipjump", steps=1, restarts=count)(model, images, labels, numbers).distance for count in (1, 4)
    )
    assert (often <= once).all()
    assert (often < once).any()


def test_the_same_seed_finds_the_same_and_another_does_not():
    model, images, labels, _ = linear_network(batch=3, size=4)
    first, again, other = (
        attack_of("hopskipjump", steps=1)(model, images, labels, AttackRandom(seed, torch.arange(3)))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("name", ["cw", "L2CarliniWagnerAttack", "hopskipjump"])
def test_the_id_is_that_of_the_class(name):
    attack, made = attack_of(name, steps=3, gradient="smooth"), class_of(name)
    if made in WITHOUT_GRADIENT:
        assert (attack.id, attack.gradient, attack.kind) == (f"foolbox_{made}", "", "black-box")
    else:
        assert (attack.id, attack.gradient, attack.kind) == (f"foolbox_{made}_smooth", "smooth", "white-box")


def test_what_a_search_asks_for_at_most():
    wanted = {
        "cw": Work(5 * 9, 0),  # in each of nine searches for the constant
        "deepfool_l2": Work(5 * 9, 0),  # a gradient for each of the nine classes beside the image's own
        "ddn": Work(5, 0),
        "hopskipjump": Work(0, 100 + 141 + 173 + 200 + 223),
    }
    for method, work in wanted.items():
        assert attack_of(method, steps=5).work == work
        twice = attack_of(method, steps=5, restarts=2).work
        assert (twice.gradients, twice.forwards) == (2 * work.gradients, 2 * work.forwards)


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("cw", {"kappa": 1}, r"params=\{kappa:1\}: attack.method=cw takes binary_search_steps, stepsize, confidence,"),
        ("cw", {"stepsize": 0}, r"params=\{stepsize:0\}: must be a number above 0$"),
        ("cw", {"stepsize": math.nan}, r"params=\{stepsize:nan\}: must be a number above 0$"),
        ("cw", {"confidence": -1}, r"params=\{confidence:-1\}: must be a number, 0 or more$"),
        ("cw", {"binary_search_steps": 1.5}, r"binary_search_steps:1.5\}: must be a whole number above 0$"),
        ("deepfool_l2", {"candidates": 1}, r"params=\{candidates:1\}: must be a whole number, 2 or more$"),
        ("deepfool_l2", {"loss": "margin"}, r"params=\{loss:margin\}: must be one of logits, crossentropy$"),
        ("hopskipjump", {"constraint": "linf"}, r"constraint:linf\}: attack.method=hopskipjump takes initial_gradient"),
        ("hopskipjump", {"stepsize_search": "all"}, "must be one of geometric_progression, grid_search$"),
    ],
)
def test_arguments_that_there_are_not(method, params, message):
    with pytest.raises(BadInput, match=message):
        attack_of(method, params=params)


def test_arguments_reach_the_method():
    assert attack_of("cw", params={"confidence": 0, "stepsize": 1}).attack.stepsize == 1
    assert attack_of("deepfool_l2", params={"candidates": 2, "loss": "crossentropy"}).attack.candidates == 2
    assert attack_of("hopskipjump", params={"stepsize_search": "grid_search"}).attack.stepsize_search == "grid_search"
