"""Attacks without a radius: what counts as found, and how far away it is."""

import doctest
import math

import pytest
import torch

from attacked_networks import linear_network
from p2be_exp.attacks import nearest
from p2be_exp.attacks.attack import Search, Work, predict
from p2be_exp.attacks.nearest import NearestAttack, l2_levels


class Proposes(NearestAttack):
    """The candidates of each restart, as they are given for the whole batch."""

    id = "proposes"

    def __init__(self, *candidates, gradient=""):
        super().__init__(restarts=len(candidates))
        self.candidates, self.gradient, self.asked = candidates, gradient, []

    @property
    def work(self):
        return Work(0, 1)

    def search(self, model, images, labels, random, restart):
        self.asked.append(random.images.tolist())
        zeros = torch.full((len(images),), 0.25 * (restart + 1)) if self.gradient else None
        return Search(self.candidates[restart][random.images], zeros)


def proposals():
    """A linear network, four images, for each the first image on a way that it gets wrong, and the last."""
    model, images, labels, random = linear_network(batch=4, size=2)
    weight = model.trunk.classifier.weight
    away = (weight[(labels + 1) % 4] - weight[labels]).sign().view_as(images)
    way = [(images + step * away).clamp(0, 255).to(torch.uint8) for step in range(5, 256, 5)]
    wrong = torch.stack([predict(model, each) != labels for each in way]).int()
    first, last = wrong.argmax(0), len(way) - 1
    assert wrong[last].all()
    assert (first < last).all()
    near = torch.stack([way[step][place] for place, step in enumerate(first.tolist())])
    return model, images, labels, random, near, way[last]


def by_hand(candidate, image):
    return math.sqrt(sum((int(a) - int(b)) ** 2 for a, b in zip(candidate.flatten(), image.flatten(), strict=True)))


def test_the_distance_of_a_wrong_image_is_that_of_its_levels():
    model, images, labels, random, near, _ = proposals()
    found = Proposes(near)(model, images, labels, random)
    assert torch.equal(found.images, near)
    assert found.distance.dtype == torch.float64
    wanted = [by_hand(*pair) for pair in zip(near, images, strict=True)]
    assert found.distance.tolist() == pytest.approx(wanted, rel=1e-12)
    assert found.zero_gradient is None


def test_a_candidate_that_the_model_gets_right_is_none():
    model, images, labels, random, near, _ = proposals()
    near[1] = images[1]
    near[2] = images[2]
    right = predict(model, near) == labels
    assert right.tolist() == [False, True, True, False]
    found = Proposes(near)(model, images, labels, random)
    assert found.distance.isinf().tolist() == right.tolist()
    assert torch.equal(found.images[1:3], images[1:3])


def test_the_nearest_of_all_restarts_counts():
    model, images, labels, random, near, far = proposals()
    for order in ((near, far), (far, near)):
        attack = Proposes(*order, gradient="secant")
        found = attack(model, images, labels, random)
        assert torch.equal(found.images, near)
        assert torch.equal(found.distance, l2_levels(near, images))
        assert attack.asked == [[0, 1, 2, 3]] * 2  # those that are broken are searched for again
        assert found.zero_gradient.tolist() == [0.375] * 4


def test_an_image_that_is_wrong_as_it_is_has_no_distance_and_is_not_searched_for():
    model, images, labels, random, near, _ = proposals()
    labels[2] = (labels[2] + 1) % 4
    attack = Proposes(near, gradient="secant")
    found = attack(model, images, labels, random)
    assert found.distance[2] == 0
    assert torch.equal(found.images[2], images[2])
    assert attack.asked == [[0, 1, 3]]
    assert found.zero_gradient.isnan().tolist() == [False, False, True, False]
    none = Proposes(near, gradient="secant")
    assert (none(model, images, (predict(model, images) + 1) % 4, random).distance == 0).all()
    assert none.asked == []


def test_what_is_no_level_is_an_error_of_the_attack():
    model, images, labels, random, near, _ = proposals()
    for wrong in (near.float(), near[:, :, :1]):
        with pytest.raises(RuntimeError, match="proposes: a candidate is not uint8 levels"):
            Proposes(wrong)(model, images, labels, random)


def test_kinds_and_documentation():
    assert Proposes(None, gradient="secant").kind == "white-box"
    assert Proposes(None).kind == "black-box"
    assert doctest.testmod(nearest).failed == 0
