"""Loss terms against plain transcriptions of their formulas, SciPy and numerical gradients."""

import itertools
import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon

from p2be_exp.encodings.smoothness import neighbour_cosines, smoothness_mean, smoothness_sum
from p2be_exp.regimes.consistency import jensen_shannon


def normal(*shape: int, dtype=torch.float64, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


# -- smoothness ----------------------------------------------------------------------------------------------------


def cosines(table: torch.Tensor) -> list[float]:
    """sum(a * b) / (|a| |b| + 1e-8) for every pair of neighbours, in plain Python (spec/p2be.md 1.2)."""
    rows = table.tolist()
    return [
        sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b) + 1e-8)
        for a, b in itertools.pairwise(rows)
    ]


def test_cosines_of_neighbours():
    table = normal(256, 9)
    assert neighbour_cosines(table).tolist() == pytest.approx(cosines(table), abs=1e-14)


def test_mean_form_is_the_reference_codes():
    table = normal(256, 9)
    assert smoothness_mean(table).item() == pytest.approx(-sum(cosines(table)) / 255, abs=1e-14)


def test_sum_form_is_equation_9():
    table = normal(256, 9)
    assert smoothness_sum(table).item() == pytest.approx(sum(1 - cosine for cosine in cosines(table)), abs=1e-11)


def test_gradient_of_the_mean_is_that_of_the_sum_over_255():
    table = normal(256, 9).requires_grad_()
    (of_mean,) = torch.autograd.grad(smoothness_mean(table), table)
    (of_sum,) = torch.autograd.grad(smoothness_sum(table), table)
    assert of_mean.abs().max() > 1e-5
    torch.testing.assert_close(of_mean, of_sum / 255, rtol=0, atol=1e-15)


def test_gradient_of_the_sum_is_the_numerical_one():
    assert torch.autograd.gradcheck(smoothness_sum, normal(6, 4).requires_grad_())


def test_equal_rows_are_perfectly_smooth_and_opposite_rows_are_not():
    same = torch.ones(256, 4, dtype=torch.float64)
    alternating = same * torch.tensor([1.0, -1.0]).repeat(128)[:, None]
    assert smoothness_sum(same).item() == pytest.approx(0, abs=1e-5)
    assert smoothness_sum(alternating).item() == pytest.approx(2 * 255, abs=1e-5)


def test_epsilon_is_added_to_the_product_of_the_norms():
    # |a| |b| = 1e-8: the cosine 1 becomes 1e-8 / (1e-8 + 1e-8). Added to each norm, or as a lower bound, it would not.
    table = torch.tensor([[1e-4, 0.0], [1e-4, 0.0]], dtype=torch.float64)
    assert neighbour_cosines(table).item() == pytest.approx(0.5, abs=1e-12)
    assert neighbour_cosines(torch.zeros(2, 3)).item() == 0


# -- Jensen-Shannon ------------------------------------------------------------------------------------------------


def divergence(logits: torch.Tensor) -> float:
    """Mean over views and images of KL(p || clamp(mean p, 1e-7, 1)), term by term (spec/p2be.md 1.5)."""
    views, images, classes = logits.shape
    p = [[[0.0] * classes for _ in range(images)] for _ in range(views)]
    for v in range(views):
        for i in range(images):
            powers = [math.exp(value) for value in logits[v, i].tolist()]
            p[v][i] = [power / sum(powers) for power in powers]
    total = 0.0
    for i in range(images):
        mix = [min(max(sum(p[v][i][k] for v in range(views)) / views, 1e-7), 1.0) for k in range(classes)]
        for v in range(views):
            total += sum(q * (math.log(q) - math.log(m)) for q, m in zip(p[v][i], mix, strict=True))
    return total / views / images


@pytest.mark.parametrize("scale", [1.0, 4.0, 12.0])  # at 12 some probabilities are below the clamp
def test_three_views(scale):
    logits = normal(3, 5, 7, scale=scale)
    assert (logits.softmax(-1).mean(0) < 1e-7).any() == (scale == 12.0)
    assert jensen_shannon(logits).item() == pytest.approx(divergence(logits), abs=1e-14)


def test_two_views_are_scipys():
    logits = normal(2, 6, 5)
    p, q = logits.softmax(-1).numpy()
    assert jensen_shannon(logits).item() == pytest.approx((jensenshannon(p, q, axis=1) ** 2).mean(), abs=1e-14)


def test_the_clamp_is_at_1e_minus_7():
    # Both views give class 1 a probability of about 1e-9: the log of their mean is that of 1e-7, a divergence below 0.
    logits = torch.tensor([0.0, math.log(1e-9)], dtype=torch.float64).expand(2, 1, 2)
    p = 1e-9 / (1 + 1e-9)
    expected = p * (math.log(p) - math.log(1e-7))
    assert jensen_shannon(logits).item() == pytest.approx(expected, rel=1e-6)


def test_equal_views_do_not_diverge():
    assert jensen_shannon(normal(1, 4, 6).expand(3, -1, -1)).item() == pytest.approx(0, abs=1e-15)


def test_gradients_are_the_numerical_ones():
    assert torch.autograd.gradcheck(jensen_shannon, normal(3, 2, 4, scale=2.0).requires_grad_())


def test_every_view_and_the_mixture_get_gradients():
    # The gradient of KL(p_v || mix) through p_v and through mix, by autograd on the definition.
    logits = normal(3, 4, 5).requires_grad_()
    p = logits.softmax(-1)
    mix = p.mean(0)
    (expected,) = torch.autograd.grad((p * (p / mix).log()).sum(-1).mean(), logits)
    (gradient,) = torch.autograd.grad(jensen_shannon(logits), logits)
    assert (expected.abs().amax(dim=(1, 2)) > 1e-3).all()
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-15)


def test_certain_predictions_have_finite_gradients():
    # In float32 the probability of a class 104 logits below the best is exactly 0.
    logits = torch.tensor([[[0.0, 200.0, 3.0]], [[0.0, 210.0, 3.0]], [[4.0, 0.0, 150.0]]], requires_grad=True)
    assert (logits.softmax(-1) == 0).any()
    value = jensen_shannon(logits)
    value.backward()
    assert value.item() == pytest.approx(2 / 3 * math.log(3 / 2) + 1 / 3 * math.log(3), abs=1e-6)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(dtype):
    logits = normal(3, 5, 7, dtype=dtype)
    value = jensen_shannon(logits)
    assert value.dtype == torch.float32
    assert value.item() == jensen_shannon(logits.float()).item()
    assert value.item() == pytest.approx(divergence(logits.double()), rel=1e-5)


def test_float64_stays_float64():
    assert jensen_shannon(normal(2, 2, 3)).dtype == torch.float64
