"""What can be compared: one method a group, the same images everywhere, and nothing with itself."""

import numpy as np
import pytest

from measured_runs import settings_of, write_results, write_run, wrong_images
from p2be_exp.errors import BadInput
from p2be_exp.report.comparable import (
    check_apart,
    check_group,
    check_images,
    check_settings,
    common_conditions,
    conditions_left_out,
    config_differences,
)
from p2be_exp.report.measured import find_measured

FOG = "corruption/fog/3"


@pytest.fixture
def measured(workdir):
    """Makes a run with results and reads it back."""

    def make(name, key="A", seed=0, conditions=("clean", FOG), settings=None, n=50, **changes):
        write_run(name, wrong_images(conditions, n, seed=seed), seed, settings_of(seed) | (settings or {}), **changes)
        return find_measured(key, name)[0]

    return make


def refusal(check, *arguments):
    with pytest.raises(BadInput) as caught:
        check(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- groups -----------------------------------------------------------------------------------------------------------


def test_runs_that_differ_in_the_seed_alone(measured):
    check_group([measured("0"), measured("1", seed=1), measured("2", seed=7)])


@pytest.mark.parametrize(
    "changes",
    [
        {"data_dir": "/elsewhere"},
        {"trainer__precision": "32"},
        {"trainer__progress": False},
        {"logger": {"name": "tensorboard", "log_every_n_steps": 5}},
        {"watch_every": 3},
        {"checkpoint_every": 3},
        {"task_name": "other"},
        {"departs_from_paper": "a remark"},
        {"eval_batch_size": 7},
        {"attack": {"name": "none"}},
        {"corruption": {"name": "none"}},
    ],
)
def test_what_does_not_change_what_is_trained(measured, changes):
    check_group([measured("0"), measured("1", seed=1, **changes)])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"encoding__M": 32}, "encoding.M=64 in 0, 32 in 1"),
        ({"epochs": 20}, "epochs=12 in 0, 20 in 1"),
        ({"optim__lr": 0.2}, "optim.lr=0.1 in 0, 0.2 in 1"),
        ({"encoding": {"name": "rgb"}}, "encoding.name=p2be in 0, rgb in 1"),
        ({"limit_train": 500}, "limit_train=None in 0, 500 in 1"),
        ({"dataset__split_seed": 3}, "dataset.split_seed=0 in 0, 3 in 1"),
    ],
)
def test_what_does(measured, changes, told):
    group = [measured("0"), measured("1", seed=1, **changes)]
    assert refusal(check_group, group) == f"{told}: the runs of a group (A) may differ in the seed only"
    key, _, values = told.partition("=")
    one, _, other = values.replace(" in 0", "").replace(" in 1", "").partition(", ")
    found = config_differences(*group)
    assert [str(value) for value in found[key]] == [one, other]
    assert config_differences(group[0], group[0]) == {}


def test_every_run_is_held_against_the_first(measured):
    group = [measured("0"), measured("1", seed=1), measured("2", seed=2, epochs=13)]
    assert refusal(check_group, group).startswith("epochs=12 in 0, 13 in 2")


def test_a_seed_counts_once(measured):
    group = [measured("0"), measured("1", seed=1), measured("2", seed=1)]
    assert refusal(check_group, group) == "seed=1 in 1 and in 2: the runs of a group (A) must have different seeds"


def test_the_same_weights_of_every_run(measured):
    group = [measured("0"), measured("1", seed=1, settings={"checkpoint": "best"})]
    assert refusal(check_group, group).startswith("checkpoint=last in 0, best in 1")
    group = [measured("2"), measured("3", seed=1, settings={"step": 270})]
    assert refusal(check_group, group).startswith("step=540 in 2, 270 in 3")


def test_the_best_weights_may_be_of_any_step(measured):
    check_group([measured(f"{step}", seed=step, settings={"checkpoint": "best", "step": step}) for step in (270, 540)])


def test_weights_of_trainings_that_stopped_early_may_be_of_any_step(measured):
    stops = {"early_stop": 2, "dataset__val_size": 20}
    check_group([measured(f"{step}", seed=step, **stops, settings={"step": step}) for step in (270, 540)])


# -- both sides -------------------------------------------------------------------------------------------------------


def test_nothing_is_compared_with_itself(measured, workdir):
    one, two, three = measured("0"), measured("1", seed=1), measured("2", key="B", seed=2)
    check_apart([one, two], [three])
    again = find_measured("B", str(workdir / "1"))[0]
    assert refusal(check_apart, [one, two], [three, again]) == f"B={workdir}/1: this run is in A, too"
    assert refusal(check_apart, [two], [again]) == f"B={workdir}/1: these results are A, too"


def test_two_evaluations_of_one_network_are_two_networks_but_not_two_seeds(measured):
    one, two = measured("0"), measured("1", seed=1)
    write_results("0/evaluations/best", wrong_images(["clean"]))
    best = find_measured("B", "0", "best")[0]
    check_apart([one], [best])
    assert "this run is in A, too" in refusal(check_apart, [one, two], [best, two])


