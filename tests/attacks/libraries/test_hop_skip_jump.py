"""HopSkipJump on whole levels: starts image by image, and directions that a model of levels can see."""

import math
from unittest import mock

import pytest
import torch
from torch import nn

from attacked_networks import distances_to_boundary, linear_network
from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.libraries.library import Watched
from p2be_exp.attacks.libraries.random_state import seeded
from p2be_exp.attacks.nearest import l2_levels
from p2be_exp.models.model_input import to_levels

pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")
import eagerpy as ep
import foolbox

from p2be_exp.attacks.libraries import hop_skip_jump
from p2be_exp.attacks.libraries.hop_skip_jump import HopSkipJumpOnLevels


class Bright(nn.Module):
    """Class 1 where the mean is above 0.9, which no uniform noise is."""

    def forward(self, images):
        raised = images.mean((1, 2, 3)) - 0.9
        return torch.stack([-raised, raised], 1)


def grey(*values):
    return torch.tensor(values).view(-1, 1, 1, 1).repeat(1, 3, 4, 4)


def run(attack, model, images, labels):
    with seeded(0):
        return attack(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), images, labels, epsilons=None)[0]


def test_an_image_without_a_start_stays_as_it_is_and_the_others_go_on():
    model, images, labels = Bright().eval(), grey(0.95, 0.2, 0.99), torch.tensor([1, 0, 1])
    with pytest.raises(ValueError, match="init_attack failed"), pytest.warns(UserWarning, match="failed to draw"):
        run(foolbox.attacks.HopSkipJumpAttack(steps=1), model, images, labels)
    found = run(HopSkipJumpOnLevels(steps=8), model, images, labels)
    assert torch.equal(found[1], images[1])
    wrong = model(found).argmax(1) != labels
    assert wrong.tolist() == [True, False, True]
    exact = (images - 0.9).mean((1, 2, 3)).abs() * math.sqrt(images[0].numel())
    distance = (found - images).flatten(1).norm(dim=1)
    assert (distance[wrong] >= exact[wrong] - 1e-4).all()
    assert (distance[wrong] < 2 * exact[wrong]).all()  # its start is about 2 away, the boundary 0.35 and 0.62


def test_no_image_of_a_batch_may_have_a_start():
    images = grey(0.2, 0.3)
    found = run(HopSkipJumpOnLevels(steps=2), Bright().eval(), images, torch.tensor([0, 0]))
    assert torch.equal(found, images)


def on_levels(attack, model, images, labels):
    """Distances of what an attack finds on the twin of a model of levels."""
    with attacked(model):
        found = to_levels(run(attack, Watched(model.surrogate("secant")), images / 255, labels))
    assert (model(found).argmax(1) != labels).all()
    return l2_levels(found, images)


def test_on_whole_levels_it_comes_nearer_than_foolboxs_own():
    model, images, labels, _ = linear_network(batch=4, size=12)
    exact = distances_to_boundary(model, images, labels)
    ours, theirs = (
        on_levels(made(steps=10), model, images, labels) / exact
        for made in (HopSkipJumpOnLevels, foolbox.attacks.HopSkipJumpAttack)
    )
    assert ours.min() >= 1 - 1e-4
    assert 1.5 * ours.median() < theirs.median()  # see docs/attacks.md


def test_the_direction_of_each_image_has_a_length_of_one():
    model, images, labels, _ = linear_network(batch=3, size=4)
    twin = foolbox.PyTorchModel(Watched(model.surrogate("secant")), bounds=(0, 1), device="cpu")
    points = ep.astensor(images / 255)

    def decision(perturbed):
        return twin(perturbed).argmax(-1) != ep.astensor(labels)

    attack, delta = HopSkipJumpOnLevels(), ep.astensor(torch.full((3,), 4.0))
    with seeded(0):
        ours = attack.approximate_gradients(decision, points, 50, delta).raw
    with seeded(0):
        theirs = foolbox.attacks.HopSkipJumpAttack.approximate_gradients(attack, decision, points, 50, delta).raw
    assert torch.allclose(ours.flatten(1).norm(dim=1), torch.ones(3))
    assert torch.allclose(theirs.norm(), torch.ones(()))
    assert torch.allclose(torch.cosine_similarity(ours.flatten(1), theirs.flatten(1)), torch.ones(3))


def test_directions_are_tried_a_level_away_or_further():
    images, distances = ep.astensor(torch.zeros(2, 3, 16, 16)), ep.astensor(torch.tensor([0.1, 5000.0]))
    of_a_level = math.sqrt(768) / 255
    assert foolbox.attacks.HopSkipJumpAttack().select_delta(images, distances, 3).raw[0] < 0.01 * of_a_level
    trial = HopSkipJumpOnLevels().select_delta(images, distances, 3).raw
    assert trial[0] == pytest.approx(of_a_level)
    assert trial[1] == pytest.approx(5000 / 768)  # Foolbox's own: the distance by the number of values


def test_groups_of_a_batch_are_all_searched(monkeypatch):
    model, images, labels, _ = linear_network(batch=5, size=4)
    sizes, original = [], foolbox.attacks.HopSkipJumpAttack.run

    def counted(self, model, inputs, *arguments, **keys):
        sizes.append(len(inputs))
        return original(self, model, inputs, *arguments, **keys)

    monkeypatch.setattr(foolbox.attacks.HopSkipJumpAttack, "run", counted)
    monkeypatch.setattr(hop_skip_jump, "_DRAWN_AT_ONCE", 2 * 100 * 48)  # two images' directions of the first step
    on_levels(HopSkipJumpOnLevels(steps=1), model, images, labels)
    assert sizes == [2, 2, 1]


def test_an_image_that_cannot_be_searched_for_keeps_its_start_and_costs_no_other():
    model, images, labels, _ = linear_network(batch=3, size=4)
    original = foolbox.attacks.HopSkipJumpAttack.run

    def fails(self, model, inputs, criterion, **keys):
        if (inputs == images[1:2] / 255).flatten(1).all(1).any():
            raise AssertionError
        return original(self, model, inputs, criterion, **keys)

    exact = distances_to_boundary(model, images, labels)
    with mock.patch.object(foolbox.attacks.HopSkipJumpAttack, "run", fails):
        distance = on_levels(HopSkipJumpOnLevels(steps=8), model, images, labels) / exact
    assert distance[1] > 2 * max(distance[0], distance[2])
