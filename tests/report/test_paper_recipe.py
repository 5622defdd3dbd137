"""Departures from the paper's recipe: none at full scale, and each thing that is changed is told."""

import json
from dataclasses import dataclass, replace

import pytest

from measured_runs import GENERATED, OFFICIAL, write_recipe
from p2be_exp.config.schema import EncodingConfig
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.keys import Measure
from p2be_exp.report.paper.measures import source_of, value
from p2be_exp.report.paper.recipe import departures
from p2be_exp.report.paper.tables import TABLES

SPECS = {spec.id: spec for spec in TABLES}


def found(folder, overrides, table="table2", n=10_000, **settings):
    errors = {"clean": 20.0}
    if settings.get("corruption"):
        errors["corruption"] = 30.0
    if settings.get("attack"):
        errors["attack/lspga/8"] = 50.0
    write_recipe(folder / "run", overrides, errors, seed=3, n=n, **settings)
    (result,), _ = gather([str(folder / "run")])
    return departures(result, SPECS[table].recipe)


@pytest.mark.parametrize(
    ("table", "overrides", "settings"),
    [
        ("table2", "", {"corruption": OFFICIAL}),
        ("table2", "encoding=rgb trainer.precision=bf16 data_dir=/x watch_every=5", {"evaluation_seed": 0}),
        ("table2", "encoding=thermometer optim.table_lr=1", {}),
        ("table2", "encoding=p2be regime.view_rounding=floor", {}),
        ("table2", "encoding=rgb regime.view_rounding=nearest", {}),
        ("table4", "experiment=adversarial_cifar100", {"attack": {"name": "lspga", "steps": 7, "restarts": 1}}),
        ("table4", "experiment=adversarial_cifar10 encoding=onehot regime=advtrain", {}),
        ("table5", "experiment=adversarial_cifar10 encoding.lambda_smooth=0", {}),
        ("table6", "epochs=50", {}),
        ("table7", "dataset=cifar10 encoding.table_from=/x", {}),
        ("figure3", "encoding.M=16", {}),
        ("m_lambda", "encoding.M=16 encoding.lambda_smooth=10", {}),
    ],
)
def test_full_scale(workdir, table, overrides, settings):
    told = found(workdir, overrides, table, **settings)
    assert (told.all, told.row) == ((), ())


@pytest.mark.parametrize(
    ("table", "overrides", "told"),
    [
        ("table2", "epochs=12", "epochs = 12 instead of 200"),
        ("table2", "limit_train=500", "limit_train = 500"),
        ("table2", "batch_size=64", "batch_size = 64 instead of 128"),
        ("table2", "dataset=digits", "data set digits"),
        ("table2", "regime=standard", "regime standard"),
        ("table2", "preset=paper", "preset paper"),
        ("table2", "optim.weight_decay=0.001", "optim.weight_decay = 0.001 instead of 0.0005"),
        ("table2", "optim.nesterov=false", "optim.nesterov = false instead of true"),
        ("table2", "regime.magnitude=1", "regime.magnitude = 1 instead of 3"),
        ("table2", "encoding=rgb regime.view_rounding=floor", "regime.view_rounding = floor instead of reference"),
        ("table2", "encoding=onehot regime.view_rounding=floor", "regime.view_rounding = floor instead of reference"),
        ("table2", "dataset.val_size=1000", "dataset.val_size = 1000 instead of 0"),
        ("table2", "departs_from_paper=trial", "trial"),
        ("table2", "backbone=resnet18 backbone.activation=elu", "backbone.activation = elu instead of relu"),
        ("table4", "experiment=adversarial_cifar10 backbone=wrn16_1", "network wrn16_1"),
        ("table4", "experiment=adversarial_cifar10 regime.attack.steps=2", "regime.attack.steps = 2 instead of 7"),
    ],
)
def test_what_is_changed_is_told(workdir, table, overrides, told):
    assert found(workdir, overrides, table).all == (told,)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ("encoding.M=32", "M = 32"),
        ("encoding.lambda_smooth=0.1", "lambda = 0.1"),
        ("encoding=onehot encoding.M=16", "M = 16"),
        ("preset.init=thermometer", "initial table = thermometer"),
        ("optim.table_lr=0.03", "optim.table_lr = 0.03"),
    ],
)
def test_what_concerns_the_encoding_alone_is_told_in_its_row(workdir, overrides, told):
    departed = found(workdir, overrides)
    assert (departed.all, departed.row) == ((), (told,))


def test_a_network_with_keys_of_its_own(workdir):
    """ResNet-50 has a key for published weights, the default network has none."""
    assert found(workdir, "backbone=resnet50", "table6").all == ()


OLD = {key: value for key, value in OFFICIAL.items() if key != "verified"}
"""Of a version that called any files in the layout the published ones."""
SUBSET = OFFICIAL | {"names": ["fog", "snow"], "severities": [3]}


