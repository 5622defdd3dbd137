"""Checks of values: ranges, choices, keys that are missing, and what does not go together."""

import copy
import dataclasses

import pytest

from grids import in_turn
from p2be_exp.config import check_config, compose_config, to_plain
from p2be_exp.config.fields import Allowed
from p2be_exp.config.schema import COMMAND_SCHEMAS, GROUP_SCHEMAS, SEVERAL
from p2be_exp.errors import BadInput


@pytest.fixture(scope="module")
def composed_once():
    return to_plain(compose_config("train", []))


@pytest.fixture
def config(composed_once):
    return copy.deepcopy(composed_once)


def set_value(config, key, value):
    *groups, name = key.split(".")
    for group in groups:
        config = config[group]
    config[name] = value


def refused(config):
    with pytest.raises(BadInput) as error:
        check_config("train", config)
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("encoding.M", 0, "between 1 and 1024"),
        ("encoding.M", 1025, "between 1 and 1024"),
        ("encoding.lambda_smooth", -0.5, "0 or more"),
        ("encoding.lambda_smooth", float("nan"), "0 or more"),
        ("encoding.lambda_smooth", float("inf"), "0 or more"),
        ("encoding.smoothness", "median", "one of mean, sum"),
        ("encoding.slope_at_zero", 3.0, "one of 2.0, 4.0"),
        ("encoding.init", "zeros", "one of normal, onehot, thermometer"),
        ("backbone.activation", "gelu", "one of relu, elu"),
        ("regime.alpha_jsd", -1.0, "0 or more"),
        ("regime.magnitude", 11.0, "between 0.1 and 10"),
        ("regime.view_rounding", "up", "one of reference, floor, nearest"),
        ("dataset.val_size", -1, "0 or more"),
        ("optim.lr", 0.0, "above 0"),
        ("optim.momentum", 1.5, "between 0 and 1"),
        ("optim.clip_norm", 0.0, "above 0"),
        ("optim.accumulate", 0, "1 or more"),
        ("optim.table_schedule", "linear", "one of cosine, constant"),
        ("optim.warmup_epochs", -1, "0 or more"),
        ("optim.warmup_epochs", 201, "at most 200 (epochs)"),
        ("trainer.devices", 0, "1 or more"),
        ("trainer.precision", "16", "one of auto, 32, bf16"),
        ("seed", -1, "between 0 and 4294967295"),
        ("epochs", 0, "1 or more"),
        ("batch_size", 0, "1 or more"),
        ("limit_train", 0, "1 or more"),
        ("limit_test", 0, "1 or more"),
        ("watch_every", -1, "0 or more"),
        ("figures", ["png", "jpg"], "one of png, pdf, svg"),
        ("checkpoint_every", -1, "0 or more"),
        ("early_stop", -1, "0 or more"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(config, key, value, allowed):
    set_value(config, key, value)
    assert refused(config) == f"{key}={value}: must be {allowed}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoding.M", 1),
        ("encoding.M", 1024),
        ("encoding.lambda_smooth", 0.0),
        ("optim.clip_norm", 0.001),
        ("optim.lr_end", 0.0),
        ("seed", 0),
        ("limit_train", None),
        ("optim.clip_norm", None),
        ("optim.warmup_epochs", 200),
        ("watch_every", 0),
        ("figures", []),
        ("figures", ["svg", "pdf", "png"]),
    ],
)
def test_a_value_at_the_edge_is_taken(config, key, value):
    set_value(config, key, value)
    check_config("train", config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer.devices": 2}, "trainer.devices=2: several devices require trainer=ddp"),
        ({"trainer.num_nodes": 2}, "trainer.devices=1: several devices require trainer=ddp"),
        (
            {"trainer.devices": 3, "trainer.strategy": "ddp", "batch_size": 2},
            "batch_size=2: must be at least 3, since 3 processes share it",
        ),
        (
            {"optim.momentum": 0.0},
            "optim.momentum=0.0: must be above 0 for Nesterov's method, or set optim.nesterov=false",
        ),
        ({"optim.table_betas": [0.9]}, "optim.table_betas=[0.9]: must be two numbers, each at least 0 and below 1"),
        (
            {"optim.table_betas": [0.9, 1.0]},
            "optim.table_betas=[0.9, 1.0]: must be two numbers, each at least 0 and below 1",
        ),
        ({"optim.milestones": [60]}, "optim.milestones=[60]: requires optim.schedule=steps"),
        ({"optim.schedule": "steps"}, "optim.milestones=[]: optim.schedule=steps needs epochs in ascending order"),
        (
            {"optim.schedule": "steps", "optim.milestones": [9, 3]},
            "optim.milestones=[9, 3]: optim.schedule=",
        ),
        (
            {"optim.schedule": "steps", "optim.milestones": [3, 3]},
            "optim.milestones=[3, 3]: optim.schedule=",
        ),
        ({"optim.gamma": 0}, "optim.gamma=0: must be above 0 and at most 1"),
        (
            {"dataset.augmentation": "resized_crop"},
            "dataset.augmentation=resized_crop: must be one of flip_crop, crop, none",
        ),
        ({"encoding.name": "p3be"}, "encoding.name=p3be: choose with encoding=, one of rgb, onehot, thermometer, p2be"),
        ({"encoding": None}, "encoding: must be one of rgb, onehot, thermometer, p2be"),
        ({"regime.xi": 1.0}, "regime.xi=1.0: unknown key; the keys are name, alpha_jsd, magnitude, view_rounding"),
    ],
)
def test_values_that_do_not_go_together(config, changes, message):
    for key, value in changes.items():
        set_value(config, key, value)
    assert refused(config).startswith(message)


