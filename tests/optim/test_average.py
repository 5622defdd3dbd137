"""The average of the weights against its formula in float64, and torch's own averages."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import get_swa_multi_avg_fn

from p2be_exp.optim import WeightAverage


def some_parameters() -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    kernel = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    return {"stem.weight": nn.Parameter(kernel), "bias": nn.Parameter(torch.randn(5))}


def steps_of(parameters, number):
    """Changes the parameters in place, as steps do; yields their values."""
    for step in range(number):
        with torch.no_grad():
            for each in parameters.values():
                each.add_(torch.randn(each.shape, generator=torch.Generator().manual_seed(step)))
        yield [each.detach().double() for each in parameters.values()]


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.999])
def test_a_decay_is_bounded_in_the_first_steps(decay):
    parameters = some_parameters()
    average, expected = WeightAverage(parameters, decay), []
    for step, weights in enumerate(steps_of(parameters, 30)):
        average.update()
        d = 0.0 if step == 0 else min(decay, (1 + step) / (10 + step))
        expected = [d * mine + (1 - d) * w for mine, w in zip(expected or weights, weights, strict=True)]
    state = average.state_dict()
    assert state["count"] == 30
    for found, exact in zip(state["weights"].values(), expected, strict=True):
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_a_constant_average_is_the_mean_and_torchs_own():
    parameters = some_parameters()
    average, seen, theirs = WeightAverage(parameters, None), [], None
    for step, weights in enumerate(steps_of(parameters, 20)):
        average.update()
        seen.append(weights)
        if theirs is None:
            theirs = [each.clone() for each in weights]
        else:
            get_swa_multi_avg_fn()(theirs, weights, torch.tensor(step))
    for number, found in enumerate(average.state_dict()["weights"].values()):
        torch.testing.assert_close(
            found.double(), torch.stack([each[number] for each in seen]).mean(0), rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(found.double(), theirs[number], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("decay", [0.9, None])
def test_saved_in_between_it_goes_on_to_the_bit_in_its_parameters_layout(decay):
    whole, parts = some_parameters(), some_parameters()
    one, other = WeightAverage(whole, decay), WeightAverage(parts, decay)
    for step, (_, _) in enumerate(zip(steps_of(whole, 9), steps_of(parts, 9), strict=True)):
        one.update()
        other.update()
        if step == 4:
            state = {
                "count": 5,
                "weights": {key: each.contiguous() for key, each in other.state_dict()["weights"].items()},
            }
            other = WeightAverage(parts, decay)
            other.load_state_dict(state)
    for mine, theirs in zip(one.state_dict()["weights"].values(), other.state_dict()["weights"].values(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.stride() == theirs.stride()
    one.copy_to_parameters()
    assert all(torch.equal(whole[key], each) for key, each in one.state_dict()["weights"].items())


def test_an_average_keeps_values_of_its_own():
    parameters = some_parameters()
    average = WeightAverage(parameters, 0.5)
    with pytest.raises(ValueError, match="of no step"):
        average.copy_to_parameters()
    average.update()
    before = parameters["bias"].detach().clone()
    with torch.no_grad():
        parameters["bias"].zero_()
    assert torch.equal(average.state_dict()["weights"]["bias"], before)
    with pytest.raises(ValueError, match="of other parameters"):
        average.load_state_dict({"count": 1, "weights": {"bias": before}})
