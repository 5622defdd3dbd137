"""The rows of metrics.csv: their file, and their numbers after a training."""

import csv

import pytest
import torch

from p2be_exp.callbacks.epoch_rows import EpochRows, read_rows, write_rows
from p2be_exp.config import compose_config, to_plain
from p2be_exp.data import ImageDataModule
from p2be_exp.runs import Run
from p2be_exp.trainer import build_trainer
from p2be_exp.training import TrainingModule


def test_columns_in_order_of_appearance_and_the_timings_last(tmp_path):
    rows = [
        {"epoch": 1, "train/loss": 2.5, "seconds": 1.0, "images_per_second": 7.0, "lr/backbone": 0.1},
        {"epoch": 2, "train/loss": 1.5, "test/error": 30.0, "seconds": 2.0, "images_per_second": 8.0},
    ]
    write_rows(Run(tmp_path), rows)
    header, first, second = (tmp_path / "metrics.csv").read_text().splitlines()
    assert header == "epoch,train/loss,lr/backbone,test/error,seconds,images_per_second"
    assert first == "1,2.5,0.1,,1.0,7.0"
    assert second == "2,1.5,,30.0,2.0,8.0"


def test_rows_are_read_as_text_and_written_back_alike(tmp_path):
    run = Run(tmp_path)
    assert read_rows(run) == []
    write_rows(run, [{"epoch": 1, "train/loss": 0.1 + 0.2, "seconds": 1.0}, {"epoch": 2, "val/error": 3}])
    before = run.metrics_file.read_bytes()
    rows = read_rows(run)
    assert rows[0] == {"epoch": "1", "train/loss": repr(0.1 + 0.2), "val/error": "", "seconds": "1.0"}
    write_rows(run, rows)
    assert run.metrics_file.read_bytes() == before


def config(**values) -> dict:
    given = {
        "dataset": "digits",
        "trainer": "cpu",
        "backbone": "wrn16_1",
        "regime": "standard",
        "encoding.M": 8,
        "batch_size": 4,
        "eval_batch_size": 8,
        "limit_train": 10,
        "limit_test": 20,
        **values,
    }
    return to_plain(compose_config("train", [f"{key}={value}" for key, value in given.items()]))


def fit(settings: dict, run: Run, watch_every: int = 0) -> TrainingModule:
    keys = ("batch_size", "eval_batch_size", "seed", "limit_train", "limit_test")
    data = ImageDataModule(
        "digits", run.path, **{key: settings[key] for key in keys}, val_size=0, split_seed=0, download=False
    )
    data.setup()
    torch.manual_seed(0)
    module = TrainingModule(settings, 10, len(data.train_dataloader()))
    trainer = build_trainer(
        settings["trainer"],
        max_epochs=settings["epochs"],
        callbacks=[EpochRows(run, watch_every)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=run.path,
    )
    trainer.fit(module, data)
    return module


def test_the_rows_of_a_training(tmp_path):
    run = Run(tmp_path)
    module = fit(config(epochs=2), run, watch_every=2)
    with run.metrics_file.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first) == [
        "epoch",
        "step",
        "train/loss",
        "train/ce",
        "train/smoothness",
        "train/error",
        "lr/backbone",
        "lr/encoding",
        "table/bits_changed",
        "table/neighbour_cosine",
        "test/error",
        "seconds",
        "images_per_second",
    ]
    assert [(row["epoch"], row["step"]) for row in (first, second)] == [("1", "3"), ("2", "6")]
    for row in (first, second):
        assert float(row["train/loss"]) == pytest.approx(
            float(row["train/ce"]) + float(row["train/smoothness"]), abs=1e-5
        )
        assert float(row["train/error"]) % 10 == pytest.approx(0)  # of 10 images
        seconds, speed = float(row["seconds"]), float(row["images_per_second"])
        assert 10 / (seconds + 0.001) - 0.1 < speed < 10 / (seconds - 0.001) + 0.1  # both are rounded
    assert float(second["lr/backbone"]) == pytest.approx(1e-6)
    assert first["test/error"] == ""
    module.eval()
    test = module.trainer.datamodule.test_dataloader().data
    with torch.no_grad():
        wrong = module.model(test.images).argmax(1) != test.labels
    assert float(second["test/error"]) == pytest.approx(100 * wrong.double().mean().item())


def test_rows_of_epochs_that_are_trained_again_are_dropped(tmp_path):
    run = Run(tmp_path)
    write_rows(run, [{"epoch": 1, "train/loss": 9.0}, {"epoch": 2, "train/loss": 8.0}])
    fit(config(epochs=1, limit_train=4), run)  # starts at epoch 1: neither row stays
    (row,) = read_rows(run)
    assert row["epoch"] == "1"
    assert row["train/loss"] != "9.0"


def test_a_loss_that_is_no_number_stops_the_training_after_its_row(tmp_path):
    run = Run(tmp_path)
    settings = config(epochs=3, limit_train=4, **{"optim.lr": 1e30})
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) in epoch \d; lower optim.lr"):
        fit(settings, run)
    assert read_rows(run)[-1]["train/loss"] in {"nan", "inf"}
