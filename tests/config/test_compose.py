"""Composition: every option has a file, a schema, its defaults and its code; presets; what is said of bad input."""

import dataclasses
import subprocess
import sys

import pytest

from p2be_exp.backbones import list_backbones
from p2be_exp.config import CONF_DIR, check_config, compose, compose_config, parse_overrides, to_plain
from p2be_exp.config.compose import options_of
from p2be_exp.config.schema import COMMAND_SCHEMAS, GROUP_SCHEMAS, SEVERAL
from p2be_exp.data import list_datasets
from p2be_exp.encodings import list_encodings
from p2be_exp.errors import BadInput
from p2be_exp.models.model import list_model_kinds
from p2be_exp.optim import Steps
from p2be_exp.regimes import list_regimes
from p2be_exp.registry import OPTIONS

EVERY_OPTION = [(group, option) for group, options in GROUP_SCHEMAS.items() for option in options]


def composed(*overrides, command="train"):
    config = to_plain(compose_config(command, overrides))
    check_config(command, config)
    return config


@pytest.mark.parametrize(("group", "option"), EVERY_OPTION)
def test_every_option_composes_passes_the_checks_and_has_every_key_of_its_schema(group, option):
    # A source of corrupted images goes with its own data sets, which evaluating takes from the run.
    evaluates = group == "corruption"
    needed = ["run=some"] * evaluates + ["attack.source=some"] * (option == "transfer")
    needed += ["corruption.dir=some"] * (option == "own")
    takers = {"none": "mix", "mixing": "adaptive_mix"}
    needed += [f"model={takers.get(option)}"] * (group in ("regime", "optim") and option in takers)
    if group == "model" and option == "published":
        needed += ["model.network=wrn34_10", "model.weights=some.pt"]
    elif (group, option) == ("regime", "fpd"):
        needed += ["model=fpd"]
    elif len(needed) > evaluates or (group == "model" and OPTIONS[group][option].regime):
        needed += ["model.accurate=one", "model.robust=another"] * (option not in ("transfer", "own"))
    config = composed(f"{group}={option}", *needed, command="evaluate" if evaluates else "train")
    node = config[group][option] if group in SEVERAL else config[group]
    fields = {field.name for field in dataclasses.fields(GROUP_SCHEMAS[group][option])}
    assert set(node) == fields
    assert node.get("name", option) == (OPTIONS[group][option].preset_of or option)


@pytest.mark.parametrize("command", COMMAND_SCHEMAS)
def test_every_key_of_a_command_has_a_value(command):
    config = composed(*(["run=some"] if command in ("evaluate", "export") else []), command=command)
    assert set(config) == set(COMMAND_SCHEMAS[command].__dataclass_fields__)


def test_files_and_schemas_list_the_same_options():
    groups = {folder.name for folder in CONF_DIR.iterdir() if folder.is_dir()} - {"experiment"}
    assert groups == set(GROUP_SCHEMAS)
    for group, options in GROUP_SCHEMAS.items():
        assert options_of(group) == sorted(options), group


@pytest.mark.parametrize("file", sorted(CONF_DIR.glob("*/*.yaml")), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_option_file_names_its_own_schema(file):
    group = file.parent.name
    if group != "experiment":
        preset = OPTIONS[group][file.stem].preset_of != ""  # it starts from the file of another option
        first = OPTIONS[group][file.stem].preset_of if preset else f"/schema/{group}/{file.stem}@_here_"
        assert f"- {first}" in file.read_text()


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("encoding", list_encodings),
        ("backbone", list_backbones),
        ("model", list_model_kinds),
        ("regime", list_regimes),
        ("dataset", list_datasets),
    ],
)
def test_the_registries_and_the_options_are_the_same(group, names):
    assert sorted(names()) == options_of(group)


@pytest.mark.parametrize("option", options_of("experiment"))
def test_every_experiment_composes(option):
    composed(f"experiment={option}")


# -- presets ----------------------------------------------------------------------------------------------------------

