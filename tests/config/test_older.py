"""Configurations and settings from before a key: they get what was fixed then, and keep what they say."""

from p2be_exp.config.defaults import defaults_of
from p2be_exp.config.older import fill_in, fill_in_attack


def test_an_older_pgd_climbs_logits_as_the_option_does_now():
    attack = {"name": "pgd", "loss": "margin"}
    config = {"attack": dict(attack), "regime": {"name": "advtrain", "attack": dict(attack)}}
    fill_in(config)
    for each in (config["attack"], config["regime"]["attack"]):
        assert each["climb"] == defaults_of("attack", "pgd")["climb"] == "logits"
    newer = attack | {"climb": "outputs"}
    fill_in_attack(newer)
    assert newer["climb"] == "outputs"
