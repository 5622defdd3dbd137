"""What counts as a launch."""

import doctest
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.optim import SGD

from benchmarks import launches
from benchmarks.launches import Launches, count_launches, gpu_optimizers

ROOT = Path(__file__).parents[2]


def test_the_examples():
    assert doctest.testmod(launches).failed == 0


def test_views_and_allocations_are_free():
    values = torch.rand(4, 6)

    def look():
        half = values.view(2, 2, 6).transpose(0, 1)[0].expand(3, 2, 6).detach().unsqueeze(0)
        torch.empty(3)
        torch.empty_like(values)
        return half.shape, values.stride(), values.split(2), values.unfold(1, 2, 2)

    assert count_launches(look) == 0


def test_what_computes_or_copies_is_one_launch_each():
    values, out = torch.rand(4, 6), torch.empty(4, 6)
    calls = [
        lambda: values + 1,
        lambda: values.add_(0),
        lambda: values.sum(),
        lambda: out.copy_(values),
        lambda: out.fill_(1.0),
        lambda: values.to(torch.bfloat16),
        lambda: values.t().contiguous(),
        lambda: values.max(dim=1),
        lambda: torch.zeros(3),
        lambda: torch.sin(values, out=out),
    ]
    assert [count_launches(call) for call in calls] == [1] * len(calls)


def test_a_backward_pass_and_the_casts_of_an_autocast_are_in_it():
    image, weight = torch.rand(1, 3, 8, 8), torch.rand(2, 3, 3, 3, requires_grad=True)
    with Launches() as counted:
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.conv2d(image, weight).sum()
        loss.backward()
    assert counted.by_name["aten.convolution"] == 1
    assert counted.by_name["aten.convolution_backward"] == 1
    assert counted.by_name["aten._to_copy"] == 3  # both to bf16, the weight's gradient back
    assert counted.total == counted.by_name.total()


def test_waits_of_the_host_are_counted_by_themselves():
    values = torch.arange(4.0)
    with Launches() as counted:
        values.sum().item()
        values[values > 1]
        values[torch.tensor([0, 1])]
    assert counted.waits == 2
    assert "aten._local_scalar_dense" not in counted.by_name


def test_an_operator_over_lists_counts_by_what_fits_into_a_launch():
    ones = [torch.ones(3) for _ in range(200)]
    assert count_launches(lambda: torch._foreach_mul_(ones, 2.0)) == 2  # 110 of a single list
    others = [torch.ones(3) for _ in range(200)]
    assert count_launches(lambda: torch._foreach_add_(ones, others)) == 4  # 64 of two
    across = [torch.ones(2, 3) for _ in range(5)]
    down = [torch.ones(3, 2).t() for _ in range(5)]
    assert count_launches(lambda: torch._foreach_add_(across, down)) == 5


def test_an_optimizer_takes_the_way_of_a_gpu_meanwhile():
    parameters = [torch.ones(3, requires_grad=True) for _ in range(20)]
    for each in parameters:
        each.grad = torch.ones(3)
    optimizer = SGD(parameters, lr=0.5)
    assert count_launches(optimizer.step) == 20
    with gpu_optimizers(optimizer):
        assert count_launches(optimizer.step) == 1
    assert optimizer.param_groups[0]["foreach"] is None
    torch.testing.assert_close(parameters[0].detach(), torch.zeros(3))


def test_a_counter_inside_another_counts_too_and_both_end():
    with Launches() as outer:
        torch.ones(1)
        with Launches() as inner:
            torch.ones(1)
    torch.ones(1)
    assert (outer.total, inner.total) == (2, 1)


KERNEL = """
import torch, triton
import triton.language as tl
from benchmarks.launches import Launches

@triton.jit
def double(source, target, BLOCK: tl.constexpr):
    where = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(target + where, 2 * tl.load(source + where))

@torch.library.custom_op("benchmarks_test::double", mutates_args=())
def through_library(values: torch.Tensor) -> torch.Tensor:
    target = torch.empty_like(values)
    double[(2,)](values, target, BLOCK=4)
    double[(2,)](values, target, BLOCK=4)
    return target

values, target = torch.arange(8.0), torch.empty(8)
with Launches() as counted:
    double[(2,)](values, target, BLOCK=4)
assert target.tolist() == (2 * values).tolist()
print(dict(counted.by_name))
with Launches() as counted:
    through_library(values)
print(dict(counted.by_name))
"""


@pytest.mark.slow
def test_a_triton_kernel_is_one_launch(tmp_path):
    """By Triton's interpreter, which is chosen before the import: in a process of its own."""
    pytest.importorskip("triton")
    script = tmp_path / "kernel.py"
    script.write_text(KERNEL)
    env = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["{'triton.double': 1}", "{'triton.double': 2}"]
