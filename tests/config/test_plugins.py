"""Plug-ins that do not serve: each is refused in one line, and leaves nothing behind."""

import hashlib
import importlib
import json
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from commandline import TINY, compare, copy_of, evaluate, evaluate_clean, export, refusal, report, train
from p2be_exp import load_run
from p2be_exp.attacks import build_attack
from p2be_exp.config import check_config, compose_config, number, plugin_trust, plugins, to_plain
from p2be_exp.config.folders import PLUGIN_FOLDERS, options_of
from p2be_exp.config.plugin_digests import digests
from p2be_exp.config.plugin_files import files_of
from p2be_exp.config.plugin_trust import load_plugins_of
from p2be_exp.config.schema import GROUP_SCHEMAS, PlainModelConfig, TrainConfig, TrainerConfig
from p2be_exp.config.typed import typed
from p2be_exp.encodings import list_encodings
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.attack_plan import check_serves
from p2be_exp.registry import inner_attacks
from p2be_exp.runs.run import Run
from p2be_exp.training import job as jobs

HEAD = """
from dataclasses import dataclass
from p2be_exp import register_attack, register_backbone, register_encoding, register_model, register_regime
from p2be_exp.attacks import Attack, Search
from p2be_exp.config import choice, number
from p2be_exp.config.schema import AttackConfig
from p2be_exp.encodings import RGB, TableEncoding
"""
MINE = """
@dataclass
class MineConfig:
    name: str = "mine"
    bits: int = number(1, 8)

@register_encoding("mine", MineConfig)
class Mine(RGB):
    def __init__(self, bits):
        super().__init__()
"""
ATTACK = """
@dataclass
class MineConfig(AttackConfig):
    pass

@register_attack("mine", MineConfig, for_training={for_training})
class Mine(Attack):
    serves = {serves!r}

    def search(self, model, images, labels, random, restart=0):
        return Search(images)
"""
YAML = {
    "encoding": "name: mine\nbits: 3\n",
    "model": "name: mine\nshare: 0.5\n",
    "attack": "name: mine\neps_levels: 8\nsave_images: false\n",
}


