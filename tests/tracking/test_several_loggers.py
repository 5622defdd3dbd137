"""Two loggers of one run: W&B offline, as it writes it, and TensorBoard; stopped, resumed, and run by W&B's agent."""

import os
import signal
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from commandline import TINY, at_batch, evaluate_clean, refusal, rows_of, train
from p2be_exp.runs.run import Run
from p2be_exp.system.forms import read_json
from wandb_records import config_of, keys_of, of_kind, records_of

BOTH = (
    "logger=[wandb,tensorboard]",
    "logger.wandb.log_every_n_steps=3",
    "logger.tensorboard.log_every_n_steps=2",
)


def steps_of(found: list, name: str) -> list[int]:
    """The steps at which a W&B run has a value of the history."""
    steps = []
    for row in of_kind(found, "history"):
        values = {item.key or item.nested_key[0]: item.value_json for item in row.item}
        steps += [int(values["trainer/global_step"])] if name in values else []
    return steps


@pytest.fixture
def stopped(wandb_dirs, monkeypatch):
    """A run of eight steps with both loggers, stopped after the third, and what the command printed."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_SILENT")
    at_batch(monkeypatch, 0, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    outcome = train(*TINY, *BOTH, "hydra.run.dir=run")
    assert outcome.code == 143, outcome.err
    return outcome


def test_both_loggers_have_what_a_stopped_and_resumed_run_has_to_say(stopped):
    outcome = train("resume=run")
    assert outcome.code == 0, outcome.err
    assert "warn" not in (stopped.err + outcome.err).lower()
    files = sorted(Path("run/wandb").glob("offline-run-*/run-*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    first, second = (records_of(file) for file in files)
    (opened,), (again,) = of_kind(first, "run"), of_kind(second, "run")
    assert opened.run_id != again.run_id == Run("run").info()["wandb_id"]
    assert (opened.run_group, again.run_group) == ("", "run")
    for part in (first, second):
        assert config_of(part)["encoding"]["M"] == config_of(part)["M"] == 8
        assert config_of(part)["run_folder"] == "run"
        assert not of_kind(part, "config")  # which Lightning would send, once more
    assert steps_of(second, "step/ce") == [6]
    assert steps_of(second, "train/ce") == [4, 8]
    assert "clean_error" in keys_of(second, "summary")

    events = EventAccumulator("run/tensorboard")
    events.Reload()
    # TensorBoard reads files by their names, whose time is in whole seconds: parts of one second come in any order.
    assert sorted(event.step for event in events.Scalars("step/ce")) == [2, 4, 6, 8]
    rows = rows_of(Path("run/metrics.csv"))
    assert [event.step for event in events.Scalars("train/ce")] == [int(row["step"]) for row in rows] == [4, 8]


def test_tensorboard_has_the_results_and_the_settings_beside_them(workdir):
    keys = ("corruption=generated", "corruption.names=[fog]", "corruption.severities=[1]", "hydra.run.dir=run")
    outcome = train(*TINY, "epochs=1", "logger=tensorboard", *keys)
    assert outcome.code == 0, outcome.err
    results = read_json(Path("run/results.json"))
    events = EventAccumulator("run/tensorboard")
    events.Reload()
    for name, error in (
        ("clean_error", results["clean_error"]),
        ("mean_corruption_error", results["mean_corruption_error"]),
        ("corruption/fog/1/error", results["conditions"]["corruption/fog/1"]["error"]),
    ):
        assert [(event.step, event.value) for event in events.Scalars(name)] == [(4, pytest.approx(error, rel=1e-6))]
    assert "hp_metric" not in events.Tags()["scalars"]
    figures = {f"figures/{file.stem}" for file in Path("run/figures").glob("*.png")}
    assert set(events.Tags()["images"]) == figures != set()
    (text,) = events.Tensors("results/text_summary")
    assert b"| corruption/fog/1 | " in text.tensor_proto.string_val[0]

    def told(tag: str) -> HParamsPluginData:
        return HParamsPluginData.FromString(events.SummaryMetadata(f"_hparams_/{tag}").plugin_data.content)

    metrics = {info.name.tag for info in told("experiment").experiment.metric_infos}
    assert {"clean_error", "mean_corruption_error"} <= metrics
    assert not any(name.endswith("/error") for name in metrics)
    settings = told("session_start_info").session_start_info.hparams
    assert settings["encoding.M"].number_value == 8
    assert settings["encoding.name"].string_value == "p2be"
    assert yaml.safe_load(Path("run/tensorboard/hparams.yaml").read_text())["encoding"]["M"] == 8


def test_under_an_agent_of_w_and_b_the_run_that_is_recorded_is_the_agents(wandb_dirs, monkeypatch):
    for variable, value in (("SWEEP_ID", "a_sweep"), ("RUN_ID", "of_agent"), ("MODE", "offline"), ("PROJECT", "mine")):
        monkeypatch.setenv(f"WANDB_{variable}", value)
    assert train(*TINY, "epochs=1", "logger=wandb", "hydra.run.dir=run").code == 0
    (file,) = Path("run/wandb").glob("offline-run-*/run-*.wandb")
    (run,) = of_kind(records_of(file), "run")
    facts = Run("run").info()
    assert run.run_id == facts["wandb_id"] == "of_agent"
    assert run.project == facts["wandb_project"] == "mine"


def test_a_resumed_run_may_have_other_loggers_and_keeps_the_settings_of_its_own(stopped, monkeypatch):
    at_batch(monkeypatch, 1, 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train("resume=run", "logger=tensorboard").code == 143
    assert train("resume=run", "logger=[tensorboard,csv]").code == 0
    assert len([*Path("run/wandb").glob("offline-run-*")]) == 1
    events = EventAccumulator("run/tensorboard")
    events.Reload()
    # TensorBoard reads files by their names, whose time is in whole seconds: parts of one second come in any order.
    assert sorted(event.step for event in events.Scalars("step/ce")) == [2, 4, 6, 8]


def test_a_run_folder_in_which_a_logger_was_not_named_resumes_and_is_evaluated(workdir, monkeypatch):
    """As older versions wrote it: the keys of the one logger in the group itself."""
    at_batch(monkeypatch, 0, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train(*TINY, "logger=tensorboard", "hydra.run.dir=run").code == 143
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    config["logger"] = {"name": "tensorboard", "log_every_n_steps": 4}
    Path("run/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    said = refusal(train("resume=run", "logger.log_every_n_steps=3"))
    assert said == "logger.log_every_n_steps=3: unknown key; it is now logger.tensorboard.log_every_n_steps"
    assert train("resume=run").code == 0
    events = EventAccumulator("run/tensorboard")
    events.Reload()
    assert [event.step for event in events.Scalars("step/ce")] == [4, 8]
    assert evaluate_clean("run=run").code == 0
