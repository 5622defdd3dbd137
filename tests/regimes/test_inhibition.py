"""The mask of group-wise inhibition and the overlap of the groups, against the formulas for one image."""

import numpy as np
import pytest
import torch

from p2be_exp.regimes.inhibition import inhibition_mask, overlap
from tenet_by_image import slow_mask, slow_overlap

K = 4


def batch(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Maps, gradients, groups; image 1 has none in group 2, image 2 is all in group 3, image 3 lacks groups 1 and 3."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 11, 3, 5, generator=generator, dtype=torch.float64).relu().to(dtype)
    gradient = (torch.randn(6, 11, 3, 5, generator=generator, dtype=torch.float64) + 0.1).to(dtype)
    groups = torch.randint(K, (6, 11), generator=generator)
    groups[1][groups[1] == 2] = 0
    groups[2] = 3
    groups[3] = groups[3] % 2 * 2
    return features, gradient, groups


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_mask_is_that_of_the_formulas(dtype, tolerance):
    features, gradient, groups = batch(dtype)
    expected = [slow_mask(f.numpy(), g.numpy(), k.tolist()) for f, g, k in zip(features, gradient, groups, strict=True)]
    found = inhibition_mask(features, gradient, groups, K)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.numpy(), np.array(expected), rtol=tolerance, atol=0)
    assert 0 < (found == 1).double().mean() < 1  # groups that speak for the class and others


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_overlap_is_that_of_the_formulas(dtype, tolerance):
    features, _, groups = batch(dtype)
    expected = [slow_overlap(f.numpy(), k.tolist()) for f, k in zip(features, groups, strict=True)]
    found = overlap(features, groups, K)
    assert (found.dtype, found.shape) == (dtype, ())
    assert found.item() == pytest.approx(np.mean(expected), rel=tolerance)
    each = [overlap(features[n : n + 1], groups[n : n + 1], K).item() for n in range(len(features))]
    assert each == pytest.approx(expected, rel=tolerance)


def test_the_overlap_of_two_maps_by_hand():
    """Mean maps (1, 0, 2) and (1, 3, -2): the inner product is -3."""
    features = torch.tensor([[0.0, 0, 4], [2, 0, 0], [1, 3, -2]]).view(1, 3, 1, 3)
    assert overlap(features, torch.tensor([[2, 2, 0]]), 3).item() == 3
    assert overlap(torch.cat([features, features]), torch.tensor([[2, 2, 0], [1, 1, 1]]), 3).item() == 1.5


def test_the_mask_by_hand():
    """m = (1, 3, 2), whose mean is 2 and whose standard deviation is the root of 2/3."""
    features = torch.tensor([[1.0, 1, 2], [0, 2, 0], [7, 8, 9]]).view(1, 3, 1, 3)
    gradient = torch.tensor([[0.0, 1, 2], [3, 0, 0], [-1, 0, 0]]).view(1, 3, 1, 3)
    found = inhibition_mask(features, gradient, torch.tensor([[1, 1, 0]]), 2)
    high = 1 / (1 + np.exp(1.5**0.5))
    expected = torch.tensor([[1 - high, high, 0.5], [1 - high, high, 0.5], [1, 1, 1]], dtype=torch.float32)
    torch.testing.assert_close(found.view(3, 3), expected, rtol=1e-6, atol=0)
    assert found[0, 0, 0, 2] == 0.5


def test_groups_that_do_not_speak_for_the_class_stay_as_they_are():
    features, gradient, groups = batch(torch.float32)
    assert (inhibition_mask(features, -gradient.abs(), groups, K) == 1).all()
    assert (inhibition_mask(features, torch.zeros_like(gradient), groups, K) == 1).all()
    assert (inhibition_mask(features, gradient.abs(), groups, K) < 1).all()


def test_where_a_strong_group_is_flat_the_mask_is_a_half():
    """Also for values that a float32 sum would not give back."""
    features, groups = torch.full((1, 3, 7, 7), 0.1), torch.tensor([[0, 0, 1]])
    features[0, 2] = 0
    mask = inhibition_mask(features, torch.full_like(features, 0.3), groups, 2)
    assert (mask == 0.5).all()


def test_nan_is_not_hidden_and_stays_in_its_image():
    features, gradient, groups = batch(torch.float32)
    gradient = gradient.abs()
    expected = inhibition_mask(features, gradient, groups, K)
    for given in (features, gradient):
        kept, given[0, 3, 1, 1] = given[0, 3, 1, 1].item(), torch.nan
        found = inhibition_mask(features, gradient, groups, K)
        assert found[0][groups[0] == groups[0, 3]].isnan().all()
        assert torch.equal(found[1:], expected[1:])
        assert overlap(features, groups, K).isnan() == (given is features)
        given[0, 3, 1, 1] = kept


def test_the_gradient_of_the_overlap():
    features, _, groups = batch()
    features = (features - 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: overlap(given, groups, K), features)
    (gradient,) = torch.autograd.grad(overlap(features, groups, K), features)
    assert gradient.flatten(1).any(1).tolist() == [True, True, False, True, True, True]  # image 2 has one group


def test_no_gradient_goes_through_the_mask():
    features, gradient, groups = batch()
    mask = inhibition_mask(features.requires_grad_(), gradient.requires_grad_(), groups, K)
    assert not mask.requires_grad
    (found,) = torch.autograd.grad((features * mask).sum(), features)
    assert torch.equal(found, mask)


def test_autocast_changes_nothing():
    features, gradient, groups = batch(torch.float32)
    mask, penalty = inhibition_mask(features, gradient, groups, K), overlap(features, groups, K)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(inhibition_mask(features, gradient, groups, K), mask)
        assert torch.equal(overlap(features, groups, K), penalty)
    lowered = features.bfloat16().requires_grad_()
    mask = inhibition_mask(lowered, gradient.bfloat16(), groups, K)
    assert mask.dtype == torch.float32
    assert torch.equal(mask, inhibition_mask(lowered.float(), gradient.bfloat16().float(), groups, K))
    assert torch.equal(overlap(lowered, groups, K), overlap(lowered.float(), groups, K))
