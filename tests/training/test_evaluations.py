"""``limit_attack``: attacks on fewer images than corruptions, with results of their own."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from commandline import TINY, copy_of, evaluate, refusal, rows_of, train, trained, untimed
from p2be_exp.data.split import limit_test
from p2be_exp.evaluation.results import Results
from p2be_exp.runs.run import Run

ATTACKED = ("attack=random_in_ball", "attack.eps_levels=[2,8]", "limit_test=30", "limit_attack=10", "epochs=1")
CORRUPTED = ("corruption=generated", "corruption.names=[fog]", "corruption.severities=[1,3]")

pytestmark = pytest.mark.usefixtures("workdir")


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """One run with both evaluations, of its weights and of their average."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    return trained(folder, *ATTACKED, *CORRUPTED, "optim.ema=0.5", "logger=tensorboard")


def counts(folder: Path) -> dict[str, int]:
    return {row["condition"]: int(row["n"]) for row in rows_of(folder / "results.csv")}


def indices(folder: Path, condition: str) -> list[int]:
    with np.load(folder / "per_image" / f"{condition}.npz") as images:
        return images["index"].tolist()


def test_attacks_have_fewer_images_and_a_folder_of_their_own(measured):
    own, attacks = measured, measured / "evaluations" / "attacks"
    assert counts(own) == {"clean": 30, "corruption/fog/1": 30, "corruption/fog/3": 30}
    assert counts(attacks) == {"clean": 10, "attack/random_in_ball/2": 10, "attack/random_in_ball/8": 10}
    assert indices(own, "clean") == limit_test(500, 30, 0).tolist()
    assert indices(attacks, "clean") == limit_test(500, 10, 0).tolist()
    assert set(indices(attacks, "clean")) < set(indices(own, "clean"))
    summaries = [json.loads((folder / "results.json").read_text()) for folder in (own, attacks)]
    assert [each["settings"]["limit_test"] for each in summaries] == [30, 10]
    assert [each["settings"]["attack"]["name"] for each in summaries] == ["none", "random_in_ball"]
    assert [each["settings"]["corruption"]["name"] for each in summaries] == ["generated", "none"]
    assert summaries[0]["sanity"] is None
    assert summaries[1]["sanity"] is not None


def test_they_are_those_of_an_evaluation_by_hand(measured, tmp_path):
    run = copy_of(measured, tmp_path / "copy")
    keys = ("attack=random_in_ball", "attack.eps_levels=[2,8]", "corruption=none", "limit_test=10", "trainer=cpu")
    for which, name in (("last", "attacks"), ("ema", "ema_attacks")):
        assert evaluate(f"run={run}", f"checkpoint={which}", "name=again", *keys).code == 0
        again, ours = (untimed(run / "evaluations" / folder / "results.csv") for folder in ("again", name))
        assert again == ours
        Path(run / "evaluations" / "again").rename(run / "evaluations" / f"again_{which}")


def test_loggers_have_the_results_of_both(measured):
    events = EventAccumulator(str(measured / "tensorboard"))
    events.Reload()
    own, attacks = (json.loads((measured / at / "results.json").read_text()) for at in ("", "evaluations/attacks"))
    found = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found["clean_error"] == [pytest.approx(own["clean_error"])]
    for of, name in ((own, "corruption/fog/3"), (attacks, "attack/random_in_ball/8")):
        assert found[f"{name}/error"] == [pytest.approx(of["conditions"][name]["error"])]
    assert "figures/corruptions" in events.Tags()["images"]
    told = HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    assert told.session_start_info.hparams["attack.name"].string_value == "random_in_ball"


def test_a_job_that_is_stopped_among_the_attacks_goes_on_there(monkeypatch):
    added, add = [], Results.add

    def stop_behind_the_first(self, row, images):
        add(self, row, images)
        added.append(row.condition)
        if row.condition.startswith("attack/"):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Results, "add", stop_behind_the_first)
        assert train(*TINY, *ATTACKED, "hydra.run.dir=run").code == 143
    assert added == ["clean", "clean", "attack/random_in_ball/2"]
    assert Run("run").status()["state"] == "interrupted"
    told = refusal(train("resume=run", "trainer.precision=bf16"))
    assert told == "resume=run: holds results of other settings (precision=32); use the same settings"
    assert train("resume=run").code == 0
    whole = trained("whole", *ATTACKED)
    for folder in ("", "evaluations/attacks"):
        assert untimed(Path("run", folder, "results.csv")) == untimed(whole / folder / "results.csv")


def test_there_have_to_be_as_many_images():
    told = refusal(train(*TINY, *ATTACKED, "limit_test=null", "limit_attack=501", "hydra.run.dir=run"))
    assert told == "limit_attack=501: must be between 1 and 500 (there are 500 test images)"
    assert not Path("run").exists()


def test_a_sweep_of_such_jobs_reports_both():
    small = ("scale=small", "encoding=rgb", "limit_train=64", "limit_test=20", "limit_attack=10", "trainer=cpu")
    few = ("attack.steps=1", "attack.queries=2")
    outcome = train("sweeps=cpu_study", *small, *few, "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.err
    for folder, table in (("report", "corruption"), ("report_attacks", "attack")):
        assert f"report in sweep/{folder}: " in outcome.out
        assert table in Path("sweep", folder, "report.md").read_text()


def test_a_sweep_without_a_finished_job_reports_nothing(monkeypatch):
    """Its only job fails among the attacks, whose results have begun."""
    add = Results.add

    def fail_among_the_attacks(self, row, images):
        add(self, row, images)
        if row.condition.startswith("attack/"):
            raise RuntimeError("on purpose")

    monkeypatch.setattr(Results, "add", fail_among_the_attacks)
    small = ("scale=small", "encoding=rgb", "limit_train=64", "limit_test=20", "limit_attack=10", "trainer=cpu")
    outcome = train("sweeps=cpu_study", *small, "hydra.sweep.dir=sweep")
    assert outcome.code == 1
    assert Path("sweep/0/evaluations/attacks/results.json").exists()
    assert "RUNS=" not in outcome.err
    assert not Path("sweep/report").exists()
    assert not Path("sweep/report_attacks").exists()
