"""The benchmark scripts: importable, as ``benchmarks.gpu`` needs them, and runnable as files."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import (
    adversarial_step,
    against,
    augmix,
    evaluation,
    lspga,
    lspga_parts,
    norm_relu,
    stem,
    suite,
    training_step,
)
from benchmarks.memory import allocated, in_fresh_process, peak_since, resident_peak

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_a_module_that_does_nothing_when_imported(name, capsys):
    importlib.import_module(f"benchmarks.{name}")
    assert capsys.readouterr().out == ""


def test_a_script_prints_each_row_as_it_comes(tmp_path, warm_python):
    """As a file, from any folder: the second row fails, the first is there."""
    command = [sys.executable, str(ROOT / "benchmarks" / "stem.py"), "--batch-size", "2", "--rounds", "1", "--bits"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([*command, "1", "-1"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("| 1 |")


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_the_stems_forms_are_those_of_the_device(precision):
    ms = stem.measure("wrn", 2, 1, 1, CPU, precision)
    assert tuple(ms) == stem.FORMS
    assert min(ms.values()) > 0


def test_a_cpu_has_one_form_of_batch_norm_and_relu(monkeypatch, capsys):
    monkeypatch.setattr(norm_relu, "LAYERS", ((4, 3),))
    monkeypatch.setattr(sys, "argv", ["norm_relu.py", "--batch-size", "2", "--rounds", "1", "--precision", "32"])
    norm_relu.main()
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if "4 x 3 x 3" in line]
    assert [(line[0], line[2]) for line in lines] == [
        (work, form) for work in norm_relu.WORKS for form in norm_relu.FORMS
    ]
    assert [line[3] == norm_relu.MISSING for line in lines] == [False, True, True] * 2


@pytest.mark.gpu
def test_a_gpu_has_more_forms_of_batch_norm_and_relu():
    for work in norm_relu.WORKS:
        ms = norm_relu.measure(work, 16, 8, 4, 1, torch.device("cuda"), "bf16")
        assert all(value and value > 0 for value in ms.values()), ms


def test_training_step_prints_its_rows(monkeypatch, capsys):
    arguments = ["--backbone", "wrn16_1", "--batch-size", "2", "--rounds", "1", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["training_step.py", *arguments, "--variants", "rgb", "thermometer"])
    training_step.main()
    rows = [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert rows == ["| variant", "| rgb", "| thermometer"]


def test_measurements_come_one_by_one():
    settings = lspga.Settings("wrn16_1", 2, CPU, "32")
    first = next(iter(lspga.measure({"lspga": [2], "no such variant": [2]}, 1, settings)))
    assert (first.variant, first.batch_size, first.peak_gib) == ("lspga", 2, None)
    assert first.over_images > 0
    regime = next(iter(adversarial_step.measure("wrn16_1", 2, 1, CPU)))
    assert (regime.regime, regime.over_standard) == ("standard", 1.0)
    medians, ratio = adversarial_step.trades_over_advtrain("wrn16_1", 2, 1, CPU)
    assert set(medians) == {"advtrain", "trades"}
    assert ratio > 0
    assert {len(times) for times in augmix.measure(CPU, 1).values()} == {1}


def test_every_part_of_a_step_of_an_attack_can_be_measured():
    works = lspga_parts.works("p2be", "wrn16_1", 2, CPU)
    assert set(works) == {*lspga_parts.PARTS, "pass"}
    for work in works.values():
        work()


def test_stored_cells_are_compared_with_the_same_images():
    with evaluation.stored_cells("rgb", "wrn16_1", 8, 2, 8, CPU) as stored:
        cells = [cell.id for cell, ratio in stored.ratios() if ratio > 0]
        assert cells == ["corruption/gaussian_noise/1", "corruption/gaussian_noise/2"]
        assert stored.evaluate(stored.cells, "whole") > 0


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "fused"), [("wrn", True), ("resnet50", False)])
def test_a_gpu_has_more_forms_of_the_stem(name, fused):
    ms = stem.measure(name, 16, 2, 1, torch.device("cuda"), "bf16")
    assert set(ms) == set(stem.GPU_FORMS) - (set() if fused else {"fused"})


def test_memory_on_a_cpu_is_that_of_a_process_of_its_own():
    assert allocated(CPU) == 0
    assert peak_since(0, lambda: pytest.fail("called on a CPU"), CPU) is None
    assert in_fresh_process(os.getpid) != os.getpid()
    assert in_fresh_process(resident_peak) > 0


@pytest.mark.gpu
def test_memory_on_a_gpu_is_what_a_work_adds():
    device = torch.device("cuda")
    before = allocated(device)
    kept = torch.zeros(2**20, device=device)
    peak = peak_since(before, lambda: torch.zeros(2**22, device=device), device)
    assert 20 / 1024 <= peak <= 24 / 1024  # 4 and 16 MiB
    assert kept.numel() == 2**20


def test_a_commit_against_another_has_the_ratio_of_each_round():
    rounds = [1.0, 2.0, 4.0, 1.0, 1.0], [1.1, 2.0, 4.8, 0.9, 1.0]
    assert against.row("a step", *rounds) == "| a step | 1000 | 1100 | 1.00 (0.95 to 1.15) |"


def test_every_work_of_that_comparison_can_be_done():
    with against.works() as made:
        assert list(made) == list(against.NAMES)
        made["LS-PGA, WRN-16-1, P2BE, batch 16"]()
        made[against.CELLS]()


def test_the_suites_cost_is_divided(capsys):
    rows = {"clean": 9, "lspga": 2, "square": 6, "lspga_margin": 2, "square_half": 3, "square_twice": 12}
    suite.summary(rows | {"autoattack_standard_secant": 50, "panel: positive control": 1})
    assert capsys.readouterr().out.splitlines()[1:] == [
        "suite 25.0 s, of it 2.0 s LS-PGA along the margin and 15.0 s half and twice the effort",
        "the suite over the suite without these: 3.12",
        "positive control 1.00 s, 4.0 % of the suite",
        "AutoAttack standard 50.0 s, 2.0 times the suite",
    ]
