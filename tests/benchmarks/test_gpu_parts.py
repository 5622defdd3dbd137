"""What each part measures, on a CPU at a tiny size; and all of them, as the command."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import norm_relu
from benchmarks.gpu import one_encoding, part_step, part_tests, part_train
from benchmarks.gpu.one_encoding import OneEncoding
from benchmarks.gpu.part import Task, attempt
from benchmarks.gpu.part_step import BY_PART, TOGETHER
from benchmarks.gpu.rehearsal import Speed
from benchmarks.gpu.settings import ENCODINGS, parse_settings
from benchmarks.gpu.sizes import SIZES
from benchmarks.gpu.training_commands import Commands
from benchmarks.gpu.training_plan import TrainingPlan, read_plan
from benchmarks.gpu.training_rows import published_cells
from benchmarks.kernels import GpuWork
from benchmarks.step.measure import WHOLE
from benchmarks.step.training import Setting
from commandline import copy_of, corruptions, evaluate, train
from p2be_exp.runs.run import Run

ROOT = Path(__file__).parents[2]


class Rows(list):
    """The rows that a part writes."""

    def emit(self, table, **cells):
        self.append({"table": table, **cells})

    def of(self, table: str) -> list[dict]:
        return [row for row in self if row["table"] == table]


@pytest.fixture
def rows() -> Rows:
    return Rows()


def task(rows: Rows, *arguments: str, seconds: float = 600.0) -> Task:
    return Task(parse_settings(["out=out", "size=test", *arguments]), time.monotonic() + seconds, rows.emit)


# -- tests -------------------------------------------------------------------------------------------------------------

MARKED = """
import pytest
import torch

@pytest.mark.gpu
def test_good(): print("said")

@pytest.mark.gpu
def test_bad(): assert 1 == 2

@pytest.mark.gpu
@pytest.mark.skip(reason="not today")
def test_left(): pass

