"""The loggers beside metrics.csv: a W&B run a job, tagged, in its sweep's group, finished; TensorBoard's files."""

import importlib.util
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import pytorch_lightning as pl
import torch
import wandb
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from pytorch_lightning.plugins.environments import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from commandline import TINY, at_batch, refusal, rows_of, train, untimed, weights_of
from p2be_exp import tracking
from p2be_exp.config import training_config
from p2be_exp.config.schema import CSVLoggerConfig, TrainConfig, TrainerConfig
from p2be_exp.data import ImageSet, ResidentLoader
from p2be_exp.runs.run import Run
from p2be_exp.training.callbacks import StepLog
from two_ranks import on_two_ranks
from wandb_records import keys_of, of_kind, records

OFFLINE = ["logger=wandb", "logger.wandb.mode=offline", "logger.wandb.log_every_n_steps=2"]
TAGS = {"p2be", "wrn16_1", "digits", "standard", "official"}


@pytest.mark.slow
def test_every_job_of_a_sweep_has_a_finished_run_of_its_own_in_one_group(wandb_dirs):
    outcome = train(
        "-m", *TINY, *OFFLINE, "encoding=p2be,thermometer", "logger.wandb.tags=[mine]", "hydra.sweep.dir=sweep"
    )
    assert outcome.code == 0, outcome.err
    ids = []
    for job, encoding in (("0", "p2be"), ("1", "thermometer")):
        folder = Path("sweep") / job
        found = records(folder)
        run = of_kind(found, "run")[-1]
        ids.append(run.run_id)
        assert Run(folder).info()["wandb_id"] == run.run_id
        assert run.run_group == "sweep"
        assert set(run.tags) == TAGS - {"p2be"} | {encoding, "mine"}
        assert run.display_name == f"{encoding}-M8_wrn16_1_standard_digits_seed0"
        (end,) = of_kind(found, "exit")
        assert end.exit_code == 0
        logged = keys_of(found, "history")
        assert {"train/ce", "train/error", "lr/backbone", "step/ce", "epoch"} <= logged
        told = keys_of(found, "summary")
        assert "clean/error" in told
        files = folder.glob("wandb/offline-run-*/files/media/*/**/*")
        assert {file.suffix for file in files if file.is_file()} == {".json", ".png"}
    assert ids[0] != ids[1]
    assert wandb.run is None


@pytest.mark.slow
def test_jobs_side_by_side_train_and_log_what_one_after_another_does(wandb_dirs):
    """Two processes that share a device: seeds, folders, W&B's runs and the refusal of a bad job are each job's own."""
    arguments = ("-m", *TINY, "epochs=1", "trainer=cpu", "seed=3,4", "encoding.M=8,0")
    assert train(*arguments, "logger=csv", "hydra.sweep.dir=alone").code == 2
    side_by_side = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    outcome = train(*arguments, *OFFLINE, *side_by_side, "hydra.sweep.dir=together")
    assert outcome.code == 2
    assert "2 of 4 jobs failed:" in outcome.err
    ids = []
    for job, seed in (("0", 3), ("1", 4)):
        one, other = (Path(folder) / job for folder in ("alone", "together"))
        mine, theirs = weights_of(one), weights_of(other)
        assert all(mine[name].equal(theirs[name]) for name in mine)
        for file in ("metrics.csv", "results.csv"):
            assert untimed(one / file) == untimed(other / file)
        assert Run(other).config().seed == seed
        assert Run(other).status()["state"] == "finished"
        found = records(other)
        run = of_kind(found, "run")[-1]
        assert (run.run_group, Run(other).info()["wandb_id"]) == ("together", run.run_id)
        assert run.display_name.endswith(f"_seed{seed}")
        ids.append(run.run_id)
    assert ids[0] != ids[1]
    for job in ("2", "3"):
        status = Run(Path("together") / job).status()
        assert (status["exit_code"], status["error"]) == (2, "encoding.M=0: must be between 1 and 1024")
    assert sorted(each.name for each in Path("together").iterdir() if each.is_dir()) == ["0", "1", "2", "3"]


