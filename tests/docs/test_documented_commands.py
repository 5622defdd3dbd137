"""No command of README.md and docs/ rots: what it names exists, and it runs in its smallest form."""

import importlib.util
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from documented_commands import Command, documented, overrides_of, smallest, with_folders
from PIL import Image

from commandline import ROOT, evaluate, export, report, tracking, train
from commandline import published as published_command
from p2be_exp.config import training_config
from p2be_exp.sweeps import list_sweeps
from p2be_exp.sweeps.estimate import Seconds

COMMANDS = documented()
TRAIN, EVALUATE, SWEEPS = (
    [each for each in COMMANDS if each.after("python", name) is not None and ("sweeps=" in str(each)) is of_sweep]
    for name, of_sweep in (("train.py", False), ("evaluate.py", False), ("train.py", True))
)
SMALL = {"trainer": "cpu", "trainer.progress": "false", "limit_test": "2"}
TRAINED = {"dataset": "digits", "epochs": "1", "limit_train": "8", "batch_size": "4", **SMALL}

# -- what is named exists ---------------------------------------------------------------------------------------------


def test_pages_have_commands():
    assert len(TRAIN) > 30
    assert len(EVALUATE) > 15
    assert len(SWEEPS) > 10


@pytest.mark.parametrize("command", [each for each in COMMANDS if "install" in each.words[:4]], ids=str)
def test_what_is_installed_is_an_extra_of_this_package(command):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for named in re.findall(r"\[([\w,-]+)\]", str(command)):
        assert set(named.split(",")) <= set(extras)


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if (each.words[0] == "python" and each.words[1] in ("-m", "-c"))
                or each.words[1].startswith(("benchmarks/", "examples/"))], ids=str)  # fmt: skip
def test_what_is_started_is_there(command):
    if command.words[1] == "-m":
        assert importlib.util.find_spec(command.words[2]) is not None
    elif command.words[1] != "-c":
        assert (ROOT / command.words[1]).is_file()


def test_sweeps_that_are_named_are_there():
    for command in SWEEPS:
        (name,) = (each.removeprefix("sweeps=") for each in command.words if each.startswith("sweeps="))
        assert name in list_sweeps(), command


# Options and keys: what needs no run of somebody's, no plug-in of a page, no ellipsis.
COMPOSED = [
    each for each in TRAIN
    if not {"-m", "--help", "-h"} & set(each.words)
    and not re.search(r"RUN|plugins|resume=|table_from=|model\.(accurate|robust|weights)=|\.\.\.|--cfg|-sc ", str(each))
]  # fmt: skip


@pytest.mark.parametrize("command", COMPOSED, ids=str)
def test_a_training_is_composed_as_it_stands(command, workdir):
    training_config(overrides_of(command.after("python", "train.py")))


