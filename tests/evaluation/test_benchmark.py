"""benchmark(): the rows of a run's own evaluation, results without a folder, one line for what cannot be evaluated."""

import json
import signal

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import p2be_exp
from commandline import copy_of, evaluate, rows_of
from one_pixel import save_one_pixel
from p2be_exp import benchmark, load_run
from p2be_exp.encodings import Thermometer
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.module import EvaluationModule

SHORT = {"name": "suite_short", "steps": 4, "queries": 4}


class Plain(nn.Module):
    """What a run's RGB network computes, by plain layers."""

    def __init__(self, run):
        super().__init__()
        self.convolution = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.convolution.weight, self.trunk = run.stem.weight, run.trunk

    def forward(self, pictures):
        return self.trunk(self.convolution(pictures))


class Scaled(nn.Module):
    """A network of images in [0, 1] for levels."""

    def __init__(self, of_images):
        super().__init__()
        self.of_images = of_images

    def forward(self, levels):
        return self.of_images(levels / 255)


class Rounds(Scaled):
    """To sixteen values a colour."""

    def forward(self, pictures):
        return self.of_images((pictures * 15).round() / 15)


def small(classes=10, channels=3):
    """A network of a second that knows nothing."""
    torch.manual_seed(0)
    pool = nn.AdaptiveAvgPool2d(4)
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(64, classes))


def quick(model, **arguments):
    """A small evaluation."""
    given = {"dataset": "digits", "attacks": SHORT, "n_examples": 12, "device": "cpu", **arguments}
    return benchmark(model, **given)


@pytest.fixture(scope="module")
def plain(rgb_run):
    return Plain(load_run(rgb_run))


@pytest.mark.slow
def test_a_plain_network_has_the_rows_of_the_run_s_own_evaluation(tmp_path, monkeypatch, rgb_run, plain):
    monkeypatch.setattr(Figure, "savefig", save_one_pixel)
    run = copy_of(rgb_run, tmp_path / "run")
    attack = ["attack=suite_short", "attack.steps=4", "attack.queries=4", "attack.eps_levels=16"]
    corruption = ["corruption=generated", "corruption.names=[gaussian_noise]", "corruption.severities=[4]"]
    outcome = evaluate(f"run={run}", *attack, *corruption, "limit_test=20", "seed=3", "name=own", "trainer=cpu")
    assert outcome.code == 0, outcome.err
    corrupted = {"name": "generated", "names": ["gaussian_noise"], "severities": [4]}
    given = {"threat": 16, "corruptions": corrupted, "n_examples": 20, "seed": 3}
    results = quick(plain, **given, out=tmp_path / "out")
    own, out = run / "evaluations" / "own", tmp_path / "out"
    rows = [
        [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(folder / "results.csv")]
        for folder in (own, out)
    ]
    assert len(rows[0]) > 8
    assert rows[0] == rows[1]
    for file in (own / "per_image").iterdir():
        with np.load(file) as one, np.load(out / "per_image" / file.name) as other:
            assert set(one) == set(other)
            assert all(np.array_equal(one[key], other[key]) for key in ("index", "label", "prediction", "wrong"))
    summary = json.loads((own / "results.json").read_text())
    same = ("clean_error", "mean_corruption_error", "corruptions", "worst_case_error", "attacks")
    assert {key: results[key] for key in same} == {key: summary[key] for key in same}
    assert {check["name"] for check in results["sanity"]} == {check["name"] for check in summary["sanity"]}


def test_results_without_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    model = small().train()
    results = quick(model)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
    assert model.training
    assert all(each.requires_grad and each.grad is None for each in model.parameters())
    assert set(results["worst_case_error"]) == {"8"}
    clean = results["conditions"]["clean"]
    assert clean["n"] == 12
    assert clean["ci_low"] <= clean["error"] <= clean["ci_high"]
    assert results["sanity"]
    assert results["settings"]["model"]["name"] == "Sequential"
    assert "checkpoint" not in results["settings"]
    assert quick(small())["conditions"] == results["conditions"]


def test_the_table_is_printed_where_it_is_wanted(capsys):
    quick(small(), attacks=None, verbose=True)
    assert "clean                                 12" in capsys.readouterr().out


def test_levels_and_images_give_the_same_rows():
    # 1/255 and what a division by 255 gives differ in the last bit of some levels: a first look tells them alike.
    of_images, of_levels = quick(small(), attacks=None), quick(Scaled(small()), attacks=None, input="levels")
    assert of_images["clean_error"] == of_levels["clean_error"]
    assert of_levels["settings"]["model"]["input"] == "levels"


def test_a_table_is_attacked_through_surrogate_gradients():
    table = Thermometer(4).table()
    results = quick(small(channels=12), encoding=table, threat=64)
    rows = results["attacks"]
    assert rows["pgd_margin_secant"]["gradient"] == "secant"
    assert "pgd_margin_smooth" in rows
    assert "pgd_margin_interpolate" not in rows
    named = quick(small(channels=12), encoding=Thermometer(4), threat=64)
    assert named["clean_error"] == results["clean_error"]
    assert "pgd_margin_interpolate" in named["attacks"]


