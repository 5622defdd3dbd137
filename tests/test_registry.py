"""The registry: what it says of an option is what the option's class does, and what is asked for by name is there."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

from p2be_exp.backbones import AllConv, ResNet18
from p2be_exp.encodings import TableEncoding
from p2be_exp.errors import BadInput
from p2be_exp.registry import (
    BASES,
    OPTIONS,
    Option,
    built,
    inner_attacks,
    option,
    register,
    staged_backbones,
    takes_several_steps,
)

OWN = [
    (group, name)
    for group in BASES
    for name in built(group)
    if not option(group, name).library or find_spec(option(group, name).library)
]
"""Without those whose library is not installed."""


@pytest.mark.parametrize(("group", "name"), OWN)
def test_an_option_stands_for_a_class_of_its_group(group, name):
    module, _, wanted = BASES[group].partition(":")
    made = option(group, name).factory()
    base = getattr(sys.modules[f"p2be_exp.{module}"], wanted)
    assert issubclass(getattr(made, "__self__", made), base)  # a class, or a method of one


def test_which_encodings_have_buckets():
    for name in built("encoding"):
        made = option("encoding", name).factory()
        buckets = getattr(made, "__self__", made).buckets
        assert option("encoding", name).buckets == (buckets is not TableEncoding.buckets), name


def test_which_encodings_an_attack_serves():
    for name in [name for group, name in OWN if group == "attack"]:
        assert option("attack", name).serves == option("attack", name).factory().serves


def test_which_regimes_may_take_several_steps():
    for name in built("regime"):
        assert takes_several_steps(name) == option("regime", name).factory().several_steps, name


def test_inner_attacks_are_built():
    assert set(inner_attacks()) <= set(built("attack"))


def test_every_option_has_a_schema_with_its_name():
    for group, options in OPTIONS.items():
        for name, each in options.items():
            assert group == "optim" or "name" in each.keys().__dataclass_fields__, name


def test_an_option_that_is_not_there():
    with pytest.raises(BadInput) as raised:
        option("regime", "augmx")
    assert str(raised.value) == (
        "regime=augmx: no such regime; available: advtrain, augmix, contrain, fpd, mart, mixing, noisymix, none, "
        "standard, tenet, trades"
    )


def test_what_a_name_stands_for_is_added_to_the_settings():
    made = Option("BackboneConfig", lambda **settings: settings, {"depth": 40}).build(num_classes=10)
    assert made == {"depth": 40, "num_classes": 10}


@dataclass
class KeysOfMine:
    name: str = "mine"


def returns_a_network(num_classes):
    return ResNet18(num_classes)


@pytest.mark.parametrize(
    ("made", "says", "has"),
    [(ResNet18, None, True), (AllConv, None, False), (returns_a_network, None, False), (returns_a_network, True, True)],
)
def test_which_backbones_from_outside_have_stages(monkeypatch, made, says, has):
    monkeypatch.setitem(OPTIONS, "backbone", dict(OPTIONS["backbone"]))
    if says is not None:
        monkeypatch.setattr(made, "staged", says, raising=False)
    register("backbone", "mine", KeysOfMine, made, "outside")
    assert ("mine" in staged_backbones()) == has


def test_it_is_read_without_torch():
    code = "import sys, p2be_exp.registry, p2be_exp.config.schema; print({'torch', 'lightning'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