# -- W&B with its calls recorded --------------------------------------------------------------------------------------


class FakeRun:
    """Takes the place of a W&B run: what it was not given, it names itself."""

    def __init__(self, number, settings):
        self.summary, self.logged, self.config, self.step = {}, [], {}, 0
        self.id, self.group = settings.get("id") or f"run{number}", settings["group"] or ""
        self.project, self.disabled = settings["project"] or "uncategorized", False

    def log(self, values, step=None):
        self.logged.append(values)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments, **settings: None


@pytest.fixture
def calls(wandb_dirs, monkeypatch):
    """The arguments of every wandb.init and wandb.finish, in their order."""
    found = []
    runs = []

    def init(**settings):
        found.append(("init", settings))
        runs.append(FakeRun(len(runs), settings))
        monkeypatch.setattr(wandb, "run", None)
        return runs[-1]

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "finish", lambda exit_code=None: found.append(("finish", exit_code)))
    monkeypatch.setattr(WandbLogger, "log_image", lambda *arguments, **settings: None)
    monkeypatch.setattr(WandbLogger, "log_table", lambda *arguments, **settings: None)
    return found


ONLINE = [*TINY, "logger=wandb", "epochs=1"]


def test_a_run_is_opened_with_its_settings_and_closed(calls):
    arguments = [f"logger.wandb.{setting}" for setting in ("project=mine", "entity=us", "group=both", "tags=[a,b]")]
    assert train(*ONLINE, *arguments, "hydra.run.dir=run").code == 0
    (_, settings), end = calls
    assert (settings["project"], settings["entity"], settings["group"]) == ("mine", "us", "both")
    assert settings["mode"] is None  # W&B's to decide
    facts = Run("run").info()
    assert (facts["wandb_id"], facts["wandb_group"], facts["wandb_project"]) == ("run0", "both", "mine")
    assert set(settings["tags"]) == TAGS | {"a", "b"}
    assert settings["dir"] == "run"
    assert end == ("finish", 0)


@pytest.mark.parametrize(("failure", "code"), [(RuntimeError("no memory left"), 1), ("signal", 130)])
def test_a_run_that_ends_badly_is_closed_with_its_code(calls, monkeypatch, failure, code):
    def act():
        if failure == "signal":
            os.kill(os.getpid(), signal.SIGINT)
        else:
            raise failure

    at_batch(monkeypatch, 0, 1, act)
    assert train(*ONLINE, "hydra.run.dir=run").code == code
    assert [name for name, _ in calls] == ["init", "finish"]
    assert calls[-1] == ("finish", code)


