"""What a device has left, and the bytes of tensors that a work holds."""

import pytest
import torch

from p2be_exp.system import memory
from p2be_exp.system.memory import HeldBytes, free_bytes

CPU = torch.device("cpu")


def test_tensors_are_counted_once_and_until_they_are_gone():
    with HeldBytes() as held:
        one = torch.zeros(1000)
        assert held.now == 4000
        view = one[:10].t()
        one.add_(1)
        assert held.now == 4000  # memory of its own counts alone
        del one
        assert held.now == 4000  # the view holds it
        del view
        assert held.now == 0
    assert held.most == 4000


def test_what_was_there_before_is_not_counted():
    weight = torch.zeros(1000, requires_grad=True)
    with HeldBytes() as held:
        assert weight.detach().view(10, 100).t().shape == (100, 10)
        assert held.now == 0


def test_what_a_backward_pass_needs_is_held_until_then():
    weight = torch.ones(1000, requires_grad=True)
    with HeldBytes() as held:
        loss = (weight * 2).exp().sum()
        assert held.now == 4000 + 4  # exp keeps its result; the product is gone
        loss.backward()
        assert held.now == 4000 + 4  # the gradient, in its place
    assert 8004 <= held.most <= 12008


def test_what_is_free_on_the_host_is_the_least_of_machine_and_container(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    assert free_bytes(CPU) is None
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:    3000 kB\n")
    assert free_bytes(CPU) == 3000 * 1024
    (tmp_path / "memory.current").write_text("500\n")
    for most, expected in (("max", 3000 * 1024), ("2500", 2000), ("100", 0), ("9999999999", 3000 * 1024)):
        (tmp_path / "memory.max").write_text(f"{most}\n")
        assert free_bytes(CPU) == expected


@pytest.mark.gpu
def test_what_is_free_on_a_gpu():
    device = torch.device("cuda")
    before = free_bytes(device)
    kept = torch.zeros(2**28, dtype=torch.uint8, device=device)
    assert before - free_bytes(device) >= kept.nbytes
