"""The gate of an adaptive mixture against the same network written with functions, in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from p2be_exp.models.gate import Gate

CHANNELS = [(3, 5), (2, 4)]
WIDTHS = (4, 6, 6)


def a_gate(**constants):
    torch.manual_seed(0)
    constants = {"alpha_low": 0.84, "alpha_high": 0.99, "gate_std": 3.0, "gate_mean": 1.3} | constants
    gate = Gate(CHANNELS, widths=WIDTHS, **constants)
    with torch.no_grad():
        for module in gate.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as if it had been trained
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
        gate.norm.running_mean.fill_(0.03)
        gate.norm.running_var.fill_(0.004)
    return gate


def maps(images=6, sizes=((8, 8), (4, 4)), dtype=torch.float64):
    """First and second maps of two parts."""
    generator = torch.Generator().manual_seed(1)

    def some(channels, size):
        return torch.randn(images, channels, size, size, generator=generator, dtype=dtype)

    return [
        [some(channels[stage], size) for channels, size in zip(CHANNELS, of_parts, strict=True)]
        for stage, of_parts in enumerate(sizes)
    ]


def functional_raw(state, training, first, second):
    """The mixing network of the authors' code, version 4."""

    def active(x, name):
        norm = [state[f"{name}.{key}"].clone() for key in ("running_mean", "running_var", "weight", "bias")]
        return F.relu(F.batch_norm(x, *norm, training=training))

    def block(x, name, stride):
        inner = active(x, f"{name}.norm1")
        out = F.conv2d(inner, state[f"{name}.conv1.weight"], stride=stride, padding=1)
        out = F.conv2d(active(out, f"{name}.norm2"), state[f"{name}.conv2.weight"], padding=1)
        key = f"{name}.shortcut.weight"
        return out + (F.conv2d(inner, state[key], stride=stride) if key in state else inner)

    x = torch.cat(first, 1)
    for number in range(len(WIDTHS)):
        x = block(block(x, f"network.layers.{number}.0", 2), f"network.layers.{number}.1", 1)
        if number == 0:
            x = x + F.conv2d(torch.cat(second, 1), state["network.project.weight"])
    return F.linear(x.mean((2, 3)), state["network.linear.weight"]).flatten()


def by_hand(raw, state, training, std, mean, low, high):
    """gamma and alpha of each image, and the statistics that the batch leaves."""
    values = raw.tolist()
    average, variance = state["norm.running_mean"].item(), state["norm.running_var"].item()
    after = (average, variance)
    if training:
        count = len(values)
        centre = sum(values) / count
        spread = 0.6 * math.sqrt(sum((each - centre) ** 2 for each in values) / (count - 1))
        values = [min(max(each, centre - spread), centre + spread) for each in values]
        batch_mean = sum(values) / count
        batch_variance = sum((each - batch_mean) ** 2 for each in values) / count
        after = 0.99 * average + 0.01 * batch_mean, 0.99 * variance + 0.01 * batch_variance * count / (count - 1)
        average, variance = batch_mean, batch_variance
    gamma = [(each - average) / math.sqrt(variance + 1e-5) * std + mean for each in values]
    return gamma, [low + (high - low) / (1 + math.exp(-each)) for each in gamma], after


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_a_forward_pass_is_that_of_the_formulas(training, calibrated):
    gate = a_gate().double().train(training)
    first, second = maps()
    state = {name: value.clone() for name, value in gate.state_dict().items()}
    if calibrated:
        constants = [state[name].item() for name in ("gate_std", "gate_mean", "alpha_low", "alpha_high")]
        assert constants == pytest.approx([3, 1.3, 0.84, 0.99], rel=1e-6)
        gamma, alpha = gate(first, second)
    else:
        constants = [2.0, 0.4, 0.0, 1.0]
        with gate.uncalibrated():
            gamma, alpha = gate(first, second)
    raw = functional_raw(state, training, first, second)
    expected_gamma, expected_alpha, after = by_hand(raw, state, training, *constants)
    assert gamma.tolist() == pytest.approx(expected_gamma, rel=1e-8)
    assert alpha.tolist() == pytest.approx(expected_alpha, rel=1e-8)
    assert (gate.norm.running_mean.item(), gate.norm.running_var.item()) == pytest.approx(after, rel=1e-8)
    assert len({round(each, 6) for each in gamma.tolist()}) > 2  # not all of them clamped