def test_unmarked(): pass
"""


def test_each_marked_test_is_a_row(tmp_path, warm_python):
    """In a process of its own: pytest inside pytest shares its state."""
    (tmp_path / "test_some.py").write_text(MARKED)
    (tmp_path / "test_others.py").write_text("import a_package_that_is_missing\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: needs one\naddopts = --numprocesses=2\n")
    code = (
        "import sys; from pathlib import Path; from benchmarks.gpu import part, part_tests; "
        "from benchmarks.gpu.settings import parse_settings; "
        "part_tests.run(part.Task(parse_settings(['out=out']), 0.0, part.Rows().emit), Path(sys.argv[1]))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=tmp_path, env=env, capture_output=True,
                          text=True, timeout=300, check=True)  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    outcomes = {row["test"].rpartition("::")[2]: (row["outcome"], row["why"]) for row in rows}
    assert outcomes.keys() == {"test_good", "test_bad", "test_left", "all"}
    assert outcomes["test_good"] == ("passed", "")
    assert outcomes["test_bad"][0] == "failed"
    assert "assert 1 == 2" in outcomes["test_bad"][1]
    assert outcomes["test_left"] == ("skipped", "Skipped: not today")
    assert outcomes["all"][0] == "1 passed, 1 failed, 1 skipped"
    assert "assert 1 == 2" in done.stdout


def test_without_pytest_the_part_is_passed_over(rows, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    part_tests.run(task(rows))
    assert rows == [{"table": "Notes", "what": "tests", "note": "pytest is not installed: the tests were passed over"}]


# -- steps -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_variant_is_measured_beside_its_baselines(rows, monkeypatch):
    """One that fails is noted, and the others are measured all the same."""
    original = part_step.make_step

    def make_step(variant, *settings):
        if variant == "onehot":
            raise MemoryError("no room")
        return original(variant, *settings)

    monkeypatch.setattr(part_step, "make_step", make_step)
    monkeypatch.setitem(SIZES, "test", replace(SIZES["test"], rounds=1))
    part_step.run(task(rows))
    kinds = [(regime, precision) for precision in ("bf16", "32") for regime in ("standard", "augmix")]
    variants = [variant for group in TOGETHER for variant in group if variant != "onehot"]
    steps = rows.of("A training step")
    found = [(row["regime"], row["precision"], row["encoding"]) for row in steps]
    assert found == [(*kind, variant) for kind in kinds for variant in variants]
    assert all(row["ms"] > 0 for row in steps)
    assert all(row["over_rgb"] == 1.0 for row in steps if row["encoding"] == "rgb")
    assert all((row["over_plain_form"] is not None) == (row["encoding"] == "p2be") for row in steps)
    assert [row["what"] for row in rows.of("Notes")] == [f"a step of onehot, {', '.join(kind)}" for kind in kinds]
    assert {row["note"] for row in rows.of("Notes")} == {"MemoryError: no room"}
    by_part = [(row["encoding"], row["regime"]) for row in rows.of("A training step by part") if row["part"] == WHOLE]
    assert by_part == [each for each in BY_PART for _ in ("ours", "plain form")]
    others = [row["what"].split(",")[0] for row in rows.of("Other ratios")]
    lspga = ["a step of lspga", "a step of lspga"]
    regimes = ["a step of contrain", "a step of advtrain"]
    stem = ["the stem alone", "the stem alone"]  # looked up and folded
    assert others == [*stem, "AugMix", *lspga, *regimes, "a stored cell of 40 images"]
    assert all(row["ratio"] > 0 for row in rows.of("Other ratios"))
    norms = {(row["form"], row["ms"] == norm_relu.MISSING) for row in rows.of("Batch norm and ReLU")}
    assert norms == {(norm_relu.PLAIN, False), (norm_relu.COMPILED, True), (norm_relu.FUSED, True)}


def test_a_profile_comes_into_the_row_that_was_timed(rows, monkeypatch):
    works = iter([GpuWork(1.5, 3), None])
    monkeypatch.setattr(part_step, "gpu_work", lambda *_: next(works))
    measured = {("standard", "32", name): {"id": name, "ms": 9.0, "kernels": None} for name in ("rgb", "p2be")}
    part_step.profile_steps(task(rows), torch.device("cpu"), measured)
    assert rows == [{"table": "A training step", "id": "rgb", "ms": 9.0, "gpu_busy_ms": 1.5, "kernels": 3}]


def test_a_profile_by_part_is_a_row_each(rows, monkeypatch):
    setting = Setting("p2be", "augmix", "wrn16_1", "32", 4, torch.device("cpu"))
    monkeypatch.setattr(part_step.by_part, "busy", lambda _: {WHOLE: GpuWork(2.0, 9), "views": GpuWork(0.5, 4)})
    part_step.profile_parts(task(rows), {setting: 8.0})
    found = [(row["part"], row["busy_percent_of_the_step"], row["kernels"]) for row in rows.of("GPU busy by part")]
    assert found == [(WHOLE, 25.0, 9), ("views", 6.2, 4)]


def test_what_there_is_no_time_for_is_noted(rows):
    part_step.run(task(rows, seconds=-1.0))
    assert {row["note"] for row in rows} == {"not measured: no time was left"}
    assert "evaluation of stored cells" in {row["what"] for row in rows}


def test_a_failure_is_noted_with_its_kind(rows):
    attempt(task(rows), "a measurement", lambda: 1 / 0)
    assert rows == [{"table": "Notes", "what": "a measurement", "note": "ZeroDivisionError: division by zero"}]


# -- trainings ---------------------------------------------------------------------------------------------------------

PLAN = TrainingPlan("test", ("p2be",), 1000, 0.001, 40, 5.0, 5.0, 100.0)


class Spy(Commands):
    """The commands; their names are kept."""

    called = ()

    def train(self, *arguments):
        Spy.called += ("train",)
        return super().train(*arguments)

    def resume(self, *arguments):
        Spy.called += ("resume",)
        return super().resume(*arguments)


def encoding_of(rows: Rows, work: Path, name: str = "p2be", plan: TrainingPlan = PLAN, stored=True) -> OneEncoding:
    settings = parse_settings(["out=out", "size=test", f"work={work}", "encodings=p2be"])
    given = Task(settings, time.monotonic() + 600, rows.emit)
    return OneEncoding(name, given, Spy(settings, plan, "cpu"), lambda: stored)


def poll_until(each: OneEncoding, done, seconds: float = 600.0) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, (each.run.path / "process.log").read_text()
        each.poll()
        time.sleep(0.05)


@pytest.mark.slow
def test_a_training_that_is_stopped_says_at_which_epoch_and_can_be_gone_on_with(
    rows, tmp_path, monkeypatch, warm_python
):
    monkeypatch.setattr(Spy, "called", ())
    first = encoding_of(rows, tmp_path)
    poll_until(first, first.run.metrics_file.is_file)
    first.abandon()
    poll_until(first, lambda: first.stage == "done")
    (result,) = rows.of("Encodings")
    assert result["state"] == "done"
    words = result["epochs"].split()
    assert words[:2] == ["stopped", "at"]
    assert words[3:] == ["of", "1000"]
    assert 1 <= float(words[2]) < 1000
    assert Run(first.run.path).status()["state"] == "interrupted"
    assert Path(rows.of("Archives")[-1]["file"]).is_file()
    (note,) = rows.of("Notes")
    assert note == {"table": "Notes", "what": "p2be", "note": "no time was left for corruptions and LS-PGA, "
                    "or for all of it"}  # fmt: skip

    again = encoding_of(rows, tmp_path)
    # What a resumed run goes on with is the matter of tests/training/test_resume.py.
    monkeypatch.setattr(Commands, "resume", lambda *_: [sys.executable, "-c", "pass"])
    poll_until(again, lambda: again.stage != "train")
    assert Spy.called == ("train", "resume")
    again.end(told=False)


def test_a_training_that_fails_is_noted_with_its_last_line(rows, tmp_path, monkeypatch):
    code = "import sys; print('first'); sys.exit('error: no data')"
    monkeypatch.setattr(Commands, "train", lambda *_: [sys.executable, "-c", code])
    each = encoding_of(rows, tmp_path)
    poll_until(each, lambda: each.stage == "done")
    assert rows == [{"table": "Notes", "what": "p2be, train", "note": "exit code 1: error: no data"}]


def test_a_finished_training_is_packed_and_waits_for_the_corrupted_images(rows, tmp_path, four_epochs):
    copy_of(four_epochs, tmp_path / "p2be")
    each = encoding_of(rows, tmp_path, plan=replace(PLAN, epochs=4), stored=None)
    for _ in range(3):
        each.poll()
    assert each.stage == "cells"
    assert not (tmp_path / "p2be" / "evaluations").exists()
    assert rows.of("Training")[-1]["epoch"] == "4 of 4"
    assert rows.of("Encodings")[-1]["epochs"] == "4 of 4"
    assert rows.of("Archives")[-1]["archive"] == "p2be.zip"


@pytest.mark.parametrize("stored", [True, False])
def test_images_that_could_not_be_made_before_are_made_on_the_fly(tmp_path, stored):
    settings = parse_settings(["out=out", "size=test", f"work={tmp_path}"])
    command = Commands(settings, PLAN, "cpu").cells(tmp_path / "rgb", "cells_8", stored)
    assert any(word.startswith("corruption.dir=") for word in command) == stored
    assert "corruption=generated" in command


def test_published_errors_stand_beside_the_full_size_alone(rows, tmp_path, four_epochs):
    assert {name: published_cells(name) for name in ENCODINGS} == {
        "rgb": {"published_50_epochs": 36.2, "published_200_epochs": 35.2},
        "onehot": {"published_50_epochs": 36.3, "published_200_epochs": 34.4},
        "thermometer": {"published_50_epochs": 36.3, "published_200_epochs": 35.1},
        "p2be": {"published_50_epochs": 35.9, "published_200_epochs": 34.2},
    }
    copy_of(four_epochs, tmp_path / "p2be")
    for size, there in (("full", True), ("test", False)):
        each = encoding_of(rows, tmp_path, plan=replace(PLAN, size=size), stored=None)
        each.poll()
        assert ("published_50_epochs" in rows.of("Encodings")[-1]) == there


class Fake:
    """An encoding that trains until it is told to stop, and evaluates until it is abandoned."""

    encoding = "fake"

    def __init__(self):
        self.stage, self.calls = "train", []

    def poll(self):
        pass

    def stop(self):
        self.calls.append("stop")
        self.stage = "cells"

    def abandon(self):
        self.calls.append("abandon")
        self.stage = "done"

    def give_up(self):
        self.calls.append("give up")
        self.stage = "done"

    def look(self):
        pass


def test_the_failure_of_one_is_noted_and_the_others_go_on(rows):
    broken, other = Fake(), Fake()
    broken.poll = lambda: 1 / 0
    given = Task(parse_settings(["out=out", "size=test"]), 100.0, rows.emit)
    looks = []
    part_train._watch(given, PLAN, other, [broken, other], clock=lambda: float(len(looks)), sleep=looks.append)
    assert broken.calls == ["give up"]
    assert other.calls == ["stop", "abandon"]
    assert rows.of("Notes") == [{"table": "Notes", "what": "fake", "note": "ZeroDivisionError: division by zero"}]


@pytest.mark.parametrize(
    ("seconds", "calls"),
    [(-1.0, ["abandon"]), (PLAN.evaluation_seconds + 2 * PLAN.start_seconds, ["stop", "abandon"])],
)
def test_training_ends_early_enough_to_be_evaluated(rows, seconds, calls):
    """The clock goes on by a second a look."""
    each, looks = Fake(), []
    given = Task(parse_settings(["out=out", "size=test"]), seconds, rows.emit)
    part_train._watch(given, PLAN, each, [each], clock=lambda: float(len(looks)), sleep=looks.append)
    assert each.calls == calls


def test_epochs_are_planned_for_the_time_that_a_rehearsal_leaves(rows, tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(Task, "left", lambda self: order.append("left") or 300.0)
    monkeypatch.setattr(part_train, "_rehearsed", lambda _: order.append("rehearsed") or Speed(4.0, 100.0, 100.0))
    monkeypatch.setattr(part_train, "_Maker", lambda *_: pytest.fail("begun"))
    with pytest.raises(pytest.fail.Exception, match="begun"):
        part_train.run(task(rows, f"work={tmp_path / 'work'}"))
    assert order == ["rehearsed", "left"]


def test_without_a_rehearsal_one_epoch_is_planned_and_the_failure_noted(rows, tmp_path, monkeypatch):
    def rehearse(*_):
        raise RuntimeError("no memory for four")

    monkeypatch.setattr(part_train, "rehearse", rehearse)
    monkeypatch.setattr(part_train, "_Maker", lambda *_: pytest.fail("begun"))
    with pytest.raises(pytest.fail.Exception, match="begun"):
        part_train.run(task(rows, f"work={tmp_path / 'work'}"))
    assert "no memory for four" in rows.of("Notes")[0]["note"]
    assert read_plan(tmp_path / "work").epochs == 1


# -- everything --------------------------------------------------------------------------------------------------------


class Ran:
    """A command that has run in this process, as a process that has ended."""

    def __init__(self, command, *, stdout, **settings):
        words = [str(word) for word in command[list(command).index(sys.executable) + 1 :]]
        if words[0] == "-m":
            assert words[1] == "p2be_exp.corruptions"
            outcome = corruptions(*words[2:])
        else:
            outcome = {"train.py": train, "evaluate.py": evaluate}[Path(words[0]).name](*words[1:])
        stdout.write(outcome.out + outcome.err)
        self.returncode = outcome.code

    def poll(self):
        return self.returncode


@pytest.mark.slow
def test_every_command_of_a_training_part_does_what_it_is_for(rows, tmp_path, monkeypatch, warm_python):
    """The rehearsal in a process of its own, the commands in this one."""
    work = tmp_path / "work"
    monkeypatch.setattr(part_train, "LOOK", 0.0)
    monkeypatch.setattr(part_train, "usable_cpus", lambda: 1)
    given = task(rows, f"work={work}", "encodings=p2be", "epochs=2")
    speed = part_train._rehearsed(given)
    assert min(speed) > 0
    monkeypatch.setattr(part_train, "_rehearsed", lambda _: speed)
    processes = SimpleNamespace(Popen=Ran, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(one_encoding, "subprocess", processes)
    monkeypatch.setattr(part_train, "subprocess", processes)
    part_train.run(given)
    assert not rows.of("Notes"), rows.of("Notes")
    result = rows.of("Encodings")[-1]
    assert (result["epochs"], result["state"], result["cells"]) == ("2 of 2", "done", "4 of 4")
    assert 0 <= result["mean"] <= 100
    assert result["ls_pga_at_8"].endswith(" on 10")
    assert (work / "corrupted" / "fog.npy").is_file()
    assert Path(rows.of("Archives")[-1]["file"]).name == "p2be.zip"


@pytest.mark.slow
def test_the_command_ends_with_its_table(tmp_path, warm_python):
    """In processes of their own, down to a training that is refused at once: its folder has a damaged run."""
    out, work = tmp_path / "out", tmp_path / "work"
    (work / "p2be").mkdir(parents=True)
    (work / "p2be" / "run.json").write_text("{")
    PLAN.write(work)
    command = [sys.executable, "-m", "benchmarks.gpu", f"out={out}", f"work={work}", "size=test", "minutes=30",
               "encodings=p2be", "parts=train", "epochs=1000"]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    table = (out / "table.md").read_text()
    assert table in done.stdout
    names = {path.name for path in out.iterdir()}
    assert names == {"rows.jsonl", "table.md", "p2be.zip"} | ({"log.txt"} & names)
    rows = Rows(json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines())
    assert [row["state"] for row in rows.of("Parts")] == ["running", "done"]
    (note,) = rows.of("Notes")
    assert note["what"] == "p2be, train"
    assert note["note"].startswith(f"exit code 2: error: resume={work}/p2be: ")
    assert note["note"] in table
