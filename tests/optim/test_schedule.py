"""Schedules against the formula of spec/p2be.md 1.4 and torch's own cosine."""

import itertools
import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, MultiStepLR

from p2be_exp.optim import Constant, Cosine, Steps, WarmedUpCosine, warmed_up

STEPS = 78_200  # 200 epochs of 391 batches


@pytest.mark.parametrize(("first", "last"), [(0.1, 1e-6), (1e-4, 1e-6), (0.1, 1e-5)])
def test_cosine_is_the_formula(first, last):
    m = last / first
    schedule = Cosine(STEPS, floor=m)
    for t in (0, 1, 391, STEPS // 2, STEPS - 1, STEPS):
        expected = first * (m + (1 - m) * 0.5 * (1 + math.cos(math.pi * t / STEPS)))
        assert first * schedule(t) == pytest.approx(expected, rel=1e-12)


def test_cosine_is_torchs_annealing():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    annealing = CosineAnnealingLR(optimizer, T_max=50, eta_min=1e-3)
    schedule = Cosine(50, floor=1e-2)
    for step in range(51):
        assert 0.1 * schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        annealing.step()


def test_the_last_step_and_what_comes_after_it():
    # spec/p2be.md 1.4: the last step still sees 1.00004e-6; 1e-6 itself is reached only after it.
    schedule = Cosine(STEPS, floor=1e-6 / 0.1)
    assert 0.1 * schedule(STEPS - 1) == pytest.approx(1.00004e-6, rel=1e-6)
    assert 0.1 * schedule(STEPS) == pytest.approx(1e-6, rel=1e-12)
    assert schedule(STEPS + 1) == schedule(10 * STEPS) == schedule(STEPS)
    assert schedule(0) == 1.0


def test_cosine_falls_at_every_step():
    schedule = Cosine(100, floor=0.01)
    factors = [schedule(step) for step in range(101)]
    assert all(later < earlier for earlier, later in itertools.pairwise(factors))


def test_constant():
    assert {Constant()(step) for step in (0, 1, 1000, STEPS)} == {1.0}


@pytest.mark.parametrize("milestones", [[2], [1, 2, 5], [3, 100]])
def test_steps_are_torchs_multi_step(milestones):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    stepped = MultiStepLR(optimizer, milestones, gamma=0.2)  # once an epoch
    schedule = Steps(milestones, gamma=0.2, steps_per_epoch=7)
    for epoch in range(8):
        expected = optimizer.param_groups[0]["lr"]
        assert [0.1 * schedule(7 * epoch + step) for step in (0, 3, 6)] == pytest.approx([expected] * 3, rel=1e-12)
        optimizer.step()
        stepped.step()


def test_the_warmed_up_cosine_is_the_product_of_the_two_formulas():
    schedule = WarmedUpCosine(100, floor=0.1, time=4)
    for t in (0, 1, 3, 4, 50, 99, 100, 101):
        cosine = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(t, 100) / 100))
        assert schedule(t) == pytest.approx(cosine * (1 - math.exp(-(t + 1) / 4)), rel=1e-12)


def test_a_schedule_keeps_numbers_alone():
    """A checkpoint holds what its attributes are, and is loaded with ``weights_only``."""
    for schedule in (Cosine(5, 0.1), WarmedUpCosine(5, 0.1, 2), Steps([1], 0.5, 3), Constant()):
        assert all(isinstance(value, int | float | list) for value in vars(schedule).values())


@pytest.mark.parametrize("schedule", [Cosine(30, 0.1), Steps([1, 2], 0.5, 10), Constant()])
def test_a_warm_up_is_a_ramp_on_the_schedule_and_then_the_schedule_to_the_bit(schedule):
    ramp = warmed_up(schedule, 7)
    for t in range(7):
        assert ramp(t) == pytest.approx(schedule(t) * (t + 1) / 7, rel=1e-15)
    assert [ramp(t) for t in range(6, 40)] == [schedule(t) for t in range(6, 40)]
    assert warmed_up(schedule, 0) is schedule


def test_a_warm_up_leaves_nothing_in_a_checkpoint():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    assert LambdaLR(optimizer, warmed_up(Cosine(9, 0.1), 3)).state_dict()["lr_lambdas"] == [None]