# -- the smallest form runs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """What stands for the names of runs and folders in the pages."""
    made = tmp_path_factory.mktemp("documented")
    for name, encoding in (("p2be", "p2be"), ("rgb", "rgb"), ("thermometer", "thermometer")):
        small = smallest([f"encoding={encoding}", "backbone=wrn16_1", "regime=standard"], TRAINED)
        outcome = train(*small, "dataset.val_size=8", f"hydra.run.dir={made / name}")
        assert outcome.code == 0, outcome.err
    generator = np.random.default_rng(1)
    for part in ("train", "test"):
        for name in ("one", "two"):
            (made / "pictures" / part / name).mkdir(parents=True)
            for number in range(4):
                pixels = generator.integers(256, size=(40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(made / "pictures" / part / name / f"{number}.png")
    runs = {"RUN": "p2be", "RGB_RUN": "rgb", "rgb": "rgb", "thermometer": "thermometer", "FOLDER": "pictures"}
    return {name: made / folder for name, folder in runs.items()} | {
        "runs/accurate": made / "rgb",
        "runs/robust": made / "p2be",
    }


def small_training(command: Command) -> list[str]:
    """Of a training: tiny data, a tiny network unless the page is about that one, one step of an attack."""
    arguments = [each for each in command.after("python", "train.py") if each != "..."]
    text = " ".join(arguments)
    smaller = dict(TRAINED)
    if "dataset=image_folder" in text:
        del smaller["dataset"]
    if "backbone=allconv" not in text and "model=mix" not in text:
        smaller["backbone"] = "wrn16_1"
    if re.search(r"model=(adaptive_mix|nuts_mix|mix)\b", text):
        smaller.pop("backbone", None)
        smaller.pop("dataset")
        smaller |= {"dataset": "digits"}
    if "regime=contrain" in text or "regime=advtrain" in text or "regime=trades" in text:
        smaller["regime.attack.steps"] = "1"
    if "attack=suite" in text:
        smaller |= {"attack.eps_levels": "8", "attack.steps": "1", "attack.queries": "2"}
    if "corruption=auto" in text or "experiment=quickstart" in text:
        smaller |= {"corruption": "generated", "corruption.names": "fog", "corruption.severities": "[1]"}
    if "experiment=quickstart" in text and "attack=none" not in text:
        smaller |= {"attack.steps": "1", "attack.queries": "2"}
    smaller.pop("hydra.run.dir", None)
    return [each for each in smallest(arguments, smaller) if not each.startswith("hydra.run.dir=")]


NOT_TRAINED = re.compile(
    r"plugins="  # tests/test_extending.py
    r"|trainer=ddp"  # tests/test_ddp.py
    r"|model=published|runs/bit"  # tests/training/test_published_run.py
    r"|experiment=imagenet"  # tests/data, tests/commands/test_picture_files.py
    r"|optuna|wandb"  # tests of their own
    r"|--help|-sc |--cfg"
    r"|resume=RUN"  # tests/training/test_resume.py
    r"|model=nuts_mix"  # needs a robust part that holds: tests/training/test_calibrated.py
)


@pytest.mark.documented
@pytest.mark.parametrize("command", [each for each in TRAIN if not NOT_TRAINED.search(str(each))], ids=str)
def test_a_training_runs(command, folders, workdir):
    arguments = with_folders(small_training(command), folders)
    grid = {"-m", "--multirun"} & set(arguments)
    if grid:  # the first of each key's values
        arguments = [re.sub(r"^([\w.]+=[^\[,]*),.*$", r"\1", each) for each in arguments]
    outcome = train(*arguments, "hydra.sweep.dir=run" if grid else "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err


@pytest.mark.documented
@pytest.mark.parametrize("command", SWEEPS, ids=str)
def test_a_sweep_is_listed(command, folders, workdir, monkeypatch):
    monkeypatch.setattr("p2be_exp.sweeps.estimate.measure", lambda config, size: Seconds(1, 10, 1000))
    given = [each for each in command.after("python", "train.py") if not each.startswith("hydra")]
    outcome = train(*smallest(with_folders(given, folders), {"dry_run": "true", "trainer": "cpu"}))
    assert outcome.code == 0, outcome.err


NOT_EVALUATED = re.compile(
    r"corruption=(cifar_c|imagenet_c|own)"  # tests/commands/test_evaluate_corruptions.py
    r"|plugins=|runs/bit|model="  # tests/test_extending.py, test_published_run.py, test_evaluate_model.py
    r"|autoattack"  # takes minutes: tests/attacks/libraries
    r"|hf://"  # needs a network: tests/runs/test_network_places.py has a server of its own
    r"|--help"
)


@pytest.mark.documented
@pytest.mark.parametrize("command", [each for each in EVALUATE if not NOT_EVALUATED.search(str(each))], ids=str)
def test_an_evaluation_runs(command, folders, workdir):
    text = str(command)
    for library in ("foolbox", "torchattacks"):
        if library in text:
            pytest.importorskip(library, reason=f"{library} is not installed: pip install -e '.[attacks]'")
    smaller = {**SMALL, "name": "", "out": "out"}
    if "attack=none" not in text:
        smaller |= {"attack.eps_levels": "8"}
    if re.search(r"attack=(lspga|pgd|suite|foolbox|torchattacks)", text) or "attack=" not in text:
        smaller |= {"attack.steps": "1"}
    if "attack=suite" in text or "attack=square" in text:
        smaller |= {"attack.queries": "2"}
    if "corruption=none" not in text:
        smaller |= {"corruption.names": "fog", "corruption.severities": "[1]"}
    arguments = smallest(with_folders(command.after("python", "evaluate.py"), folders), smaller)
    outcome = evaluate(*[each for each in arguments if not each.startswith("name=")])
    assert outcome.code == 0, outcome.err


OTHERS = {"report": report, "export": export, "tracking": tracking, "published": published_command}
NOT_STARTED = re.compile(
    r"entity=|leaderboard|published (check|fetch)|import |format=hub|\bwrn|\.pt\b| A B|RUNS|--ours"
)


@pytest.mark.documented
@pytest.mark.parametrize(
    "command",
    [each for each in COMMANDS if each.words[:2] == ("python", "-m") and each.words[2].startswith("p2be_exp.")
     and each.words[2].removeprefix("p2be_exp.") in OTHERS and not NOT_STARTED.search(str(each))],
    ids=str,
)  # fmt: skip
def test_a_module_with_a_command_line_runs(command, folders, workdir):
    name = command.words[2].removeprefix("p2be_exp.")
    first, second = folders["RUN"], folders["RGB_RUN"]
    runs = {"FOLDER": first, "A": first, "B": second, "SEEDS_OF_A": first, "SEEDS_OF_B": second}
    runs["logs/train/multiruns/2026-01-31_12-00-00_000000"] = first
    arguments = with_folders(list(command.words[3:]), {**folders, **runs})
    if name == "export" and not any(each.startswith("out=") for each in arguments):
        arguments.append("out=exported.onnx" if "format=onnx" in arguments else "out=exported.pt2")
    outcome = OTHERS[name](*arguments)
    assert outcome.code == 0, outcome.err
