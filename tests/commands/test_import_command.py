"""``python -m p2be_exp.evaluation import``: somebody's images join the worst case, or are refused."""

import json

import numpy as np
import pytest

import commandline
from commandline import copy_of, refusal
from p2be_exp.commands import imported as import_command
from p2be_exp.data import load_dataset

EVALUATION = ("limit_test=20", "corruption=none", "attack=pgd", "attack.steps=1", "attack.eps_levels=8", "name=one")


def bring(*arguments):
    return commandline._call(import_command.main, "__main__.py", ("import", *arguments))


def summary(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture
def folder(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    outcome = commandline.evaluate(f"run={run}", *EVALUATION)
    assert outcome.code == 0, outcome.err
    return run / "evaluations" / "one"


def images_of(folder):
    with np.load(folder / "per_image" / "clean.npz") as saved:
        index, wrong = saved["index"], saved["wrong"]
    _, test = load_dataset("digits", "data", download=False)
    return test.images.numpy()[index], index, wrong


@pytest.mark.slow
def test_the_row_joins_the_worst_case_and_stays(folder):
    images, index, wrong = images_of(folder)
    black = np.where(images > 60, images - 60, 0).astype(np.uint8)
    np.savez("mine.npz", images=black[::-1], index=index[::-1])
    before = summary(folder)
    outcome = bring("run", "mine.npz", "evaluation=one", "eps_levels=60")
    assert outcome.code == 0, outcome.err
    after, condition = summary(folder), "attack/imported_mine/60"
    with np.load(folder / "per_image" / "attack-imported_mine-60.npz") as saved:
        mine = saved["wrong"]
        assert (saved["index"] == np.sort(index)).all()
    assert after["conditions"][condition]["n_wrong"] == mine.sum()
    assert not (wrong & ~mine).any()
    assert after["attacks"]["imported_mine"] == {"gradient": None, "error": {"60": 100 * mine.mean()}}
    assert {key: after[key] for key in ("settings", "clean_error")} == {
        key: before[key] for key in ("settings", "clean_error")
    }
    assert after["sanity"]
    assert commandline.evaluate("run=run", *EVALUATION).code == 0  # goes on with it
    again = summary(folder)
    assert again["attacks"] == after["attacks"]
    assert again["worst_case_error"] == after["worst_case_error"]
    taken = refusal(bring("run", "mine.npz", "evaluation=one", "eps_levels=60"))
    assert taken == "name=mine: attack/imported_mine/60 is there already; choose another name"


def test_distances_of_an_evaluation_are_asked_for_and_stay(workdir, four_epochs):
    pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")
    run = copy_of(four_epochs, workdir / "run")
    attack = ("attack=foolbox", "attack.method=ddn", "attack.steps=2")
    outcome = commandline.evaluate(f"run={run}", "limit_test=6", "corruption=none", *attack, "name=one")
    assert outcome.code == 0, outcome.err
    folder = run / "evaluations" / "one"
    images, _, _ = images_of(folder)
    np.savez("mine.npz", images=images)
    before = summary(folder)["distances"]
    assert bring("run", "mine.npz", "evaluation=one", "eps_levels=8").code == 0
    assert summary(folder)["distances"] == before
    (folder / "distances.csv").unlink()
    again = refusal(bring("run", "mine.npz", "evaluation=one", "eps_levels=8", "name=again"))
    assert again.endswith("distance/foolbox_DDNAttack_secant is not measured yet; continue the evaluation first")


def test_what_does_not_fit_is_refused(folder):
    images, index, _ = images_of(folder)
    np.savez("images.npz", images=np.where(images < 128, images + 9, images - 9).astype(np.uint8))
    np.savez("few.npz", images=images[:7])
    np.savez("others.npz", images=images, index=index + 10_000)
    np.savez("scaled.npz", images=images.astype(np.float32))
    np.savez("nothing.npz", pictures=images)

    def refused(file, *more):
        return refusal(bring("run", file, "evaluation=one", *(more or ("eps_levels=8",))))

    assert "20 of 20 images are outside 8 levels, first that of test image" in refused("images.npz")
    assert "images are (7, 3, 32, 32); the evaluation's are (20, 3, 32, 32)" in refused("few.npz")
    assert "index does not name each of the evaluation's 20 test images once" in refused("others.npz")
    assert "with values from" in refused("scaled.npz")
    assert "has no array images" in refused("nothing.npz")
    assert "no such file" in refused("missing.npz")
    assert refused("few.npz", "eps_levels=300").startswith("eps_levels=300: must be a whole number")
    assert refused("few.npz", "name=a/b", "eps_levels=8").startswith("name=a/b: must consist of")
    assert refused("few.npz", "radius=8").startswith("radius: unknown key")
    assert refusal(bring("run", "few.npz", "eps_levels=8", "evaluation=two")).startswith(
        "evaluation=two: has no results"
    )
    assert len(summary(folder)["conditions"]) == 2
