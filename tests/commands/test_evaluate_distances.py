"""Attacks without a radius through ``evaluate.py``: their table, beside a suite, stopping and going on, refusals."""

import csv
import json
import math
import os
import signal
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import commandline
from commandline import copy_of, refusal
from p2be_exp import load_run
from p2be_exp.config import joined
from p2be_exp.data import load_dataset
from p2be_exp.evaluation.module import EvaluationModule
from p2be_exp.system.forms import read_json

needs_foolbox = pytest.mark.skipif(find_spec("foolbox") is None, reason="foolbox is not installed: '.[attacks]'")

DEEPFOOL = "foolbox_L2DeepFoolAttack_secant"
SUITE = ("attack=suite_short", "attack.eps_levels=[2,4]", "attack.steps=2", "attack.queries=2")


def evaluate(*arguments):
    """``evaluate.py`` on twelve images without corruptions, in batches of six."""
    return commandline.evaluate("run=run", "limit_test=12", "eval_batch_size=6", "corruption=none", *arguments)


@pytest.fixture
def run(workdir, four_epochs):
    return copy_of(four_epochs, workdir / "run")


def rows_of(folder):
    return list(csv.DictReader((folder / "distances.csv").read_text().splitlines()))


@needs_foolbox
def test_the_distances_are_those_of_images_that_the_network_gets_wrong(run, four_epochs):
    outcome = evaluate("attack=foolbox", "attack.method=deepfool_l2", "attack.save_images=true")
    assert outcome.code == 0, outcome.err
    folder = run / "evaluations" / "last_clean_foolbox_deepfool_l2_8_random12"
    found = read_json(folder / "results.json")
    assert found["attacks"] == {}
    assert found["worst_case_error"] is None
    assert found["sanity"] is None
    model, (_, test) = load_run(four_epochs), load_dataset("digits", "nowhere")
    with np.load(folder / "per_image" / f"distance-{DEEPFOOL}.npz") as saved:
        arrays = dict(saved)
    with torch.no_grad():
        predictions = model(torch.from_numpy(arrays["adversarial"])).argmax(1).numpy()
    assert ((predictions != arrays["label"]) == np.isfinite(arrays["distance"])).all()
    assert (arrays["wrong"] == np.isfinite(arrays["distance"])).all()
    differences = arrays["adversarial"].astype(int) - test.images.numpy()[arrays["index"]]
    by_hand = [math.sqrt(int((each**2).sum())) for each in differences]
    assert arrays["distance"].tolist() == pytest.approx(
        np.where(arrays["wrong"], by_hand, math.inf).tolist(), rel=1e-12
    )
    (row,) = rows_of(folder)
    assert (row["condition"], row["n"], row["gradient"]) == (f"distance/{DEEPFOOL}", "12", "secant")
    assert int(row["n_broken"]) == arrays["wrong"].sum() > 6
    median = sorted(arrays["distance"])[5]
    assert float(row["levels_median"]) == pytest.approx(median, abs=1e-4)
    assert found["distances"][DEEPFOOL]["unit"]["median"] == pytest.approx(median / 255, abs=1e-6)
    assert "no part of any worst case" in outcome.out
    assert DEEPFOOL in outcome.out
    assert "error under" not in outcome.out
    again = evaluate("attack=foolbox", "attack.method=deepfool_l2", "attack.save_images=true")
    assert again.code == 0, again.err
    assert read_json(folder / "results.json")["distances"] == found["distances"]  # read from its files


