"""The attack that a regime trains against, in a few words."""

from p2be_exp.report.paper.inner_attack import inner_attack

PGD = {"name": "mine", "steps": 7, "radius": 8}


def keys(**changes):
    return {f"regime.attack.{key}": value for key, value in {**PGD, **changes}.items()}


def test_the_usual_attack_has_no_words():
    assert inner_attack(keys() | {"regime.beta": 3}, keys()) == ()
    assert inner_attack({"regime.beta": 3}, keys()) == ()  # a regime without one


def test_what_departs_from_the_usual_attack():
    assert inner_attack(keys(steps=2), keys()) == ("attack steps = 2",)


def test_an_attack_that_is_none_of_the_options():
    told = ("attack theirs", "attack radius = 8", "attack steps = 2")
    assert inner_attack(keys(name="theirs", steps=2), keys()) == told


def test_the_nearest_option_is_named():
    fixed = {"name": "pgd", "loss": "ce", "start": "near", "adaptive": False, "steps": 10, "step_size": 0.25}
    fixed |= {"gradient": "secant", "restarts": 1, "eps_levels": 8, "save_images": False}
    here = {f"regime.attack.{key}": value for key, value in fixed.items()}
    assert inner_attack(here, keys()) == ("attack pgd_fixed",)
    assert inner_attack(here | {"regime.attack.steps": 3}, keys()) == ("attack pgd_fixed", "attack steps = 3")
