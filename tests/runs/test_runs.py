"""The folder of a run: what is in it, what it says, and that the same settings give the same bits."""

import json
import os
import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from commandline import (
    QUICKSTART,
    TINY,
    assert_equal,
    checkpoint_of,
    copy_of,
    rows_of,
    train,
    trained,
    untimed,
    weights_of,
)
from grids import in_turn
from p2be_exp import load_run
from p2be_exp.commands.train import RESUMABLE
from p2be_exp.config import check_config, compose_config, to_plain
from p2be_exp.config.typed import has_key
from p2be_exp.data import load_dataset
from p2be_exp.errors import BadInput, ResourceError
from p2be_exp.runs.load import load_checkpoint
from p2be_exp.runs.run import Run
from p2be_exp.training import job as jobs

HEADER = "condition,kind,name,severity,eps_levels,gradient,n,n_wrong,error,ci_low,ci_high,seconds"


def error_in(row):
    return float(row["error"])


# -- files ------------------------------------------------------------------------------------------------------------


def test_the_files_of_a_run(four_epochs):
    files = {str(file.relative_to(four_epochs)) for file in four_epochs.rglob("*") if file.is_file()}
    assert files == {
        ".lock",
        "config.yaml",
        "run.json",
        "status.json",
        "console.log",
        "metrics.csv",
        "results.csv",
        "results.json",
        "per_image/clean.npz",
        "figures/table_similarity.png",
        "checkpoints/last.ckpt",
    }


def test_the_configuration_is_resolved_and_rebuilds_itself(four_epochs):
    config = Run(four_epochs).stored_config()
    check_config("train", config)
    assert "${" not in (four_epochs / "config.yaml").read_text()
    assert config == to_plain(compose_config("train", [*TINY, "epochs=4"]))


def test_run_json_says_what_made_it(four_epochs):
    info = Run(four_epochs).info()
    assert info["format_version"] == 1
    assert info["seed"] == 0
    assert info["command"][0] == "train.py"
    assert f"hydra.run.dir={four_epochs}" in info["command"]
    assert info["dataset"] == {"train": 32, "test": 40}
    assert info["versions"]["torch"] == torch.__version__.split("+")[0]
    model = load_run(four_epochs)
    assert info["parameters"] == {"total": sum(p.numel() for p in model.parameters()), "table": 256 * 8}
    written = datetime.fromtimestamp((four_epochs / "config.yaml").stat().st_mtime, UTC)
    assert abs((written - datetime.fromisoformat(info["created"])).total_seconds()) < 3600  # in UTC
    assert info["git_commit"] is None or len(info["git_commit"].rstrip("+")) == 40


def test_status_json_says_how_it_ended(four_epochs):
    status = Run(four_epochs).status()
    assert (status["state"], status["exit_code"]) == ("finished", 0)
    assert (status["pid"], status["host"]) == (os.getpid(), socket.gethostname())


def test_a_row_an_epoch(four_epochs):
    rows = rows_of(four_epochs / "metrics.csv")
    assert list(rows[0]) == [
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
        "seconds",
        "images_per_second",
    ]
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "4"), ("2", "8"), ("3", "12"), ("4", "16")]
    for row in rows:
        count = float(row["train/error"]) * 64 / 100
        assert count == pytest.approx(round(count), abs=1e-9)
        loss = float(row["train/ce"]) + float(row["train/smoothness"])
        assert float(row["train/loss"]) == pytest.approx(loss, abs=1e-5)
        assert float(row["seconds"]) > 0
    assert [float(row["lr/backbone"]) for row in rows] == sorted(float(row["lr/backbone"]) for row in rows)[::-1]
    assert float(rows[-1]["lr/backbone"]) == pytest.approx(1e-6)


