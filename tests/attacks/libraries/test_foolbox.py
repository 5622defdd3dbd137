"""Foolbox's attacks: each method of the schema runs, and minimal-norm attacks are moved into the ball."""

import pytest
import torch

from attacked_networks import attacked_network
from p2be_exp.config.foolbox_methods import IN_BALL, SHORT
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.errors import BadInput

pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")

from p2be_exp.attacks.libraries.foolbox import WITHOUT_GRADIENT, FoolboxAttack

ONE_STEP = "LinfFastGradientAttack"


def attack_of(method, eps_levels=12, params=None):
    steps = None if method in (ONE_STEP, "fgsm") or method in WITHOUT_GRADIENT else 5
    return FoolboxAttack(eps_levels, method, "secant", steps, 1, params)


@pytest.mark.parametrize("method", IN_BALL)
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


@pytest.mark.parametrize("short", [name for name, made in SHORT.items() if made in IN_BALL])
def test_a_short_name_is_the_class(short):
    model, images, labels, numbers = attacked_network(RGB(), batch=6)
    one, other = (
        FoolboxAttack(12, short, "secant", None, 1, None),
        FoolboxAttack(12, SHORT[short], "secant", None, 1, None),
    )
    assert one.id == other.id == f"foolbox_{SHORT[short]}_secant"
    assert torch.equal(*(each(model, images, labels, numbers).images for each in (one, other)))


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
    with pytest.raises(BadInput, match=r"params=\{loss:margin\}: must be one of logits, crossentropy"):
        attack_of("LinfDeepFoolAttack", params={"loss": "margin"})
    with pytest.raises(BadInput, match=r"attack.method=fgsm takes random_start"):
        attack_of("fgsm", params={"alpha": 1})
    with pytest.raises(BadInput, match=r"attack.steps=3: attack.method=LinfFastGradientAttack has no steps"):
        FoolboxAttack(8, ONE_STEP, "secant", 3, 1, None)