@pytest.mark.parametrize(
    ("table", "settings", "told"),
    [
        ("table2", {"n": 500}, "500 of 10,000 test images"),
        ("table2", {"precision": "bf16"}, "measured in bf16"),
        ("table2", {"checkpoint": "best"}, "the best checkpoint"),
        ("table2", {"corruption": SUBSET}, "2 of 15 corruptions x 1 of 5 severities (snow, fog), severity 3"),
        ("table2", {"corruption": GENERATED | {"names": OFFICIAL["names"], "severities": [1, 2, 3, 4, 5]}},
         "corruptions made here (generator 1, seed 0)"),
        ("table2", {"corruption": OFFICIAL | {"name": "own", "files": {"fog": "ab"}}},
         "own files as corruptions (digest 0be60d2d)"),
        ("table4", {"attack": {"name": "lspga", "steps": 50}}, "LS-PGA with steps = 50"),
        ("table4", {"attack": {"name": "suite", "restarts": 5}}, "LS-PGA with restarts = 5"),
        ("table4", {"attack": {"name": "lspga"}, "evaluation_seed": 9}, "attacked under seed 9"),
    ],
)  # fmt: skip
def test_how_it_was_measured_is_told(workdir, table, settings, told):
    overrides = "experiment=adversarial_cifar10" if table == "table4" else ""
    assert found(workdir, overrides, table, **settings).all == (told,)


@pytest.mark.parametrize(
    ("corruption", "identical", "told"),
    [
        (OLD, None, "given as the published files, not verified"),
        (OFFICIAL, OFFICIAL["names"], "the published files"),
        (OFFICIAL | {"name": "own", "files": {"fog": "ab"}}, [], "own files"),
        (OFFICIAL | {"name": "imagenet_c", "crop": "center"}, [], "given as ImageNet-C, not verified"),
        (GENERATED | {"names": OFFICIAL["names"]}, None, "made here, not the published files"),
        (GENERATED | {"names": OFFICIAL["names"]}, ["brightness", "contrast", "pixelate"],
         "3 of 15 corruptions identical to the published files, 12 made here"),
    ],
)  # fmt: skip
def test_whose_the_corrupted_images_are(workdir, corruption, identical, told):
    write_recipe("run", "", {"clean": 20.0, "corruption": 30.0}, corruption=corruption)
    summary = json.loads((workdir / "run" / "results.json").read_text())
    summary["corruptions"] = {} if identical is None else {"identical": identical}
    (workdir / "run" / "results.json").write_text(json.dumps(summary))
    (result,), _ = gather(["run"])
    assert source_of(result) == told
    assert value(result, Measure("mce")) is None
    assert value(result, Measure("corruption")) > 0


def test_corruptions_that_were_left_out(workdir):
    write_recipe("run", "", {"clean": 20.0, "corruption": 30.0}, corruption=OFFICIAL)
    summary = json.loads((workdir / "run" / "results.json").read_text())
    summary["corruptions"] = {"left_out": {"frost": "no textures"}}
    (workdir / "run" / "results.json").write_text(json.dumps(summary))
    (result,), _ = gather(["run"])
    (told,) = departures(result, SPECS["table2"].recipe).all
    assert told == "14 of 15 corruptions x 5 of 5 severities (all but frost), severity 1 2 3 4 5"


@dataclass
class Mine(EncodingConfig):
    name: str = "mine"
    width: int = 7


def test_an_encoding_of_the_users_own(workdir):
    write_recipe("run", "encoding=onehot", {"clean": 20.0})
    (result,), _ = gather(["run"])
    mine = replace(result, config=replace(result.config, encoding=Mine()))
    assert departures(mine, SPECS["table2"].recipe).row == ("encoding.width = 7",)


# -- methods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ("regime=tenet", ()),
        ("regime=tenet regime.from_step=7", ("regime.from_step = 7",)),
        ("regime=advtrain", ()),
        ("regime=advtrain regime.attack.steps=2", ("attack steps = 2",)),
        ("regime=advtrain attack@regime.attack=pgd_fixed encoding=rgb", ("attack pgd_fixed",)),
        (
            "regime=contrain attack@regime.attack=pgd_fixed encoding=rgb regime.attack.steps=2",
            ("attack pgd_fixed", "attack steps = 2"),
        ),
        ("regime=trades regime.beta=3 encoding=thermometer", ("regime.beta = 3",)),
    ],
)
def test_a_methods_own_settings_are_told_in_its_row(workdir, overrides, told):
    departed = found(workdir, f"backbone=resnet18 dataset=cifar10 {overrides}", "other_methods")
    assert (departed.all, departed.row) == ((), told)


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        ({"name": "suite", "eps_levels": [2, 4, 8, 16, 32], "steps": 40, "restarts": 1, "queries": 500}, ()),
        ({"name": "suite", "eps_levels": [2, 4, 8], "steps": 40}, ()),  # no smaller radius is missing
        (
            {"name": "suite_short", "eps_levels": 8, "steps": 3},
            ("attacks with steps = 3 instead of 40", "attacks at 8 levels"),
        ),
        ({"name": "lspga", "steps": 7}, ()),  # no worst case
    ],
)
def test_how_a_worst_case_was_measured_is_told(workdir, attack, told):
    departed = found(workdir, "regime=mart dataset=cifar10", "other_methods", attack=attack, worst_case=60.0)
    assert departed.all == told
