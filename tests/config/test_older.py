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


def test_a_decoder_shared_its_statistics_also_as_a_part():
    parts = {"robust": {"model": {"name": "fpd", "width": 8}}, "accurate": {"model": {"name": "plain"}}}
    config = {"model": {"name": "mix", "parts": parts}}
    fill_in(config)
    assert config["model"]["parts"]["robust"]["model"]["statistics"] == "shared"
    assert parts["accurate"]["model"] == {"name": "plain"}
    alone, newer = {"model": {"name": "fpd"}}, {"model": {"name": "fpd", "statistics": "by_pass"}}
    fill_in(alone), fill_in(newer)
    assert alone["model"]["statistics"] == defaults_of("model", "fpd")["statistics"] == "shared"
    assert newer["model"]["statistics"] == "by_pass"
