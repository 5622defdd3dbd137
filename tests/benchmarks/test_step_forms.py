"""The forms of a whole step: on a GPU; here by their twins, and the rows."""

from unittest import mock

import pytest
import torch

from benchmarks.kernels import GpuWork
from benchmarks.step import command
from benchmarks.step.forms import ABSENT, FIRST, FORMS, Form, form_row, forms_on, loss_rows, measure_form
from benchmarks.step.settings import parse_settings
from benchmarks.step.training import Setting
from p2be_exp.training.captured_step import CapturedStep

SETTING = Setting("p2be", "standard", "wrn16_1", "32", 2, torch.device("cpu"))


@pytest.mark.slow
def test_forms_train_the_same(monkeypatch):
    eager = measure_form(SETTING, "eager", steps=1, rounds=1)
    assert (len(eager.losses), len(eager.ms), eager.work, eager.peak_gib) == (FIRST, 1, None, None)
    taken = []

    def captured(self, step):
        taken.append(step)
        return mock.Mock(replay=step.run)

    monkeypatch.setattr("p2be_exp.training.callbacks.captured_steps.reason_against", lambda config, *rest: None)
    monkeypatch.setattr(CapturedStep, "_captured", captured)
    assert measure_form(SETTING, "captured", steps=1, rounds=1).losses == eager.losses
    assert len(taken) == 1
    monkeypatch.undo()
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **settings: compiled.append(self))
    assert measure_form(SETTING, "compiled", steps=1, rounds=1).losses == eager.losses
    assert [type(each).__name__ for each in compiled] == ["WideResNet"]


def test_a_row_says_what_the_form_took_beside_the_eager_one():
    eager = Form([2.5] * FIRST, 1.0, [20.0, 22.0, 30.0], GpuWork(5.5, 800), 0.5)
    captured = Form([2.25] * FIRST, 3.0, [5.5, 5.0, 6.0], GpuWork(4.95, 790), 0.75)
    row = form_row(SETTING, "captured", captured, eager)
    assert row["ms"] == 5.5
    assert row["least_to_most"] == "5.00 to 6.00"
    assert (row["gpu_busy_ms"], row["kernels"], row["busy_percent"]) == (4.95, 790, 90.0)
    assert (row["first_step_s"], row["peak_gib"], row["times_faster_than_eager"]) == (3.0, 0.75, 4.0)
    rows = list(loss_rows(SETTING, {"eager": eager, "captured": captured}))
    assert [row["step"] for row in rows] == list(range(1, FIRST + 1))
    assert (rows[0]["eager"], rows[0]["captured"]) == ("2.500000", "2.250000")


def test_on_a_cpu_the_rows_say_that_there_is_none(capsys, monkeypatch):
    monkeypatch.setattr(command, "measure_form", mock.Mock(side_effect=AssertionError))
    command.print_forms(parse_settings(["device=cpu", "backbone=wrn16_1", "batch_size=2"]))
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| p2be")]
    assert [row.split(" | ")[4:6] for row in rows] == [[name, ABSENT] for name in FORMS]
    assert forms_on(torch.device("cuda")) == FORMS
    assert not forms_on(torch.device("cpu"))