def test_a_resumed_run_goes_on_under_its_id(calls, monkeypatch):
    at_batch(monkeypatch, 0, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train(*ONLINE, "hydra.run.dir=run").code == 143
    assert train("resume=run").code == 0
    first, second = (settings for name, settings in calls if name == "init")
    assert "id" not in first
    assert (second["id"], second["resume"]) == ("run0", "allow") == (Run("run").info()["wandb_id"], "allow")
    assert (first["project"], second["project"]) == (None, "uncategorized")  # where W&B had put it
    assert (first["group"], second["group"]) == (None, None)


@pytest.mark.parametrize("asked", ["logger.wandb.mode=offline", "WANDB_MODE=offline"])
def test_an_offline_run_cannot_be_resumed_so_a_new_one_goes_on_in_a_group(calls, monkeypatch, asked):
    if asked.startswith("WANDB"):
        monkeypatch.setenv(*asked.split("="))
    keys = [asked] if asked.startswith("logger") else []
    at_batch(monkeypatch, 0, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train(*ONLINE, *keys, "hydra.run.dir=run").code == 143
    assert train("resume=run").code == 0
    first, second = (settings for name, settings in calls if name == "init")
    assert not {"id", "resume"} & {*first, *second}
    assert (first["group"], second["group"]) == (None, "run")
    assert first["config"]["run_folder"] == second["config"]["run_folder"] == "run"
    facts = Run("run").info()
    assert (facts["wandb_id"], facts["wandb_group"]) == ("run1", "run")


@pytest.mark.parametrize("sent", [False, True])
def test_a_run_that_was_offline_goes_on_online_only_once_it_was_sent(calls, monkeypatch, sent):
    """Else a second run of its id would be there before it, and be replaced by it."""
    at_batch(monkeypatch, 0, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train(*ONLINE, "logger.wandb.mode=offline", "hydra.run.dir=run").code == 143
    folder = Path("run/wandb/offline-run-20260101_000000-run0")
    folder.mkdir(parents=True)
    (folder / "run-run0.wandb").touch()
    if sent:
        (folder / "run-run0.wandb.synced").touch()
    assert train("resume=run", "logger.wandb.mode=online").code == 0
    _, second = (settings for name, settings in calls if name == "init")
    assert second.get("id") == ("run0" if sent else None)
    assert second["group"] == (None if sent else "run")


def test_a_resumed_job_of_a_sweep_stays_in_its_group(calls, monkeypatch):
    at_batch(monkeypatch, 0, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train("-m", *ONLINE, "seed=0", "hydra.sweep.dir=sweep").code == 143
    assert train("resume=sweep/0").code == 0
    assert [settings["group"] for name, settings in calls if name == "init"] == ["sweep", "sweep"]


def test_wandb_that_cannot_start_is_bad_input(wandb_dirs, monkeypatch):
    def init(**settings):
        raise wandb.errors.UsageError("api_key not configured (no-tty). call wandb.login()\nmore lines")

    monkeypatch.setattr(wandb, "init", init)
    message = refusal(train(*ONLINE, "hydra.run.dir=run"))
    assert message.startswith("logger=wandb: W&B could not start (api_key not configured")
    assert message.endswith("log in, or logger.wandb.mode=offline")
    assert Run("run").status()["state"] == "failed"


def test_a_variable_that_wandb_does_not_take_is_named_with_what_it_takes(wandb_dirs, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    message = refusal(train(*ONLINE, "hydra.run.dir=run"))
    assert message.startswith("logger=wandb: W&B could not start (")
    assert " mode Input should be 'online', 'offline'" in message


# -- TensorBoard ------------------------------------------------------------------------------------------------------


def test_tensorboard_has_the_rows_and_the_steps(workdir):
    arguments = ["logger=tensorboard", "logger.tensorboard.log_every_n_steps=2", "dataset.val_size=10"]
    outcome = train(*TINY, *arguments, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    events = EventAccumulator(str(Path("run/tensorboard")))
    events.Reload()
    rows = rows_of(Path("run/metrics.csv"))
    columns = set(rows[0]) - {"epoch", "step"}
    assert columns <= set(events.Tags()["scalars"])
    assert "train/ce" in columns
    for column in ("train/ce", "train/error", "lr/encoding"):
        logged = [(event.step, event.value) for event in events.Scalars(column)]
        assert logged == [(int(row["step"]), pytest.approx(float(row[column]), rel=1e-6)) for row in rows]
    assert [event.step for event in events.Scalars("step/ce")] == [2, 4, 6, 8]


def test_tensorboard_that_is_not_installed_is_bad_input(workdir, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = refusal(train(*TINY, "logger=tensorboard", "hydra.run.dir=run"))
    assert message == "logger=tensorboard: not installed; pip install 'p2be-exp[tensorboard]'"


# -- several processes ------------------------------------------------------------------------------------------------


class Terms(pl.LightningModule):
    """The loss of an image is its index."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        loss = 0 * self.layer(torch.ones(1, 1)).sum() + batch.indices[: max(batch.count, 1)].float().mean()
        self.last_terms, self.last_counts = {"loss": loss.detach()}, {"loss": batch.count}
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def step_log(folder, rank: int = 0, world_size: int = 1) -> list:
    """What is logged of batches of three, by a logger that the first process alone has."""
    logged = []
    logger = mock.create_autospec(CSVLogger, instance=True, log_dir=str(folder))
    logger.log_metrics.side_effect = lambda values, step: logged.append((step, values)) if "epoch" in values else None
    images = ImageSet(torch.zeros(7, 3, 2, 2, dtype=torch.uint8), torch.zeros(7).long(), ("a",))
    several = {"strategy": DDPStrategy(cluster_environment=TorchElasticEnvironment())} if world_size > 1 else {}
    pl.Trainer(
        accelerator="cpu",
        devices=world_size,
        max_epochs=2,
        logger=logger if rank == 0 else False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[StepLog([1])],
        default_root_dir=folder,
        **several,
    ).fit(Terms(), ResidentLoader(images, 3, shuffle_seed=None, rank=rank, world_size=world_size))
    return logged


@pytest.mark.filterwarnings("ignore")
def test_a_step_of_two_processes_is_logged_as_that_of_one(tmp_path):
    """Batches of three and of one image, so that the two have shares of one and two, and of one and none."""
    first, second = (each.value for each in on_two_ranks(tmp_path, lambda rank: step_log(tmp_path, rank, 2)))
    assert second == []
    assert first == [
        (step, {"step/loss": pytest.approx(loss, abs=1e-6), "epoch": epoch})
        for step, (epoch, loss) in enumerate([(0, 1), (0, 4), (0, 6), (1, 1), (1, 4), (1, 6)], 1)
    ]
    assert step_log(tmp_path) == first


def test_a_step_without_an_image_that_can_be_read_is_not_logged():
    logger = mock.Mock()
    trainer = SimpleNamespace(global_step=1, current_epoch=0, loggers=[logger])
    for count in (0, 3):
        module = SimpleNamespace(last_terms={"loss": torch.tensor(2.5)}, last_counts={"loss": count})
        StepLog([1]).on_train_batch_end(trainer, module, None, None, 0)
    assert logger.log_metrics.call_args_list == [mock.call({"step/loss": 2.5, "epoch": 0}, step=1)]


def test_terms_of_a_later_step_on_a_batch_are_logged_beside_those_of_the_first():
    logger = mock.Mock()
    trainer = SimpleNamespace(global_step=1, current_epoch=0, loggers=[logger])
    terms = {name: torch.tensor(value) for name, value in {"loss": 2.5, "second": 0.5, "third": 1.0}.items()}
    module = SimpleNamespace(last_terms=terms, last_counts={"loss": 4, "second": 3, "third": 0})
    StepLog([1]).on_train_batch_end(trainer, module, None, None, 0)
    logger.log_metrics.assert_called_once_with({"step/loss": 2.5, "step/second": 0.5, "epoch": 0}, step=1)


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [{}, {"csv": CSVLoggerConfig()}])
def test_csv_alone_needs_no_logger(tmp_path, chosen):
    assert (
        tracking.build_loggers(TrainConfig(logger=chosen, trainer=TrainerConfig(devices=1, num_nodes=1)), Run(tmp_path))
        == []
    )


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "p2be-M64_wrn40_2_augmix_cifar100_seed0"),
        (
            ["encoding=rgb", "dataset=digits", "regime=standard", "backbone=wrn16_1", "seed=7"],
            "rgb_wrn16_1_standard_digits_seed7",
        ),
        (["model=mix", "model.alpha=0.55"], "p2be-M64_mix-alpha0.55_wrn40_2_none_cifar100_seed0"),
        (["model=fpd", "encoding=rgb"], "rgb_fpd_wrn40_2_fpd_cifar100_seed0"),
        (["model=fpd", "model.tanh=false", "regime=standard"], "p2be-M64_fpd-no-tanh_wrn40_2_standard_cifar100_seed0"),
        (["backbone.activation=elu"], "p2be-M64_wrn40_2-elu_augmix_cifar100_seed0"),
    ],
)
def test_a_run_is_named_after_what_is_trained(overrides, name):
    assert tracking.run_name(training_config(overrides)) == name
