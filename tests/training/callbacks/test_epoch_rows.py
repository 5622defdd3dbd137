"""The rows of metrics.csv: their file, and their numbers after a training."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from commandline import TINY, assert_equal, train
from p2be_exp.config import training_config
from p2be_exp.config.schema import TrainConfig
from p2be_exp.data import ImageDataModule
from p2be_exp.errors import Diverged
from p2be_exp.runs.run import Run
from p2be_exp.system.trainer import build_trainer
from p2be_exp.training.callbacks.epoch_rows import EpochRows, read_rows, write_rows
from p2be_exp.training.callbacks.watch import count_error
from p2be_exp.training.module import TrainingModule
from two_ranks import on_two_ranks


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


def config(**values) -> TrainConfig:
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
    return training_config([f"{key}={value}" for key, value in given.items()])


def data_of(settings: TrainConfig) -> ImageDataModule:
    keys = ("batch_size", "eval_batch_size", "seed", "limit_train", "limit_test")
    given = {key: getattr(settings, key) for key in keys} | {"val_size": settings.dataset.val_size}
    data = ImageDataModule("digits", "no folder", **given, split_seed=0, download=False)
    data.setup()
    return data


def fit(settings: TrainConfig, run: Run, watch_every: int = 0, rows: EpochRows | None = None) -> TrainingModule:
    data = data_of(settings)
    torch.manual_seed(0)
    module = TrainingModule(settings, 10, len(data.train_dataloader()))
    trainer = build_trainer(
        settings.trainer,
        max_epochs=settings.epochs,
        callbacks=[rows or EpochRows(run, watch_every)],
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
    with pytest.raises(Diverged, match=r"the loss is (nan|inf) in epoch \d; lower optim.lr"):
        fit(settings, run)
    assert read_rows(run)[-1]["train/loss"] in {"nan", "inf"}


def test_a_loss_that_is_no_number_is_told_in_one_line(workdir):
    outcome = train(*TINY, "optim.lr=1e30", "hydra.run.dir=run")
    assert outcome.code == 1
    assert re.fullmatch(
        r"error: the loss is (nan|inf) in epoch \d; lower optim.lr or set optim.clip_norm\n", outcome.err
    )
    assert f"error: {Run('run').status()['error']}\n" == outcome.err


# -- two ranks --------------------------------------------------------------------------------------------------------

SHARED = {"trainer": "ddp", "trainer.accelerator": "cpu", "epochs": 2, "limit_train": 22, "limit_test": 200}
"""Each rank ends an epoch with images of its own."""


def trained_by_two(folder: Path, watch_every: int = 0, **more) -> tuple[list[dict], list[list]]:
    """The state that each rank ends with; and of each the batch norms' means that it measured with, in order."""
    folder.mkdir()

    def train(rank: int) -> tuple[dict, list]:
        used = []

        def note(module, inputs):
            if not module.training:
                used.append(torch.cat([value for name, value in module.named_buffers() if "running" in name]))

        patched = pytest.MonkeyPatch()
        patched.setattr(TrainingModule, "on_fit_start", lambda self: self.model.register_forward_pre_hook(note))
        module = fit(config(**SHARED, **more), Run(folder), watch_every)
        return dict(module.state_dict()), used

    ended = on_two_ranks(folder, train)
    return [each.value[0] for each in ended], [each.value[1] for each in ended]


def error_of(state: dict, settings: TrainConfig, split: str) -> float:
    """What the weights give in one process, in percent, by batches as each of two has them."""
    data = data_of(replace(settings, eval_batch_size=settings.eval_batch_size // 2))
    module = TrainingModule(settings, 10, 6)
    module.load_state_dict(state)
    return count_error(module, getattr(data, f"{split}_dataloader")())


def test_what_two_ranks_watch_is_the_error_of_what_is_saved_and_changes_no_training(tmp_path):
    watched, used = trained_by_two(tmp_path / "watched", watch_every=1)
    assert len(used[0]) > 1
    assert_equal(*used)
    row = read_rows(Run(tmp_path / "watched"))[-1]
    assert float(row["test/error"]) == pytest.approx(error_of(watched[0], config(**SHARED), "test"), abs=1e-9)
    unwatched, used = trained_by_two(tmp_path / "unwatched")
    assert used == [[], []]
    assert_equal(watched[0], unwatched[0])


def test_what_two_ranks_validate_is_the_error_of_what_is_saved(tmp_path):
    more = {"dataset.val_size": 152}
    states, used = trained_by_two(tmp_path / "validated", **more)
    assert len(used[0]) > 1
    assert_equal(*used)
    row = read_rows(Run(tmp_path / "validated"))[-1]
    assert float(row["val/error"]) == pytest.approx(error_of(states[0], config(**SHARED, **more), "val"), abs=1e-9)


def test_the_row_of_two_ranks_is_that_of_all_their_images(tmp_path):
    """Of 22, each once: the error is a whole number of them, on either rank."""

    def train(rank: int) -> dict[str, float]:
        rows = EpochRows(Run(tmp_path))
        fit(config(**SHARED), Run(tmp_path), rows=rows)
        return rows.means

    first, second = (each.value for each in on_two_ranks(tmp_path, train))
    assert first == second
    assert first["error"] * 22 / 100 == pytest.approx(round(first["error"] * 22 / 100), abs=1e-9)
    row = read_rows(Run(tmp_path))[-1]
    assert {name: float(row[f"train/{name}"]) for name in first} == first
