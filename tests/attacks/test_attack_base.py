"""What every attack does around its search: the model's state, the ball, who leaves, what is kept."""

from math import nan

import pytest
import torch
from torch import nn

from p2be_exp.attacks import Attack, AttackRandom, Search, attacked, predict
from p2be_exp.attacks.ball import bounds, is_inside
from p2be_exp.randomness.draws import ImageRandom, Purpose


class Bright(nn.Module):
    """Class 1 where the mean level is above 100, else class 0."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.weight = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, images):
        x = images.double().mean((1, 2, 3)) - 100
        return torch.stack([-x, x], dim=1) * self.weight


class Raising(Attack):
    """Raises every level by the given amounts, one a restart; notes which images it was asked for."""

    id = "raising"

    def __init__(self, eps_levels, amounts, **facts):
        super().__init__(eps_levels, restarts=len(amounts))
        self.amounts, self.facts, self.asked = amounts, facts, []
        if "zero_gradient" in facts:
            self.gradient = "secant"
        self.trace = len(facts["losses"]) if "losses" in facts else 0

    def search(self, model, images, labels, random, restart=0):
        self.asked.append((random.images.tolist(), restart))
        found = (images.short() + self.amounts[restart]).clamp(max=255).to(torch.uint8)
        facts = {name: torch.tensor(value)[..., None].expand(*torch.tensor(value).shape, len(images)) + restart
                 for name, value in self.facts.items()}  # fmt: skip
        return Search(found, **facts)


def flat(*levels):
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).contiguous()


IMAGES, LABELS = flat(97, 150, 90, 60), torch.tensor([0, 0, 0, 0])
RANDOM = AttackRandom(0, torch.tensor([40, 41, 42, 43]))


def test_finished_images_leave_and_the_first_wrong_image_is_kept():
    attack = Raising(20, [5, 15, 20])
    found = attack(Bright(), IMAGES, LABELS, RANDOM)
    # 97 breaks at +5, 150 was wrong before, 90 breaks at +15, 60 never.
    assert attack.asked == [([40, 42, 43], 0), ([42, 43], 1), ([43], 2)]
    assert found.broken.tolist() == [True, True, True, False]
    assert found.images[:, 0, 0, 0].tolist() == [102, 150, 105, 80]
    assert (found.zero_gradient, found.losses) == (None, None)
    assert IMAGES[0, 0, 0, 0] == 97


def test_it_says_after_how_much_effort_an_image_was_broken():
    attack = Raising(20, [5, 15, 20])
    assert attack.effort == 1
    assert attack(Bright(), IMAGES, LABELS, RANDOM).broken_at.tolist() == pytest.approx([1, 0, 2, nan], nan_ok=True)
    attack = Raising(20, [5, 15, 20], found_at=3.0)  # the double adds the restart's number
    attack.steps = 10
    assert attack(Bright(), IMAGES, LABELS, RANDOM).broken_at.tolist() == pytest.approx([3, 0, 14, nan], nan_ok=True)


def test_the_same_attack_with_another_effort():
    attack = Raising(20, [5, 15])
    assert attack.scaled(2).restarts == 4
    assert attack.scaled(0.5).restarts == 1
    assert attack.scaled(0.5).scaled(0.5) is None
    attack.queries = 7
    assert (attack.scaled(2).queries, attack.scaled(2).restarts) == (14, 2)
    attack.steps = attack.trace = 5
    other = attack.scaled(0.5)
    assert (other.steps, other.trace, other.queries, other.restarts) == (2, 2, 7, 2)
    assert (attack.steps, attack.trace, other.family) == (5, 5, "raising")


def test_zero_gradients_are_means_over_restarts_and_losses_those_of_the_first():
    attack = Raising(20, [5, 15, 20], zero_gradient=0.25, losses=[1.0, 2.0])
    found = attack(Bright(), IMAGES, LABELS, RANDOM)
    assert found.zero_gradient[[0, 2, 3]].tolist() == [0.25, 0.75, 1.25]  # the double adds the restart's number
    assert found.losses[:, [0, 2, 3]].tolist() == [[1, 1, 1], [2, 2, 2]]
    assert found.zero_gradient[1].isnan()
    assert found.losses[:, 1].isnan().all()


def test_images_that_are_all_wrong_are_left_alone():
    attack = Raising(20, [5], zero_gradient=0.25, losses=[1.0, 2.0])
    found = attack(Bright(), IMAGES[1:2], LABELS[1:2], RANDOM)
    assert attack.asked == []
    assert found.broken.all()
    assert torch.equal(found.images, IMAGES[1:2])
    assert found.zero_gradient.isnan().all()
    assert found.losses.shape == (2, 1)


def test_a_candidate_outside_the_ball_is_an_error():
    with pytest.raises(RuntimeError, match="raising: a candidate is not uint8 inside 4 levels"):
        Raising(4, [5])(Bright(), IMAGES, LABELS, RANDOM)
    Raising(5, [5])(Bright(), IMAGES, LABELS, RANDOM)


def test_the_model_is_still_while_attacked_and_as_before_afterwards():
    model = Bright().train()
    model.norm.eval()
    for raised in (False, True):
        try:
            with attacked(model), torch.no_grad(), torch.enable_grad():
                assert not model.training
                assert not any(parameter.requires_grad for parameter in model.parameters())
                if raised:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        assert model.training
        assert not model.norm.training
        assert (model.weight.requires_grad, model.frozen.requires_grad) == (True, False)
    with torch.no_grad(), attacked(model):
        assert torch.is_grad_enabled()
    assert not predict(model, IMAGES).requires_grad


def test_bounds_and_is_inside():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16).contiguous()
    for radius in (0, 1, 8, 255):
        low, high = bounds(images, radius)
        levels = images.long()
        assert torch.equal(low.long(), (levels - radius).clamp(0))
        assert torch.equal(high.long(), (levels + radius).clamp(max=255))
        assert (low.dtype, high.dtype) == (torch.uint8, torch.uint8)
        assert is_inside(low, images, radius).all()
    low, high = bounds(images, 9)
    assert not is_inside(high, images, 8).any()
    assert not is_inside(low, images, 8).any()
    assert not is_inside(images.float(), images, 8).any()
    assert not is_inside(images[:, :1], images, 8).any()


def test_random_numbers_are_those_of_seed_image_restart_epoch_and_purpose():
    images = torch.tensor([5, 9, 123456])
    for purpose in (Purpose.ATTACK, Purpose.TRAINING_ATTACK):
        random = AttackRandom(3, images, purpose, epoch=2)
        expected = ImageRandom(3, 2 * 1000 + 4, images, purpose).uniform(9, 3)
        assert torch.equal(random.uniform(4, 9, 3), expected)
        assert torch.equal(random.select(torch.tensor([2, 0])).uniform(4, 9, 3), expected[[2, 0]])
    draws = {
        tuple(AttackRandom(seed, images[:1], purpose, epoch).uniform(restart, 1)[0].tolist())
        for seed in (0, 1) for purpose in (4, 5) for epoch in (0, 1) for restart in (0, 1)
    }  # fmt: skip
    assert len(draws) == 16
    normal = AttackRandom(0, torch.arange(50)).normal(0, 2000)
    assert normal.isfinite().all()
    assert normal.mean().abs() < 0.02
    assert (normal.std() - 1).abs() < 0.02