def test_the_constants_are_back_after_uncalibrated():
    gate, (first, second) = a_gate().double().eval(), maps()
    before = gate(first, second)
    with gate.uncalibrated():
        with gate.uncalibrated():
            pass
        assert not torch.equal(gate(first, second)[0], before[0])
    with pytest.raises(KeyError), gate.uncalibrated():
        raise KeyError
    torch.testing.assert_close(gate(first, second), before, rtol=0, atol=0)
    assert 0.84 < before[1].min() < before[1].max() < 0.99


def test_maps_of_different_sizes_are_pooled_to_the_smaller():
    """The second part's first map is twice as large, the second maps are larger than the first layer's output."""
    gate = a_gate().double().eval()
    first, second = maps(sizes=((4, 8), (4, 4)))
    pooled = [first[0], F.avg_pool2d(first[1], 2)], [F.avg_pool2d(each, 2) for each in second]
    torch.testing.assert_close(gate(first, second), gate(*pooled), rtol=1e-10, atol=0)


def test_no_gradient_flows_through_the_bounds_of_the_clamp():
    """What is clamped has none of its own: it acts through the batch's statistics alone, which are those of norm."""
    gate = a_gate().double().train()
    raw = torch.tensor([[-5.0], [-0.1], [0.0], [0.2], [7.0]], dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(gate._standardised(raw)[1], raw)
    values = raw.detach()
    clamped = values.clamp(*(values.mean() + sign * 0.6 * values.std() for sign in (-1, 1))).requires_grad_()
    gamma = F.batch_norm(clamped, None, None, training=True)[1, 0] * gate.gate_std + gate.gate_mean
    (expected,) = torch.autograd.grad(gamma, clamped)
    torch.testing.assert_close(found[1:4], expected[1:4])
    assert found[[0, 4]].tolist() == [[0], [0]]


def test_equal_outputs_become_the_mean_and_one_image_cannot_train():
    gate, (first, second) = a_gate().train(), maps(images=1, dtype=torch.float32)
    twice = [each.repeat(2, 1, 1, 1) for each in first], [each.repeat(2, 1, 1, 1) for each in second]
    gamma, alpha = gate(*twice)
    torch.testing.assert_close(gamma, torch.full((2,), 1.3), rtol=0, atol=1e-2)
    (gamma + alpha).sum().backward()
    assert all(each.grad.isfinite().all() for each in gate.parameters())
    with pytest.raises(ValueError, match="one image"):
        gate(first, second)
    assert gate.eval()(first, second)[0].isfinite().all()


def block_parameters(entering, leaving):
    return 2 * entering + 9 * entering * leaving + 2 * leaving + 9 * leaving**2


def test_the_number_of_parameters_for_two_resnet18():
    gate = Gate([(64, 128), (64, 128)], 0.2, 0.95, 2.0, 0.4)
    counted = 256 * 64 + 256  # projection of the second maps, and the classifier
    for entering, leaving in ((128, 64), (64, 128), (128, 256)):
        counted += block_parameters(entering, leaving) + entering * leaving + block_parameters(leaving, leaving)
    assert sum(each.numel() for each in gate.parameters()) == counted == 2_833_920


def test_log_weights_are_those_of_alpha_and_stay_finite():
    near = torch.linspace(-4, 4, 9, dtype=torch.float64)
    for low, high in ((0.0, 1.0), (0.84, 0.99), (0.3, 0.3), (0.0, 0.6), (1.0, 1.0)):
        gate = a_gate(alpha_low=low, alpha_high=high).double()
        low, high = gate.alpha_low.item(), gate.alpha_high.item()
        alpha = low + (high - low) * near.sigmoid()
        for found, expected in zip(gate.log_weights(near), (1 - alpha, alpha), strict=True):
            torch.testing.assert_close(found.exp(), expected, rtol=1e-9, atol=1e-30)
        far = torch.tensor([-200.0, 200.0], requires_grad=True)
        rest, robust = gate.float().log_weights(far)
        assert rest.isfinite().all()
        assert robust.isfinite().all()
        (gradient,) = torch.autograd.grad((rest + robust).sum(), far)
        assert gradient.isfinite().all()
    with gate.uncalibrated():
        rest, robust = gate.log_weights(torch.tensor([-200.0, 200.0]))
    assert rest.tolist() == [0, -200]
    assert robust.tolist() == [-200, 0]


@pytest.mark.parametrize(
    "constants", [{"alpha_low": -0.1}, {"alpha_low": 0.5, "alpha_high": 0.4}, {"alpha_high": 1.1}, {"gate_std": 0.0}]
)
def test_constants_out_of_range_are_refused(constants):
    with pytest.raises(ValueError, match=next(iter(constants))):
        a_gate(**constants)
