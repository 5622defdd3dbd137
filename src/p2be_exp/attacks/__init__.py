"""Attacks on a classifier of levels: each returns images."""

from p2be_exp.attacks.attack import Adversarial, Attack, Search, attacked, predict
from p2be_exp.attacks.build import build_attack, list_attacks
from p2be_exp.attacks.random import AttackRandom

__all__ = [
    "Adversarial",
    "Attack",
    "AttackRandom",
    "Search",
    "attacked",
    "build_attack",
    "list_attacks",
    "predict",
]
