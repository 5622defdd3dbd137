"""``python -m benchmarks.step``: what is measured of a training, and the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.kernels import GpuWork
from benchmarks.launches import Launches
from benchmarks.step import command, measure
from benchmarks.step.forms import ABSENT, FORMS
from benchmarks.step.measure import (
    CLOCKS,
    OURS,
    PUBLISHED,
    WHOLE,
    Effort,
    Measured,
    Round,
    busy,
    busy_rows,
    has_plain_form,
)
from benchmarks.step.parts import PARTS, Parts, seconds
from benchmarks.step.settings import parse_settings
from benchmarks.step.training import Setting, train
from p2be_exp.augment import AugMix

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
EFFORT = Effort(steps=1, rounds=2, workers=0)
USUAL = {"waiting", "views", "stem", "trunk forward", "loss", "backward", "optimizers", "framework"}


def setting(encoding: str = "p2be", regime: str = "augmix") -> Setting:
    return Setting(encoding, regime, "wrn16_1", "32", 2, CPU)


def test_every_part_of_both_forms_has_a_row_and_the_parts_add_up():
    measured = measure.measure(setting(), EFFORT)
    assert {form: len(rounds) for form, rounds in measured.rounds.items()} == {OURS: 2, PUBLISHED: 2}
    for rounds in measured.rounds.values():
        for each in rounds:
            assert sum(each.parts.values()) == pytest.approx(each.whole)
            assert min(each.parts.values()) >= 0
    rows = list(measure.rows(setting(), measured))
    assert len({row["id"] for row in rows}) == len(rows)
    for form in (OURS, PUBLISHED):
        whole, *parts = (row for row in rows if row["form"] == form)
        assert whole["part"] == WHOLE
        assert [row["part"] for row in parts] == [part for part in PARTS if part in USUAL]
        assert whole["launches"] == sum(row["launches"] for row in parts)
        assert 0 <= sum(row["percent"] for row in parts) <= 150  # medians, each by itself
        assert ("plain_over_ours" in whole) == (form == OURS)
        launched = {row["part"]: row["launches"] for row in parts}
        assert min(launched[part] for part in ("stem", "trunk forward", "loss", "backward", "optimizers")) > 0
    of_ours = {row["part"]: row["launches"] for row in rows if row["form"] == OURS}
    assert of_ours["views"] > of_ours["trunk forward"]  # on a CPU; AugMix's many small operators


def test_a_regime_without_a_plain_form_is_measured_alone():
    contrain = setting(regime="contrain")
    assert not has_plain_form(contrain)
    rows = list(measure.rows(contrain, measure.measure(contrain, EFFORT)))
    assert {row["form"] for row in rows} == {OURS}
    assert {row["part"] for row in rows} == USUAL | {WHOLE, "inner attack"}
    assert "plain_over_ours" not in rows[0]


def test_the_ratio_is_that_of_each_round():
    rounds = {OURS: [Round(1.0, {"loss": 1.0}), Round(2.0, {"loss": 2.0}), Round(4.0, {"loss": 4.0})]}
    rounds[PUBLISHED] = [Round(3.0, {}), Round(2.0, {}), Round(20.0, {})]
    measured = Measured(rounds, {OURS: {"loss": 7, "views": 2}, PUBLISHED: {}})
    whole, views, loss, plain = measure.rows(setting(), measured)
    assert (whole["ms"], whole["quartiles"]) == (2.0, "1.50 to 3.00")
    assert (whole["plain_over_ours"], whole["ratio_quartiles"]) == (3.0, "2.00 to 4.00")
    assert whole["launches"] == 9
    assert (views["part"], views["ms"], views["launches"]) == ("views", 0.0, 2)
    assert (loss["part"], loss["percent"]) == ("loss", 100.0)
    assert (plain["form"], plain["ms"]) == (PUBLISHED, 3.0)


def test_a_setting_without_time_keeps_the_fewest_rounds():
    measured = measure.measure(setting("rgb", "standard"), Effort(steps=1, rounds=9, within=0.0, workers=0))
    assert {len(rounds) for rounds in measured.rounds.values()} == {3}


def test_a_training_is_left_as_it_was_and_its_errors_come_out():
    before = AugMix.__call__

    def script():
        yield
        assert AugMix.__call__ is not before
        raise ValueError("of the script")

    with pytest.raises(ValueError, match="of the script"):
        train(setting(), Parts(), script, 4)
    assert AugMix.__call__ is before


def test_a_step_launches_the_same_every_time():
    parts, found = Parts(), []

    def script():
        for _ in range(3):
            yield
        for _ in range(2):
            with Launches() as counted:
                parts.begin(lambda counted=counted: counted.total)
                yield
                found.append((parts.end(), counted.total))

    train(setting("rgb", "standard"), parts, script, 8)
    (first, total), (second, _) = found
    assert first == second
    assert sum(first.values()) == total


def test_a_cpu_has_no_busy_time(monkeypatch):
    monkeypatch.setattr(measure, "train", lambda *_: pytest.fail("trained"))
    assert busy(setting()) is None


def test_busy_time_is_a_share_of_the_step_that_was_timed():
    works = {WHOLE: GpuWork(3.0, 30), "views": GpuWork(1.0, 10)}
    rows = list(busy_rows(setting(), works, step_ms=12.0))
    assert [(row["part"], row["gpu_busy_ms"], row["busy_percent_of_the_step"], row["kernels"]) for row in rows] == [
        (WHOLE, 3.0, 25.0, 30),
        ("views", 1.0, 8.3, 10),
    ]


@pytest.mark.gpu
def test_busy_time_on_a_gpu_is_that_of_all_parts():
    on_gpu = setting()._replace(device=torch.device("cuda"), precision="bf16")
    works = busy(on_gpu)
    assert {"views", "stem", "trunk forward", "backward", "optimizers"} <= works.keys()
    assert works[WHOLE].kernels == sum(work.kernels for part, work in works.items() if part != WHOLE)
    rows = list(measure.rows(on_gpu, measure.measure(on_gpu, EFFORT)))
    assert {row["form"] for row in rows} == {OURS, PUBLISHED}


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_meter_of_time_goes_on(clock):
    meter = seconds(CPU, True, CLOCKS[clock])
    first = meter()
    sum(range(100_000))
    assert meter() > first


def test_the_clock_of_the_processor_is_asked(monkeypatch):
    """Here it stands still."""
    monkeypatch.setitem(CLOCKS, "cpu", lambda: 1.0)
    measured = measure.measure(setting("rgb", "standard"), EFFORT._replace(clock="cpu"))
    assert {each.whole for rounds in measured.rounds.values() for each in rounds} == {0.0}


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_settings_are_every_combination(workdir):
    asked = parse_settings(["encoding=rgb,p2be", "regime=[standard,augmix]", "device=cpu", "batch_size=2", "rounds=3"])
    assert [(each.encoding, each.regime) for each in asked.settings] == [
        ("rgb", "standard"),
        ("rgb", "augmix"),
        ("p2be", "standard"),
        ("p2be", "augmix"),
    ]
    assert {(each.backbone, each.precision, each.batch_size) for each in asked.settings} == {("wrn40_2", "32", 2)}
    assert asked.effort == Effort(steps=4, rounds=3)
    assert asked.threads is None


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("encoding=gray", "thermometer"),
        ("regime=augmix,none", "augmix"),
        ("backbone=wrn", "wrn40_2"),
        ("backbone=alexnet", "alexnet"),
        ("precision=16", "32, bf16"),
        ("device=tpu", "cpu, cuda"),
        ("rounds=1", "from 2 on"),
        ("steps=0", "from 1 on"),
        ("batch_size=many", "from 1 on"),
        ("threads=0", "from 1 on"),
        ("seconds=-1", "from 0 on"),
        ("clock=sun", "wall, cpu"),
        ("colour=red", "unknown key"),
        ("--fast", "KEY=VALUE"),
        ("rounds=", "one value"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(workdir, capsys, argument, named):
    assert command.main([argument]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert named in said.err
    assert said.out == ""


def test_help_names_every_key(capsys):
    assert command.main(["--help"]) == 0
    said = capsys.readouterr().out
    keys = [
        "encoding",
        "regime",
        "backbone",
        "precision",
        "device",
        "batch_size",
        "steps",
        "rounds",
        "clock",
        "seconds",
        "threads",
    ]
    assert all(f"\n  {key} " in said for key in keys)


@pytest.mark.slow
def test_the_command_prints_its_rows_as_they_come(tmp_path):
    """With the loader's processes, from another folder; the second setting is never reached."""
    command = [sys.executable, "-m", "benchmarks.step", "encoding=rgb", "regime=standard", "backbone=wrn16_1",
               "batch_size=2", "steps=1", "rounds=2", "threads=1", "device=cpu"]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    machine, measured, _, head, _, *rows = done.stdout.splitlines()
    assert "torch" in machine
    assert "batches of 2" in measured
    assert head.startswith("| encoding | regime |")
    rows, others = rows[: rows.index("")], rows[rows.index("") :]
    forms = [tuple(cell.strip() for cell in row.split("|")[5:7]) for row in rows]
    parts = [WHOLE, *(part for part in PARTS if part in USUAL)]
    assert forms == [(form, part) for form in (OURS, PUBLISHED) for part in parts]
    assert [row.split(" | ")[4:6] for row in others[3:]] == [[name, ABSENT] for name in FORMS]
