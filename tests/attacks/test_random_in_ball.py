"""Random in ball: the levels are uniform, at the borders too, and an image's are its own."""

import pytest
import torch

from p2be_exp.attacks.attack import predict
from p2be_exp.attacks.ball import bounds, is_inside
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.random_in_ball import uniform_levels
from p2be_exp.backbones import build_backbone
from p2be_exp.models.model import EncodedClassifier
from usual import P2BE, RandomInBall


def of_level(level, n=200):
    return torch.full((n, 3, 8, 8), level, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("level", "eps_levels"),
    [(0, 8), (255, 8), (3, 8), (250, 8), (100, 0), (100, 1), (100, 8), (100, 255), (0, 255), (255, 1)],
)
def test_every_allowed_level_is_equally_likely(level, eps_levels):
    drawn = uniform_levels(of_level(level), eps_levels, AttackRandom(0, torch.arange(200)), 0)
    low, high = max(0, level - eps_levels), min(255, level + eps_levels)
    counts = torch.bincount(drawn.flatten().long(), minlength=256)
    assert counts[low : high + 1].sum() == drawn.numel()
    expected = drawn.numel() / (high - low + 1)
    chi_squared = ((counts[low : high + 1] - expected) ** 2 / expected).sum()
    freedom = high - low
    assert chi_squared <= freedom + 5 * (2 * freedom) ** 0.5


def test_values_are_drawn_one_by_one():
    drawn = uniform_levels(of_level(100), 8, AttackRandom(0, torch.arange(200)), 0).double().flatten(1)
    correlations = torch.corrcoef(drawn.T) - torch.eye(192)
    assert correlations.abs().max() < 0.4  # 192 values, 200 images: 5.6 standard deviations
    assert torch.corrcoef(drawn).fill_diagonal_(0).abs().max() < 0.45


def test_an_image_draws_the_same_in_any_batch_and_anew_in_another_try():
    images = torch.randint(256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    random = AttackRandom(0, torch.arange(5))
    together = uniform_levels(images, 8, random, 1)
    for i in range(5):
        place = torch.tensor([i])
        assert torch.equal(uniform_levels(images[place], 8, random.select(place), 1), together[place])
    assert not torch.equal(uniform_levels(images, 8, random, 0), together)
    assert not torch.equal(uniform_levels(images, 8, AttackRandom(1, torch.arange(5)), 1), together)


def test_a_try_is_a_search():
    torch.manual_seed(0)
    model = EncodedClassifier(P2BE(8), build_backbone("wrn16_1", 10)).eval()
    images = torch.randint(256, (40, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    with torch.no_grad():
        model.trunk.classifier.bias -= model(images).mean(0)  # an untrained network says one class of nearly all
    labels, random = predict(model, images), AttackRandom(0, torch.arange(40))
    shares = []
    for tries in (1, 4):
        attack = RandomInBall(2, tries)
        assert (attack.id, attack.gradient, attack.restarts) == ("random_in_ball", "", tries)
        result = attack(model, images, labels, random)
        assert is_inside(result.images, images, 2).all()
        assert result.zero_gradient is None
        assert result.losses is None
        shares.append(result.broken.float().mean())
    assert 0 < shares[0] < shares[1]


def test_no_images():
    none = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    drawn = uniform_levels(none, 8, AttackRandom(0, torch.arange(0)), 0)
    assert drawn.shape == none.shape
    assert bounds(none, 8)[0].shape == none.shape