CORRUPTION = settings_of()["corruption"]


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 9},
        {"step": 1},
        {"checkpoint": "best"},
        {"attack": {"name": "lspga", "steps": 7}},
        {"corruption": CORRUPTION | {"names": ["fog"], "severities": [3]}},
    ],
)
def test_settings_that_do_not_change_the_images(measured, settings):
    check_settings([measured("0"), measured("1", seed=1), measured("2", key="B", settings=settings)])


def test_own_files_are_compared_by_what_is_in_them(measured):
    files = {"labels": "12", "fog": "ab"}
    own = {"name": "own", "names": ["fog"], "severities": [3], "files": files}
    more = own | {"names": ["snow", "fog"], "files": files | {"snow": "ef"}}
    other = own | {"files": files | {"fog": "cd"}}
    first = measured("0", settings={"corruption": own})
    check_settings([first, measured("1", key="B", seed=1, settings={"corruption": more})])
    told = refusal(check_settings, [first, measured("2", key="B", seed=2, settings={"corruption": other})])
    assert told == "corruption.files.fog=ab in A=0, cd in B=2: results must be measured with the same settings"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"dataset": "cifar10"}, "dataset=digits in A=0, cifar10 in B=1"),
        ({"limit_test": 50}, "limit_test=None in A=0, 50 in B=1"),
        ({"corruption": CORRUPTION | {"seed": 1}}, "corruption.seed=0 in A=0, 1 in B=1"),
        ({"corruption": CORRUPTION | {"name": "cifar_c"}}, "corruption.name=generated in A=0, cifar_c in B=1"),
        ({"corruption": CORRUPTION | {"generator_version": 2}}, "corruption.generator_version=1 in A=0, 2 in B=1"),
        ({"corruption": CORRUPTION | {"verified": "md5"}}, "corruption.verified=None in A=0, md5 in B=1"),
        ({"precision": "bf16"}, "precision=32 in A=0, bf16 in B=1"),
    ],
)
def test_settings_that_do(measured, settings, told):
    found = refusal(check_settings, [measured("0"), measured("1", key="B", seed=1, settings=settings)])
    assert found == f"{told}: results must be measured with the same settings"


@pytest.mark.parametrize("with_images", [0, 1])
def test_without_corrupted_images_the_clean_ones_are_comparable(measured, with_images):
    """Also of a corruption source that the other side does not have."""
    settings = [{"corruption": {"name": "none"}}] * 2
    settings[with_images] = {}
    check_settings([measured("0", settings=settings[0]), measured("1", key="B", seed=1, settings=settings[1])])
    settings[with_images] = {"dataset": "cifar10"}
    other = [measured("2", settings=settings[0]), measured("3", key="B", seed=1, settings=settings[1])]
    assert refusal(check_settings, other).startswith("dataset=")


# -- images and conditions --------------------------------------------------------------------------------------------


def test_the_same_images(measured):
    check_images([measured("0"), measured("1", seed=1)], ["clean", FOG])


@pytest.mark.parametrize("what", ["number", "index", "label"])
@pytest.mark.parametrize("condition", ["clean", FOG])
def test_other_images(measured, what, condition):
    runs = [measured("0"), measured("1", seed=1), measured("2", key="B", seed=2)]
    file = runs[2].folder / "per_image" / f"{condition.replace('/', '-')}.npz"
    with np.load(file) as saved:
        arrays = dict(saved)
    if what == "number":
        wrong = wrong_images(["clean", FOG], 50, seed=2) | wrong_images([condition], 40)
        write_results("2", wrong, settings_of(2))
        runs[2] = find_measured("B", "2")[0]
    else:
        arrays[what][-1] += 1
        np.savez(file, **arrays)
    found = refusal(check_images, runs, ["clean", FOG])
    counts = f"{40 if what == 'number' else 50} and 50 images"
    assert found == f"B=2: {condition} was measured on other test images than clean of A=0 ({counts})"


def test_conditions_that_all_have_in_the_published_order(measured):
    every = ("corruption/fog/5", "corruption/fog/3", "corruption/snow/1", "attack/pgd/8", "clean")
    one, two = measured("0", conditions=every), measured("1", seed=1, conditions=every[:4])
    assert common_conditions([one]) == ["clean", "corruption/snow/1", "corruption/fog/3", "corruption/fog/5"]
    assert common_conditions([one, two]) == ["corruption/snow/1", "corruption/fog/3", "corruption/fog/5"]


def test_no_condition_in_common(measured):
    runs = [measured("0", conditions=["clean"]), measured("1", key="B", conditions=[FOG])]
    assert refusal(common_conditions, runs) == "A=0 and B=1: no condition was measured on all runs"


def test_what_is_left_out_and_why(measured):
    frost, snow = "corruption/frost/1", "corruption/snow/1"
    one = measured("0", conditions=["clean", FOG, snow, "attack/pgd/8"])
    a = [one, measured("1", seed=1, conditions=["clean", FOG])]
    b = [measured("2", key="B", conditions=["clean", frost])]
    assert conditions_left_out(a, b) == {
        "not in all runs of A": [snow, frost],
        "not in B": [FOG, snow],
        "neither clean nor a corruption": ["attack/pgd/8"],
    }
    assert conditions_left_out(a[1:], a[1:]) == {}
