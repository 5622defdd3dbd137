"""The commands of the examples' pages, as they stand there, made short; and runs from when greedy was an option."""

import re
import runpy
import shlex
import sys

import pytest
import torch
import yaml

from commandline import ROOT, copy_of, evaluate, refusal, report, rows_of, train
from p2be_exp import load_run
from p2be_exp.config import former, plugins
from p2be_exp.encodings import build_encoding
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run

PAGES = sorted((ROOT / "examples").glob("*/README.md"))
SHORT = ("backbone=wrn16_1", "epochs=1", "limit_train=32", "batch_size=16", "limit_test=10", "trainer.progress=false")


def commands(example):
    """The words of the page's commands, ``export`` among them."""
    text = (ROOT / "examples" / example / "README.md").read_text()
    lines = [line for block in re.findall(r"^```\n(.*?)^```$", text, re.M | re.S) for line in block.splitlines()]
    return [shlex.split(line) for line in lines if re.match(r"python |export ", line)]


def short(words):
    """The page's train or evaluate command with less work, clean images and the attack that it names alone."""
    smaller = [each for each in SHORT if each.partition("=")[0] in ("limit_test",) or "train.py" in words]
    given = {word.partition("=")[0] for word in words}
    if "train.py" in words:
        smaller += [each for each in ("attack=none", "corruption=none") if each.partition("=")[0] not in given]
    else:
        smaller += ["attack.queries=5"] if "attack=greedy" in words else []
        smaller += ["attack.steps=2", "attack.queries=2"] if "attack=suite_short" in words else []
    return [*words[2:], *smaller]


@pytest.fixture
def here(workdir, monkeypatch):
    """The repository's ``examples/`` in an empty working directory; plug-ins are forgotten afterwards."""
    (workdir / "examples").symlink_to(ROOT / "examples")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("P2BE_PLUGINS", raising=False)
    yield workdir
    for module in ("greedy_attack", "fourier_encoding"):
        plugins.forget(module)


def follow(example, monkeypatch, of_runs=("train.py", "evaluate.py")):
    """Do what the page says, up to commands of a ``RUN`` that it does not make; how many commands that were."""
    done = 0
    for words in commands(example):
        if words[0] == "export":
            for name, _, value in (word.partition("=") for word in words[1:]):
                if name == "PYTHONPATH":
                    monkeypatch.syspath_prepend(str(ROOT / value))
                else:
                    monkeypatch.setenv(name, value)
        elif words[1] in of_runs and "run=RUN" not in words:
            outcome = (train if words[1] == "train.py" else evaluate)(*short(words))
            assert outcome.code == 0, outcome.err
            done += 1
    return done


def test_every_example_has_a_page_that_the_overview_lists():
    listed = re.findall(r"\((\w+)/README\.md\)", (ROOT / "examples/README.md").read_text())
    assert sorted(listed) == [page.parent.name for page in PAGES]


@pytest.mark.slow
def test_the_page_of_the_encoding(here, monkeypatch):
    assert follow("fourier_encoding", monkeypatch) == 3
    assert [Run(name).config().encoding.frequencies for name in ("fourier", "harmonics")] == [4, 2]
    table = load_run("fourier").encoding.table()
    k = torch.arange(256, dtype=torch.float64) / 255
    for n in range(4):
        assert torch.allclose(table[:, n].double(), (torch.pi * 2**n * k).cos(), atol=1e-6)
        assert torch.allclose(table[:, 4 + n].double(), (torch.pi * 2**n * k).sin(), atol=1e-6)
    harmonics = build_encoding(Run("harmonics").config().encoding).table()
    assert torch.allclose(harmonics[:, 1].double(), (torch.pi * 2 * k).cos(), atol=1e-6)
    (evaluation,) = here.glob("fourier/evaluations/*")
    assert {"lspga", "pgd_margin_secant", "square"} <= {row["name"] for row in rows_of(evaluation / "results.csv")}


@pytest.mark.slow
def test_the_page_of_the_greedy_attack(here, monkeypatch):
    assert follow("greedy_attack", monkeypatch) == 3
    (evaluation,) = here.glob("quickstart/evaluations/*")
    assert "attack/greedy/8" in [row["condition"] for row in rows_of(evaluation / "results.csv")]
    (trained,) = here.glob("logs/train/runs/*")
    assert Run(trained).config().regime.attack.name == "greedy"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_page_of_foolbox(here, four_epochs, monkeypatch, capsys):
    pytest.importorskip("foolbox")
    copy_of(four_epochs, here / "quickstart")
    scripts = [words[1:] for words in commands("foolbox_on_the_twin") if "foolbox_attack.py" in words[1]]
    assert len(scripts) == 2
    for words in scripts:
        monkeypatch.setattr(sys, "argv", [*words, "--images", "20", "--steps", "5", "--eps-levels", "40"])
        runpy.run_path(words[0], run_name="__main__")
        told = [list(map(int, re.findall(r"(\d+) of (\d+)", line)[0])) for line in capsys.readouterr().out.splitlines()]
        (clean, _), (attacked, images) = told
        assert images == 20
        assert clean <= attacked


# -- runs from when greedy was an option of the package ---------------------------------------------------------------

LINE = former.where_now("attack", "greedy")


@pytest.fixture
def old(here, four_epochs):
    """A run whose training ended with an evaluation under the greedy attack, as the package's earlier versions did."""
    folder = copy_of(four_epochs, here / "old")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["attack"] = {"name": "greedy", "eps_levels": 8, "save_images": False, "queries": 5}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_an_old_run_names_the_example(old):
    assert refusal(evaluate("run=old", "attack=none", "corruption=none")) == f"run=old: {LINE}"
    assert refusal(train("resume=old")).startswith(f"resume=old: {LINE}")
    with pytest.raises(BadInput, match="examples/greedy_attack"):
        load_run(old)
    assert LINE in report("old").err + report("old").out


def test_an_old_run_is_read_with_the_plug_in(old, four_epochs, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples/greedy_attack"))
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(load_run(old, plugins=["greedy_attack"])(images), load_run(four_epochs)(images))
    arguments = ("corruption=none", "limit_test=10", "trainer=cpu")
    outcome = evaluate("run=old", "plugins=[greedy_attack]", "attack=greedy", "attack.queries=5", *arguments)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("arguments", [("attack=greedy",), ("regime=advtrain", "attack@regime.attack=greedy")])
def test_the_option_names_the_example(here, arguments):
    assert refusal(train("dataset=digits", *arguments)) == LINE
    assert not list(here.glob("logs"))
