"""What an attack on an adaptive mixture climbs, one image at a time in plain Python floats."""

import math

import pytest
import torch

from gated_mixtures import slow_objective
from p2be_exp.attacks.gate_objective import gate_objective, targeted_dlr


def random_batch():
    generator = torch.Generator().manual_seed(0)
    output = (2 * torch.randn(7, 6, generator=generator, dtype=torch.float64)).log_softmax(1)
    gamma = 3 * torch.randn(7, generator=generator, dtype=torch.float64)
    labels = torch.randint(6, (7,), generator=generator)
    weight = 0.4 * torch.rand(7, generator=generator, dtype=torch.float64)
    targets = torch.tensor([-1, 3, 0, -1, 5, 2, 1])
    return output, gamma, labels, weight, targets


def test_the_objective_is_that_of_the_formulas():
    batch = random_batch()
    expected = [slow_objective(*row) for row in zip(*(each.tolist() for each in batch), strict=True)]
    assert gate_objective(*batch).tolist() == pytest.approx(expected, rel=1e-10)
    output, gamma, labels, _, _ = batch
    rows = zip(output.tolist(), gamma.tolist(), labels.tolist(), strict=True)
    expected = [slow_objective(*row, 0.25, -1) for row in rows]
    assert gate_objective(output, gamma, labels, 0.25).tolist() == pytest.approx(expected, rel=1e-10)


def test_it_rises_towards_the_target_and_towards_a_low_gamma():
    output, gamma, labels, weight, targets = random_batch()
    for each in (output, gamma):
        each.requires_grad_()
    of_output, of_gamma = torch.autograd.grad(
        gate_objective(output, gamma, labels, weight, targets).sum(), (output, gamma)
    )
    assert (of_gamma < 0).all()
    assert (of_output.gather(1, labels[:, None]) < 0)[targets < 0].all()


def test_the_targeted_dlr_by_hand():
    """z_(1) = 5, z_(3) = 1, z_(4) = 0: (3 - 5) / 4.5 for the second class, 0 where the target is the class itself."""
    output = torch.tensor([[0.0, 5.0, 1.0, 3.0], [0.0, 5.0, 1.0, 3.0], [2.0, 2.0, 2.0, 2.0]])
    found = targeted_dlr(output, torch.tensor([1, 1, 0]), torch.tensor([3, 1, 2]))
    torch.testing.assert_close(found, torch.tensor([-2 / 4.5, 0, 0]))


def test_fewer_than_four_classes_have_no_targets():
    batch = torch.zeros(2, 3), torch.zeros(2), torch.tensor([0, 1]), 0.2
    assert gate_objective(*batch).tolist() == pytest.approx([0.8 * math.log(3) + 0.2 * math.log(2)] * 2)
    with pytest.raises(ValueError, match="needs 4 classes, not 3"):
        gate_objective(*batch, torch.tensor([1, 0]))


def test_far_values_and_equal_outputs_have_finite_gradients():
    output = torch.tensor([[-400.0, 0, -300, -200], [1, 1, 1, 1]], requires_grad=True)
    gamma = torch.tensor([-300.0, 300.0], requires_grad=True)
    for targets in (None, torch.tensor([1, 2])):
        objective = gate_objective(output, gamma, torch.tensor([0, 0]), 0.5, targets)
        assert objective.isfinite().all()
        for each in torch.autograd.grad(objective.sum(), (output, gamma)):
            assert each.isfinite().all()
