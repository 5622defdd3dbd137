"""The methods of Foolbox by name: which there are, and what is refused of those without a radius."""

import doctest

import pytest

from p2be_exp.config import compose_config, foolbox_methods, to_plain
from p2be_exp.config.checks import check_attack
from p2be_exp.config.foolbox_methods import IN_BALL, NEAREST, SHORT
from p2be_exp.config.schema import EvaluateConfig
from p2be_exp.config.typed import typed
from p2be_exp.errors import BadInput


def group(*overrides, name="foolbox"):
    composed = compose_config("evaluate", ["run=some", f"attack={name}", *overrides])
    return typed(to_plain(composed), EvaluateConfig).attack


def test_every_name_is_one_class():
    names = [*IN_BALL, *NEAREST, *SHORT]
    assert len(set(names)) == len(names)
    assert set(SHORT.values()) <= {*IN_BALL, *NEAREST}
    assert doctest.testmod(foolbox_methods).failed == 0


def test_every_class_is_in_foolbox():
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")
    for name in (*IN_BALL, *NEAREST):
        norm = foolbox.distances.linf if name in IN_BALL else foolbox.distances.l2
        assert getattr(foolbox.attacks, name)().distance is norm, name


@pytest.mark.parametrize("method", [*IN_BALL, *NEAREST, *SHORT])
def test_each_can_be_chosen_and_some_have_no_radius(method):
    attack = group(f"attack.method={method}")
    check_attack("attack", attack)
    assert attack.finds_nearest == (SHORT.get(method, method) in NEAREST)


@pytest.mark.parametrize("radii", ["[4,8]", "0"])
def test_what_has_no_radius_takes_one_reach(radii):
    check_attack("attack", group("attack.method=deepfool", f"attack.eps_levels={radii}"))
    message = r"attack.eps_levels=.*: must be one number, 1 or more, with attack.method=cw, which has no radius"
    with pytest.raises(BadInput, match=message):
        check_attack("attack", group("attack.method=cw", f"attack.eps_levels={radii}"))


def test_other_attacks_have_a_radius():
    for name in ("pgd", "torchattacks", "suite", "none"):
        assert group(name=name).finds_nearest is False
