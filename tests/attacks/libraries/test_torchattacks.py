"""The attacks of torchattacks: each method of the schema runs with the radius, step size and classes that it needs."""

import dataclasses

import pytest
import torch

from attacked_networks import attacked_network
from p2be_exp.config.schema import TorchattacksConfig
from p2be_exp.encodings import RGB
from p2be_exp.errors import BadInput

pytest.importorskip("torchattacks", reason="torchattacks is not installed: pip install -e '.[attacks]'")

from p2be_exp.attacks.libraries.torchattacks import WITHOUT_GRADIENT, TorchAttack

FIELDS = {each.name: each for each in dataclasses.fields(TorchattacksConfig)}
METHODS = FIELDS["method"].metadata["allowed"].choices
ONE_STEP = ("FGSM", "FFGSM")


def attack_of(method, eps_levels=40, **params):
    steps = None if method in (*ONE_STEP, *WITHOUT_GRADIENT) else 4
    params |= {"n_queries": 20} if method == "Square" else {}
    return TorchAttack(eps_levels, method, "secant", steps, 1, params)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_runs(method):
    model, images, labels, numbers = attacked_network(RGB(), batch=6)
    attack = attack_of(method)
    found = attack(model, images, labels, numbers)
    assert torch.equal(model(found.images).argmax(1) != labels, found.broken)
    assert found.broken.any()
    assert not found.clamped.any()
    if method in WITHOUT_GRADIENT:
        assert attack.id == f"torchattacks_{method}"
        assert (attack.gradient, attack.kind, attack.steps, attack.queries) == ("", "black-box", 0, 20)
    else:
        assert attack.id == f"torchattacks_{method}_secant"
        assert (found.zero_gradient < 1).all()
        assert attack.steps == (1 if method in ONE_STEP else 4)


def test_the_step_size_is_scaled_to_the_radius():
    assert attack_of("PGD", 8).arguments["alpha"] == pytest.approx(2 / 255)
    assert attack_of("PGD", 32).arguments["alpha"] == pytest.approx(8 / 255)
    assert attack_of("PGD", 32, alpha=0.1).arguments["alpha"] == 0.1


def test_parameters_are_those_of_the_method():
    with pytest.raises(BadInput, match=r"attack.params=\{eps:1\}: attack.method=PGD takes alpha, random_start$"):
        attack_of("PGD", eps=1)
    with pytest.raises(BadInput, match=r"attack.steps=3: attack.method=FGSM has no steps"):
        TorchAttack(8, "FGSM", "secant", 3, 1, None)


def test_a_method_says_how_many_classes_it_needs():
    model, images, labels, numbers = attacked_network(RGB(), batch=3, size=4, classes=3)
    with pytest.raises(BadInput, match=r"attack.method=APGDT: needs 4 classes; the network has 3"):
        attack_of("APGDT")(model, images, labels, numbers)
