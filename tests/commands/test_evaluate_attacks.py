"""Attacks through ``evaluate.py`` and ``train.py``: rows, worst case, panel, stopping and going on, refusals."""

import json
import os
import signal

import numpy as np
import pytest
import torch

import commandline
from commandline import QUICKSTART, copy_of, refusal, rows_of, train
from p2be_exp import load_run
from p2be_exp.attacks import AttackRandom, build_attack
from p2be_exp.config.schema import RandomInBallConfig
from p2be_exp.data import load_dataset
from p2be_exp.evaluation.module import EvaluationModule

RADII = (4, 64)
SUITE = ("attack=suite", f"attack.eps_levels=[{','.join(map(str, RADII))}]", "attack.steps=3", "attack.queries=5")
IDS = (
    "random_in_ball",
    "pgd_ce_secant_1step",
    "lspga",
    "lspga_margin",
    "pgd_ce_secant",
    "pgd_margin_secant",
    "pgd_margin_smooth",
    "square",
)


def evaluate(*arguments):
    """``evaluate.py`` on twenty images without corruptions."""
    return commandline.evaluate("run=run", "limit_test=20", "corruption=none", *arguments)


@pytest.fixture
def run(workdir, four_epochs):
    return copy_of(four_epochs, workdir / "run")


@pytest.fixture(scope="module")
def suite(tmp_path_factory, four_epochs):
    """A whole suite with saved images."""
    folder = tmp_path_factory.mktemp("suite")
    run = copy_of(four_epochs, folder / "run")
    arguments = (f"run={run}", "limit_test=20", "corruption=none", *SUITE, "attack.save_images=true", "name=suite")
    outcome = commandline.evaluate(*arguments)
    assert outcome.code == 0, outcome.err
    return run / "evaluations" / "suite", outcome


def summary(folder):
    return json.loads((folder / "results.json").read_text())


def images_of(folder, condition):
    with np.load(folder / "per_image" / f"{condition.replace('/', '-')}.npz") as saved:
        return dict(saved)


def test_a_row_an_attack_and_radius(suite):
    rows = rows_of(suite[0] / "results.csv")
    wanted = ["clean", *(f"attack/{name}/{radius}" for radius in RADII for name in IDS)]
    found = [row["condition"] for row in rows]
    assert found[: len(wanted)] == wanted
    assert all(name.split("/")[1].endswith(("_half", "_twice")) for name in found[len(wanted) :])
    by_name = {row["condition"]: row for row in rows}
    lspga = by_name["attack/lspga/64"]
    assert (lspga["kind"], lspga["name"], lspga["eps_levels"], lspga["gradient"]) == (
        "attack",
        "lspga",
        "64",
        "relaxed",
    )
    assert by_name["attack/pgd_margin_smooth/4"]["gradient"] == "smooth"
    assert by_name["attack/square/4"]["gradient"] == by_name["attack/random_in_ball/4"]["gradient"] == ""
    assert all(row["n"] == "20" for row in rows)


def test_the_images_are_inside_the_ball_and_the_model_is_asked_again(suite, four_epochs):
    folder, _ = suite
    model = load_run(four_epochs)
    _, test = load_dataset("digits", "nowhere")
    clean_wrong = images_of(folder, "clean")["wrong"]
    for radius in RADII:
        for name in IDS:
            images = images_of(folder, f"attack/{name}/{radius}")
            clean = test.images.numpy()[images["index"]]
            assert images["adversarial"].dtype == np.uint8
            assert np.abs(images["adversarial"].astype(int) - clean).max() <= radius
            with torch.no_grad():
                predictions = model(torch.from_numpy(images["adversarial"])).argmax(1).numpy()
            assert (images["prediction"] == predictions).all()
            assert (images["wrong"] == (predictions != images["label"])).all()
            assert images["wrong"][clean_wrong].all()
            assert ("zero_gradient" in images) == (name not in ("random_in_ball", "square"))