@pytest.fixture
def plugin(workdir, monkeypatch):
    """Writes a plug-in ``NAME.py`` with its YAML file into the working directory; it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugin_trust, "_STRICT", [False])
    monkeypatch.delenv("P2BE_PLUGINS", raising=False)
    names = []

    def write(body, name="plug", group="encoding", option="mine"):
        (workdir / f"{name}.py").write_text(HEAD + textwrap.dedent(body))
        if group is not None:
            (workdir / "conf" / group).mkdir(parents=True, exist_ok=True)
            defaults = f"defaults:\n  - /schema/{group}/{option}@_here_\n  - _self_\n\n"
            (workdir / "conf" / group / f"{option}.yaml").write_text(defaults + YAML[group])
        names.append(name)
        return workdir

    yield write
    for name in names:
        plugins.forget(name)


def composed(*overrides):
    config = to_plain(compose_config("train", overrides))
    check_config("train", config)
    return config


def refused(*overrides):
    with pytest.raises(BadInput) as error:
        composed(*overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


# -- what works -------------------------------------------------------------------------------------------------------


def test_an_option_of_a_plug_in_is_checked_like_any_other(plugin):
    plugin(MINE)
    assert composed("plugins=[plug]", "encoding=mine")["encoding"] == {"name": "mine", "bits": 3}
    assert "mine" in options_of("encoding")
    assert "mine" in list_encodings()
    assert refused("plugins=[plug]", "encoding=mine", "encoding.bits=9") == "encoding.bits=9: must be between 1 and 8"
    assert refused("plugins=[plug]", "encoding=mine", "encoding.bit=2") == (
        "encoding.bit=2: unknown key; did you mean encoding.bits?"
    )
    assert refused("plugins=[plug]", "encoding=mime").endswith(
        "available: mine, onehot, p2be, rgb, thermometer; did you mean mine?"
    )
    message = refused("plugins=[plug]", "encoding=mine", "encoding.M=2")
    assert message == "encoding.M=2: unknown key; encoding has: bits, name"


def test_the_environment_variable_is_the_default(plugin, monkeypatch):
    plugin(MINE)
    plugin("", name="other", group=None)
    monkeypatch.setenv("P2BE_PLUGINS", "plug, other")
    assert composed("encoding=mine")["plugins"] == ["plug", "other"]
    assert composed("plugins=[other]")["plugins"] == ["other"]


def test_a_module_that_is_imported_again_replaces_its_own(plugin):
    plugin(MINE)
    plugins.load_plugins(["plug"])
    first = sys.modules.pop("plug").Mine
    del PLUGIN_FOLDERS["plug"]
    plugins.load_plugins(["plug"])
    assert sys.modules["plug"].Mine is not first


def test_forgetting_takes_everything_back(plugin):
    plugin(ATTACK.format(for_training=True, serves="all"), group="attack")
    before = (dict(GROUP_SCHEMAS["attack"]), inner_attacks(), options_of("attack"))
    plugins.load_plugins(["plug"])
    assert "mine" in inner_attacks()
    plugins.forget("plug")
    assert (GROUP_SCHEMAS["attack"], inner_attacks(), options_of("attack")) == before


def test_forgetting_a_package_forgets_its_modules(plugin, workdir):
    (workdir / "package").mkdir()
    plugin("from package import coder", name="package/__init__", group=None)
    plugin(MINE, name="package/coder")
    (workdir / "conf").rename(workdir / "package/conf")
    try:
        for bits in (8, 4):
            (workdir / "package/coder.py").write_text(HEAD + MINE.replace("number(1, 8)", f"number(1, 1 + {bits})"))
            plugins.load_plugins(["package"])
            assert refused("plugins=[package]", "encoding=mine", "encoding.bits=10").endswith(
                f"between 1 and {1 + bits}"
            )
            plugins.forget("package")
            assert not {"package", "package.coder"} & {*sys.modules, *digests()}
    finally:
        plugins.forget("package")


def test_the_help_of_evaluate_lists_the_options_of_plug_ins(plugin):
    plugin(ATTACK.format(for_training=True, serves="all"), group="attack")
    assert " mine " not in evaluate("--help").out
    assert " mine " in evaluate("--help", "plugins=[plug]").out
    assert refusal(evaluate("--help", "plugins=[nowhere]")).startswith("plugins=[nowhere]: plug-in nowhere")


def test_a_job_loads_the_plug_ins_of_its_configuration_before_anything_else(plugin, monkeypatch):
    plugin(MINE)

    def stop(config, source):
        raise InterruptedError

    monkeypatch.setattr(jobs, "job_process", lambda *arguments: nullcontext())
    monkeypatch.setattr(jobs.EvaluationPlan, "of", stop)
    config = TrainConfig(plugins=["plug"], model=PlainModelConfig(), trainer=TrainerConfig(devices=1, num_nodes=1))
    with pytest.raises(InterruptedError):
        jobs.train(config, Run("run"))
    assert "plug" in PLUGIN_FOLDERS


# -- what cannot be loaded --------------------------------------------------------------------------------------------


def test_a_module_that_cannot_be_imported(plugin, monkeypatch):
    where = "searched the current folder and the installed packages"
    assert refused("plugins=[nowhere]") == (
        "plugins=[nowhere]: plug-in nowhere cannot be imported (ModuleNotFoundError: No module named 'nowhere'); "
        + where
    )
    plugin(MINE + "\n1 / 0\n")
    assert refused("plugins=[plug]", "encoding=mine") == (
        f"plugins=[plug]: plug-in plug cannot be imported (ZeroDivisionError: division by zero); {where}"
    )
    assert "mine" not in list_encodings()
    monkeypatch.setenv("P2BE_PLUGINS", "nowhere")
    assert refused().startswith("P2BE_PLUGINS: plug-in nowhere cannot be imported")
    assert refusal(train("--help")).startswith("P2BE_PLUGINS: plug-in nowhere")


@pytest.mark.parametrize("value", ["plug", "plug,other", "null", "[1]", "{a:b}"])
def test_what_is_no_list_of_modules(plugin, value):
    assert refused(f"plugins={value}") == (f"plugins={value}: must be a list of modules, such as plugins=[NAME,NAME]")


def test_a_file_of_conf_that_names_plug_ins_comes_too_late(plugin):
    folder = plugin(MINE)
    (folder / "conf/experiment").mkdir()
    (folder / "conf/experiment/late.yaml").write_text("# @package _global_\nplugins: [late]\n")
    plugins.load_plugins(["plug"])
    assert refused("experiment=late") == (
        "plugins=[late]: must be named on the command line or in P2BE_PLUGINS; "
        "a file of conf/ is read too late for them"
    )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('register_encoding("p2be", dataclass(type("C", (), {})))(RGB)', "encoding=p2be already exists, from "
         "p2be_exp; choose another name"),
        ('register_backbone("Mine", AttackConfig)(RGB)', "backbone=Mine: must consist of lower-case letters, digits "
         "and underscores"),
        ('register_regime("mine", object)(RGB)', "regime=mine: the schema must be a dataclass with name"),
        ('@dataclass\nclass C:\n    name: str = "mine"\nregister_attack("mine", C)(RGB)',
         "attack=mine: the schema must be a dataclass with eps_levels, save_images"),
        (MINE.replace("class Mine(RGB):", "class Mine(RGB):\n    def smoothness(self):\n        return None\n"),
         "encoding=mine has a smoothness, so its schema must have lambda_smooth"),
        (MINE.replace('("mine"', '("unwritten"'), "encoding=unwritten has no conf/encoding/unwritten.yaml beside its "
         "module"),
        (MINE.replace("(RGB)", ""), "encoding=mine must be a subclass of TableEncoding"),
        (MINE.replace("(RGB)", "(Attack)"), "encoding=mine must be a subclass of TableEncoding"),
        (MINE + "register_backbone('my', MineConfig)(RGB)", "backbone=my must be a subclass of Backbone, or a "
         "function that returns one"),
        (MINE + "register_backbone('my', MineConfig)(7)", "backbone=my must be a subclass of Backbone, or a "
         "function that returns one"),
        (MINE + "register_backbone('my', MineConfig)(lambda **keys: None)", "backbone=my has no conf/backbone/my.yaml "
         "beside its module"),
        (MINE + "from p2be_exp.backbones import Backbone\n"
         "register_backbone('my', MineConfig)(type('Net', (Backbone,), {}))", "backbone=my: the class must define "
         "forward, or begin, stage_modules and end in its place"),
        (MINE + "register_regime('my', MineConfig)(RGB)", "regime=my must be a subclass of Regime"),
        (MINE + "register_regime('my', MineConfig)(lambda: None)", "regime=my must be a subclass of Regime"),
        (ATTACK.format(for_training=True, serves="all").replace("(Attack)", "(RGB)"), "attack=mine must be a "
         "subclass of Attack"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered(plugin, body, why):
    plugin(body)
    registries = {group: dict(options) for group, options in GROUP_SCHEMAS.items()}
    assert refused("plugins=[plug]") == f"plugins=[plug]: plug-in plug: {why}"
    assert registries == GROUP_SCHEMAS
    assert "plug" not in PLUGIN_FOLDERS


SCHEMA_LINE = "defaults: [/schema/encoding/mine@_here_, _self_]\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SCHEMA_LINE + "name: rgb\nbits: 3\n", "name: rgb; its name must be mine"),
        ("name: mine\nbits: three\n", "its defaults must have the line - /schema/encoding/mine@_here_, which checks "
         "its keys and values"),
        ("defaults: [_self_]\nname: mine\n", "its defaults must have the line - /schema/encoding/mine@_here_, which "
         "checks its keys and values"),
        ("name: [mine\n", "cannot be read (ParserError)"),
        ("[1, 2]\n", "must be a mapping of keys to values"),
    ],
)  # fmt: skip
def test_a_yaml_file_that_does_not_fit(plugin, text, why):
    (plugin(MINE) / "conf/encoding/mine.yaml").write_text(text)
    assert refused("plugins=[plug]", "encoding=mine") == (
        f"plugins=[plug]: plug-in plug: conf/encoding/mine.yaml: {why}"
    )
    assert "mine" not in list_encodings()


def test_a_name_may_be_the_schemas(plugin):
    folder = plugin(MINE)
    (folder / "conf/encoding/mine.yaml").write_text(SCHEMA_LINE + "bits: 3\n")
    assert composed("plugins=[plug]", "encoding=mine")["encoding"] == {"name": "mine", "bits": 3}
    plugin(MINE.replace('name: str = "mine"', 'name: str = "rgb"'), group=None)
    plugins.forget("plug")
    assert refused("plugins=[plug]", "encoding=mine").endswith("name: rgb; its name must be mine")


def test_a_yaml_file_whose_option_nothing_registers(plugin):
    folder = plugin(MINE)
    text = (folder / "conf/encoding/mine.yaml").read_text()
    (folder / "conf/encoding/pgray.yaml").write_text(text.replace("mine", "pgray"))
    assert refused("plugins=[plug]", "encoding=pgray") == (
        "encoding=pgray: conf/encoding/pgray.yaml exists, but no loaded plug-in registers it; "
        "name the module that does in plugins=[NAME]"
    )


@pytest.mark.parametrize("value", ["three", None, [None], True, {}, float("nan")])
def test_a_value_that_is_no_number_is_not_allowed(value):
    assert not number(1, 8).metadata["allowed"].admits(value)
    assert number(1, 8).metadata["allowed"].admits([1, 8.0])


def test_two_plug_ins_with_one_name(plugin):
    plugin(MINE)
    plugin(MINE, name="other")
    assert refused("plugins=[plug,other]") == (
        "plugins=[plug,other]: plug-in other: encoding=mine already exists, from plug; choose another name"
    )
    assert composed("plugins=[plug]", "encoding=mine")["encoding"]["bits"] == 3


def test_files_of_a_plug_in_never_replace_the_projects_own(plugin):
    folder = plugin(MINE)
    (folder / "conf/encoding/rgb.yaml").write_text("name: broken\n")
    (folder / "conf/train.yaml").write_text("seed: 77\n")
    assert composed("plugins=[plug]", "encoding=rgb")["encoding"] == {"name": "rgb"}
    assert composed("plugins=[plug]")["seed"] == 0


# -- models -----------------------------------------------------------------------------------------------------------

MODEL = """
from p2be_exp.config.schema import ModelConfig
from p2be_exp.models.classifier import Classifier

