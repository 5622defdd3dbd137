"""How many epochs fit, and on how many images is tested."""

from dataclasses import replace

import pytest

from benchmarks.gpu.rehearsal import Speed
from benchmarks.gpu.settings import ENCODINGS
from benchmarks.gpu.sizes import SIZES
from benchmarks.gpu.training_commands import Commands
from benchmarks.gpu.training_plan import TrainingPlan, departures, plan_training, read_plan

FULL = SIZES["full"]
H100 = Speed(start_seconds=10.0, trained=1850.0, predicted=12_000.0)


def planned(seconds: float, speed: Speed | None = H100, epochs: int | None = None) -> TrainingPlan:
    return plan_training(seconds, speed, FULL, "full", ENCODINGS, epochs)


def test_the_epochs_fill_the_time_and_no_more():
    plan = planned(360.0)
    epoch = FULL.train_images / H100.trained
    assert plan.epochs * epoch + plan.evaluation_seconds + 3 * H100.start_seconds < 360.0
    assert 4 <= plan.epochs <= 9


def test_more_time_is_more_epochs_up_to_the_recipes():
    epochs = [planned(seconds).epochs for seconds in (200.0, 400.0, 1600.0, 36_000.0)]
    assert epochs == sorted(epochs)
    assert len(set(epochs)) == 4
    assert epochs[-1] == 200


def test_the_tables_learning_rate_is_scaled_so_that_it_moves_as_far():
    assert planned(360.0, epochs=9).table_lr == pytest.approx(1e-4 * 200 / 9)
    assert planned(36_000.0).table_lr == pytest.approx(1e-4)


@pytest.mark.parametrize("epochs", [50, 100, 200])
def test_the_published_lengths_are_trained_as_published(epochs):
    plan = planned(360.0, epochs=epochs)
    assert plan.table_lr == 1e-4
    assert departures(plan) == f"{epochs} of 200 epochs"


def test_little_time_is_tested_on_fewer_images():
    assert planned(36_000.0).test_images == 10_000
    assert planned(200.0).test_images < planned(400.0).test_images <= 10_000


def test_a_slow_gpu_trains_one_epoch_that_may_be_stopped():
    slow = planned(300.0, replace_speed(trained=50.0, predicted=500.0))
    assert (slow.epochs, slow.test_images) == (1, 500)
    assert slow.evaluation_seconds <= 0.35 * 300.0


def test_without_a_rehearsal_the_given_epochs_count_or_one():
    assert planned(300.0, None).epochs == 1
    assert planned(300.0, None, epochs=4).epochs == 4


def test_a_plan_is_read_as_it_was_written(tmp_path):
    assert read_plan(tmp_path) is None
    plan = planned(360.0)
    plan.write(tmp_path)
    assert read_plan(tmp_path) == plan


def test_the_commands_are_the_recipe_but_for_what_is_said(tmp_path):
    from benchmarks.gpu.settings import parse_settings
    from p2be_exp.config import check_config, compose_config, to_plain

    settings = parse_settings([f"out={tmp_path}", f"work={tmp_path / 'work'}", f"data_dir={tmp_path}"])
    overrides = Commands(settings, planned(360.0, epochs=9), "cpu").train("p2be", tmp_path / "work" / "p2be")[2:]
    config = to_plain(compose_config("train", overrides))
    check_config("train", config)
    recipe = to_plain(compose_config("train", ["encoding=p2be", "dataset=cifar100", "backbone=wrn40_2",
                                               "regime=augmix", "trainer=cpu"]))  # fmt: skip
    changed = {key for key in recipe if config[key] != recipe[key]}
    assert changed == {"epochs", "optim", "departs_from_paper", "data_dir", "trainer"}
    assert {key for key, value in recipe["optim"].items() if config["optim"][key] != value} == {"table_lr"}
    assert config["departs_from_paper"] == "9 of 200 epochs, table_lr times 22.22"


def replace_speed(**values: float) -> Speed:
    return H100._replace(**values)


def test_the_tiny_size_fits_into_seconds():
    tiny = SIZES["test"]
    plan = plan_training(100.0, Speed(4.0, 100.0, 100.0), tiny, "test", ("p2be",))
    assert (plan.epochs, plan.test_images) == (tiny.most_epochs, tiny.test_images)
    assert plan == replace(plan, epochs=2)