def test_the_worst_case_by_hand(suite):
    folder, outcome = suite
    found = summary(folder)
    broken = images_of(folder, "clean")["wrong"]
    for radius in RADII:
        for name in found["worst_case"]["attacks"][str(radius)]:
            broken = broken | images_of(folder, f"attack/{name}/{radius}")["wrong"]
        assert set(IDS) <= set(found["worst_case"]["attacks"][str(radius)])
        assert found["worst_case_error"][str(radius)] == pytest.approx(100 * broken.mean(), abs=1e-4)
        assert f"{f'worst case, {radius} levels':<48}{100 * broken.mean():>9.2f}" in outcome.out
    errors = {row["condition"]: float(row["error"]) for row in rows_of(folder / "results.csv")}
    for name in IDS:
        entry = found["attacks"][name]
        assert entry["error"] == {str(radius): errors[f"attack/{name}/{radius}"] for radius in RADII}
    zeros = images_of(folder, "attack/pgd_ce_secant/4")["zero_gradient"]
    assert found["attacks"]["pgd_ce_secant"]["zero_gradient"]["4"] == pytest.approx(np.nanmean(zeros), abs=1e-4)
    assert found["attacks"]["square"]["gradient"] is None


def test_the_panel_is_kept_and_printed(suite):
    folder, outcome = suite
    checks = {check["name"]: check for check in summary(folder)["sanity"]}
    for name in ("forwards agree exactly", "radius 0 gives the clean error", "a planted adversarial image is found",
                 "attacks keep the wrong images"):  # fmt: skip
        assert checks[name]["verdict"] == "ok", checks[name]
    assert "can these numbers be trusted?" in outcome.out
    for name, check in checks.items():
        assert f"{check['verdict']:<14}{name}" in outcome.out


def test_the_noise_is_that_of_seed_and_image(suite, four_epochs):
    """Attacked one by one, from Python, the images are the same."""
    folder, _ = suite
    model = load_run(four_epochs)
    _, test = load_dataset("digits", "nowhere")
    attack = build_attack(RandomInBallConfig(name="random_in_ball", restarts=10), 64)
    images = images_of(folder, "attack/random_in_ball/64")
    for place in (0, 7, 19):
        index = torch.tensor([images["index"][place]])
        alone = attack(model, test.images[index], test.labels[index], AttackRandom(0, index))
        assert np.array_equal(alone.images[0].numpy(), images["adversarial"][place])


def test_beside_ls_pga_stands_a_random_choice(run):
    outcome = commandline.evaluate("run=run", "limit_test=20", "corruption=none")
    assert outcome.code == 0, outcome.err
    folder = run / "evaluations" / "last_clean_lspga8_random20"
    assert [row["condition"] for row in rows_of(folder / "results.csv")] == [
        "clean", "attack/random_in_ball/8", "attack/lspga/8"
    ]  # fmt: skip
    assert summary(folder)["settings"]["attack"]["xi"] == 1.0


def test_radius_0_is_the_clean_error(run):
    assert evaluate(*SUITE, "attack.eps_levels=0", "name=zero").code == 0
    folder = run / "evaluations" / "zero"
    clean = images_of(folder, "clean")
    for name in IDS:
        assert (images_of(folder, f"attack/{name}/0")["wrong"] == clean["wrong"]).all()
    assert summary(folder)["worst_case_error"] == {"0": summary(folder)["clean_error"]}


def without_times(folder):
    found = summary(folder)
    del found["written"]
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(folder / "results.csv")]
    return found, rows, {file.name: file.read_bytes() for file in (folder / "per_image").iterdir()}


def test_stopped_again_and_again_it_ends_with_the_same_files(run, suite, monkeypatch):
    arguments = (*SUITE, "attack.save_images=true", "name=suite")
    original, steps = EvaluationModule.test_step, []

    def test_step(self, *arguments):
        original(self, *arguments)
        steps.append(1)
        if len(steps) in (3, 6, 12):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(EvaluationModule, "test_step", test_step)
    for so_far in (3, 6, 12):
        assert evaluate(*arguments).code == 143
        assert len(steps) == so_far
        stopped = summary(run / "evaluations" / "suite")
        assert stopped["worst_case_error"]["64"] is None
        assert stopped["sanity"] is None
    assert evaluate(*arguments).code == 0
    assert without_times(run / "evaluations" / "suite") == without_times(suite[0])