@dataclass
class MineConfig(ModelConfig):
    name: str = "mine"
    share: float = number(0, 1)

    def encoding_names(self, encoding):
        return (encoding.name, "rgb")

@register_model("mine", MineConfig)
class Mine(Classifier):
    pass
"""


def test_a_model_says_which_encodings_its_readers_have(plugin):
    plugin(MODEL, group="model")
    config = typed(composed("plugins=[plug]", "model=mine", "encoding=onehot"))
    assert config.model.share == 0.5
    assert config.encoding_names == ("onehot", "rgb")
    assert typed(composed("encoding=onehot")).encoding_names == ("onehot",)
    assert refused("plugins=[plug]", "model=mine", "model.share=2") == "model.share=2.0: must be between 0 and 1"


def test_a_models_file_chooses_options_which_the_command_line_and_an_experiment_overrule(plugin, monkeypatch):
    chooses = "  - override /regime@_global_.regime: standard\n  - override /optim@_global_.optim: imagenet\n"
    folder = plugin(MODEL, group="model")
    file = folder / "conf/model/mine.yaml"
    file.write_text(file.read_text().replace("  - _self_\n", chooses + "  - _self_\n"))

    def chosen(*overrides):
        config = composed("plugins=[plug]", *overrides)
        return config["regime"]["name"], config["optim"]["schedule"]

    assert chosen() == ("augmix", "cosine")
    assert chosen("model=mine") == ("standard", "steps")
    assert chosen("model=mine", "regime=advtrain") == ("advtrain", "steps")
    (folder / "conf/experiment").mkdir()
    (folder / "conf/experiment/own.yaml").write_text("# @package _global_\ndefaults:\n  - override /regime: contrain\n")
    assert chosen("model=mine", "experiment=own") == ("contrain", "steps")


def test_published_weights_are_a_plain_models(plugin):
    plugin(MODEL, group="model")
    assert refused("plugins=[plug]", "model=mine", "backbone=resnet50", "backbone.weights=some.pth") == (
        "backbone.weights=some.pth: requires model=plain, not mine"
    )


# -- attacks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("serves", "allowed"), [("all", "p2be onehot"), ("bucketed", "onehot"), ("unbucketed", "p2be")]
)
def test_an_attack_says_which_encodings_it_serves(plugin, serves, allowed):
    plugin(ATTACK.format(for_training=True, serves=serves), group="attack")
    config = typed(composed("plugins=[plug]", "attack=mine")).attack
    for encoding in ("p2be", "onehot"):
        if encoding in allowed:
            check_serves("attack", config, [encoding])
        else:
            kind = "with" if serves == "bucketed" else "without"
            with pytest.raises(
                BadInput, match=f"^regime.attack=mine: supports only encodings {kind} buckets, not {encoding}$"
            ):
                check_serves("regime.attack", config, [encoding])


def test_a_training_refuses_an_inner_attack_that_does_not_serve(plugin):
    plugin(ATTACK.format(for_training=True, serves="bucketed"), group="attack")
    arguments = ["regime=advtrain", "attack@regime.attack=mine", "experiment=quickstart", "corruption=none"]
    message = refusal(train("plugins=[plug]", *arguments, "attack=none", "hydra.run.dir=run"))
    assert message == "regime.attack=mine: supports only encodings with buckets, not p2be"


def test_an_attack_that_is_not_for_training(plugin):
    plugin(ATTACK.format(for_training=False, serves="all"), group="attack")
    assert composed("plugins=[plug]", "attack=mine")["attack"]["name"] == "mine"
    assert "it trains on adversarial images; must be one of lspga," in refused(
        "plugins=[plug]", "regime=advtrain", "attack@regime.attack=mine"
    )


def test_the_id_of_an_attack_tells_its_name(plugin):
    plugin(ATTACK.format(for_training=True, serves="all"), group="attack")
    config = typed(composed("plugins=[plug]", "attack=mine")).attack
    assert build_attack(config, 4).id == "mine"
    for wrong in ("yours", "mine/2", "mine 2"):
        sys.modules["plug"].Mine.id = wrong
        with pytest.raises(ValueError, match=r"attack=mine: id='.*': must start with the name"):
            build_attack(config, 4)


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_whose_plug_in_is_missing(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    text = Run(run).config_file.read_text()
    Run(run).config_file.write_text(text.replace("plugins: []", "plugins:\n- gone"))
    strange = (
        "run: needs the plug-in gone, code that the run names and you do not; if you trust it, plugins=[gone] "
        "(or P2BE_PLUGINS=gone) allows it"
    )
    missing = "run: its plug-in gone was not found; searched the current folder and the installed packages"
    for command, key in ((evaluate, "run"), (train, "resume"), (export, "run")):
        assert refusal(command(f"{key}=run")) == f"{key}={strange}"
        assert refusal(command(f"{key}=run", "plugins=[gone]")) == f"{key}={missing}"
        plugins.forget("gone")
    with pytest.raises(BadInput, match="if you trust it"):
        load_run(run)
    with pytest.raises(BadInput, match="its plug-in gone was not found"):
        load_run(run, plugins=["gone"])
    plugins.forget("gone")


def test_a_run_from_before_there_were_plug_ins(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    text = Run(run).config_file.read_text()
    assert "plugins: []\n" in text
    Run(run).config_file.write_text(text.replace("plugins: []\n", ""))
    load_run(run)
    assert Run(run).config() == Run(four_epochs).config()


@pytest.fixture
def run_with(workdir, four_epochs):
    """Turns the four epochs into a run that plug-ins, which are loaded now, were named for."""

    def write(*names):
        run = Run(copy_of(four_epochs, workdir / "run"))
        listed = "".join(f"\n- {name}" for name in names)
        run.config_file.write_text(run.config_file.read_text().replace("plugins: []", f"plugins:{listed}"))
        plugins.load_plugins(names)
        run.add_facts(plugins=digests())
        return run

    return write


REFUSED = "strict_plugins=true refuses this (restore the file, or leave out the key)"


def changed(module, before, after, key="run"):
    then, now = (hashlib.sha256(text.encode()).hexdigest()[:12] if text else "(none)" for text in (before, after))
    return f"plugins=[{module}]: its file has changed since {key}=run was made: SHA-256 {then} then, {now} now"


def test_a_run_whose_plug_in_has_changed(plugin, run_with, capsys):
    file = plugin(MINE) / "plug.py"
    run, before = run_with("plug"), file.read_text()
    after = before + "# another\n"
    file.write_text(after)
    load_run(run.path)  # the code in memory is still that of the run
    assert "warning" not in capsys.readouterr().err
    plugins.forget("plug")
    for times in (1, 0):  # told once
        load_run("run", plugins=["plug"])
        assert capsys.readouterr().err.count(f"warning: {changed('plug', before, after)}\n") == times
    plugins.forget("plug")
    with pytest.raises(BadInput, match="needs the plug-in plug, code that the run names and you do not"):
        load_run("run")
    outcome = evaluate_clean("run=run", "plugins=[plug]", "limit_test=5")
    assert outcome.code == 0
    assert outcome.err.count(f"warning: {changed('plug', before, after)}\n") == 1  # of a command that opens it twice
    plugins.forget("plug")
    file.write_text(before)
    assert "warning" not in evaluate_clean("run=run", "plugins=[plug]", "limit_test=5", "name=again").err


@pytest.mark.parametrize("command", [partial(evaluate, "run=run"), partial(train, "resume=run")], ids=["run", "resume"])
def test_of_several_processes_the_first_warns_of_a_plug_in_that_has_changed(plugin, run_with, monkeypatch, command):
    """The tasks of one ``srun`` may also be jobs of one process each: all of these warn."""
    file = plugin(MINE) / "plug.py"
    run = run_with("plug")
    file.write_text(file.read_text() + "# another\n")
    run.checkpoint("last").write_bytes(b"damaged")  # refused once the processes are known
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    ddp = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    for rank, trainer, warnings in ((0, ddp, 1), (1, ddp, 0), (1, ("trainer=cpu",), 1)):
        plugins.forget("plug")
        monkeypatch.setenv("SLURM_PROCID", str(rank))
        outcome = command("plugins=[plug]", *trainer)
        assert outcome.code == 2
        assert "last.ckpt is damaged" in outcome.err
        assert outcome.err.count("its file has changed since") == warnings


def test_strict_plugins_refuses_one_that_has_changed(plugin, run_with):
    file = plugin(MINE) / "plug.py"
    run_with("plug")
    before = file.read_text()
    plugins.forget("plug")
    after = before + "open('imported', 'w')\n"
    file.write_text(after)
    for key, command in (("run", evaluate), ("resume", train), ("run", export)):
        message = refusal(command(f"{key}=run", "plugins=[plug]", "strict_plugins=true"))
        assert message == f"{changed('plug', before, after, key)}; {REFUSED}"
    for command in (report, compare):
        assert "its file has changed since" in refusal(command("run", "run", "plugins=[plug]", "strict_plugins=true"))
    with pytest.raises(BadInput, match=r"^plugins=\[plug\]: its file has changed since run=run was made"):
        load_run("run", plugins=["plug"], strict_plugins=True)
    assert not Path("imported").exists()  # it was compared before
    file.write_text(before)
    assert evaluate_clean("run=run", "plugins=[plug]", "strict_plugins=true", "limit_test=5").code == 0


@pytest.mark.parametrize("value", ["maybe", "null", "[true]", "2x"])
def test_strict_plugins_is_true_or_false(workdir, value):
    assert refusal(evaluate("run=run", f"strict_plugins={value}")) == f"strict_plugins={value}: must be true or false"


def test_strictness_in_a_file_of_conf_comes_too_late(plugin):
    folder = plugin(MINE)
    (folder / "conf/experiment").mkdir()
    (folder / "conf/experiment/late.yaml").write_text("# @package _global_\nstrict_plugins: true\n")
    plugins.load_plugins(["plug"])
    assert refused("experiment=late") == (
        f"{folder}/conf/experiment/late.yaml: strict_plugins=true: "
        "must be given on the command line; a file of conf/ is read too late for it"
    )
    assert composed("experiment=late", "strict_plugins=true")["strict_plugins"] is True


def test_the_files_that_count_are_those_that_register(plugin, run_with, workdir, capsys):
    (workdir / "package").mkdir()
    plugin("from package import coder", name="package/__init__", group=None)
    file = plugin(MINE, name="package/coder") / "package/coder.py"
    (workdir / "conf").rename(workdir / "package/conf")
    try:
        run = run_with("package")
        assert {"package", "package.coder"} <= set(run.info()["plugins"])
        before = file.read_text()
        file.write_text(after := before + "# another\n")
        plugins.forget("package")
        with pytest.raises(BadInput, match=r"^plugins=\[package.coder\]: its file has changed since run=run was"):
            load_run("run", plugins=["package"], strict_plugins=True)
        assert not {"package", "package.coder"} & {*sys.modules}
        load_run("run", plugins=["package"])
        assert capsys.readouterr().err == f"warning: {changed('package.coder', before, after)}\n"
    finally:
        plugins.forget("package")


# -- runs from others -------------------------------------------------------------------------------------------------

EVIL = "open('imported', 'w').close()\n"


@pytest.mark.parametrize("name", ["evil", "received.evil", "received.checkpoints.evil"])
def test_code_that_a_run_names_is_not_imported(workdir, four_epochs, monkeypatch, name):
    """A run that somebody sent, with a plug-in beside it or inside it, where Python would find it."""
    monkeypatch.delenv("P2BE_PLUGINS", raising=False)
    monkeypatch.setattr(sys, "path", [str(workdir), *sys.path])
    run = Run(copy_of(four_epochs, workdir / "received"))
    file = workdir / f"{name.replace('.', '/')}.py"
    file.write_text(EVIL)
    run.config_file.write_text(run.config_file.read_text().replace("plugins: []", f"plugins:\n- {name}"))
    run.add_facts(plugins={name: hashlib.sha256(file.read_bytes()).hexdigest()})
    why = f"needs the plug-in {name}, code that the run names and you do not; if you trust it, "
    for outcome in (
        evaluate_clean("run=received"),
        train("resume=received"),
        export("run=received"),
        train(*TINY, "encoding.table_from=received", "hydra.run.dir=new"),
        evaluate("run=received", "attack=transfer", "attack.source=received", "corruption=none"),
        compare("received", "received"),
        report("received", "out=out"),
    ):
        assert why in refusal(outcome)
    with pytest.raises(BadInput, match="if you trust it"):
        load_run("received")
    assert not Path("imported").exists()
    if name == "evil":
        assert evaluate_clean("run=received", "plugins=[evil]").code == 0
        assert Path("imported").exists()
    else:
        message = refusal(evaluate_clean("run=received", f"plugins=[{name}]"))
        assert message.endswith("inside a run folder; nothing there is imported")
        assert not Path("imported").exists()
    plugins.forget(name)


def test_a_module_is_found_without_importing_it(workdir, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(workdir), *sys.path])
    for name in ("alone.py", "whole/__init__.py", "whole/part.py", "bare/part.py", "bare/whole/__init__.py"):
        (workdir / name).parent.mkdir(exist_ok=True)
        (workdir / name).write_text(EVIL)
    importlib.invalidate_caches()
    found = {
        name: [str(file.relative_to(workdir)) for file in files_of(name)]
        for name in (
            "alone",
            "whole",
            "whole.part",
            "bare",
            "bare.part",
            "bare.whole",
            "nowhere",
            "alone.part",
            "whole.nothing",
        )
    }
    assert found == {
        "alone": ["alone.py"],
        "whole": ["whole/__init__.py"],
        "whole.part": ["whole/__init__.py", "whole/part.py"],
        "bare": [],
        "bare.part": ["bare/part.py"],
        "bare.whole": ["bare/whole/__init__.py"],
        "nowhere": [],
        "alone.part": [],
        "whole.nothing": [],
    }
    assert not Path("imported").exists()


def test_a_command_that_is_started_inside_a_run_finds_no_modules_there(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "received")
    for name in ("numpy", "hydra", "evil"):
        (run / f"{name}.py").write_text("open('imported', 'w').close()\n")
    done = subprocess.run(
        [sys.executable, "-m", "p2be_exp.report", ".", "out=../out"],
        cwd=run, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (run / "imported").exists()


def test_a_module_beside_the_plug_in_counts_where_its_option_is_chosen(plugin):
    plugin(MINE, name="beside")
    plugin("import beside", group=None)
    plugins.load_plugins(["plug"])
    then = {**digests(), "beside": "other"}
    load_plugins_of({"plugins": ["plug"], "encoding": {"name": "rgb"}}, then, "run=run", refuse=True)
    for config in ({"encoding": {"name": "mine"}}, {"encoding": {"name": "mine"}, "regime": {"attack": None}}):
        with pytest.raises(BadInput, match=r"^plugins=\[beside\]: "):
            load_plugins_of({"plugins": ["plug"], **config}, then, "run=run", refuse=True)


def test_an_inner_attack_counts(plugin):
    plugin(ATTACK.format(for_training=True, serves="all"), group="attack")
    plugins.load_plugins(["plug"])
    config = {"plugins": [], "regime": {"name": "advtrain", "attack": {"name": "mine"}}}
    load_plugins_of(config, digests(), "run=run", refuse=True)
    with pytest.raises(BadInput, match=r"^plugins=\[plug\]: "):
        load_plugins_of(config, {}, "run=run", refuse=True)


def test_a_module_that_is_loaded_and_has_no_file(workdir, four_epochs):
    """Nothing in the current folder is taken for it: neither the file that it names, nor a conf/ beside that."""
    run = Run(copy_of(four_epochs, workdir / "run"))
    run.config_file.write_text(run.config_file.read_text().replace("plugins: []", "plugins:\n- torch.ops"))
    file = Path(sys.modules["torch.ops"].__file__)
    try:
        assert not file.is_absolute()
        Path("conf").mkdir()
        for there in (False, True):
            if there:
                file.write_text(EVIL)
            outcome = evaluate_clean("run=run", "limit_test=5", f"name={there}")
            assert outcome.code == 0, outcome.err
            assert plugins.PLUGIN_FOLDERS.pop("torch.ops") is None
        assert not Path("imported").exists()
    finally:
        plugins.PLUGIN_FOLDERS.pop("torch.ops", None)


@pytest.mark.parametrize("listed", ["- [a]", "- 1", "- {a: b}", "- ''", "- a,evil", "- a..b", "- ../a", "- a b"])
def test_a_run_whose_list_of_plug_ins_is_damaged(workdir, four_epochs, listed):
    run = Run(copy_of(four_epochs, workdir / "run"))
    run.config_file.write_text(run.config_file.read_text().replace("plugins: []", f"plugins:\n{listed}"))
    assert refusal(evaluate("run=run")).startswith("run=run: config.yaml is damaged (plugins: [")


def test_a_run_whose_record_of_plug_ins_is_damaged(workdir, four_epochs):
    run = Run(copy_of(four_epochs, workdir / "run"))
    run.run_file.write_text(json.dumps({**run.info(), "plugins": 3}))
    assert refusal(evaluate("run=run")) == "run=run: config.yaml or run.json is damaged (run.json: plugins: 3)"
