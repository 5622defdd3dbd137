"""DeepFool on whole levels: near a boundary, where its steps are too short to change a level."""

import pytest
import torch

from attacked_networks import distances_to_boundary, linear_network
from p2be_exp.attacks.attack import attacked, predict
from p2be_exp.attacks.libraries.library import Watched
from p2be_exp.attacks.nearest import l2_levels
from p2be_exp.models.model_input import to_levels

pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")

import eagerpy as ep
import foolbox

from p2be_exp.attacks.libraries.deep_fool import DeepFoolOnLevels


def near_the_boundary(size=16, distance=0.01):
    """A linear network of two classes, whose boundary is that far from an image, in levels."""
    model, images, _, _ = linear_network(batch=1, size=size, classes=2)
    head = model.trunk.classifier
    with torch.no_grad():
        logits = head.weight.double() @ (images.flatten().double() / 255)
        gap = distance / 255 * (head.weight[0] - head.weight[1]).double().norm()
        head.bias.copy_(torch.stack([gap - logits[0] + logits[1], torch.zeros_like(gap)]))
    return model, images, predict(model, images)


def found_by(made, model, images, labels):
    with attacked(model):
        twin = foolbox.PyTorchModel(Watched(model.surrogate("secant")), bounds=(0, 1), device="cpu")
        return to_levels(made()(twin, images / 255, labels, epsilons=None)[0])


def test_an_image_near_a_boundary_is_broken_by_a_level_of_few_values():
    model, images, labels = near_the_boundary()
    assert distances_to_boundary(model, images, labels)[0] == pytest.approx(0.01, rel=0.1)
    theirs = found_by(foolbox.attacks.L2DeepFoolAttack, model, images, labels)
    assert torch.equal(theirs, images)  # fifty steps, none of which changes a level
    ours = found_by(DeepFoolOnLevels, model, images, labels)
    assert (predict(model, ours) != labels).all()
    assert l2_levels(ours, images) <= 3  # of 768 values, nine at most


def test_where_steps_are_long_it_is_foolboxs_own():
    model, images, labels, _ = linear_network(classes=2)
    far = distances_to_boundary(model, images, labels) > 25
    assert far.any()
    images, labels = images[far], labels[far]
    theirs = found_by(foolbox.attacks.L2DeepFoolAttack, model, images, labels)
    assert torch.equal(found_by(DeepFoolOnLevels, model, images, labels), theirs)


def test_without_a_gradient_it_stands_still():
    flat = torch.zeros(2, 3, 4, 4)
    step = DeepFoolOnLevels().get_perturbations(ep.astensor(torch.ones(2)), ep.astensor(flat))
    assert torch.equal(step.raw, flat)