def test_rows_name_a_surrogate_of_one_s_own():
    results = quick(Rounds(small()), surrogate=small())
    gradients = {name: row["gradient"] for name, row in results["attacks"].items()}
    assert gradients["pgd_margin_secant"] == "surrogate"
    assert gradients["lspga"] == "relaxed surrogate"
    assert gradients["square"] is None
    assert results["settings"]["model"]["surrogate"]


def test_distances_are_those_of_attacks_on_the_surrogate_too():
    pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")
    attack = {"name": "foolbox", "method": "deepfool_l2", "steps": 20}
    found = quick(Rounds(small()), surrogate=small(), attacks=attack, n_examples=4)["distances"]
    assert found["foolbox_L2DeepFoolAttack_secant"]["gradient"] == "surrogate"
    with pytest.raises(BadInput, match="model: no gradient reaches the image"):
        quick(Rounds(small()), attacks=attack, n_examples=4)
    asked = quick(Rounds(small()), attacks=attack | {"method": "hopskipjump", "steps": 1}, n_examples=2)["distances"]
    assert asked["foolbox_HopSkipJumpAttack"]["gradient"] is None


def test_a_network_without_parameters_and_without_a_gradient_is_asked_for_logits_alone():
    class Fixed(nn.Module):
        def forward(self, pictures):
            return (pictures.flatten(1)[:, :10] * 15).round()

    results = quick(Fixed(), attacks={"name": "square", "queries": 4})
    assert set(results["attacks"]) == {"square"}


def test_the_same_call_continues_in_its_folder_and_others_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    first = quick(small(), attacks=None, out=folder)
    monkeypatch.setattr(EvaluationModule, "test_step", lambda *arguments, **more: pytest.fail("measured again"))
    again = quick(small(), attacks=None, out=folder)
    assert again["conditions"] == first["conditions"]
    with pytest.raises(BadInput, match=r"out=out: holds results of other settings \(limit_test=12\)"):
        quick(small(), attacks=None, out=folder, n_examples=13)
    torch.manual_seed(1)
    other = small()
    nn.init.zeros_(other[-1].weight)
    with pytest.raises(BadInput, match="out=out: holds results of other settings"):
        quick(other, attacks=None, out=folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    with pytest.raises(BadInput, match=r"holds notes.txt, which no evaluation wrote"):
        quick(small(), attacks=None, out=tmp_path / "mine")


def test_an_interrupt_is_one_of_python_s(monkeypatch):
    def test_step(self, batch, batch_idx, dataloader_idx=0):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(EvaluationModule, "test_step", test_step)
    model = small().train()
    with pytest.raises(KeyboardInterrupt):
        quick(model, attacks=None)
    assert model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "digit"}, "dataset=digit: must be one of .*did you mean digits"),
        ({"dataset": 10}, "dataset=int: must be one of "),
        ({"threat": 0.031}, "threat=0.031: must be a whole number of levels between 0 and 255; .* 7 levels or 8"),
        ({"threat": []}, r"threat=\[\]: at least one radius is required"),
        ({"threat": [8, 8]}, "threat=.*: each radius must occur only once"),
        ({"attacks": "suit"}, "attacks=suit: must be one of .*did you mean suite"),
        ({"attacks": {"steps": 3}}, "attacks=.*: 'name' is required, one of"),
        ({"attacks": {"name": "suite", "stepps": 3}}, "attack.stepps=3: unknown key"),
        ({"attacks": {"name": "suite", "steps": 0}}, "attack.steps=0: must be 1 or more"),
        ({"attacks": {"name": "suite", "eps_levels": 8}}, "attacks: eps_levels is given as threat="),
        ({"attacks": {"name": "pgd", "gradient": "interpolate"}}, "attack.gradient=interpolate"),
        ({"attacks": "transfer"}, "attack.source: required"),
        ({"corruptions": "cifar_c"}, "corruption=cifar_c: requires dataset=cifar10 or cifar100"),
        ({"corruptions": ["smoke"]}, "corruption.names.*smoke"),
        ({"n_examples": 0}, "limit_test=0: must be 1 or more"),
        ({"device": "tpu"}, "device=tpu: must be cpu or cuda"),
        ({"model": small(12)}, r"model: outputs of shape \(4, 12\); must be logits, \(4, 10\)"),
        ({"model": Rounds(small())}, "model: no gradient reaches the image"),
        ({"model": len}, "model: builtin_function_or_method, must be a torch.nn.Module"),
        ({"dataset": "cifar10", "data_dir": "nowhere", "attacks": None}, "nowhere"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    if "data_dir" in arguments:
        arguments = {**arguments, "dataset": {"name": "cifar10", "download": False}}
    with pytest.raises(BadInput, match=message) as no:
        quick(**{"model": small(), **arguments})
    assert "\n" not in str(no.value)
    assert list(tmp_path.iterdir()) == []


def test_corruptions_by_name():
    results = quick(small(), attacks=None, corruptions=["brightness"])
    assert set(results["corruptions"]["per_corruption"]) == {"brightness"}
    assert results["settings"]["corruption"]["name"] == "generated"


def test_it_is_a_part_of_the_package_that_is_imported_when_it_is_asked_for():
    assert p2be_exp.benchmark is benchmark
    assert "benchmark" in p2be_exp.__all__
