"""Foolbox's attacks: each method of the schema runs, and minimal-norm attacks are moved into the ball."""

import dataclasses

import pytest
import torch

from attacked_networks import attacked_network
from p2be_exp.config.schema import FoolboxConfig
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.errors import BadInput

pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")

from p2be_exp.attacks.libraries.foolbox import WITHOUT_GRADIENT, FoolboxAttack

METHODS = next(each for each in dataclasses.fields(FoolboxConfig) if each.name == "method").metadata["allowed"].choices
ONE_STEP = "LinfFastGradientAttack"


def attack_of(method, eps_levels=12, params=None):
    steps = None if method == ONE_STEP or method in WITHOUT_GRADIENT else 5
    return FoolboxAttack(eps_levels, method, "secant", steps, 1, params)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_runs(method):
    model, images, labels, numbers = attacked_network(Thermometer(16), batch=6)
    attack = attack_of(method)
    found = attack(model, images, labels, numbers)
    assert torch.equal(model(found.images).argmax(1) != labels, found.broken)
    assert found.broken.any()
    if method in WITHOUT_GRADIENT:
        assert attack.id == f"foolbox_{method}"
        assert (attack.gradient, attack.kind, attack.steps, attack.queries) == ("", "black-box", 0, 100)
    else:
        assert attack.id == f"foolbox_{method}_secant"
        assert (found.zero_gradient < 1).all()
        assert attack.steps == (1 if method == ONE_STEP else 5)


def test_a_minimal_norm_attack_is_moved_into_the_ball():
    model, images, labels, numbers = attacked_network(RGB())
    found = attack_of("LinfDeepFoolAttack", eps_levels=1)(model, images, labels, numbers)
    assert (found.images.short() - images.short()).abs().max() <= 1
    assert found.clamped.sum() >= 6
    assert found.lost.any()
    assert not (found.lost & found.broken).any()


def test_parameters_reach_the_method():
    assert attack_of("LinfPGD", params={"rel_stepsize": 0.5, "random_start": False}).attack.rel_stepsize == 0.5
    with pytest.raises(BadInput, match=r"attack.method=LinfPGD takes rel_stepsize, abs_stepsize, random_start"):
        attack_of("LinfPGD", params={"alpha": 0.5})
    with pytest.raises(BadInput, match=r"attack.steps=3: attack.method=LinfFastGradientAttack has no steps"):
        FoolboxAttack(8, ONE_STEP, "secant", 3, 1, None)
