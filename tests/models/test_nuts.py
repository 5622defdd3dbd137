"""MixedNUTS' transforms and its two outputs, against one image at a time in plain Python floats."""

import math

import pytest
import torch

from nuts_by_image import slow_softmax, slow_standardised, slow_transform
from p2be_exp.models.nuts import RobustTransform, log_mixture, nuts_answers, sharpened, standardised


def random_logits(*shape, seed=0):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("largest", [5, 7, 250])
def test_the_transform_is_that_of_the_formulas(largest):
    logits = random_logits(6, 7)
    transform = RobustTransform(s=3.0, c=-1.1, p=2.5, classes=largest)
    for parameters, found in (((3.0, -1.1, 2.5, largest), transform(logits)), (None, standardised(logits, largest))):
        slow = slow_standardised if parameters is None else slow_transform
        expected = [slow(row, *(parameters or (largest,))) for row in logits.tolist()]
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-13)


def test_large_logits_have_their_place_and_equal_ones_none():
    logits = torch.tensor([[5.0, 5, 5, 5], [1e4, 0, 0, 0]])
    found = standardised(logits)
    assert found[0].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(found[1], torch.tensor([1.5, -0.5, -0.5, -0.5]))  # variance 1/4 of the gap's square
    assert standardised(logits.bfloat16()).dtype == torch.float32


def test_a_class_may_change_where_the_largest_is_below_minus_c():
    """Of nine equal logits above one, z is 0.32; GELU(0.32 - 1.1) is -0.17, that of the tenth almost 0."""
    logits = torch.tensor([[1.0] * 9 + [0.0]])
    assert RobustTransform(s=1.0, c=-1.1, p=1.0)(logits).argmax(1).item() == 9
    assert RobustTransform(s=1.0, c=0.0, p=1.0)(logits).argmax(1).item() < 9


def test_both_answers_are_the_mixtures_of_their_formulas():
    accurate, robust = random_logits(5, 4, seed=1), random_logits(5, 4, seed=2)
    transform, alpha, b, scale = RobustTransform(s=2.0, c=-0.5, p=2.0), 0.7, 0.6, 3.0
    output, climbed = nuts_answers(accurate, robust, transform, alpha, b, scale)
    for g, h, found, way in zip(*(each.tolist() for each in (accurate, robust, output, climbed)), strict=True):
        changed = slow_softmax(slow_transform(h, 2.0, -0.5, 2.0, 250))
        sharp = slow_softmax([scale * each for each in slow_standardised(g, 250)])
        expected = [math.log((1 - alpha) * x + alpha * y) for x, y in zip(sharp, changed, strict=True)]
        assert found == pytest.approx(expected, rel=1e-10)
        three = zip(slow_softmax(g), slow_softmax(h), changed, strict=True)
        assert way == pytest.approx([math.log(0.4 * x + 0.54 * y + 0.06 * z) for x, y, z in three], rel=1e-10)


def test_the_accurate_part_is_all_but_one_hot():
    logits = random_logits(8, 10).float()
    probabilities = sharpened(logits).softmax(1)
    assert torch.equal(probabilities.argmax(1), logits.argmax(1))
    assert (probabilities.amax(1) == 1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99875, 1.0])
def test_gaps_of_hundreds_have_finite_outputs_and_a_way_to_climb(dtype, alpha):
    """The parts contradict each other by 400, and the image's class is neither's."""
    pair = torch.tensor([[[400.0, 0, -400, 1], [-350, 0, 300, 5]], [[1, -400, 0, 400], [300, 0, -350, 5]]])
    accurate, robust = (each.to(dtype).requires_grad_() for each in pair)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answers = nuts_answers(accurate, robust, RobustTransform(s=5.0, c=-1.1, p=4.0), alpha, 0.957)
    for answer in answers:
        assert answer.dtype == torch.float32
        assert answer.isfinite().all()
        torch.testing.assert_close(answer.exp().sum(1), torch.ones(2), rtol=1e-5, atol=0)
        margin = answer[:, 1] - answer.gather(1, answer.argmax(1, keepdim=True)).squeeze(1)
        gradients = torch.autograd.grad(margin.sum(), (accurate, robust), retain_graph=True, materialize_grads=True)
        assert all(each.isfinite().all() for each in gradients)
    assert sum(each.abs().sum(1) for each in gradients).min() > 0  # of the surrogate


def test_the_surrogate_has_a_gradient_where_the_output_has_none():
    accurate, robust = (random_logits(6, 10, seed=seed).float().requires_grad_() for seed in (3, 4))
    output, climbed = nuts_answers(accurate, robust, RobustTransform(s=5.0, c=-1.1, p=4.0), 0.99875, 0.957)
    saturated = torch.autograd.grad(output.exp().amax(1).sum(), accurate, retain_graph=True)[0]
    assert saturated.abs().max() == 0
    for each in torch.autograd.grad(climbed.amax(1).sum(), (accurate, robust)):
        assert (each.abs().amax(1) > 1e-4).all()


def test_a_part_of_weight_zero_is_left_out():
    logits, other = random_logits(3, 5), torch.full((3, 5), math.nan, dtype=torch.float64)
    torch.testing.assert_close(log_mixture([(0.0, other), (1.0, logits)]), logits.log_softmax(1))
