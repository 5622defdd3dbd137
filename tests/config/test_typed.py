"""One builder for a fresh composition and for a stored configuration: the keys that it fills in, checks and types."""

import copy
from dataclasses import dataclass

import pytest

from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.fields import number
from p2be_exp.config.schema import (
    COMMAND_SCHEMAS,
    GROUP_BASES,
    GROUP_SCHEMAS,
    EncodingConfig,
    LSPGAConfig,
    P2BEConfig,
    PGDConfig,
    TrainConfig,
)
from p2be_exp.config.typed import has_key, plain, typed, typed_group
from p2be_exp.errors import BadInput
from p2be_exp.registry import OPTIONS, Option, built


@pytest.fixture(scope="module")
def composed_once():
    return to_plain(compose_config("train", ["regime=contrain"]))


@pytest.fixture
def config(composed_once):
    return copy.deepcopy(composed_once)


def refused(config):
    with pytest.raises(BadInput) as error:
        typed(config)
    return str(error.value)


def test_groups_and_groups_in_groups_are_objects_of_their_schemas(config):
    built = typed(config)
    assert isinstance(built, TrainConfig)
    assert type(built.encoding) is P2BEConfig
    assert type(built.regime.attack) is LSPGAConfig
    assert built.optim.accumulate == 1


def test_an_inner_attack_of_another_name_has_its_own_schema():
    built = typed(to_plain(compose_config("train", ["regime=advtrain", "attack@regime.attack=pgd"])))
    assert type(built.regime.attack) is PGDConfig


def test_the_dictionaries_that_it_is_made_from_stay_as_they_are(config):
    before = copy.deepcopy(config)
    built = typed(config)
    built.optim.table_betas.append(0.5)
    built.regime.attack.steps = 1
    assert config == before


@pytest.mark.parametrize(
    "options",
    [
        [f"{group}={name}"]
        for group, options in GROUP_SCHEMAS.items()
        for name in options
        if group not in ("attack", "corruption", "trainer", "optim")
    ]
    + [["attack=suite", "corruption=auto", "trainer=ddp"], ["attack=pgd", "corruption=imagenet_c", "dataset=imagenet"]],
    ids=",".join,
)
def test_typed_and_plain_again_it_is_what_was_composed_in_the_same_order(options):
    composed = to_plain(compose_config("train", options))
    assert repr(plain(typed(composed))) == repr(composed)


@pytest.mark.parametrize("command", ["evaluate", "corruptions", "export", "published", "tracking"])
def test_every_command_has_a_typed_configuration(command):
    run = ["run=some"] if command in ("evaluate", "export") else []
    composed = to_plain(compose_config(command, run))
    built = typed(composed, COMMAND_SCHEMAS[command])
    assert type(built) is COMMAND_SCHEMAS[command]
    assert repr(plain(built)) == repr(composed)


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("preset", "view_rounding", "floor"),
        ("preset", "lambda_smooth", 1.0),
        ("dataset", "augmentation", "flip_crop"),
        ("backbone", "activation", "relu"),
        ("optim", "milestones", []),
        ("optim", "warmup_epochs", 0),
        ("optim", "ema", None),
        ("optim", "ema_from", 0),
        ("trainer", "timeout", 600.0),
        ("trainer", "compile", "off"),
        ("trainer", "deterministic", False),
        ("trainer", "fast_dev_run", False),
        ("trainer", "profile", False),
    ],
)
def test_a_key_that_older_runs_lack_is_filled_in(config, group, key, value):
    del config[group][key]
    assert getattr(getattr(typed(config), group), key) == value
    assert key not in config[group]


@pytest.mark.parametrize("name", built("backbone"))
def test_a_network_had_relu_before_it_could_be_chosen(name):
    composed = to_plain(compose_config("train", [f"backbone={name}"]))
    older = copy.deepcopy(composed)
    older["backbone"].pop("activation", None)
    assert plain(typed(older)) == composed