def test_the_results(four_epochs):
    assert (four_epochs / "results.csv").read_text().splitlines()[0] == HEADER
    (row,) = rows_of(four_epochs / "results.csv")
    assert (row["condition"], row["kind"], row["n"]) == ("clean", "clean", "40")
    assert error_in(row) == 100 * int(row["n_wrong"]) / 40
    assert 0 <= float(row["ci_low"]) < error_in(row) < float(row["ci_high"]) <= 100
    summary = json.loads((four_epochs / "results.json").read_text())
    assert summary["clean_error"] == error_in(row)
    assert summary["mce"] is summary["relative_mce"] is summary["mean_corruption_error"] is None
    assert summary["settings"]["step"] == 16
    assert summary["conditions"]["clean"]["n_wrong"] == int(row["n_wrong"])


def test_the_images_behind_the_results(four_epochs):
    images = np.load(four_epochs / "per_image" / "clean.npz")
    _, test = load_dataset("digits", "")
    assert len(images["index"]) == 40
    assert (np.diff(images["index"]) > 0).all()
    assert np.array_equal(images["label"], test.labels.numpy()[images["index"]])
    assert np.array_equal(images["wrong"], images["label"] != images["prediction"])
    assert images["wrong"].sum() == int(rows_of(four_epochs / "results.csv")[0]["n_wrong"])


def test_load_run_predicts_what_was_measured(four_epochs):
    model = load_run(four_epochs)
    assert not model.training
    images = np.load(four_epochs / "per_image" / "clean.npz")
    _, test = load_dataset("digits", "")
    with torch.no_grad():
        predicted = model(test.images[torch.from_numpy(images["index"])]).argmax(dim=1)
    assert np.array_equal(predicted.numpy(), images["prediction"])


