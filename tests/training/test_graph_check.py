"""The comparison of a replay with the ordinary step."""

import contextlib

import pytest
import torch

from p2be_exp.training.graph_check import Outcome, another_batch, check_outcomes, outcomes
from p2be_exp.training.whole_step import WholeStep
from small_training import small_step


def outcome(loss: float, *moves: float) -> Outcome:
    return Outcome(torch.tensor(loss), [torch.tensor([each]) for each in moves])


@pytest.mark.parametrize(
    ("captured", "differs"),
    [
        (outcome(2.0, 0.3, -0.4), None),
        (outcome(2.05, 0.3, -0.4), None),
        (outcome(2.0, 0.36, -0.4), None),
        (outcome(2.2, 0.3, -0.4), "loss 2.2 and 2, weights 0% of the step apart"),
        (outcome(2.0, 0.15, -0.2), "loss 2 and 2, weights 50% of the step apart"),
        (outcome(float("nan"), 0.3, -0.4), "loss nan and 2"),
        (outcome(2.0, float("nan"), -0.4), "weights nan% of the step apart"),
    ],
)
def test_what_differs_is_told(captured, differs):
    ordinary = outcome(2.0, 0.3, -0.4)
    with pytest.raises(RuntimeError, match=differs) if differs else contextlib.nullcontext():
        check_outcomes([ordinary, ordinary], [ordinary, captured])


def filled_step() -> WholeStep:
    module, optimizer, batch = small_step()
    step = WholeStep(module, optimizer, contextlib.nullcontext, batch)
    step.fill(batch, 3)
    return step


def test_another_batch_differs_in_everything_and_is_gone_afterwards():
    step = filled_step()

    def buffers():
        return [each.clone() for each in (*step.batch_buffers, step.epoch, step.scale)]

    before = buffers()
    with another_batch(step):
        assert not any(torch.equal(*each) for each in zip(buffers(), before, strict=True))
    assert all(torch.equal(*each) for each in zip(buffers(), before, strict=True))


def test_steps_that_are_tried_leave_nothing_behind():
    step = filled_step()
    before = [each.clone() for each in step.module.state_dict().values()]
    first, other = outcomes(step, step.run)
    assert any(move.any() for move in first.moves)
    assert first.loss != other.loss
    assert all(torch.equal(*each) for each in zip(step.module.state_dict().values(), before, strict=True))
    check_outcomes([first, other], outcomes(step, step.run))
