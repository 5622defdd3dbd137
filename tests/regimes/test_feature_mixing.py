"""What NoisyMix draws: places, shares, partners and noise, against their distributions and their formula."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from p2be_exp.regimes import When
from p2be_exp.regimes.feature_mixing import ElementRandom, FeatureNoise, MixedBatch, draw_batch, draw_partners

IMAGES = torch.tensor([7, 3, 900, 12, 44, 5])
DRAWN = MixedBatch(2, 0.25, (0.1, 0.4, 0.7), (0.6, 0.2, 0.3))


def batches(n=1000, alpha=1.0, layers=4):
    return [draw_batch(5, When(step // 100, step), layers, alpha) for step in range(n)]


# -- once per batch ---------------------------------------------------------------------------------------------------


def test_a_batch_draws_by_seed_and_position_alone():
    drawn = draw_batch(5, When(2, 9), 4, 1.0)
    assert drawn == draw_batch(5, When(2, 9), 4, 1.0)
    others = [draw_batch(6, When(2, 9), 4, 1.0), draw_batch(5, When(2, 10), 4, 1.0), draw_batch(5, When(3, 9), 4, 1.0)]
    assert len({each.own_share for each in [drawn, *others]}) == 4


def test_every_place_is_as_likely():
    counts = Counter(each.layer for each in batches())
    assert set(counts) == {0, 1, 2, 3}
    assert all(abs(count - 250) < 5 * math.sqrt(1000 * 0.25 * 0.75) for count in counts.values())
    assert {each.layer for each in batches(20, layers=1)} == {0}


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_the_share_is_beta_distributed(alpha):
    shares = torch.tensor([each.own_share for each in batches(alpha=alpha)], dtype=torch.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    assert 0 <= shares.min() <= shares.max() <= 1
    assert abs(shares.mean().item() - 0.5) < 5 * math.sqrt(variance / 1000)
    assert shares.var().item() == pytest.approx(variance, rel=0.15)


def test_an_alpha_of_zero_mixes_nothing():
    assert {each.own_share for each in batches(20, alpha=0.0)} == {1.0}


def test_strengths_of_the_noise_are_beta_2_5_each_of_its_own():
    strengths = torch.tensor([each.multiplicative + each.additive for each in batches()], dtype=torch.float64)
    assert strengths.shape == (1000, 6)
    for column in strengths.T:
        assert abs(column.mean().item() - 2 / 7) < 5 * math.sqrt(5 / 196 / 1000)
        assert column.var().item() == pytest.approx(5 / 196, rel=0.2)
    correlations = torch.corrcoef(strengths.T) - torch.eye(6)
    assert correlations.abs().max() < 5 / math.sqrt(1000)


# -- partners ---------------------------------------------------------------------------------------------------------


def test_who_is_whose_partner_hangs_on_the_images_not_on_their_order():
    def pairs(images):
        return dict(zip(images.tolist(), images[draw_partners(5, 1, images)].tolist(), strict=True))

    order = torch.tensor([4, 2, 0, 5, 1, 3])
    assert pairs(IMAGES) == pairs(IMAGES[order])
    assert sorted(pairs(IMAGES).values()) == sorted(IMAGES.tolist())
    assert draw_partners(5, 1, IMAGES[:1]).tolist() == [0]


def test_every_permutation_is_as_likely():
    counts = Counter(tuple(draw_partners(5, epoch, IMAGES[:3]).tolist()) for epoch in range(1200))
    assert len(counts) == 6
    assert all(abs(count - 200) < 5 * math.sqrt(1200 * 5 / 36) for count in counts.values())


# -- noise ------------------------------------------------------------------------------------------------------------

SHAPE = torch.Size((8, 16, 16))


def elements(off):
    return ElementRandom(5, 1, torch.arange(24)).elements(SHAPE, off)


@pytest.mark.parametrize("off", [0.0, 0.65])
def test_the_numbers_of_the_elements_are_distributed_as_they_should(off):
    uniform, normal = (each.flatten() for each in elements(off))
    n = len(uniform)
    on = 1 - off
    for each in (uniform, normal):
        share = (each == 0).double().mean().item()
        assert abs(share - off) <= 5 * math.sqrt(off * on / n)
    assert abs((uniform[normal != 0] != 0).double().mean().item() - on) <= 5 * math.sqrt(off * on / n / on)
    uniform, normal = uniform[uniform != 0], normal[normal != 0]
    assert -1 < uniform.min() < -0.999
    assert 0.999 < uniform.max() < 1
    for each, variance, fourth in ((uniform, 1 / 3, 1 / 5), (normal, 1.0, 3.0)):
        spread = math.sqrt(fourth - variance**2)
        assert abs(each.mean().item()) < 5 * math.sqrt(variance / len(each))
        assert abs(each.square().mean().item() - variance) < 5 * spread / math.sqrt(len(each))
    assert normal.pow(4).mean().item() == pytest.approx(3, rel=0.05)


def test_the_two_numbers_of_an_element_have_nothing_to_do_with_each_other():
    uniform, normal = (each.flatten() for each in elements(0.0))
    limit = 5 / math.sqrt(len(uniform))
    pairs = torch.stack([uniform, normal, uniform.square(), normal.square()])
    assert (torch.corrcoef(pairs) - torch.eye(4)).abs().max() < limit


def test_all_of_it_can_be_off():
    assert all(not each.any() for each in elements(1.0))


def test_an_elements_numbers_hang_on_seed_epoch_image_view_reader_and_nothing_else():
    whole = ElementRandom(5, 1, IMAGES).elements(SHAPE, 0.65, 1)
    part = ElementRandom(5, 1, IMAGES[[4, 1]]).elements(SHAPE, 0.65, 1)
    for together, alone in zip(whole, part, strict=True):
        assert torch.equal(together[:, [4, 1]], alone)
    others = [
        ElementRandom(6, 1, IMAGES).elements(SHAPE, 0.65, 1),
        ElementRandom(5, 2, IMAGES).elements(SHAPE, 0.65, 1),
        ElementRandom(5, 1, IMAGES).elements(SHAPE, 0.65, 0),
        ElementRandom(5, 1, IMAGES + 1).elements(SHAPE, 0.65, 1),
        [each[[1, 2, 0]] for each in whole],
    ]
    for other in others:
        for one, another in zip(whole, other, strict=True):
            assert (one[one != 0] == another[one != 0]).double().mean() < 0.01


@pytest.mark.parametrize("reader", [0, 1])
def test_the_noise_is_its_formula(reader):
    features = torch.randn(18, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    random = ElementRandom(5, 1, IMAGES)
    noisy = FeatureNoise(0.5, 0.3, 0.65)(features, DRAWN, random, reader)
    uniform, normal = random.elements(SHAPE, 0.65, reader)
    for view in range(3):
        clean = features[6 * view : 6 * view + 6]
        expected = clean * (1 + 0.5 * DRAWN.multiplicative[view] * uniform[view])
        expected += 0.3 * (view + 1) * DRAWN.additive[view] * normal[view]
        torch.testing.assert_close(noisy[6 * view : 6 * view + 6], expected, rtol=1e-13, atol=1e-13)


def test_the_mean_stays_and_the_spread_is_the_formulas():
    images, level = torch.arange(64), 3.0
    features = torch.full((3 * 64, *SHAPE), level)
    noisy = FeatureNoise(0.5, 0.5, 0.65)(features, DRAWN, ElementRandom(5, 1, images)).double()
    for view, each in enumerate(noisy.split(64)):
        factor, offset = 0.5 * DRAWN.multiplicative[view] * level, 0.5 * (view + 1) * DRAWN.additive[view]
        variance = 0.35 * (factor**2 / 3 + offset**2)
        assert abs(each.mean().item() - level) < 5 * math.sqrt(variance / each.numel())
        assert each.var().item() == pytest.approx(variance, rel=0.03)
        untouched = (each == level).double().mean().item()
        assert untouched == pytest.approx(0.65**2, abs=5 * math.sqrt(0.65**2 * (1 - 0.65**2) / each.numel()))


def test_one_noise_without_the_other():
    features, random = torch.ones(18, *SHAPE), ElementRandom(5, 1, IMAGES)
    scaled = FeatureNoise(0.5, 0.0, 0.0)(features, DRAWN, random) - 1
    for view, each in enumerate(scaled.split(6)):
        assert each.abs().max().item() == pytest.approx(0.5 * DRAWN.multiplicative[view], rel=1e-2)
    shifted = FeatureNoise(0.0, 0.5, 0.0)
    torch.testing.assert_close(
        shifted(5 * features, DRAWN, random) - 5, shifted(features, DRAWN, random) - 1, rtol=0, atol=1e-5
    )
    assert FeatureNoise(0.0, 0.0, 0.65)(features, DRAWN, random) is features


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_layout_of_the_features_stay(dtype):
    features = torch.ones(18, *SHAPE, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    noisy = FeatureNoise(0.5, 0.5, 0.65)(features, DRAWN, ElementRandom(5, 1, IMAGES))
    assert noisy.dtype == dtype
    assert noisy.is_contiguous(memory_format=torch.channels_last)
    noisy.float().sum().backward()
    assert features.grad.isfinite().all()
    silent = replace(DRAWN, multiplicative=(0.0, 0.0, 0.0), additive=(0.0, 0.0, 0.0))
    assert torch.equal(FeatureNoise(0.5, 0.5, 0.65)(features, silent, ElementRandom(5, 1, IMAGES)), features)


def test_features_may_be_vectors():
    noisy = FeatureNoise(0.5, 0.5, 0.0)(torch.ones(18, 4), DRAWN, ElementRandom(5, 1, IMAGES))
    assert noisy.shape == (18, 4)
    assert (noisy != 1).all()