@pytest.mark.slow
@needs_foolbox
def test_beside_a_suite_they_are_no_part_of_the_worst_case(run):
    also = "attack.also=[foolbox.deepfool_l2,foolbox.fgsm]"
    outcome = evaluate(*SUITE, also, "name=both")
    assert outcome.code == 0, outcome.err
    found = read_json(run / "evaluations" / "both" / "results.json")
    assert list(found["distances"]) == [DEEPFOOL]  # once, whatever the number of radii
    fgsm = "foolbox_LinfFastGradientAttack_secant"
    assert list(found["attacks"][fgsm]["error"]) == ["2", "4"]
    named = [name for names in found["worst_case"]["attacks"].values() for name in names]
    assert fgsm in named
    assert DEEPFOOL not in named
    broken = {}
    for condition in found["conditions"]:
        with np.load(run / "evaluations" / "both" / "per_image" / f"{condition.replace('/', '-')}.npz") as saved:
            broken[condition] = saved["wrong"]
    at_2 = np.logical_or.reduce([wrong for name, wrong in broken.items() if name == "clean" or name.endswith("/2")])
    assert found["worst_case_error"]["2"] == pytest.approx(100 * at_2.mean(), abs=1e-4)
    assert not any(name.startswith("distance/") for name in found["conditions"])
    assert found["sanity"] is not None


def without_times(folder):
    found = json.loads((folder / "results.json").read_text())
    del found["written"]
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(folder)]
    return found, rows, {file.name: file.read_bytes() for file in (folder / "per_image").iterdir()}


@needs_foolbox
def test_stopped_in_the_middle_it_ends_with_the_same_files(run, monkeypatch):
    arguments = ("attack=foolbox", "attack.method=ddn", "attack.steps=3")
    assert evaluate(*arguments, "name=whole").code == 0
    original, steps = EvaluationModule.test_step, []

    def test_step(self, *arguments):
        original(self, *arguments)
        steps.append(1)
        if len(steps) == 3:  # two batches of clean images, the first of the attack
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(EvaluationModule, "test_step", test_step)
    assert evaluate(*arguments, "name=stopped").code == 143
    stopped = read_json(run / "evaluations" / "stopped" / "results.json")
    assert stopped["distances"] == {"foolbox_DDNAttack_secant": None}
    assert evaluate(*arguments, "name=stopped").code == 0
    assert len(steps) == 5  # the clean images are not measured again
    whole, continued = (without_times(run / "evaluations" / name) for name in ("whole", "stopped"))
    assert continued == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("attack.method=zoo",), "attack.method=zoo: must be one of LinfPGD, "),
        (
            ("attack.method=cw", "attack.eps_levels=[4,8]"),
            "attack.eps_levels=[4, 8]: must be one number, 1 or more, with ",
        ),
        (("attack.method=cw", "attack.steps=0"), "attack.steps=0: must be 1 or more"),
        (("attack.method=cw", "attack.kappa=1"), "attack.kappa=1: "),
        pytest.param(
            ("attack.method=cw", "attack.params={kappa:1}"),
            "attack.params={kappa:1}: attack.method=cw takes binary_search_steps, ",
            marks=needs_foolbox,
        ),
        pytest.param(
            ("attack.method=deepfool_l2", "attack.params={candidates:1}"),
            "attack.params={candidates:1}: must be a whole number, 2 or more",
            marks=needs_foolbox,
        ),
        pytest.param(
            ("attack.method=cw", "attack.gradient=interpolate"),
            "attack.gradient=interpolate: interpolates between buckets, ",
            marks=needs_foolbox,
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(workdir, run, arguments, message):
    before = sorted(workdir.rglob("*"))
    assert refusal(evaluate("attack=foolbox", *arguments)).startswith(message)
    assert sorted(workdir.rglob("*")) == before


def test_without_foolbox_the_extra_is_named_before_any_data_is_read(workdir, run, monkeypatch):
    monkeypatch.setattr(joined, "find_spec", lambda name: None)
    monkeypatch.setattr("p2be_exp.evaluation.data.build_data", lambda config: pytest.fail("data is read"))
    advice = "needs foolbox, which is not installed; pip install 'p2be-exp[attacks]'"
    before = sorted(workdir.rglob("*"))
    assert refusal(evaluate("attack=foolbox", "attack.method=cw")) == f"attack=foolbox: {advice}"
    assert refusal(evaluate(*SUITE, "attack.also=[foolbox.cw]")) == f"attack.also=[foolbox]: {advice}"
    assert sorted(workdir.rglob("*")) == before
