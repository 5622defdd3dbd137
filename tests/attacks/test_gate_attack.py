"""The attack that a gate trains against: the settings of each image, its own ball, and what it raises."""

import pytest
import torch

from gated_mixtures import gated, noise, slow_objective
from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.gate_attack import GateAttack
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.random_in_ball import uniform_levels
from p2be_exp.encodings import RGB
from p2be_exp.randomness.draws import ImageRandom, Purpose
from usual import PGD

SEED, EPOCH, EPS = 7, 3, 20
LOW, HIGH, SHARE = 0.4, 1.1, 0.4


def attack_of(targets=9, share=SHARE, **options):
    return GateAttack(PGD(EPS, steps=2, **options), targets, (LOW, HIGH), share)


def of_images(images, epoch=EPOCH):
    return AttackRandom(SEED, torch.as_tensor(images), Purpose.TRAINING_ATTACK, epoch)


def labels_of(model, images):
    """Each image's most likely class, or another."""
    output = model(images)
    return torch.where(torch.arange(len(images)) % 3 > 0, output.argmax(1), output.argmin(1))


def drawn(image, epoch=EPOCH):
    """Of one image: radius, share of the gate, and the draw of its target."""
    radius, share, choice = ImageRandom(SEED, epoch, torch.tensor([image]), Purpose.MIXING).uniform(3)[0].tolist()
    return round(EPS * (LOW + (HIGH - LOW) * radius)), SHARE * share, choice


def test_each_image_has_a_radius_of_its_own_for_seed_and_epoch():
    images, indices = noise(1).expand(40, -1, -1, -1), list(range(100, 140))
    radii = attack_of().radii(images, of_images(indices)).flatten().tolist()
    assert radii == [drawn(index)[0] for index in indices]
    assert min(radii) < 0.6 * EPS < EPS < max(radii) <= round(HIGH * EPS)
    assert radii != attack_of().radii(images, of_images(indices, epoch=4)).flatten().tolist()
    small = GateAttack(PGD(1), 9, (0.0, 0.3), SHARE)
    assert set(small.radii(images, of_images(indices)).flatten().tolist()) == {1}
    none = GateAttack(PGD(0), 9, (LOW, HIGH), SHARE)
    assert set(none.radii(images, of_images(indices)).flatten().tolist()) == {0}


@pytest.mark.parametrize("start", ["image", "uniform"])
def test_an_image_stays_in_its_own_ball_whatever_the_batch(start):
    model, images, indices = gated(RGB(), RGB()), noise(8), torch.arange(50, 58)
    labels = labels_of(model, images)
    with attacked(model):
        found = attack_of(start=start).search(model, images, labels, of_images(indices)).images
        others = torch.tensor([6, 1, 3])
        alone = attack_of(start=start).search(model, images[others], labels[others], of_images(indices[others])).images
    assert torch.equal(found[others], alone)
    distance = (found.short() - images.short()).abs().flatten(1).amax(1).tolist()
    radii = [drawn(index)[0] for index in indices.tolist()]
    assert all(0 < moved <= radius for moved, radius in zip(distance, radii, strict=True))
    assert sum(moved == radius for moved, radius in zip(distance, radii, strict=True)) > 4


def test_a_uniform_start_is_uniform_in_each_images_ball():
    images, random, radii = noise(3), of_images([4, 5, 6]), [3, 0, 200]
    found = uniform_levels(images, torch.tensor(radii, dtype=torch.int16).view(-1, 1, 1, 1), random, 0)
    for place, radius in enumerate(radii):
        assert torch.equal(found[place], uniform_levels(images, radius, random, 0)[place])


@pytest.mark.parametrize(("classes", "targets"), [(10, 3), (4, 9)])
def test_the_objective_is_that_of_every_image_by_itself(classes, targets):
    """With 4 classes there are 3 wrong ones, whatever is asked for."""
    model, images, indices = gated(RGB(), RGB(), classes), noise(30), torch.arange(30)
    labels = labels_of(model, images)
    expected, ranks = [], []
    for place, index in enumerate(indices.tolist()):
        output, gamma = model.gated(*model.read(images[place : place + 1]))
        z, label, (_, share, choice) = output[0].tolist(), labels[place].item(), drawn(index)
        wrong = sorted((each for each in range(classes) if each != label), key=lambda each, z=z: -z[each])
        rank = int(choice * (min(targets, classes - 1) + 1)) - 1
        expected.append(slow_objective(z, gamma.item(), label, share, -1 if rank < 0 else wrong[rank]))
        ranks.append(rank)
    assert set(ranks) == {-1, 0, 1, 2}
    with attacked(model):
        asked = attack_of(targets).ask(model, images, labels, of_images(indices))
        found = asked(images, labels, indices, with_gradient=False).loss
        assert found.tolist() == pytest.approx(expected, rel=1e-5)  # a share in float32
        some = torch.tensor([17, 2, 25])
        assert asked(images[some], labels[some], some, with_gradient=False).loss.tolist() == pytest.approx(
            found[some].tolist(), rel=1e-9
        )


def test_without_targets_three_classes_are_enough():
    model, images = gated(RGB(), RGB(), classes=3), noise(4)
    labels = labels_of(model, images)
    with attacked(model):
        asked = attack_of(targets=0, share=0.0).ask(model, images, labels, of_images([1, 2, 3, 4]))
        found = asked(images, labels, torch.arange(4), with_gradient=False).loss
        torch.testing.assert_close(found, torch.nn.functional.nll_loss(model(images), labels, reduction="none"))


def test_the_objective_rises():
    model, images, indices = gated(RGB(), RGB()), noise(12), torch.arange(12)
    labels = labels_of(model, images)
    with attacked(model):
        attack = attack_of()
        found = attack.search(model, images, labels, of_images(indices)).images
        asked = attack.ask(model, images, labels, of_images(indices))
        before, after = (asked(each, labels, indices, with_gradient=False).loss for each in (images, found))
    assert (after >= before - 1e-9).all()
    assert (after > before + 1e-3).sum() > 9


def test_it_is_no_part_of_a_captured_step():
    assert not attack_of().capturable