PRESETS = {
    "official": {
        "smoothness": "mean",
        "slope_at_zero": 4.0,
        "nesterov": True,
        "lr_end": 1e-6,
        "table_schedule": "cosine",
    },
    "paper": {
        "smoothness": "sum",
        "slope_at_zero": 2.0,
        "nesterov": False,
        "lr_end": 1e-5,
        "table_schedule": "constant",
    },
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_reaches_the_optimizers_and_the_table(preset):
    config = composed(f"preset={preset}")
    reached = {key: ({**config["optim"], **config["encoding"]})[key] for key in PRESETS[preset]}
    assert reached == PRESETS[preset]
    assert config["encoding"]["init"] == "normal"


@pytest.mark.parametrize("encoding", list_encodings())
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_no_key_of_an_option_that_is_not_chosen(preset, encoding):
    config = composed(f"preset={preset}", f"encoding={encoding}")
    fields = {field.name for field in dataclasses.fields(GROUP_SCHEMAS["encoding"][encoding])}
    assert set(config["encoding"]) == fields
    optim = {key: config["optim"][key] for key in ("nesterov", "lr_end", "table_schedule")}
    assert optim == {key: PRESETS[preset][key] for key in optim}


def test_official_is_the_default():
    assert composed() == composed("preset=official") != composed("preset=paper")


def test_a_key_on_the_command_line_beats_the_preset():
    config = composed("encoding.smoothness=mean", "optim.nesterov=true", "preset=paper")
    assert (config["encoding"]["smoothness"], config["optim"]["nesterov"]) == ("mean", True)
    assert config["encoding"]["slope_at_zero"] == 2.0


def test_a_key_on_the_command_line_beats_the_experiment():
    config = composed("epochs=3", "optim.table_lr=0.5", "encoding=rgb", "regime=augmix", "experiment=quickstart")
    assert (config["epochs"], config["optim"]["table_lr"]) == (3, 0.5)
    assert (config["encoding"], config["regime"]["name"]) == ({"name": "rgb"}, "augmix")


def test_the_defaults_are_the_published_recipe():
    config = composed()
    chosen = [config[group]["name"] for group in ("encoding", "backbone", "dataset", "regime")]
    assert chosen == ["p2be", "wrn40_2", "cifar100", "augmix"]
    assert (config["epochs"], config["batch_size"], config["dataset"]["val_size"]) == (200, 128, 0)
    assert (config["encoding"]["M"], config["encoding"]["lambda_smooth"]) == (64, 1.0)
    assert config["regime"]["alpha_jsd"] == 12
    optim = config["optim"]
    assert (optim["lr"], optim["momentum"], optim["weight_decay"]) == (0.1, 0.9, 5e-4)
    assert (optim["table_lr"], optim["table_betas"], optim["table_weight_decay"]) == (1e-4, [0.999, 0.999], 1e-4)


@pytest.mark.parametrize(
    ("name", "beta", "lr", "weight_decay", "epochs", "loss"),
    [("trades_cifar10", 6, 0.1, 2e-4, 100, "kl"), ("mart_cifar10", 5, 0.01, 3.5e-3, 120, "ce")],
)
def test_experiments_of_other_methods_have_their_authors_settings(name, beta, lr, weight_decay, epochs, loss):
    config = composed(f"experiment={name}", "encoding=thermometer", "regime.awp_gamma=0.005")
    regime, optim = config["regime"], config["optim"]
    chosen = [config["encoding"]["name"], config["backbone"]["name"], config["dataset"]["name"], regime["name"]]
    assert chosen == ["thermometer", "resnet18", "cifar10", name.partition("_")[0]]
    assert (regime["beta"], regime["awp_gamma"], regime["awp_warmup"]) == (beta, 0.005, 10)
    attack = {"name": "pgd", "loss": loss, "eps_levels": 8, "steps": 10, "start": "near", "adaptive": False}
    assert {key: regime["attack"][key] for key in attack} == attack
    assert regime["attack"]["step_size"] * 8 == 2  # levels
    assert (config["epochs"], config["batch_size"]) == (epochs, 128)
    assert (optim["lr"], optim["momentum"], optim["nesterov"], optim["weight_decay"]) == (lr, 0.9, False, weight_decay)
    rate, per_epoch = Steps(optim["milestones"], optim["gamma"], 391), 391
    rates = [round(rate((epoch - 1) * per_epoch), 6) for epoch in (1, 74, 75, 89, 90, 99, 100)]  # counted from 1
    assert rates == [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001]
    assert optim["schedule"] == "steps"


def test_the_data_folder_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("P2BE_DATA_DIR", raising=False)
    assert composed()["data_dir"] == "./data"
    monkeypatch.setenv("P2BE_DATA_DIR", "/elsewhere")
    assert composed()["data_dir"] == "/elsewhere"


# -- what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epoch=3"], "epoch=3: unknown key; did you mean epochs?"),
        (["lr=1"], "lr=1: unknown key; did you mean optim.lr?"),
        (["encoding.lamda_smooth=1"], "encoding.lamda_smooth=1: unknown key; did you mean encoding.lambda_smooth?"),
        (["encoding=rgb", "encoding.M=8"], "encoding.M=8: unknown key; encoding has: name"),
        (["encoding.M=8", "encoding.M=x"], "encoding.M=x: must be a whole number"),
        (["regime.alpha_jsd=1", "regime=standard"], "regime.alpha_jsd=1: unknown key; regime has: name"),
        (
            ["regime.alpha_jsd=1", "experiment=quickstart"],
            "regime.alpha_jsd=1: unknown key; it belongs to regime=augmix or contrain or noisymix",
        ),
        (["run=some"], "run=some: unknown key; it belongs to evaluate.py or python -m p2be_exp.export"),
        (["project=mine"], "project=mine: unknown key; did you mean logger.wandb.project?"),
        (["zzz=1"], "zzz=1: unknown key; see --help for the available keys"),
        (
            ["encoding=p3be"],
            "encoding=p3be: no such encoding; available: onehot, p2be, rgb, thermometer; did you mean p2be?",
        ),
        (["epochs"], "epochs: must have the form KEY=VALUE (missing EQUAL at '<EOF>')"),
        (["seed=null"], "seed=null: a value is required"),
        (["optim.lr=fast"], "optim.lr=fast: must be a number"),
        (["optim.nesterov=perhaps"], "optim.nesterov=perhaps: must be true or false"),
        (
            ["corruption=generated", "corruption.severities=3"],
            "corruption.severities=3: must be a list, such as corruption.severities=[3]",
        ),
        (["~epochs"], "epochs: a value is required"),
    ],
)
def test_a_message_names_the_key_the_value_and_what_is_allowed(overrides, message):
    with pytest.raises(BadInput) as error:
        composed(*overrides)
    assert str(error.value) == message


def test_what_a_package_brings_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(compose._EXTRAS, "hydra/launcher=absent", "slurm")
    with pytest.raises(BadInput, match=r"^hydra/launcher=absent: not installed; pip install 'p2be-exp\[slurm\]'$"):
        composed("hydra/launcher=absent")


def test_overrides_are_parsed_as_text():
    arguments = ["-m", "encoding.M=16,32", "+foo='a b'", "~epochs", "attack@regime.attack=pgd"]
    parsed = parse_overrides(arguments)
    assert parsed == {"encoding.M": "16,32", "foo": "a b", "epochs": "null", "attack": "pgd"}


def test_the_configuration_does_without_torch():
    modules = "p2be_exp.config, p2be_exp.commands.train, p2be_exp.commands.evaluate"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