def test_the_figure_is_a_png(four_epochs):
    assert (four_epochs / "figures" / "table_similarity.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_checkpoint_holds_plain_values_only(four_epochs):
    checkpoint = checkpoint_of(four_epochs)  # weights_only
    assert checkpoint["epoch"] == 3
    assert checkpoint["global_step"] == 16
    assert checkpoint["hyper_parameters"]["config"] == Run(four_epochs).stored_config()


# -- validation and watching ------------------------------------------------------------------------------------------


def test_a_validation_split_has_a_column_and_a_best_checkpoint(with_validation):
    rows = rows_of(with_validation / "metrics.csv")
    errors = [float(row["val/error"]) for row in rows]
    for error in errors:
        assert error * 30 / 100 == pytest.approx(round(error * 30 / 100), abs=1e-4)
    assert checkpoint_of(with_validation, "best")["epoch"] == int(np.argmin(errors))
    assert sorted(path.name for path in (with_validation / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_the_best_checkpoint_goes_by_the_validation_error_alone(workdir, monkeypatch):
    given_errors(monkeypatch, [50.0, 10.0, 40.0])
    run = trained("run", "dataset.val_size=10", "limit_train=32", "epochs=3", "watch_every=1")
    assert checkpoint_of(run, "best")["epoch"] == 1
    assert checkpoint_of(run)["epoch"] == 2
    assert not torch.equal(*(weights_of(run, which)["model.encoding.weight"] for which in ("best", "last")))


def given_errors(monkeypatch, errors):
    """Let the validation find these errors in these epochs."""
    from p2be_exp.training.module import TrainingModule

    def on_validation_epoch_end(self):
        self.log("val/error", errors[self.current_epoch])

    monkeypatch.setattr(TrainingModule, "on_validation_epoch_end", on_validation_epoch_end)


def test_a_run_that_was_moved_remembers_its_best_epoch(workdir, monkeypatch):
    from commandline import at_batch

    given_errors(monkeypatch, [50.0, 10.0, 40.0, 30.0])
    at_batch(monkeypatch, 3, 1, lambda: os.kill(os.getpid(), 2))
    arguments = [*TINY, "dataset.val_size=10", "epochs=4"]
    assert train(*arguments, "hydra.run.dir=before").code == 130
    Path("before").rename("after")
    outcome = train("resume=after")
    assert outcome.code == 0, outcome.err
    assert not Path("before").exists()
    run = Path("after")
    assert checkpoint_of(run, "best")["epoch"] == 1
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_the_test_error_is_watched_in_the_rows_asked_for(with_validation):
    first, second = rows_of(with_validation / "metrics.csv")
    assert first["test/error"] == ""
    assert float(second["test/error"]) == error_in(rows_of(with_validation / "results.csv")[0])


def test_watching_changes_nothing(workdir, four_epochs):
    watched = trained("run", "epochs=4", "watch_every=1")
    rows = untimed(watched / "metrics.csv")
    assert all(float(row.pop("test/error")) >= 0 for row in rows)
    assert rows == untimed(four_epochs / "metrics.csv")
    assert_equal(weights_of(watched), weights_of(four_epochs))


# -- the same bits ----------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits(workdir, four_epochs):
    again = trained("run", "epochs=4")
    assert_equal(weights_of(again), weights_of(four_epochs))
    assert_equal(checkpoint_of(again)["optimizer_states"], checkpoint_of(four_epochs)["optimizer_states"])
    assert untimed(again / "metrics.csv") == untimed(four_epochs / "metrics.csv")


def test_another_seed_gives_other_weights_on_the_same_images(workdir, monkeypatch):
    from p2be_exp.training.module import TrainingModule

    original, seen = TrainingModule.training_step, {}

    def training_step(self, batch, batch_idx):
        seen.setdefault((self.config.seed, self.current_epoch), []).extend(batch.indices.tolist())
        return original(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", training_step)
    zero, one = trained("zero", "epochs=2"), trained("one", "epochs=2", "seed=1")
    assert sorted(seen[0, 0]) == sorted(seen[1, 0]) == sorted(seen[0, 1])
    assert len(set(seen[0, 0])) == 32
    assert seen[0, 0] != seen[1, 0]
    assert seen[0, 0] != seen[0, 1]
    name = "model.stem.weight"
    assert not torch.equal(weights_of(zero)[name], weights_of(one)[name])
    images = [np.load(run / "per_image" / "clean.npz")["index"] for run in (zero, one)]
    assert np.array_equal(*images)


# -- runs of older versions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [None, "floor", "nearest", "reference"])
def test_a_stored_run_keeps_the_rounding_of_its_views(workdir, stored):
    config = to_plain(compose_config("train", ["regime=augmix", "encoding=onehot"]))
    assert config["regime"]["view_rounding"] == "reference"
    del config["preset"]["view_rounding"]
    config["regime"]["view_rounding"] = stored
    if stored is None:
        del config["regime"]["view_rounding"]
    Run("run").create(config)
    found = Run.open("run").config()
    assert found.regime.view_rounding == (stored or "floor")
    assert found.preset.view_rounding == "floor"


@pytest.mark.parametrize("regime", ["standard", "contrain"])
def test_a_stored_run_without_views_gets_no_rounding(workdir, regime):
    config = to_plain(compose_config("train", [f"regime={regime}", "encoding=onehot"]))
    del config["preset"]["view_rounding"]
    Run("run").create(config)
    assert not has_key(Run.open("run").config().regime, "view_rounding")


# -- encodings and regimes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "regime"), in_turn(["rgb", "onehot", "thermometer", "p2be", "p2be"], ["standard", "augmix"])
)
def test_every_encoding_trains_and_every_regime(workdir, encoding, regime):
    size = [] if encoding == "rgb" else ["encoding.M=8"]
    arguments = [*QUICKSTART, f"encoding={encoding}", f"regime={regime}", *size, "epochs=1", "limit_train=32"]
    outcome = train(*arguments, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    (row,) = rows_of(Path("run/metrics.csv"))
    terms = {"train/ce"} | ({"train/jsd"} if regime == "augmix" else set())
    terms |= {"train/smoothness", "lr/encoding", "table/bits_changed"} if encoding == "p2be" else set()
    every = {"train/ce", "train/jsd", "train/smoothness", "lr/encoding", "table/bits_changed"}
    assert set(row) & every == terms
    assert load_run("run").encoding.name == encoding
    assert Path("run/figures/table_similarity.png").exists()


def test_a_table_from_another_run_is_taken_and_stays(workdir, four_epochs):
    source = copy_of(four_epochs, workdir / "source")
    table = torch.randn(256, 8)
    checkpoint = checkpoint_of(source)
    checkpoint["state_dict"]["model.encoding.weight"] = table
    torch.save(checkpoint, source / "checkpoints" / "last.ckpt")
    run = trained("run", "encoding.table_from=source")
    assert torch.equal(weights_of(run)["model.encoding.weight"], table)
    assert torch.equal(load_run(run).encoding.table(), (table >= 0).float())
    rows = rows_of(run / "metrics.csv")
    assert "lr/encoding" not in rows[0]
    assert list(checkpoint_of(run)["optimizer_states"][0]["members"]) == ["backbone"]
    (cosine,) = {row["table/neighbour_cosine"] for row in rows}
    neighbours = torch.nn.functional.cosine_similarity(table[1:], table[:-1]).mean().item()
    assert float(cosine) == pytest.approx(neighbours, abs=1e-5)


# -- finding and reading ----------------------------------------------------------------------------------------------


def test_find_run_names_the_key_under_which_the_user_gave_the_folder(tmp_path):
    with pytest.raises(BadInput, match=r"^resume=.*nowhere: no such folder$"):
        Run.open(tmp_path / "nowhere", key="resume")


def test_only_weights_are_ever_unpickled(workdir, four_epochs):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("a checkpoint was unpickled whole",)

    run = copy_of(four_epochs, workdir / "run")
    torch.save({"state_dict": Bomb()}, run / "checkpoints" / "last.ckpt")
    with pytest.raises(BadInput, match="damaged"):
        load_checkpoint(Run(run))


@pytest.mark.parametrize("error", [FileExistsError("there"), ResourceError("full")])
def test_a_folder_that_could_not_be_claimed_is_left_as_it_was(tmp_path, monkeypatch, error):
    def fail(*arguments):
        raise error

    run = Run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("p2be_exp.runs.run.create_json", fail)
        with pytest.raises(BadInput if isinstance(error, FileExistsError) else ResourceError):
            run.create({"seed": 0})
    assert list(run.path.iterdir()) == []
    run.create({"seed": 0})  # so the same command can be given again
    assert {file.name for file in run.path.iterdir()} == {"config.yaml", "run.json"}


def test_a_status_that_cannot_be_read_is_none(tmp_path):
    run = Run(tmp_path)
    assert run.status() == {}
    run.status_file.write_text("{")
    assert run.status() == {}
    run.set_status("running", epochs=3)
    assert (run.status()["state"], run.status()["epochs"]) == ("running", 3)


def test_the_keys_that_go_with_resume_are_those_of_the_contract():
    assert RESUMABLE == (
        "trainer", "logger", "watch_every", "checkpoint_every",
        "data_dir", "dataset.dir", "dataset.workers", "dataset.timeout", "strict_plugins", "figures",
    )  # fmt: skip


def test_a_run_says_what_it_was_trained_on(four_epochs):
    cpu = {"accelerator": "cpu", "precision": "32-true", "processes": 1}
    assert Run(four_epochs).info()["trained_on"] == cpu
    trainer = Run(four_epochs).config().trainer
    two = jobs.trained_on(replace(trainer, devices=2), before=cpu)
    assert two == {"accelerator": "cpu", "precision": "32-true", "processes": "1, then 2"}
    assert jobs.trained_on(replace(trainer, devices=2), before={**cpu, "processes": 2})["processes"] == 2
