"""What libraries' attacks have in common: levels inside the ball, what was moved, and a random state as it was."""

import random
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from p2be_exp.attacks.attack import predict
from p2be_exp.attacks.libraries.library import LibraryAttack, Watched, check_params
from p2be_exp.attacks.libraries.random_state import seeded
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.backbones import Backbone, StemShape
from p2be_exp.encodings import RGB
from p2be_exp.errors import BadInput
from p2be_exp.models.model import EncodedClassifier


class Brightness(Backbone):
    """Class 1 where the mean level is 128 or more, else class 0."""

    def __init__(self):
        super().__init__()
        self.stem = StemShape(out_channels=1, kernel_size=1, padding=0)

    def forward(self, features):
        raised = features.mean((1, 2, 3)) - 127.5
        return torch.stack([-raised, raised], 1)


def brightness() -> EncodedClassifier:
    model = EncodedClassifier(RGB(), Brightness())
    with torch.no_grad():
        model.stem.weight.fill_(85.0)  # the sum of the three channels, in levels: their mean
    return model.eval()


class Adds(LibraryAttack):
    """Adds so many levels, in floats."""

    def __init__(self, eps_levels, levels, uses_gradient=True, restarts=1):
        super().__init__(eps_levels, "adds", "secant", uses_gradient, restarts)
        self.levels, self.seen = levels, []

    def run(self, twin, images, labels, seed):
        self.seen.append((seed, random.random(), float(np.random.rand()), float(torch.rand(()))))
        if self.gradient:
            points = images.clone().requires_grad_()
            twin(points)[:, 1].sum().backward()
        return images + self.levels / 255


def grey(*levels):
    images = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 2, 2)
    return images, (torch.tensor(levels) >= 128).long(), AttackRandom(0, torch.arange(len(levels)))


def test_a_candidate_is_rounded_then_moved_into_the_ball_and_counted():
    model, (images, labels, numbers) = brightness(), grey(126, 120, 115, 20)
    assert torch.equal(predict(model, images), labels)
    found = Adds(8, levels=8.3)(model, images, labels, numbers)
    assert torch.equal(found.images, images + 8)
    assert found.broken.tolist() == [True, True, False, False]
    assert not found.clamped.any()
    assert not found.lost.any()
    found = Adds(8, levels=13)(model, images, labels, numbers)
    assert torch.equal(found.images, images + 8)
    assert found.clamped.all()
    assert found.lost.tolist() == [False, False, True, False]  # 115 + 13 is 128; 115 + 8 is not
    assert (found.zero_gradient == 0).all()


def test_images_that_are_wrong_as_they_are_are_not_searched_for():
    model, (images, labels, numbers) = brightness(), grey(126, 120)
    found = Adds(8, levels=13, uses_gradient=False)(model, images, 1 - labels, numbers)
    assert found.broken.all()
    assert torch.equal(found.images, images)
    assert found.zero_gradient is None
    assert not found.clamped.any()


def test_what_is_not_finite_is_the_image():
    class Breaks(Adds):
        def run(self, twin, images, labels, seed):
            found = images + 8 / 255
            found[0] = torch.nan
            return found

    model, (images, labels, numbers) = brightness(), grey(120, 120)
    found = Breaks(8, 8)(model, images, labels, numbers)
    assert torch.equal(found.images[0], images[0])
    assert found.broken.tolist() == [False, True]


def test_radius_0_leaves_the_images():
    model, (images, labels, numbers) = brightness(), grey(120, 140)
    found = Adds(0, levels=13)(model, images, labels, numbers)
    assert torch.equal(found.images, images)
    assert not found.broken.any()
    assert not found.clamped.any()
    assert found.zero_gradient.isnan().all()


def test_seeds_are_the_evaluations_and_the_states_are_restored():
    model, (images, labels, _) = brightness(), grey(20)
    seen = []
    for seed in (0, 0, 1):
        random.seed(5)
        np.random.seed(5)
        torch.manual_seed(5)
        attack = Adds(2, levels=1, restarts=2)
        attack(model, images, labels, AttackRandom(seed, torch.tensor([3])))
        after = (random.random(), float(np.random.rand()), float(torch.rand(())))
        random.seed(5)
        np.random.seed(5)
        torch.manual_seed(5)
        assert after == (random.random(), float(np.random.rand()), float(torch.rand(())))
        seen.append(attack.seen)
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[0][1]  # another restart
    assert seen[0][0] != seen[2][0]  # another seed


def test_states_are_restored_after_an_error():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(ValueError, match="NaN"), seeded(1):
        int(torch.rand(7).fill_(torch.nan)[0])
    assert torch.equal(torch.rand(3), wanted)


def test_the_twin_is_shown_any_floats_and_zero_gradients_are_counted():
    class Half(nn.Module):
        def forward(self, images):
            assert ((images >= 0) & (images <= 1)).all()
            return images[:, :, :1].sum((1, 2, 3))

    watched = Watched(Half())
    watched.marker = nn.Parameter(torch.zeros(1))
    points = torch.tensor([-0.5, 0.5, 1.5, torch.nan]).view(4, 1, 1, 1).repeat(1, 3, 2, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(watched(points).sum(), points)
    assert watched.zero_share() == 0.5
    assert (gradient[:3, :, 0] == 1).all()  # outside [0, 1] too
    assert Watched(brightness()).zero_share().isnan()


def test_parameters_are_those_of_the_method():
    class Method:
        def __init__(
            self,
            model,
            alpha=0.5,
            start=True,
            loss="ce",
            steps=10,
            rule: Literal["sign"] | Literal["raw"] | None = "raw",
            **more,
        ): ...

    def check(params):
        return check_params("attack.method=M", Method, params, reserved=("model", "steps"))

    assert check(None) == {}
    assert check({"alpha": 1, "start": False, "loss": "dlr"}) == {"alpha": 1, "start": False, "loss": "dlr"}
    assert check({"rule": "sign"}) == {"rule": "sign"}
    for params, message in [
        ({"steps": 3}, r"params=\{steps:3\}: attack.method=M takes alpha, start, loss, rule$"),
        ({"alpha": True}, "must be a number"),
        ({"start": 1}, "must be true or false"),
        ({"loss": 1}, "must be text"),
        ({"rule": 1}, "must be text"),
        ({"rule": "clip"}, r"params=\{rule:clip\}: must be one of sign, raw$"),
        ([1], "must be names with values"),
    ]:
        with pytest.raises(BadInput, match=message):
            check(params)
