"""Timing in turns, and what a profile says of a GPU."""

import doctest

import pytest
import torch

from benchmarks import kernels
from benchmarks.turns import FEWEST_ROUNDS, median_ratio, take_turns

CPU = torch.device("cpu")


def test_works_take_turns_and_warm_up_before_they_count():
    calls = []
    seconds = take_turns({name: lambda name=name: calls.append(name) for name in "ab"}, 4, CPU, warm_up=1)
    assert calls == list("ab") * 5
    assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 4}


def test_a_timing_without_time_keeps_the_fewest_rounds():
    seconds = take_turns({"a": lambda: None}, 50, CPU, within=-1.0)
    assert len(seconds["a"]) == FEWEST_ROUNDS


def test_the_ratio_is_that_of_each_round():
    assert median_ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == 3.0


def test_a_profile_counts_kernels_alone():
    events = [{"cat": "kernel", "dur": 1500.0}, {"cat": "kernel", "dur": 500.0}] * 3
    others = [{"cat": "gpu_memcpy", "dur": 700.0}, {"cat": "gpu_user_annotation", "dur": 9e6}, {"name": "no category"}]
    assert kernels.kernels_in({"traceEvents": [*events, *others]}, calls=3) == (pytest.approx(2.0), 2)
    assert kernels.kernels_in({"traceEvents": others}, calls=3) is None


def test_the_example():
    assert doctest.testmod(kernels).failed == 0


def test_a_cpu_has_no_kernels():
    assert kernels.gpu_work(lambda: pytest.fail("profiled on a CPU"), CPU) is None


@pytest.mark.gpu
def test_a_product_on_a_gpu_is_a_kernel_or_more():
    device = torch.device("cuda")
    matrix = torch.rand(512, 512, device=device)
    work = kernels.gpu_work(lambda: matrix @ matrix, device)
    assert work.kernels >= 1
    assert work.busy_ms > 0