def test_a_run_that_is_older_than_the_group_has_the_plain_model(config):
    del config["model"]
    one = typed(config)
    assert plain(one.model) == {"name": "plain"}
    assert plain(one) == plain(typed(config))
    assert list(plain(one))[:3] == ["encoding", "backbone", "model"]


def test_two_older_runs_do_not_share_a_list(config):
    del config["optim"]["milestones"]
    one = typed(config)
    one.optim.milestones.append(3)
    assert typed(config).optim.milestones == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda config: config["optim"].pop("accumulate"), "optim.accumulate: a value is required"),
        (lambda config: config["optim"].update(momentun=0.9), "optim.momentun=0.9: unknown key; the keys are lr, "),
        (lambda config: config["optim"].update(lr="abc"), "optim.lr=abc: "),
        (lambda config: config["optim"].update(nesterov=1), "optim.nesterov=1: must be true or false"),
        (lambda config: config.pop("regime"), "regime: a value is required"),
        (lambda config: config.update(regime="augmix"), "regime: must be one of standard, "),
        (lambda config: config["regime"]["attack"].pop("xi"), "regime.attack.xi: a value is required"),
        (lambda config: config["regime"]["attack"].update(width=8), "regime.attack.width=8: unknown key; "),
        (lambda config: config["regime"]["attack"].update(steps=0.5), "regime.attack.steps=0.5: "),
        (lambda config: config["regime"].update(attack=None), "regime.attack=None: choose with attack@regime.attack="),
        (lambda config: config.update(epoch=3), "epoch=3: unknown key; the keys are encoding, "),
        (lambda config: config.update(epochs=True), "epochs=True: must be 1 or more"),
        (lambda config: config.update(preset=[]), "preset: must be one of official, paper"),
    ],
)
def test_a_missing_unknown_or_mistyped_key_is_named(config, change, told):
    change(config)
    assert refused(config).startswith(told)


@pytest.mark.parametrize("group", sorted(GROUP_SCHEMAS))
def test_every_option_of_this_package_is_derived_from_the_base_of_its_group(group):
    assert all(issubclass(schema, GROUP_BASES[group]) for schema in GROUP_SCHEMAS[group].values())


@pytest.mark.parametrize(("encoding", "weight"), [("rgb", 0.0), ("onehot", 0.0), ("p2be", 1.0)])
def test_a_key_that_common_code_reads_is_there_for_every_option(encoding, weight):
    built = typed(to_plain(compose_config("train", [f"encoding={encoding}"]))).encoding
    assert built.lambda_smooth == weight
    assert built.table_from is None
    assert has_key(built, "lambda_smooth") == (encoding == "p2be")
    assert list(plain(built)) == list(to_plain(compose_config("train", [f"encoding={encoding}"]))["encoding"])


@dataclass
class Outside:
    name: str = "outside"
    lambda_smooth: float = number(0)
    width: int = number(1)


@dataclass
class WithoutDefaults:
    name: str
    table_from: str


@pytest.mark.parametrize(
    ("schema", "node", "lambda_smooth", "table_from"),
    [
        (Outside, {"name": "outside", "lambda_smooth": 0.5, "width": 3}, 0.5, None),
        (WithoutDefaults, {"name": "outside", "table_from": "run"}, 0.0, "run"),
    ],
)
def test_a_schema_from_outside_that_knows_no_base_has_what_it_says(
    monkeypatch, schema, node, lambda_smooth, table_from
):
    declare_outside(monkeypatch, schema)
    built = typed_group("encoding", {"encoding": node})
    assert isinstance(built, schema)
    assert isinstance(built, EncodingConfig)
    assert (built.lambda_smooth, built.table_from) == (lambda_smooth, table_from)
    assert plain(built) == node


def test_a_key_of_a_schema_from_outside_is_checked(monkeypatch):
    declare_outside(monkeypatch, Outside)
    with pytest.raises(BadInput, match=r"^encoding\.width=0: must be 1 or more$"):
        typed_group("encoding", {"encoding": {"name": "outside", "lambda_smooth": 0.5, "width": 0}})


def declare_outside(monkeypatch, schema):
    monkeypatch.setitem(OPTIONS["encoding"], "outside", Option(schema))