def test_transfer_from_another_run(run, workdir, rgb_run):
    copy_of(rgb_run, workdir / "rgb")
    arguments = ("attack=transfer", "attack.source=rgb", "attack.steps=3", "attack.eps_levels=32")
    outcome = evaluate(*arguments, "attack.save_images=true", "name=mine")
    assert outcome.code == 0, outcome.err
    folder = run / "evaluations" / "mine"
    row = rows_of(folder / "results.csv")[1]
    assert (row["condition"], row["gradient"]) == ("attack/transfer_rgb_wrn16_1/32", "exact")
    assert evaluate("attack=suite", "attack.source=rgb", "attack.eps_levels=4", "attack.steps=1", "attack.queries=1",
                    "name=suite").code == 0  # fmt: skip
    assert "transfer_rgb_wrn16_1" in summary(run / "evaluations" / "suite")["attacks"]


def test_training_ends_with_the_attack(workdir):
    arguments = [argument for argument in QUICKSTART if argument != "attack=none"]
    short = ("attack.steps=2", "attack.queries=3")
    outcome = train(*arguments, "encoding=thermometer", "encoding.M=16", *short, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    names = [row["name"] for row in rows_of(workdir / "run" / "results.csv")]
    first = ["", *IDS[:-1], "pgd_margin_interpolate", "square"]
    assert names[: len(first)] == first
    found = summary(workdir / "run")
    assert found["worst_case_error"]["8"] >= found["clean_error"]
    # Where an image stands, the attack that decides was run again, with half and with twice its effort.
    again = names[len(first) :]
    decided = {name.rsplit("_", 1)[0] for name in again}
    assert {name.rsplit("_", 1)[1] for name in again} <= {"half", "twice"}
    assert (len(decided), decided <= set(first)) == (found["worst_case_error"]["8"] < 100, True)
    assert found["worst_case"] == {"suite": "suite_short", "attacks": {"8": names[1:]}}


def test_more_effort_where_it_decides(run):
    """With a radius of one level and two steps, some of the twenty images stand."""
    arguments = ("attack=suite", "attack.eps_levels=1", "attack.steps=2", "attack.queries=2", "name=effort")
    outcome = evaluate(*arguments)
    assert outcome.code == 0, outcome.err
    folder = run / "evaluations" / "effort"
    found, rows = summary(folder), [row["name"] for row in rows_of(folder / "results.csv")]
    broken = np.logical_or.reduce([images_of(folder, f"attack/{name}/1")["wrong"] for name in IDS])
    assert not broken.all()
    wrong = {name: int(images_of(folder, f"attack/{name}/1")["wrong"].sum()) for name in IDS}
    decided = rows[len(IDS) + 1].rsplit("_", 1)[0]
    assert wrong[decided] == max(wrong.values())
    assert set(rows[len(IDS) + 1 :]) <= {f"{decided}_half", f"{decided}_twice"}
    last = rows[-1]
    assert last == f"{decided}_twice"
    broken |= images_of(folder, f"attack/{last}/1")["wrong"]
    assert found["worst_case_error"]["1"] == pytest.approx(100 * broken.mean(), abs=1e-4)
    broken_at = images_of(folder, f"attack/{last}/1")["broken_at"]
    assert (np.isnan(broken_at) == ~images_of(folder, f"attack/{last}/1")["wrong"]).all()
    assert found["attacks"][last]["growth"]["1"][-1][1] == int((~np.isnan(broken_at)).sum())
    assert set(found["attacks"][decided]["alone"]) == {"1"}
    checks = {check["name"]: check for check in found["sanity"]}
    assert last in checks["twice the steps or restarts change little"]["detail"]
    assert (folder / "figures" / "error_over_effort.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["attack.eps_levels=-1"], "attack.eps_levels=-1: must be a whole number of levels between 0 and 255"),
        (["attack.eps_levels=256"], "attack.eps_levels=256: must be a whole number of levels between 0 and 255"),
        (["attack.eps_levels=8.5"], "attack.eps_levels=8.5: must be a whole number of levels between 0 and 255"),
        (["attack.eps_levels=eight"], "attack.eps_levels=eight: must be a whole number of levels between 0 and 255"),
        (["attack.eps_levels=true"], "attack.eps_levels=True: must be a whole number of levels between 0 and 255"),
        (["attack.eps_levels=[]"], "attack.eps_levels=[]: at least one radius is required"),
        (["attack.eps_levels=[4,4]"], "attack.eps_levels=[4, 4]: each radius must occur only once"),
        (
            ["attack.eps_levels=0.031"],
            "attack.eps_levels=0.031: must be a whole number of levels between 0 and 255; "
            "0.031 is 7.91 levels: 7 levels or 8?",
        ),
        (["attack.steps=0"], "attack.steps=0: must be 1 or more"),
        (["attack.xi=0"], "attack.xi=0.0: must be above 0"),
        (
            ["attack=pgd", "attack.gradient=straight"],
            "attack.gradient=straight: must be one of secant, smooth, interpolate",
        ),
        (
            ["attack=pgd", "attack.gradient=interpolate"],
            "attack.gradient=interpolate: interpolates between buckets, which only onehot and thermometer have; "
            "must be secant or smooth",
        ),
        (["attack=transfer"], "attack.source: required; the run to transfer from, attack.source=RUN"),
        (["attack=transfer", "attack.source=nowhere"], "attack.source=nowhere: no such folder"),
        (["attack=nosuch"], "attack=nosuch: no such attack; available: autoattack, foolbox, lspga, none, pgd,"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(workdir, run, arguments, message):
    before = sorted(workdir.rglob("*"))
    assert refusal(evaluate(*arguments)).startswith(message)
    assert sorted(workdir.rglob("*")) == before


def test_a_source_on_other_data_is_refused(run, workdir, rgb_run):
    other = copy_of(rgb_run, workdir / "rgb")
    config = other / "config.yaml"
    config.write_text(config.read_text().replace("name: digits", "name: cifar10\n  download: false"))
    message = refusal(evaluate("attack=transfer", "attack.source=rgb"))
    assert (
        message
        == "attack.source=rgb: trained on cifar10; must be a run on digits, with the same classes and image size"
    )


# -- other libraries' ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_librarys_attack_joins_the_worst_case_and_says_what_was_moved(run):
    pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")
    also = "attack.also=[foolbox.LinfDeepFoolAttack]"
    arguments = ("attack=suite_short", "attack.eps_levels=1", "attack.steps=2", "attack.queries=2", also, "name=both")
    outcome = evaluate(*arguments)
    assert outcome.code == 0, outcome.err
    folder, found = run / "evaluations" / "both", summary(run / "evaluations" / "both")
    name = "foolbox_LinfDeepFoolAttack_secant"
    with np.load(folder / "per_image" / f"attack-{name}-1.npz") as saved:
        clamped, lost, wrong = (saved[each] for each in ("clamped", "lost", "wrong"))
    assert found["attacks"][name]["clamped"] == {"1": int(clamped.sum())}
    assert found["attacks"][name]["lost"] == {"1": int(lost.sum())}
    assert clamped.any()  # the smallest distance to another class is more than a level of most images
    assert not (lost & ~clamped).any()
    assert not (lost & wrong).any()
    assert f"; {clamped.sum()} moved into the ball, {lost.sum()} of them no longer wrong" in outcome.out
    assert "clamped" not in found["attacks"]["lspga"]
    broken = [images_of(folder, condition)["wrong"] for condition in found["conditions"]]
    assert found["worst_case_error"]["1"] == 100 * np.logical_or.reduce(broken).mean()
    again = evaluate(*arguments)
    assert again.code == 0, again.err
    assert summary(folder)["attacks"] == found["attacks"]  # read from its files


def test_a_suite_from_before_others_could_join_is_continued(run):
    arguments = ("attack=suite_short", "attack.eps_levels=1", "attack.steps=2", "attack.queries=2", "name=earlier")
    assert evaluate(*arguments).code == 0
    file = run / "evaluations" / "earlier" / "results.json"
    content = json.loads(file.read_text())
    del content["settings"]["attack"]["also"]
    file.write_text(json.dumps(content))
    assert evaluate(*arguments).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("attack=foolbox", "attack.method=PGD"), "attack.method=PGD: must be one of LinfPGD, "),
        (("attack=autoattack", "attack.version=plus"), "attack.version=plus: must be one of standard, rand"),
        (("attack=suite", "attack.also=[square]"), "attack.also=[square]: must be autoattack, "),
    ],
)
def test_a_method_that_there_is_not(run, arguments, message):
    assert refusal(evaluate(*arguments)).startswith(message)