def test_how_gpus_read_codes_is_checked_with_the_configuration(config, monkeypatch):
    monkeypatch.setenv("P2BE_STEM", "folded")
    assert refused(config) == "P2BE_STEM=folded (environment variable): must be fused or lookup"
    for allowed in ("lookup", "fused", ""):
        monkeypatch.setenv("P2BE_STEM", allowed)
        check_config("train", config)


def test_how_gpus_normalise_is_checked_with_the_configuration(config, monkeypatch):
    monkeypatch.setenv("P2BE_BATCH_NORM", "triton")
    assert refused(config) == "P2BE_BATCH_NORM=triton (environment variable): must be plain or fused"
    for allowed in ("plain", "fused", ""):
        monkeypatch.setenv("P2BE_BATCH_NORM", allowed)
        check_config("train", config)


def test_evaluation_on_several_devices_needs_ddp():
    settings = to_plain(compose_config("evaluate", ["run=some", "trainer.devices=2"]))
    with pytest.raises(BadInput, match=r"^trainer\.devices=2: several devices require trainer=ddp$"):
        check_config("evaluate", settings)


def test_test_pictures_are_scaled_to_no_less_than_what_is_cut_out():
    config = to_plain(compose_config("train", ["dataset=imagenet", "dataset.image_size=224", "dataset.resized=224"]))
    check_config("train", config)
    config["dataset"]["resized"] = 223
    told = "dataset.resized=223: must be 224 (dataset.image_size) or more"
    assert refused(config) == told
    wrong = ["dataset=imagenet", "dataset.image_size=224", "dataset.resized=223"]
    with pytest.raises(BadInput) as error:
        check_config("corruptions", to_plain(compose_config("corruptions", wrong)))
    assert str(error.value) == told


def test_a_bound_that_is_not_reached():
    share = Allowed(low=0, below=1)
    assert str(share) == "at least 0 and below 1"
    assert [share.admits(value) for value in (0, 0.0, 0.999)] == [True] * 3
    assert [share.admits(value) for value in (-0.1, 1, 1.0, float("nan"))] == [False] * 4
    assert share.refusal(2**40) == "must be at least 0 and below 1"


def test_published_weights_go_with_relu():
    config = to_plain(compose_config("train", ["backbone=resnet50", "backbone.activation=elu"]))
    check_config("train", config)
    config["backbone"]["weights"] = "resnet50-11ad3fa6.pth"
    assert refused(config) == (
        "backbone.activation=elu: must be relu with backbone.weights, which are those of a network with ReLU"
    )
    config["backbone"]["activation"] = "relu"
    check_config("train", config)


@pytest.mark.parametrize(
    ("sizes", "name", "command"),
    in_turn(
        [(8, 8), (32, 32), (63, 63), (64, 73), (96, 110), (128, 146), (224, 256), (4096, 4681)],
        ["imagenet", "image_folder", "caltech101", "caltech256"],
        ["train", "corruptions"],
    ),
)
def test_test_pictures_are_scaled_in_proportion_to_what_is_cut_out(sizes, name, command):
    image_size, resized = sizes
    wanted = [f"dataset={name}", f"dataset.image_size={image_size}"]
    config = to_plain(compose_config(command, wanted))
    check_config(command, config)
    assert config["dataset"]["resized"] == resized
    config = to_plain(compose_config(command, [*wanted, f"dataset.resized={image_size + 1}"]))
    assert config["dataset"]["resized"] == image_size + 1


@pytest.mark.parametrize("name", ["imagenet", "image_folder", "caltech101", "caltech256"])
def test_test_pictures_are_scaled_to_256_unless_something_is_said(name):
    assert to_plain(compose_config("train", [f"dataset={name}"]))["dataset"]["resized"] == 256


@pytest.mark.parametrize("key", sorted(COMMAND_SCHEMAS["train"].__dataclass_fields__))
def test_a_missing_key_is_named(config, key):
    del config[key]
    assert refused(config).startswith(f"{key}: ")


@pytest.mark.parametrize("group", sorted({*GROUP_SCHEMAS} - {*SEVERAL}))
def test_a_missing_key_of_a_group_is_named(config, group):
    key = list(config[group])[-1]
    del config[group][key]
    assert refused(config) == f"{group}.{key}: a value is required"


def test_every_number_and_choice_of_a_schema_says_what_is_allowed():
    for options in GROUP_SCHEMAS.values():
        for schema in options.values():
            for field in dataclasses.fields(schema):
                if field.type in ("int", "float", "int | None", "float | None"):
                    assert isinstance(field.metadata.get("allowed"), Allowed), (schema, field.name)
