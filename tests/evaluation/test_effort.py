"""Which attack decides at a radius, and the same with half and with twice its effort."""

import numpy as np
import pytest

from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.attacks.pgd import PGD
from p2be_exp.attacks.random_in_ball import RandomInBall
from p2be_exp.attacks.square import Square
from p2be_exp.attacks.transfer import Transfer
from p2be_exp.evaluation.effort import decisive, with_other_efforts
from p2be_exp.evaluation.module import attack_condition


def pgd(radius: int, steps: int = 40, restarts: int = 1, **options) -> PGD:
    return PGD(radius, "secant", "margin", steps, restarts, **options)


def lspga(radius: int, restarts: int, steps: int = 7) -> LSPGA:
    return LSPGA(radius, steps, 1.0, 1.2, "soften", "sign", "normal", restarts)


def planned(*attacks):
    return {attack_condition(attack): attack for attack in attacks}


def wrong(**rows):
    return {name.replace("__", "/"): np.array(list(row), dtype=int).astype(bool) for name, row in rows.items()}


def test_the_attack_that_breaks_the_most_images_decides():
    attack_of = planned(RandomInBall(8, 10), pgd(8), Square(8, 500, 1))
    names = {"random": "attack/random_in_ball/8", "pgd": "attack/pgd_margin_secant/8", "square": "attack/square/8"}

    def decided(**rows):
        found = decisive(attack_of, {names[name]: value for name, value in wrong(**rows).items()})
        return [each.name for each in found]

    assert decided(random="1000", pgd="1100", square="1110") == ["square"]
    assert decided(random="10000", pgd="11100", square="10010") == ["pgd_margin_secant"]
    # Of equals the one that asked most: 500 queries and one for what they found, against 40 gradients.
    assert decided(random="1100", pgd="1100", square="1100") == ["square"]
    assert decided(random="1100", pgd="1100", square="1000") == ["pgd_margin_secant"]
    # No image stands: more effort has nothing to break.
    assert decided(random="1100", pgd="1100", square="0011") == []
    assert decided(random="1100", pgd="1111", square="0000") == []
    assert decided() == []


def test_radius_by_radius():
    attack_of = planned(RandomInBall(4, 10), pgd(4), RandomInBall(8, 10), pgd(8))
    rows = {"attack/random_in_ball/4": "110", "attack/pgd_margin_secant/4": "100",
            "attack/random_in_ball/8": "100", "attack/pgd_margin_secant/8": "110"}  # fmt: skip
    found = decisive(attack_of, wrong(**rows))
    assert [each.id for each in found] == ["attack/random_in_ball/4", "attack/pgd_margin_secant/8"]


def test_half_and_twice():
    attack_of = planned(RandomInBall(4, 10), pgd(8, 41), Square(8, 500, 1), pgd(16))
    chosen = [each.id for each in attack_of if each.eps_levels == 8 or each.name == "random_in_ball"]
    found = {condition.id: attack for condition, attack in with_other_efforts(attack_of, chosen).items()}
    assert {name: (each.restarts, each.steps, each.queries) for name, each in found.items()} == {
        "attack/random_in_ball_half/4": (5, 0, 0),
        "attack/random_in_ball_twice/4": (20, 0, 0),
        "attack/pgd_margin_secant_half/8": (1, 20, 0),
        "attack/pgd_margin_secant_twice/8": (1, 82, 0),
        "attack/square_half/8": (1, 0, 250),
        "attack/square_twice/8": (1, 0, 1000),
    }
    for name, attack in found.items():
        assert (attack.id, str(attack.eps_levels)) == tuple(name.split("/")[1:])
        assert attack.family == name.split("/")[1].rsplit("_", 1)[0]
    assert next(iter(attack_of.values())).id == "random_in_ball"  # a copy was changed


@pytest.mark.parametrize(
    ("attack", "half", "twice"),
    [
        (lspga(8, restarts=6), (3, 7), (12, 7)),
        (lspga(8, restarts=1), (1, 3), (2, 7)),  # more steps would end at another temperature
        (lspga(8, restarts=1, steps=1), None, (2, 1)),
        (pgd(8, steps=1), None, (1, 2)),
    ],
)
def test_of_a_relaxed_attack_the_restarts_are_scaled(attack, half, twice):
    found = [attack.scaled(0.5), attack.scaled(2)]
    assert [each and (each.restarts, each.steps) for each in found] == [half, twice]


def test_of_a_transfer_the_effort_on_the_source():
    transfer = Transfer(8, object(), "rgb", pgd(8, 10, stop_when_wrong=False), restarts=2)
    assert transfer.effort == 10
    twice = transfer.scaled(2)
    assert (twice.id, twice.inner.steps, twice.restarts, transfer.inner.steps) == ("transfer_rgb", 20, 2, 10)
    one_step = Transfer(8, object(), "rgb", pgd(8, 1, stop_when_wrong=False), restarts=2)
    assert one_step.scaled(0.5) is None
