"""``python -m benchmarks.memory``: what it counts, and that an encoding costs hardly more memory than RGB."""

import pytest
import torch

from benchmarks.memory import command, evaluation, training
from benchmarks.memory.by_part import Mark, PeakParts, peaks_by_part
from benchmarks.step.parts import BACKWARD, FRAMEWORK, LOSS, STEM, TRUNK, VIEWS
from benchmarks.step.training import Setting
from p2be_exp.training.module import TrainingModule

CPU = torch.device("cpu")


def test_a_part_has_what_is_held_during_it_whoever_allocated_it():
    marks = [Mark(LOSS, 0, 10), Mark(STEM, 2, 4)]
    assert peaks_by_part(marks, [(1, 10), (3, -10), (5, 4), (11, 1)], 7) == {LOSS: 17, STEM: 17, FRAMEWORK: 12}
    assert peaks_by_part([], [], 7) == {}


def test_the_most_of_each_part_is_kept():
    most = iter([0, 5, 9, 7, 3])  # at the beginning, before the part, in it, after it, at the end
    parts = PeakParts()
    parts.begin(lambda: next(most))
    with parts.of(VIEWS):
        pass
    with parts.of(VIEWS):
        pass
    assert parts.peaks == {FRAMEWORK: 7, VIEWS: 9}


@pytest.fixture(scope="module")
def peaks():
    settings = {name: Setting(name, "standard", "wrn16_1", "32", 16, CPU) for name in ("rgb", "p2be")}
    with torch.random.fork_rng():
        return {name: training.training_peaks(each, torch.get_num_threads()) for name, each in settings.items()}


def test_what_stays_between_steps_is_weights_and_optimizers(peaks):
    module = TrainingModule(Setting("rgb", "standard", "wrn16_1", "32", 16, CPU).config(), 100, 1)
    weights = sum(each.nbytes for each in module.parameters())
    buffers = sum(each.nbytes for each in module.buffers())
    assert 2 * weights + buffers <= peaks["rgb"].kept <= 2 * weights + buffers + 4096  # with SGD's momentum


def test_activations_are_there_from_the_forward_pass_to_the_backward(peaks):
    parts = peaks["rgb"].parts
    assert parts[STEM] < parts[TRUNK] <= 1.1 * parts[BACKWARD]
    assert parts[VIEWS] < parts[STEM]
    images = 16 * 32 * 32
    assert parts[TRUNK] > peaks["rgb"].kept + 4 * images * 16 * 13  # a map of 16 channels or its equal per convolution
    assert peaks["rgb"].process_gib > 0


def test_p2be_needs_hardly_more_than_rgb(peaks):
    """The bar is 1.05; 192 times 16 x 32 x 32 floats, the code tensor that is not built, would be 12 MiB of 18 more."""
    p2be, rgb = (max(peaks[name].parts.values()) for name in ("p2be", "rgb"))
    assert rgb < p2be <= 1.05 * rgb


def test_the_cells_of_an_evaluation_are_measured():
    found = evaluation.evaluation_peaks("generated", "rgb", "wrn16_1", 8, 2, 8, CPU, torch.get_num_threads())
    assert 0 < found.clean <= found.cells
    assert found.all_images == 2 * 8 * 3072 / 2**30


def test_a_table_of_rows(monkeypatch, capsys):
    found = training.TrainingPeaks({VIEWS: 2.0**20, BACKWARD: 2.0**22}, 2**20, 1.5)
    rows = iter([found, found._replace(process_gib=3.0), evaluation.EvaluationPeaks(1, 2, 3), (1, 2, 3)])
    monkeypatch.setattr(command, "_call", lambda *_: next(rows))
    assert command.main(["--regime", "standard", "--encoding", "p2be", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "GPU: not on this device" in out
    assert "| rgb | standard | 1.50 | 1.000 | 4 | 1.000 | 1 |  | 1 |" in out
    assert "| p2be | standard | 3.00 | 2.000 | 4 | 1.000 |" in out
    assert "| p2be | generated | 1.00 | 2.00 | 3.00 |" in out
