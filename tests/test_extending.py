"""docs/extending.md is true: its files are written out as they stand there, its commands are run."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from commandline import evaluate, export, finish, refusal, rows_of, start_warm, train
from extension_pages import MODULES, commands, write_files
from p2be_exp import load_run
from p2be_exp.config import plugin_digests, plugins
from p2be_exp.config.typed import plain
from p2be_exp.data import load_dataset
from p2be_exp.runs.run import Run

SHORT = ("epochs=1", "limit_train=32", "batch_size=16", "limit_test=20", "trainer=cpu", "trainer.progress=false")


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A folder that holds the page's files and nothing else; the working directory of these tests."""
    folder = tmp_path_factory.mktemp("outside")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.delenv("P2BE_PLUGINS", raising=False)
        patch.chdir(folder)
        write_files(folder)
        yield folder
        for name in MODULES:
            plugins.forget(name)


@pytest.fixture(autouse=True)
def _there(outside, monkeypatch):
    monkeypatch.chdir(outside)


def command_with(*words: str) -> list[str]:
    """The page's command that holds all of these words."""
    (found,) = (each for each in commands() if set(words) <= set(each))
    return found


def run_of(folder: str, *words: str) -> Path:
    """The run of the page's command with these words, in a short form."""
    _, *arguments = command_with("train.py", *words)
    small = [] if any(each.startswith("backbone=") for each in arguments) else ["backbone=wrn16_1"]
    plain = [] if any(each.startswith("regime") for each in arguments) else ["regime=standard"]  # regime.KEY, too
    outcome = train(*arguments, *small, *plain, *SHORT, f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.err
    return Path(folder)


@pytest.fixture(scope="module")
def gray_run(outside):
    """A run with the page's encoding and backbone: not to be changed."""
    return run_of("gray", "encoding=gray", "backbone=tiny")


def test_the_page_has_a_module_and_a_yaml_file_of_each_kind(outside):
    names = {str(path.relative_to(outside)) for path in outside.rglob("*") if path.is_file() and "conf" in path.parts}
    assert names >= {
        "conf/encoding/gray.yaml", "conf/backbone/tiny.yaml", "conf/model/beside_rgb.yaml",
        "conf/regime/smoothed.yaml", "conf/regime/second_look.yaml", "conf/attack/exposure.yaml",
    }  # fmt: skip
    assert {f"{name}.py" for name in MODULES} <= {path.name for path in outside.iterdir()}


def test_every_command_of_the_page_is_run_here():
    words = ["encoding.M=6", "backbone=tiny", "model=beside_rgb", "regime=smoothed", "regime=second_look"]
    words += ["attack=exposure", "attack@regime.attack=exposure"]
    assert [next(word for word in words if word in command) for command in commands()] == words


def test_the_encoding(outside):
    model = load_run(run_of("encoding", "encoding=gray", "encoding.M=6", "plugins=[my_encoding]"))
    codes = [[float(bit) for bit in f"{level ^ level >> 1:08b}"[:6]] for level in range(256)]
    assert model.encoding.table().tolist() == codes
    assert Run("encoding").config().plugins == ["my_encoding"]
    assert set(Run("encoding").info()["plugins"]) >= {"my_encoding"}


def test_the_backbone(gray_run):
    model = load_run(gray_run)
    assert type(model.trunk).__module__ == "my_backbone"
    assert model.trunk.layers[2].weight.shape == (32, 8, 3, 3)
    assert model.stem.weight.shape == (8, 3 * 8, 3, 3)
    assert Run(gray_run).info()["parameters"]["total"] == sum(p.numel() for p in model.parameters())


def test_the_model_is_trained_attacked_resumed_and_exported(outside):
    run = run_of("model", "model=beside_rgb")
    (row,) = rows_of(run / "metrics.csv")
    assert {"train/ce", "train/smoothness"} <= set(row)
    model = load_run(run)
    assert model.share == 0.3
    assert [encoding.name for encoding in model.encodings] == ["p2be", "rgb"]
    assert sorted(each.name for each in (run / "figures").iterdir() if "table" in each.name) == [
        "table_similarity.png", "table_similarity_2.png",
    ]  # fmt: skip
    small = ["limit_test=10", "trainer=cpu", "corruption=none", "plugins=[my_model]"]
    suite = ["attack=suite", "attack.steps=2", "attack.restarts=1", "attack.queries=5"]
    outcome = evaluate(f"run={run}", *suite, "name=suite", *small)
    assert outcome.code == 0, outcome.err
    results = json.loads((run / "evaluations/suite/results.json").read_text())
    assert {"lspga", "pgd_margin_secant", "pgd_margin_smooth", "square"} <= set(results["attacks"])
    planted = [check for check in results["sanity"] if check["name"] == "a planted direction is found"]
    assert len(planted) == 2 * len([each for each in results["attacks"] if each.startswith(("lspga", "pgd"))])
    outcome = export(f"run={run}", "plugins=[my_model]")
    assert outcome.code == 0, outcome.err
    extra = {"metadata.json": ""}
    program = torch.export.load(run / "model.pt2", extra_files=extra).module()
    assert json.loads(extra["metadata.json"])["M"] == [64, 1]
    images = load_dataset("digits", "none", False)[1].images[:4]
    torch.testing.assert_close(program(images), model(images), rtol=1e-4, atol=1e-4)


def test_the_regime(outside):
    (row,) = rows_of(run_of("regime", "regime=smoothed") / "metrics.csv")
    assert float(row["train/smoothed_ce"]) > 0
    assert plain(Run("regime").config().regime) == {"name": "smoothed", "smoothing": 0.2}


def test_the_regime_of_two_steps(outside):
    (row,) = rows_of(run_of("second", "regime=second_look") / "metrics.csv")
    assert float(row["train/second_ce"]) > 0  # two batches, the second of which has a second step
    assert row["step"] == "2"


def test_the_attack_on_a_plug_in_s_network(gray_run, monkeypatch):
    _, *arguments = command_with("evaluate.py", "attack=exposure")
    given = [f"run={gray_run}" if each == "run=RUN" else each for each in arguments]
    more = ["limit_test=20", "attack.save_images=true", "trainer=cpu", "name=exposed"]
    outcome = evaluate(*given, *more)
    assert outcome.code == 0, outcome.err
    folder = gray_run / "evaluations/exposed"
    assert [row["condition"] for row in rows_of(folder / "results.csv")] == [
        "clean", "attack/exposure/4", "attack/exposure/16",
    ]  # fmt: skip
    digest = hashlib.sha256(Path("my_attack.py").read_bytes()).hexdigest()
    assert json.loads((folder / "results.json").read_text())["settings"]["plugins"] == {"my_attack": digest}
    monkeypatch.setitem(plugin_digests._DIGESTS, "my_attack", "of another file")
    message = refusal(evaluate(*given, *more))
    assert message.startswith(f"name=exposed: holds results of other settings (plugins={{'my_attack': '{digest}'}})")
    _, test = load_dataset("digits", "none", False)
    for radius in (4, 16):
        with np.load(folder / f"per_image/attack-exposure-{radius}.npz") as found:
            images = test.images[torch.from_numpy(found["index"])].short()
            steps = [(images + step).clamp(0, 255).numpy() for step in (radius, -radius)]
            changed = [any(np.array_equal(image, step[n]) for step in steps) or found["wrong"][n]
                       for n, image in enumerate(found["adversarial"])]  # fmt: skip
            assert all(changed)
            assert not np.array_equal(found["adversarial"], images.numpy())


def test_plug_ins_that_measure_nothing_are_no_setting(gray_run, monkeypatch):
    arguments = [f"run={gray_run}", "corruption=none", "attack=none", "limit_test=4", "trainer=cpu", "name=alone"]
    assert evaluate(*arguments, "plugins=[my_attack]").code == 0
    assert "plugins" not in json.loads((gray_run / "evaluations/alone/results.json").read_text())["settings"]
    monkeypatch.setenv("P2BE_PLUGINS", "my_regime")
    outcome = evaluate(*arguments)
    assert outcome.code == 0, outcome.err


def test_a_regime_trains_against_the_attack(outside, monkeypatch):
    plugins.load_plugins(["my_attack"])
    attack, radii = sys.modules["my_attack"].Exposure, []

    def search(self, *rest, inner=attack.search):
        radii.append(self.eps_levels)
        return inner(self, *rest)

    monkeypatch.setattr(attack, "search", search)
    run_of("against", "regime=advtrain", "attack@regime.attack=exposure")
    assert radii == [8, 8]  # a search a batch


def test_the_surrogate_and_a_relaxed_attack_serve_the_encoding(gray_run):
    outcome = evaluate(f"run={gray_run}", "attack=suite_short", "attack.steps=2", "attack.queries=2", "limit_test=4",
                       "corruption=none", "trainer=cpu", "name=suite")  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = {row["name"]: row for row in rows_of(gray_run / "evaluations/suite/results.csv")}
    assert {"lspga", "pgd_margin_secant", "pgd_margin_interpolate"} <= set(rows)


def test_a_sweep_knows_the_plug_ins(outside):
    arguments = ["plugins=[my_encoding]", "encoding=gray", "encoding.M=1,2", "backbone=wrn16_1", "regime=standard"]
    outcome = train("-m", *arguments, "dataset=digits", *SHORT, "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.err
    assert [load_run(f"sweep/{job}").encoding.M for job in range(2)] == [1, 2]


def test_what_hydra_shows(outside):
    assert "gray" in train("plugins=[my_encoding]", "--help").out
    shown = train("plugins=[my_encoding]", "encoding=gray", "--cfg", "job").out
    assert "name: gray" in shown
    assert "M: 8" in shown


@pytest.mark.slow
def test_a_run_is_loaded_by_a_process_that_knows_nothing_of_it(gray_run, outside):
    script = outside / "elsewhere" / "load.py"  # Python's first place to look is not this folder
    script.parent.mkdir()
    script.write_text(
        "import torch\nfrom p2be_exp import load_run\n"
        f"model = load_run({str(gray_run)!r}, plugins=['my_encoding', 'my_backbone'])\n"
        "print(type(model.encoding).__module__, tuple(model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape))\n"
    )
    outcome = finish(start_warm(script, cwd=outside))
    assert outcome.out == "my_encoding (2, 10)\n", outcome.err
